import { WeirError } from '../model/errors.ts'
import { parseNetwork } from './addresses.ts'
import { findHeat, findSankey, findSeries, findThroughput } from './answer-charts.ts'
import { findChanged, findReach, findRejects, findUnused } from './answer-firewall.ts'
import { findFlows, findTop, findValues, flowsSql, topOrder, topSql } from './answer-tables.ts'
import { Parameters, type Session } from './duckdb.ts'
import { parseFilter } from './filter.ts'
import { literal } from './flows-view.ts'
import { type Inquest, Inquiry } from './inquiry.ts'
import type { Counters, Dimension, Finding, Question, Results, SettledQuestion } from './question.ts'
import { parseSpan, parseTimeRange } from './time-range.ts'

const LOOKBACK_DEFAULT = '30d'
export const EXPORT_FORMATS = ['csv', 'json', 'parquet'] as const
export type ExportFormat = (typeof EXPORT_FORMATS)[number]
export const EXPORT_ROWS_MAX = 1_000_000

/** Settles a question's times and checks what a schema cannot. Throws WEIR_INVALID. */
export function settle(question: Question, nowMs: number): SettledQuestion {
  const range = parseTimeRange(question.since, question.until, nowMs)
  const lengthS = range.untilS - range.sinceS
  parseFilter(question.filter ?? '', nowMs)
  let readSinceS = range.sinceS
  if (question.kind === 'series' && question.previous) readSinceS = range.sinceS - lengthS
  if (question.kind === 'unused') {
    const lookbackS = parseSpan(question.lookback ?? LOOKBACK_DEFAULT)
    if (lookbackS === undefined)
      throw new WeirError('WEIR_INVALID', `'${question.lookback}' is not a length of time such as 30d`)
    readSinceS = range.sinceS - lookbackS
  }
  if (question.kind === 'reach') {
    for (const end of [question.src, question.dst]) {
      if (end === 'any' || parseNetwork(end) !== undefined) continue
      throw new WeirError('WEIR_INVALID', `'${end}' is not an address, a network or 'any'`)
    }
  }
  return { question, range, readRange: { sinceS: Math.max(0, readSinceS), untilS: range.untilS }, nowMs }
}

/** Answers one question from the packs that were chosen for it. */
export async function ask(session: Session, inquest: Inquest): Promise<Finding> {
  const { question } = inquest.settled
  const inquiry = await Inquiry.begin(session, inquest, dimensionsOf(question))
  const { result, totals } = await find(inquiry, question)
  return {
    result,
    totals: totals ?? (await findTotals(inquiry, question.kind === 'summary')),
    skipped: await findSkipped(inquiry),
    truncated: isCut(question, result),
    sql: inquiry.sql,
  }
}

type Found = { result: Results[keyof Results]; totals?: Finding['totals'] }

async function find(inquiry: Inquiry, question: Question): Promise<Found> {
  switch (question.kind) {
    case 'summary':
      return { result: {} }
    case 'series':
      return { result: await findSeries(inquiry, question) }
    case 'flows':
      return { result: await findFlows(inquiry, question) }
    case 'top': {
      const { totals, ...result } = await findTop(inquiry, question)
      return { result, totals }
    }
    case 'sankey':
      return { result: await findSankey(inquiry, question) }
    case 'heat':
      return { result: await findHeat(inquiry, question) }
    case 'rejects':
      return { result: await findRejects(inquiry, question) }
    case 'changed':
      return { result: await findChanged(inquiry, question) }
    case 'unused':
      return { result: await findUnused(inquiry, question) }
    case 'reach':
      return { result: await findReach(inquiry, question) }
    case 'throughput':
      return { result: await findThroughput(inquiry, question) }
    case 'values':
      return { result: await findValues(inquiry, question) }
  }
}

function dimensionsOf(question: Question): Dimension[] {
  switch (question.kind) {
    case 'series':
      return question.splitBy === undefined ? [] : [question.splitBy]
    case 'top':
      return question.by
    case 'sankey':
      return question.path ?? []
    case 'heat':
      return question.rows === undefined ? [] : [question.rows]
    case 'throughput':
      return ['direction']
    default:
      return []
  }
}

async function findTotals(inquiry: Inquiry, show: boolean): Promise<Finding['totals']> {
  const rows = await inquiry.rows<Counters & { action: string | null }>(
    (parameters) => {
      const { from, flows } = inquiry.summed(parameters, ['action'], { withoutDirection: true })
      return `SELECT action, ${flows} AS flows, coalesce(sum(packets), 0) AS packets,
        coalesce(sum(bytes), 0) AS bytes ${from} GROUP BY action`
    },
    { show },
  )
  const sum = (wanted: (action: string | null) => boolean): Counters =>
    rows
      .filter(({ action }) => wanted(action))
      .reduce(
        (total, it) => ({
          flows: total.flows + it.flows,
          packets: total.packets + it.packets,
          bytes: total.bytes + it.bytes,
        }),
        { flows: 0, packets: 0, bytes: 0 },
      )
  return {
    ...sum(() => true),
    accepted: sum((it) => it === 'ACCEPT'),
    rejected: sum((it) => it === 'REJECT'),
  }
}

/**
 * What could not be attributed to flows has no fields to be filtered by: it counts for the range as a whole.
 */
async function findSkipped(inquiry: Inquiry): Promise<Finding['skipped']> {
  const [skipped] = await inquiry.rows<Finding['skipped']>((parameters) => {
    const { from, flows } = inquiry.summed(parameters, [], { status: 'SKIPDATA' })
    return `SELECT ${flows} AS records, coalesce(sum(packets), 0) AS packets, coalesce(sum(bytes), 0) AS bytes ${from}`
  })
  return skipped!
}

function isCut(question: Question, result: Results[keyof Results]): boolean {
  switch (question.kind) {
    case 'flows':
    case 'top': {
      const { rows, count } = result as Results['flows']
      return (question.offset ?? 0) + rows.length < count
    }
    case 'changed':
    case 'unused':
      return (result as Results['changed']).rows.length >= (question.limit ?? 100)
    case 'throughput':
      return (result as Results['throughput']).rows.length >= (question.limit ?? 1000)
    default:
      return false
  }
}

/** Writes all rows of a question for flows or groups to a file. Returns how many. */
export async function writeExport(
  session: Session,
  inquest: Inquest,
  it: { format: ExportFormat; path: string },
): Promise<number> {
  const { question } = inquest.settled
  if (question.kind !== 'flows' && question.kind !== 'top') {
    throw new WeirError('WEIR_INVALID', `only 'flows' and 'top' can be exported, not '${question.kind}'`)
  }
  const inquiry = await Inquiry.begin(session, inquest, dimensionsOf(question))
  const parameters = new Parameters()
  const sql =
    question.kind === 'flows'
      ? flowsSql(inquiry, question, parameters)
      : `SELECT * RENAME (${question.by.map((dimension, at) => `k${at} AS ${dimension}`).join(', ')})
        FROM (${topSql(inquiry, question, parameters)} ${topOrder(question)})`
  // COPY takes no parameters, and every value in them was typed by the filter's parser.
  await session.run(`CREATE OR REPLACE TEMP TABLE exported AS ${sql} LIMIT ${EXPORT_ROWS_MAX}`, parameters)
  const options = {
    csv: 'FORMAT csv, HEADER',
    json: 'FORMAT json, ARRAY true',
    parquet: 'FORMAT parquet, COMPRESSION zstd',
  }
  await session.run(`COPY exported TO ${literal(it.path)} (${options[it.format]})`)
  const [counted] = await session.rows<{ rows: number }>('SELECT count(*) AS rows FROM exported')
  return counted!.rows
}
