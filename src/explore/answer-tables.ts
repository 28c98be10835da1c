import { parseNetwork } from './addresses.ts'
import { findField } from './filter-fields.ts'
import {
  countWhere,
  dimensionColumns,
  dimensionSql,
  type FromOptions,
  type Inquiry,
  type Summed,
  shownSql,
  tallySql,
} from './inquiry.ts'
import type {
  Counters,
  Dimension,
  FlowColumn,
  FlowRow,
  FlowsQuestion,
  Key,
  Results,
  Tally,
  TopQuestion,
  ValuesQuestion,
} from './question.ts'
import { portLabel, protocolName } from './well-known.ts'

const FLOW_COLUMN_SQL: Record<FlowColumn, string> = {
  start: 'start_s',
  end: 'end_s',
  action: 'action',
  protocol: 'protocol',
  srcaddr: 'src_key',
  srcport: 'srcport',
  dstaddr: 'dst_key',
  dstport: 'dstport',
  packets: 'packets',
  bytes: 'bytes',
  interface: 'interface_id',
}

const FLOW_ROW_SQL =
  'start_s AS "startS", end_s AS "endS", action, protocol, srcaddr, srcport, dstaddr, dstport, packets, bytes, ' +
  'interface_id AS interface, log_status AS status'

/** The records themselves, with what was skipped. */
export async function findFlows(inquiry: Inquiry, question: FlowsQuestion): Promise<Results['flows']> {
  const { limit = 100, offset = 0 } = question
  const counted = await inquiry.rows<{ count: number }>((parameters) => {
    const { from, flows: records } = inquiry.summed(parameters, [], { status: 'any' })
    return `SELECT ${records} AS count ${from}`
  })
  const rows = await inquiry.rows<FlowRow>(
    (parameters) => `${flowsSql(inquiry, question, parameters)} LIMIT ${limit} OFFSET ${offset}`,
    { show: true },
  )
  return { rows, count: counted[0]!.count }
}

/** All rows of a question for flows, in its order: what an export writes. */
export function flowsSql(
  inquiry: Inquiry,
  question: FlowsQuestion,
  parameters: Parameters<Inquiry['from']>[0],
): string {
  const { by, order } = question.sort ?? { by: 'start', order: 'desc' }
  // The rest of the key makes the order total, so that pages neither repeat nor omit a row.
  const sort = `${FLOW_COLUMN_SQL[by]} ${order.toUpperCase()} NULLS LAST, start_s DESC, src_key, dst_key, srcport, dstport, protocol, action, interface_id, window_s`
  return `SELECT ${FLOW_ROW_SQL} ${inquiry.from(parameters, { status: 'any' })} ORDER BY ${sort}`
}

interface TopGroup extends Tally {
  [key: `k${number}`]: Key
  rejectedFlows: number
}

/**
 * Groups of flows by one dimension or several, the largest first. One pass over the flows also gives the
 * totals.
 */
export async function findTop(
  inquiry: Inquiry,
  question: TopQuestion,
): Promise<Results['top'] & { totals: Counters & { accepted: Counters; rejected: Counters } }> {
  const { by, metric, limit = 20, offset = 0 } = question
  const order = topOrder(question)
  inquiry.show((parameters) => `${topSql(inquiry, question, parameters)} ${order} LIMIT ${limit}`)
  await inquiry.run(
    (parameters) => `CREATE OR REPLACE TEMP TABLE groups AS ${topSql(inquiry, question, parameters)}`,
  )
  const rows = await inquiry.rows<TopGroup>(
    () => `SELECT * FROM groups ${order} LIMIT ${limit} OFFSET ${offset}`,
  )
  const sums = 'coalesce(sum(packets), 0) AS packets, coalesce(sum(bytes), 0) AS bytes'
  const [all] = await inquiry.rows<Counters & { groups: number }>(
    () => `SELECT count(*) AS groups, coalesce(sum(flows), 0) AS flows, ${sums} FROM groups`,
  )
  // What was refused is few: summed apart, for each sum of a group is paid for with each flow.
  const [rejected] = await inquiry.rows<Counters>((parameters) => {
    const options = { and: "action = 'REJECT'", withoutDirection: true }
    const { from, flows } = tallied(inquiry, question, { parameters, columns: ['action'], options })
    return `SELECT ${flows} AS flows, ${sums} ${from}`
  })
  const { groups, ...totals } = all!
  const rest = minus(totals, ...rows)
  return {
    rows: rows.map((row) => {
      const keys = by.map((dimension, at) => [dimension, keyOf(dimension, row[`k${at}`] ?? null)] as const)
      return {
        key: Object.fromEntries(keys),
        labels: Object.fromEntries(
          keys.map(([dimension, key]) => [dimension, inquiry.label(dimension, key)]),
        ),
        flows: row.flows,
        packets: row.packets ?? 0,
        bytes: row.bytes ?? 0,
        firstS: row.firstS,
        lastS: row.lastS,
        rejectedFlows: row.rejectedFlows,
        share: totals[metric] === 0 ? 0 : (row[metric] ?? 0) / totals[metric],
      }
    }),
    count: groups,
    rest,
    totals: { ...totals, accepted: minus(totals, rejected!), rejected: rejected! },
  }
}

function minus(counters: Counters, ...others: Counters[]): Counters {
  const left = { ...counters }
  for (const { flows, packets, bytes } of others) {
    left.flows -= flows
    left.packets -= packets
    left.bytes -= bytes
  }
  return left
}

export function topSql(
  inquiry: Inquiry,
  question: TopQuestion,
  parameters: Parameters<Inquiry['from']>[0],
): string {
  const { by } = question
  const keys = by.map((dimension, at) => `${dimensionSql(dimension)} AS k${at}`)
  const shown = by.map((dimension, at) => `${shownSql(dimension, `k${at}`)} AS k${at}`)
  const columns = ['action', ...dimensionColumns(by)]
  const { from, flows, flowsWhere } = tallied(inquiry, question, { parameters, columns })
  return `SELECT * REPLACE (${shown.join(', ')}) FROM (
    SELECT ${keys.join(', ')}, ${tallySql(flows)}, ${flowsWhere("action = 'REJECT'")} AS "rejectedFlows"
    ${from} GROUP BY ${by.map((_, at) => at + 1).join(', ')})`
}

/** As `summed`; where only a part of the range is asked about, what of each flow falls into it. */
function tallied(
  inquiry: Inquiry,
  { within }: TopQuestion,
  it: {
    parameters: Parameters<Inquiry['from']>[0]
    columns: readonly string[]
    options?: FromOptions
  },
): Summed {
  const { parameters, columns, options } = it
  if (within === undefined) return inquiry.summed(parameters, columns, options)
  const untilS = Math.min(within.untilS, inquiry.range.untilS)
  const sinceS = Math.min(Math.max(within.sinceS, inquiry.range.sinceS), untilS)
  const and = [
    `start_s < ${untilS}`,
    `end_s >= ${sinceS}`,
    ...(options?.and === undefined ? [] : [options.and]),
  ]
  const insideS = `(least(end_s::BIGINT + 1, ${untilS}) - greatest(start_s, ${sinceS}))`
  const part = (counter: string): string =>
    `round(${counter}::DOUBLE * ${insideS} / (end_s::BIGINT + 1 - start_s))::BIGINT AS ${counter}`
  const flows = inquiry.from(parameters, { ...options, and: and.join(' AND ') })
  return {
    from: `FROM (SELECT * REPLACE (${part('packets')}, ${part('bytes')}) ${flows})`,
    flows: 'count(*)',
    flowsWhere: countWhere,
  }
}

export function topOrder({ by, metric }: TopQuestion): string {
  return `ORDER BY ${metric} DESC, ${by.map((_, at) => `k${at}`).join(', ')}`
}

/** Keys in the form that the filter line takes. */
export function keyOf(dimension: Dimension, key: Key): Key {
  if (dimension !== 'srcnet' && dimension !== 'dstnet') return key
  return key === null ? null : (parseNetwork(String(key))?.text ?? key)
}

const VALUE_SQL: Record<string, string> = {
  src: 'srcaddr',
  dst: 'dstaddr',
  addr: 'unnest([srcaddr, dstaddr])',
  srcnet: dimensionSql('srcnet'),
  dstnet: dimensionSql('dstnet'),
  srcport: 'srcport',
  dstport: 'dstport',
  port: 'unnest([srcport, dstport])',
  protocol: 'protocol',
  service: shownSql('service', dimensionSql('service')),
  action: 'action',
  interface: 'interface_id',
  status: 'log_status',
}

/** What a field of the filter line has for values, the most frequent first. */
export async function findValues(inquiry: Inquiry, question: ValuesQuestion): Promise<Results['values']> {
  const field = findField(question.field)
  const sql = VALUE_SQL[field?.name ?? '']
  if (sql === undefined) return { values: [] }
  const label = (value: string): string | undefined => {
    if (field!.type === 'protocol') return protocolName(Number(value))
    if (field!.type === 'port') return portLabel(Number(value))
    return field!.type === 'interface' ? inquiry.label('interface', value) : undefined
  }
  const rows = await inquiry.rows<{ value: string; flows: number }>(
    (parameters) => `SELECT value::VARCHAR AS value, count(*) AS flows
      FROM (SELECT ${sql} AS value ${inquiry.from(parameters)})
      WHERE value IS NOT NULL AND starts_with(value::VARCHAR, ${parameters.add(question.text ?? '', 'VARCHAR')})
      GROUP BY ALL ORDER BY flows DESC, value LIMIT ${question.limit ?? 20}`,
    { show: true },
  )
  return {
    values: rows.map(({ value, flows }) => {
      const known = label(value)
      return { value, ...(known === undefined || known === value ? {} : { label: known }), flows }
    }),
  }
}
