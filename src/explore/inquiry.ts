import { Parameters, type Session } from './duckdb.ts'
import { type Filter, parseFilter } from './filter.ts'
import { filterSql, usesDirection } from './filter-sql.ts'
import { flowsSelect, literal, type PackSelection } from './flows-view.ts'
import { LIVE_RELATION, type LiveBatch, loadLive } from './live-rows.ts'
import type { TimeRange } from './object-name.ts'
import type { Dimension, Key, SettledQuestion } from './question.ts'
import { portLabel, protocolName, serviceLabel } from './well-known.ts'

/** A question with all that is needed to work on it. */
export interface Inquest {
  settled: SettledQuestion
  selection: PackSelection
  live?: LiveBatch[]
  /** From the inventory. */
  interfaces: { id: string; name: string; addresses: string[] }[]
}

/** What a dimension is in SQL, over `flows`: what flows are grouped by, which is not always what is shown. */
const DIMENSION_SQL: Record<Dimension, string> = {
  action: 'action',
  protocol: 'protocol',
  srcaddr: 'srcaddr',
  dstaddr: 'dstaddr',
  srcport: 'srcport',
  dstport: 'dstport',
  interface: 'interface_id',
  service: 'service_key(protocol, srcport, dstport)',
  srcnet: networkSql('srcaddr', 'src_key'),
  dstnet: networkSql('dstaddr', 'dst_key'),
  direction: 'direction',
}

/** Counters and times of a group of flows, with the names of `Tally`. */
export const TALLY_SQL =
  'count(*) AS flows, sum(packets) AS packets, sum(bytes) AS bytes, min(start_s) AS "firstS", max(end_s) AS "lastS"'

export const METRIC_SQL = { bytes: 'sum(bytes)', packets: 'sum(packets)', flows: 'count(*)' } as const

/** One question at work: puts together statements, and remembers what a person may want to see of them. */
export class Inquiry {
  readonly range: TimeRange
  readonly #session: Session
  readonly #inquest: Inquest
  readonly #filter: Filter | undefined
  readonly #shown: string[] = []
  #withDirection: boolean

  private constructor(session: Session, inquest: Inquest) {
    const { question, range, nowMs } = inquest.settled
    this.range = range
    this.#session = session
    this.#inquest = inquest
    this.#filter = parseFilter(question.filter ?? '', nowMs)
    this.#withDirection = usesDirection(this.#filter)
  }

  static async begin(session: Session, inquest: Inquest, dimensions: readonly Dimension[]): Promise<Inquiry> {
    const inquiry = new Inquiry(session, inquest)
    const { selection, live, settled } = inquest
    if (live !== undefined) await loadLive(session, live)
    const select = flowsSelect(selection, settled.readRange, live === undefined ? undefined : LIVE_RELATION)
    await session.run(`CREATE OR REPLACE TEMP VIEW flows AS ${select}`)
    if (dimensions.includes('direction')) inquiry.#withDirection = true
    if (inquiry.#withDirection) await makeOwnAddresses(session, inquest.interfaces)
    return inquiry
  }

  get sql(): string {
    return this.#shown.join(';\n\n')
  }

  get readRange(): TimeRange {
    return this.#inquest.settled.readRange
  }

  /** `FROM … WHERE …`: flows of the range (or of another) that pass the filter; not what was skipped. */
  from(
    parameters: Parameters,
    options: {
      range?: TimeRange
      status?: 'OK' | 'SKIPDATA' | 'any'
      and?: string
      /** For who does not ask for it: finding the direction is more work than all else. */
      withoutDirection?: boolean
    } = {},
  ): string {
    const { sinceS, untilS } = options.range ?? this.range
    const status = options.status ?? 'OK'
    const conditions = [`start_s >= ${sinceS}`, `start_s < ${untilS}`]
    if (status !== 'any') conditions.push(`log_status = '${status}'`)
    if (options.and !== undefined) conditions.push(options.and)
    if (this.#filter !== undefined && status !== 'SKIPDATA') {
      conditions.push(
        filterSql(this.#filter, parameters, { interfaceIds: (name) => this.#interfaceIds(name) }),
      )
    }
    const isDirected =
      status !== 'SKIPDATA' &&
      this.#withDirection &&
      (options.withoutDirection !== true || usesDirection(this.#filter))
    return `FROM ${isDirected ? DIRECTED_FLOWS : 'flows'} WHERE ${conditions.join(' AND ')}`
  }

  /** Works on one statement; with `show` it is part of the answer. */
  async rows<T>(make: (parameters: Parameters) => string, options: { show?: boolean } = {}): Promise<T[]> {
    if (options.show) this.show(make)
    const parameters = new Parameters()
    return this.#session.rows<T>(make(parameters), parameters)
  }

  async run(make: (parameters: Parameters) => string): Promise<void> {
    const parameters = new Parameters()
    await this.#session.run(make(parameters), parameters)
  }

  /** Puts a statement into the answer, with its values, for a person to run. */
  show(make: (parameters: Parameters) => string): void {
    const parameters = new Parameters()
    this.#shown.push(parameters.inline(make(parameters)).replaceAll(/\s*\n\s*/g, ' '))
  }

  #interfaceIds(name: string): string[] {
    const found = this.#inquest.interfaces
      .filter((it) => it.id === name || it.name === name)
      .map(({ id }) => id)
    // Records may be of interfaces that the inventory does not know (any more).
    return found.length === 0 && /^[0-9a-f-]{36}$/i.test(name) ? [name.toLowerCase()] : found
  }

  label(dimension: Dimension, key: Key): string {
    if (key === null) return dimension === 'direction' ? 'unknown' : '-'
    if (dimension === 'protocol') return protocolName(Number(key)).toUpperCase()
    if (dimension === 'srcport' || dimension === 'dstport') return portLabel(Number(key))
    if (dimension === 'service') return serviceLabel(String(key))
    if (dimension === 'interface')
      return this.#inquest.interfaces.find(({ id }) => id === key)?.name ?? String(key)
    return String(key)
  }
}

export function dimensionSql(dimension: Dimension): string {
  return DIMENSION_SQL[dimension]
}

/** A group's key as it is shown. */
export function shownSql(dimension: Dimension, key: string): string {
  return dimension === 'service' ? `service_name(${key})` : key
}

/** The /24 or /64 of an address, as text. */
function networkSql(address: string, key: string): string {
  const v4 = `regexp_replace(${address}, '[^.]*$', '0/24')`
  const v6 = `regexp_replace(left(${key}::VARCHAR, 18), '^(.{4})(.{4})-(.{4})-(.{4})$', '\\1:\\2:\\3:\\4::/64')`
  return `CASE WHEN contains(${address}, ':') THEN ${v6} ELSE ${v4} END`
}

// Records do not say the direction; the interface's own addresses do.
const DIRECTED_FLOWS = `(SELECT flows.*, CASE WHEN s.address IS NOT NULL
  THEN 'EGRESS' WHEN d.address IS NOT NULL THEN 'INGRESS' END AS direction
  FROM flows LEFT JOIN own_addresses s ON s.interface_id = flows.interface_id AND s.address = flows.srcaddr
    LEFT JOIN own_addresses d ON d.interface_id = flows.interface_id AND d.address = flows.dstaddr)`

const OWN_SHARE_MIN = 0.9

/**
 * Fills `own_addresses` from the inventory. Of interfaces that it knows nothing about, an address is taken for their
 * own when it alone is an end of nearly all flows of its family: two that always talk to each other stay undecided.
 */
async function makeOwnAddresses(session: Session, interfaces: Inquest['interfaces']): Promise<void> {
  await session.run('CREATE OR REPLACE TEMP TABLE own_addresses(interface_id VARCHAR, address VARCHAR)')
  const known = interfaces.flatMap(({ id, addresses }) =>
    addresses.map((it) => `(${literal(id)}, ${literal(it)})`),
  )
  if (known.length > 0) await session.run(`INSERT INTO own_addresses VALUES ${known.join(', ')}`)
  await session.run(`INSERT INTO own_addresses
    WITH unknown AS NOT MATERIALIZED (
      SELECT interface_id, srcaddr, dstaddr FROM flows
      WHERE log_status = 'OK' AND interface_id NOT IN (SELECT interface_id FROM own_addresses)),
    sources AS (SELECT interface_id, srcaddr AS address, count(*) AS flows FROM unknown GROUP BY ALL),
    targets AS (SELECT interface_id, dstaddr AS address, count(*) AS flows FROM unknown
      WHERE dstaddr IS DISTINCT FROM srcaddr GROUP BY ALL),
    ends AS (SELECT *, contains(address, ':') AS is_v6 FROM (FROM sources UNION ALL FROM targets)),
    sizes AS (SELECT interface_id, contains(address, ':') AS is_v6, sum(flows) AS flows FROM sources GROUP BY ALL),
    shares AS (SELECT interface_id, is_v6, address, sum(ends.flows) / any_value(sizes.flows) AS share
      FROM ends JOIN sizes USING (interface_id, is_v6) GROUP BY ALL),
    frequent AS (SELECT *, count(*) OVER (PARTITION BY interface_id, is_v6) AS rivals FROM shares
      WHERE share >= ${OWN_SHARE_MIN})
    SELECT interface_id, address FROM frequent WHERE rivals = 1`)
}
