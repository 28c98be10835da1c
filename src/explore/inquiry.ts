import { Parameters, type Session } from './duckdb.ts'
import { type Filter, parseFilter } from './filter.ts'
import { DIRECTION_COLUMNS, filterColumns, filterSql, usesDirection } from './filter-sql.ts'
import { flowsSelect, literal, type PackSelection, sumsSelect } from './flows-view.ts'
import { LIVE_RELATION, type LiveBatch, loadLive } from './live-rows.ts'
import type { TimeRange } from './object-name.ts'
import type { Dimension, Key, Metric, SettledQuestion } from './question.ts'
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

/** The columns of `flows` that a dimension is made of. */
const DIMENSION_COLUMNS: Record<Dimension, readonly string[]> = {
  action: ['action'],
  protocol: ['protocol'],
  srcaddr: ['srcaddr'],
  dstaddr: ['dstaddr'],
  srcport: ['srcport'],
  dstport: ['dstport'],
  interface: ['interface_id'],
  service: ['protocol', 'srcport', 'dstport'],
  srcnet: ['srcaddr', 'src_key'],
  dstnet: ['dstaddr', 'dst_key'],
  direction: DIRECTION_COLUMNS,
}

/** Counters and times of a group of flows, with the names of `Tally`. */
export function tallySql(flows = 'count(*)'): string {
  return `${flows} AS flows, sum(packets) AS packets, sum(bytes) AS bytes, min(start_s) AS "firstS", max(end_s) AS "lastS"`
}

/** Of rows that are flows each. */
export function countWhere(condition: string): string {
  return `count(CASE WHEN ${condition} THEN 1 END)`
}

export function metricSql(metric: Metric, flows: string): string {
  return metric === 'flows' ? flows : `sum(${metric})`
}

/** Where sums of flows come from, and how flows are counted there: all, or those of a condition. */
export interface Summed {
  from: string
  flows: string
  flowsWhere(condition: string): string
}

export interface FromOptions {
  range?: TimeRange
  status?: 'OK' | 'SKIPDATA' | 'any'
  and?: string
  /** For who does not ask for it: finding the direction is more work than all else. */
  withoutDirection?: boolean
  /** All flows, whatever was asked for. */
  isUnfiltered?: boolean
}

/** One question at work: puts together statements, and remembers what a person may want to see of them. */
export class Inquiry {
  readonly range: TimeRange
  readonly #session: Session
  readonly #inquest: Inquest
  readonly #filter: Filter | undefined
  readonly #shown: string[] = []
  #withDirection: boolean
  #isShowing = false
  #own: OwnAddress[] = []

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
    if (inquest.live !== undefined) await loadLive(session, inquest.live)
    await session.run(`CREATE OR REPLACE TEMP VIEW flows AS ${inquiry.#flows()}`)
    if (dimensions.includes('direction')) inquiry.#withDirection = true
    if (inquiry.#withDirection) await inquiry.#findOwnAddresses()
    return inquiry
  }

  get sql(): string {
    return this.#shown.join(';\n\n')
  }

  get readRange(): TimeRange {
    return this.#inquest.settled.readRange
  }

  /** `FROM … WHERE …`: flows of the range (or of another) that pass the filter; not what was skipped. */
  from(parameters: Parameters, options: FromOptions = {}): string {
    return this.#from('flows', parameters, options)
  }

  /**
   * The same for who only sums counters and times by some columns, those of `and` included: out of the sums that packs
   * bring along, where they have these columns. What is shown to people reads rows.
   */
  summed(parameters: Parameters, columns: readonly string[], options: FromOptions = {}): Summed {
    const { selection, live } = this.#inquest
    const needed = ['log_status', ...columns]
    if (isFiltered(options)) needed.push(...filterColumns(this.#filter))
    if (this.#isDirected(options)) needed.push(...DIRECTION_COLUMNS)
    const beside = live === undefined ? undefined : LIVE_RELATION
    const sums = sumsSelect(selection, options.range ?? this.range, [...new Set(needed)], beside)
    if (sums === undefined || this.#isShowing) {
      return {
        from: this.from(parameters, options),
        flows: 'count(*)',
        flowsWhere: countWhere,
      }
    }
    return {
      from: this.#from(`(${sums})`, parameters, options),
      flows: 'coalesce(sum(flows), 0)',
      flowsWhere: (condition) => `coalesce(sum(CASE WHEN ${condition} THEN flows END), 0)`,
    }
  }

  #flows(): string {
    const { selection, settled, live } = this.#inquest
    return flowsSelect(selection, settled.readRange, live === undefined ? undefined : LIVE_RELATION)
  }

  #from(relation: string, parameters: Parameters, options: FromOptions): string {
    const { sinceS, untilS } = options.range ?? this.range
    const status = options.status ?? 'OK'
    const conditions = [`start_s >= ${sinceS}`, `start_s < ${untilS}`]
    if (status !== 'any') conditions.push(`log_status = '${status}'`)
    if (options.and !== undefined) conditions.push(options.and)
    if (this.#filter !== undefined && isFiltered(options)) {
      conditions.push(
        filterSql(this.#filter, parameters, { interfaceIds: (name) => this.#interfaceIds(name) }),
      )
    }
    const source = this.#isDirected(options) ? directedSql(relation, this.#own) : relation
    return `FROM ${source} WHERE ${conditions.join(' AND ')}`
  }

  #isDirected(options: FromOptions): boolean {
    const isWanted = options.withoutDirection !== true || usesDirection(this.#filter)
    return isWanted && this.#withDirection && isFiltered(options)
  }

  /**
   * Fills `own_addresses` from the inventory. Of interfaces that it knows nothing about, an address is taken for their
   * own when it alone is an end of nearly all flows of its family: two that always talk to each other stay undecided.
   */
  async #findOwnAddresses(): Promise<void> {
    const { interfaces, settled } = this.#inquest
    await this.run(() => 'CREATE OR REPLACE TEMP TABLE own_addresses(interface_id VARCHAR, address VARCHAR)')
    const known = interfaces.flatMap(({ id, addresses }) =>
      addresses.map((it) => `(${literal(id)}, ${literal(it)})`),
    )
    if (known.length > 0) await this.run(() => `INSERT INTO own_addresses VALUES ${known.join(', ')}`)
    await this.run((parameters) => {
      const options = { range: settled.readRange, isUnfiltered: true }
      const { from, flows } = this.summed(parameters, DIRECTION_COLUMNS, options)
      return `INSERT INTO own_addresses
        WITH pairs AS MATERIALIZED (SELECT interface_id, srcaddr, dstaddr, ${flows} AS flows ${from}
          AND interface_id NOT IN (SELECT interface_id FROM own_addresses) GROUP BY ALL),
        ends AS (SELECT *, contains(address, ':') AS is_v6 FROM (
          SELECT interface_id, srcaddr AS address, flows FROM pairs UNION ALL
          SELECT interface_id, dstaddr, flows FROM pairs WHERE dstaddr IS DISTINCT FROM srcaddr)),
        sizes AS (SELECT interface_id, contains(srcaddr, ':') AS is_v6, sum(flows) AS flows FROM pairs GROUP BY ALL),
        shares AS (SELECT interface_id, is_v6, address, sum(ends.flows) / any_value(sizes.flows) AS share
          FROM ends JOIN sizes USING (interface_id, is_v6) GROUP BY ALL),
        frequent AS (SELECT *, count(*) OVER (PARTITION BY interface_id, is_v6) AS rivals FROM shares
          WHERE share >= ${OWN_SHARE_MIN})
        SELECT interface_id, address FROM frequent WHERE rivals = 1`
    })
    this.#own = await this.rows<OwnAddress>(() => `FROM own_addresses LIMIT ${OWN_LISTED_MAX + 1}`)
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
    this.#isShowing = true
    this.#shown.push(parameters.inline(make(parameters)).replaceAll(/\s*\n\s*/g, ' '))
    this.#isShowing = false
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

/** What was skipped has no fields to be filtered by. */
function isFiltered({ status, isUnfiltered = false }: FromOptions): boolean {
  return status !== 'SKIPDATA' && !isUnfiltered
}

export function dimensionColumns(dimensions: readonly Dimension[]): string[] {
  return dimensions.flatMap((dimension) => DIMENSION_COLUMNS[dimension])
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

interface OwnAddress {
  interface_id: string
  address: string
}

/** More own addresses are found by a join, at twice the work for each flow. */
const OWN_LISTED_MAX = 32

/** Records do not say the direction; the interface's own addresses do. */
function directedSql(relation: string, own: OwnAddress[]): string {
  if (own.length <= OWN_LISTED_MAX) {
    const cases = [...Map.groupBy(own, (it) => it.interface_id)].map(([id, some]) => {
      // A function of one column and constants is called once for each value of a row group, not for each row.
      const list = `[${some.map(({ address }) => literal(address)).join(', ')}]`
      const isOwn = (column: string): string => `list_contains(${list}, ${column})`
      return `WHEN ${literal(id)} THEN CASE WHEN ${isOwn('srcaddr')} THEN 'EGRESS' WHEN ${isOwn('dstaddr')} THEN 'INGRESS' END`
    })
    const direction = cases.length === 0 ? 'NULL::VARCHAR' : `CASE interface_id ${cases.join(' ')} END`
    return `(SELECT *, ${direction} AS direction FROM ${relation})`
  }
  return `(SELECT f.*, CASE WHEN s.address IS NOT NULL
    THEN 'EGRESS' WHEN d.address IS NOT NULL THEN 'INGRESS' END AS direction
    FROM ${relation} f LEFT JOIN own_addresses s ON s.interface_id = f.interface_id AND s.address = f.srcaddr
      LEFT JOIN own_addresses d ON d.interface_id = f.interface_id AND d.address = f.dstaddr)`
}

const OWN_SHARE_MIN = 0.9
