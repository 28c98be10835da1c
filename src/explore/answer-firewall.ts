import { WeirError } from '../model/errors.ts'
import { type AddressRange, pairHash, parseNetwork } from './addresses.ts'
import type { Parameters } from './duckdb.ts'
import { networkSql } from './filter-sql.ts'
import { hasPortsSql } from './flows-view.ts'
import { type Inquiry, tallySql } from './inquiry.ts'
import type {
  ChangedQuestion,
  ChangedRow,
  Dimension,
  Key,
  ReachQuestion,
  RejectRow,
  RejectsQuestion,
  Results,
  Tally,
  UnusedQuestion,
  UnusedRow,
} from './question.ts'
import { Steps, spansSql, stepsSql } from './steps.ts'
import { portLabel, protocolName, protocolPortLabel } from './well-known.ts'

const REJECTED = "action = 'REJECT'"
const ACCEPTED = "action = 'ACCEPT'"

const NO_FLOWS: Tally = { flows: 0, packets: 0, bytes: 0, firstS: null, lastS: null }

/** What the firewall refused: how much, when, from where, to what. */
export async function findRejects(inquiry: Inquiry, question: RejectsQuestion): Promise<Results['rejects']> {
  const limit = question.limit ?? 10
  const steps = new Steps(inquiry.range, undefined)
  const [all] = await inquiry.rows<{ flows: number }>((it) => {
    const { from, flows } = inquiry.summed(it, [])
    return `SELECT ${flows} AS flows ${from}`
  })
  await inquiry.run((it) => `CREATE OR REPLACE TEMP TABLE refused AS ${refusedSql(inquiry, it)}`)
  const [sum] = await inquiry.rows<Tally>(() => `SELECT ${REFUSED_TALLY_SQL} FROM refused`)
  const sums = await inquiry.rows<{ step: number; value: number }>((it) => {
    const from = inquiry.from(it, { and: REJECTED })
    return stepsSql(steps, {
      groups: 0,
      spans: `(${spansSql(steps, { metric: 'flows', groups: [], from })})`,
    })
  })
  const values = steps.rates(new Map(sums.map(({ step, value }) => [step, value])))
  const refused = tally(sum)
  return {
    refused,
    share: all!.flows === 0 ? 0 : refused.flows / all!.flows,
    series: { stepS: steps.stepS, timesS: steps.timesS, values },
    sources: await refusedBy(inquiry, { dimension: 'srcaddr', column: 'srcaddr', limit }),
    ports: await refusedPorts(inquiry, limit),
    interfaces: await refusedBy(inquiry, { dimension: 'interface', column: 'interface_id', limit }),
    targets: await refusedBy(inquiry, { dimension: 'dstaddr', column: 'dstaddr', limit }),
  }
}

/** Refused flows by all that they are listed by: one table, far smaller than the flows. */
function refusedSql(inquiry: Inquiry, parameters: Parameters): string {
  return `SELECT interface_id, srcaddr, dstaddr, protocol, dstport, ${tallySql()}
    ${inquiry.from(parameters, { and: REJECTED })} GROUP BY ALL`
}

const REFUSED_TALLY_SQL = `sum(flows) AS flows, sum(packets) AS packets, sum(bytes) AS bytes,
  min("firstS") AS "firstS", max("lastS") AS "lastS"`

/** The most frequent of what was refused, by columns of `refused`. */
async function refusedRows<Keys>(
  inquiry: Inquiry,
  it: { keys: { [Name in keyof Keys & string]: string }; limit: number },
): Promise<(Keys & Tally & { sources: number; targets: number })[]> {
  const columns = Object.entries(it.keys).map(([name, column]) => `${column} AS ${name}`)
  const sql = (refused: string): string => `SELECT ${columns.join(', ')}, ${REFUSED_TALLY_SQL},
      count(DISTINCT srcaddr) AS sources, count(DISTINCT dstaddr) AS targets FROM ${refused}
    GROUP BY ALL ORDER BY flows DESC, packets DESC, ${Object.keys(it.keys).join(', ')} LIMIT ${it.limit}`
  inquiry.show((parameters) => sql(`(${refusedSql(inquiry, parameters)})`))
  return inquiry.rows(() => sql('refused'))
}

async function refusedBy(
  inquiry: Inquiry,
  it: { dimension: Dimension; column: string; limit: number },
): Promise<RejectRow[]> {
  const rows = await refusedRows<{ key: Key }>(inquiry, { keys: { key: it.column }, limit: it.limit })
  return rows.map((row) => ({ ...row, ...tally(row), label: inquiry.label(it.dimension, row.key) }))
}

async function refusedPorts(inquiry: Inquiry, limit: number): Promise<RejectRow[]> {
  type Port = { protocol: number | null; dstport: number | null }
  const rows = await refusedRows<Port>(inquiry, {
    keys: { protocol: 'protocol', dstport: 'dstport' },
    limit,
  })
  return rows.map(({ protocol, dstport, sources, targets, ...row }) => {
    const label = protocol === null ? '-' : protocolPortLabel(protocol, dstport)
    return { ...tally(row), key: { protocol, dstport }, label, sources, targets }
  })
}

interface BothTallies {
  af: number
  ap: number
  ab: number
  a1: number | null
  a2: number | null
  rf: number
  rp: number
  rb: number
  r1: number | null
  r2: number | null
}

/** Tallies of accepted and of refused flows side by side. */
function bothSql(flows = 'count(*)'): string {
  const sides = [
    ['a', ACCEPTED],
    ['r', REJECTED],
  ].map(([it, condition]) => {
    const filter = `FILTER (${condition})`
    return `coalesce(${flows} ${filter}, 0) AS ${it}f, coalesce(sum(packets) ${filter}, 0) AS ${it}p,
      coalesce(sum(bytes) ${filter}, 0) AS ${it}b, min(start_s) ${filter} AS ${it}1, max(end_s) ${filter} AS ${it}2`
  })
  return sides.join(', ')
}

function accepted(it: BothTallies): Tally {
  return { flows: it.af, packets: it.ap, bytes: it.ab, firstS: it.a1, lastS: it.a2 }
}

function refused(it: BothTallies): Tally {
  return { flows: it.rf, packets: it.rp, bytes: it.rb, firstS: it.r1, lastS: it.r2 }
}

/**
 * Pairs that were allowed and refused in one range: a rule that changed, or one that depends on more than
 * the pair.
 */
export async function findChanged(inquiry: Inquiry, question: ChangedQuestion): Promise<Results['changed']> {
  type Pair = BothTallies & { interface_id: string } & Pick<
      ChangedRow,
      'srcaddr' | 'dstaddr' | 'protocol' | 'dstport'
    >
  const keys = ['interface_id', 'srcaddr', 'dstaddr', 'protocol', 'dstport']
  const isRefused = keys.map((key) => `f.${key} IS NOT DISTINCT FROM refused.${key}`).join(' AND ')
  const list = keys.join(', ')
  // What was refused is little, as a rule: only flows between the same ends are grouped.
  const rows = await inquiry.rows<Pair>(
    (parameters) => `SELECT ${list}, ${bothSql()}
      FROM (SELECT * ${inquiry.from(parameters)}) f
        SEMI JOIN (SELECT ${list} ${inquiry.from(parameters, { and: REJECTED })} GROUP BY ALL) refused ON ${isRefused}
      GROUP BY ${list} HAVING af > 0 AND rf > 0
      ORDER BY greatest(a2, r2) DESC, rf DESC, ${list} LIMIT ${question.limit ?? 100}`,
    { show: true },
  )
  return {
    rows: rows.map((row) => {
      const { interface_id: id, srcaddr, dstaddr, protocol, dstport } = row
      return {
        interface: id,
        srcaddr,
        dstaddr,
        protocol,
        dstport,
        label: protocolPortLabel(protocol, dstport),
        accepted: accepted(row),
        refused: refused(row),
        verdict: verdictOf(row),
      }
    }),
  }
}

/** All of the one before all of the other is a change; anything else is not that simple. */
function verdictOf({ a1, a2, r1, r2 }: BothTallies): ChangedRow['verdict'] {
  if (a2! < r1!) return 'now refused'
  return r2! < a1! ? 'now allowed' : 'mixed'
}

/**
 * Services that nobody uses: open, as far as flows tell. Either they had traffic before the range and none in it, or
 * what was let through to them in the range never got an answer. A service is the end with the lower port.
 */
export async function findUnused(inquiry: Inquiry, question: UnusedQuestion): Promise<Results['unused']> {
  const { sinceS } = inquiry.range
  const rows = await inquiry.rows<Omit<UnusedRow, 'label'>>(
    (parameters) => {
      const from = inquiry.from(parameters, {
        range: inquiry.readRange,
        and: `${ACCEPTED} AND ${hasPortsSql('protocol')}`,
      })
      return `WITH seen AS (SELECT interface_id, srcaddr, dstaddr, srcport, dstport, protocol, start_s, end_s ${from}),
        asked AS (SELECT interface_id, dstaddr AS address, protocol, dstport AS port, count(*) AS flows,
          count(*) FILTER (start_s >= ${sinceS}) AS recent, count(DISTINCT srcaddr) AS sources,
          min(start_s) AS first_s, max(end_s) AS last_s FROM seen WHERE dstport <= srcport AND dstport > 0
            GROUP BY ALL),
        answered AS (SELECT DISTINCT interface_id, srcaddr AS address, protocol, srcport AS port FROM seen
          WHERE srcport <= dstport)
        SELECT interface_id AS interface, address, protocol, port, CASE WHEN recent = 0 THEN 'silent'
          ELSE 'unanswered' END AS state,
          flows, sources, first_s AS "firstS", last_s AS "lastS"
        FROM asked LEFT JOIN answered USING (interface_id, address, protocol, port)
        WHERE CASE WHEN recent = 0 THEN answered.address IS NOT NULL ELSE answered.address IS NULL END
        ORDER BY state, last_s, flows DESC, interface_id, address, protocol, port
          LIMIT ${question.limit ?? 100}`
    },
    { show: true },
  )
  return { rows: rows.map((row) => ({ ...row, label: protocolPortLabel(row.protocol, row.port) })) }
}

interface Turn {
  atS: number
  action: 'ACCEPT' | 'REJECT'
}

/** Can A reach B? What the records say about it: never more than was tried. */
export async function findReach(inquiry: Inquiry, question: ReachQuestion): Promise<Results['reach']> {
  const ends = [endOf(question.src), endOf(question.dst)] as const
  inquiry.show(
    (it) => `SELECT interface_id AS id, ${bothSql()} ${inquiry.from(it, { and: waySql(it, ends, question) })}
      GROUP BY ALL ORDER BY rf + af DESC, id`,
  )
  const [found] = await inquiry.rows<{
    places: (BothTallies & { id: string })[] | null
    turns: Turn[] | null
    answered: Tally
  }>(
    (it) => `WITH seen AS MATERIALIZED (SELECT is_way, interface_id, action, start_s, count(*) AS flows,
          sum(packets) AS packets, sum(bytes) AS bytes, max(end_s) AS end_s
        FROM (${bothWaysSql(inquiry, it, ends, question)}) GROUP BY ALL),
      tries AS (FROM seen WHERE is_way),
      places AS (SELECT interface_id AS id, ${bothSql('sum(flows)')} FROM tries GROUP BY ALL),
      turns AS (SELECT start_s AS "atS", action FROM (
          SELECT start_s, action, lag(action) OVER (ORDER BY start_s, action) AS before
          FROM (SELECT DISTINCT start_s, action FROM tries))
        WHERE action IS DISTINCT FROM before ORDER BY start_s DESC, action DESC LIMIT 50),
      answered AS (SELECT ${tallySql('coalesce(sum(flows), 0)')} FROM seen WHERE NOT is_way)
      SELECT (SELECT list(places ORDER BY rf + af DESC, id) FROM places) AS places,
        (SELECT list(turns ORDER BY "atS", action) FROM turns) AS turns, (SELECT answered FROM answered) AS answered`,
  )
  const interfaces = (found!.places ?? []).map((it) => ({
    interface: it.id,
    accepted: accepted(it),
    refused: refused(it),
  }))
  const sums = {
    accepted: interfaces.reduce((sum, it) => add(sum, it.accepted), NO_FLOWS),
    refused: interfaces.reduce((sum, it) => add(sum, it.refused), NO_FLOWS),
    answered: tally(found!.answered),
  }
  const answer = answerOf(sums.accepted, sums.refused)
  const result = { answer, ...sums, interfaces, changes: found!.turns ?? [] }
  return { ...result, sentence: sentenceOf(inquiry, question, result) }
}

/** Undefined stands for any address. */
type Ends = readonly [src: AddressRange | undefined, dst: AddressRange | undefined]

function endOf(text: string): AddressRange | undefined {
  if (text === 'any') return undefined
  const range = parseNetwork(text)
  if (range === undefined)
    throw new WeirError('WEIR_INVALID', `'${text}' is not an address, a network or 'any'`)
  return range
}

function isAddress(end: AddressRange | undefined): end is AddressRange {
  return end !== undefined && end.first === end.last
}

function waySql(parameters: Parameters, ends: Ends, it: ReachQuestion, portColumn = 'dstport'): string {
  const conditions = ['src_key', 'dst_key'].flatMap((column, at) => {
    const end = ends[at]
    return end === undefined ? [] : [networkSql(column, end, parameters)]
  })
  if (it.port !== undefined) conditions.push(`${portColumn} = ${parameters.add(it.port, 'UINTEGER')}`)
  if (it.protocol !== undefined) conditions.push(`protocol = ${parameters.add(it.protocol, 'UINTEGER')}`)
  return conditions.length === 0 ? 'true' : conditions.join(' AND ')
}

/** Flows from the one to the other (`is_way`), and what was let through on the way back. */
function bothWaysSql(inquiry: Inquiry, parameters: Parameters, ends: Ends, question: ReachQuestion): string {
  const columns = 'interface_id, action, start_s, end_s, packets, bytes'
  const [src, dst] = ends
  const way = waySql(parameters, ends, question)
  const back = `${waySql(parameters, [dst, src], question, 'srcport')} AND ${ACCEPTED}`
  if (isAddress(src) && isAddress(dst) && src.first !== dst.first) {
    // No flow goes both ways, and one look at all of them finds those of either.
    const isPair = `pair_hash = ${pairHash(src.first, dst.first)}`
    const from = inquiry.from(parameters, { and: `${isPair} AND (${way} OR ${back})` })
    return `SELECT ${networkSql('src_key', src, parameters)} AS is_way, ${columns} ${from}`
  }
  return `SELECT true AS is_way, ${columns} ${inquiry.from(parameters, { and: way })}
    UNION ALL SELECT false, ${columns} ${inquiry.from(parameters, { and: back })}`
}

function answerOf(acceptedFlows: Tally, refusedFlows: Tally): Results['reach']['answer'] {
  if (acceptedFlows.flows > 0) return refusedFlows.flows > 0 ? 'both' : 'allowed'
  return refusedFlows.flows > 0 ? 'refused' : 'unseen'
}

function sentenceOf(
  inquiry: Inquiry,
  question: ReachQuestion,
  it: Omit<Results['reach'], 'sentence'>,
): string {
  const name = question.protocol === undefined ? '' : `${protocolName(question.protocol).toUpperCase()} `
  const port = question.port === undefined ? '' : ` on ${name || 'port '}${portLabel(question.port)}`
  const pair = `${question.src} → ${question.dst}${port || (name === '' ? '' : ` by ${name.trim()}`)}`
  const places = it.interfaces
    .filter(({ refused: some }) => some.flows > 0)
    .map(({ interface: id }) => inquiry.label('interface', id))
  const where =
    places.length === 0 ? '' : ` at ${places.slice(0, 3).join(', ')}${places.length > 3 ? ' and others' : ''}`
  const answeredWord = it.answered.flows > 0 ? 'and answered' : 'but no answer was seen'
  switch (it.answer) {
    case 'unseen':
      return `${pair}: nobody tried in this time, so the records cannot tell`
    case 'allowed':
      return `${pair}: allowed, ${count(it.accepted)} since ${timeText(it.accepted.firstS)}, ${answeredWord}`
    case 'refused':
      return `${pair}: refused${where}, ${count(it.refused)} since ${timeText(it.refused.firstS)}, last ${timeText(it.refused.lastS)}`
    case 'both': {
      const last = it.changes.at(-1)!
      const now = last.action === 'REJECT' ? 'refused' : 'allowed'
      return `${pair}: allowed (${count(it.accepted)}) and refused${where} (${count(it.refused)}); ${now} since ${timeText(last.atS)}`
    }
  }
}

function count({ flows }: Tally): string {
  return flows === 1 ? '1 flow' : `${flows} flows`
}

function timeText(timeS: number | null): string {
  return timeS === null ? '-' : new Date(timeS * 1000).toISOString().replace('.000Z', 'Z')
}

function add(a: Tally, b: Tally): Tally {
  return {
    flows: a.flows + b.flows,
    packets: a.packets + b.packets,
    bytes: a.bytes + b.bytes,
    firstS: a.firstS === null ? b.firstS : b.firstS === null ? a.firstS : Math.min(a.firstS, b.firstS),
    lastS: a.lastS === null ? b.lastS : b.lastS === null ? a.lastS : Math.max(a.lastS, b.lastS),
  }
}

/** Sums of no rows are NULL. */
function tally(it: Tally | undefined): Tally {
  return {
    flows: it?.flows ?? 0,
    packets: it?.packets ?? 0,
    bytes: it?.bytes ?? 0,
    firstS: it?.firstS ?? null,
    lastS: it?.lastS ?? null,
  }
}
