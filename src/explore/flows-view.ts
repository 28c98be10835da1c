import { PROTOCOL_NAMES } from './well-known.ts'

// The one place that says what a pack holds and what the view `flows` makes of it.

/**
 * Columns of a pack (Parquet), in their order. Typed from the 14 fields of a record; undefined fields are
 * NULL.
 */
export const PACK_COLUMNS = [
  ['object', 'VARCHAR'],
  ['window_s', 'UINTEGER'],
  ['account_id', 'VARCHAR'],
  ['interface_id', 'VARCHAR'],
  ['srcaddr', 'VARCHAR'],
  ['dstaddr', 'VARCHAR'],
  ['pair_hash', 'UTINYINT'],
  ['src_key', 'UUID'],
  ['dst_key', 'UUID'],
  ['srcport', 'USMALLINT'],
  ['dstport', 'USMALLINT'],
  ['protocol', 'UTINYINT'],
  ['packets', 'BIGINT'],
  ['bytes', 'BIGINT'],
  ['start_s', 'UINTEGER'],
  ['end_s', 'UINTEGER'],
  ['action', 'VARCHAR'],
  ['log_status', 'VARCHAR'],
] as const

/**
 * What packs may bring along besides their rows: the counters and times of groups of rows, for all rows of the pack.
 * Groups are by the columns of a kind. Where all of a pack is in a question's range, and the question needs no other
 * columns, it reads these instead: as many rows as the pack has groups. The first kind that has the columns is the
 * smallest.
 */
export const SUMS_KEYS = {
  verdicts: [
    ['interface_id', 'VARCHAR'],
    ['action', 'VARCHAR'],
    ['log_status', 'VARCHAR'],
  ],
  ports: [
    ['interface_id', 'VARCHAR'],
    ['protocol', 'UTINYINT'],
    ['dstport', 'USMALLINT'],
    ['action', 'VARCHAR'],
    ['log_status', 'VARCHAR'],
  ],
  addresses: [
    ['interface_id', 'VARCHAR'],
    ['srcaddr', 'VARCHAR'],
    ['dstaddr', 'VARCHAR'],
    ['src_key', 'UUID'],
    ['dst_key', 'UUID'],
    ['action', 'VARCHAR'],
    ['log_status', 'VARCHAR'],
  ],
} as const
export type SumsKind = keyof typeof SUMS_KEYS
export const SUMS_KINDS = Object.keys(SUMS_KEYS) as SumsKind[]

/** What follows the keys: sums, the first start and the last end. */
export const SUMS_COUNTERS = [
  ['flows', 'BIGINT'],
  ['packets', 'BIGINT'],
  ['bytes', 'BIGINT'],
  ['start_s', 'UINTEGER'],
  ['end_s', 'UINTEGER'],
] as const

/** Sums that have not at least so many times fewer rows than the pack are not kept. */
export const SUMS_GAIN_MIN = 4

/** Sizes of a pack's files: its rows, and what sums it brings along. */
export interface PackSizes {
  /** 0: no record at all, and no file. */
  size: number
  sums: Partial<Record<SumsKind, number>>
}

/** Where a pack's sums are, beside its rows. */
export function sumsPath(packPath: string, kind: SumsKind): string {
  return packPath.replace(/parquet$/, `${kind}.parquet`)
}

/** What `flows` adds to a pack's columns for people. Each statement takes 8 ms to bind them, used or not. */
const DERIVED_COLUMNS = [
  ['start_time', 'make_timestamptz(start_s::BIGINT * 1000000)'],
  ['end_time', 'make_timestamptz(end_s::BIGINT * 1000000)'],
  ['window_start', 'make_timestamptz(window_s::BIGINT * 1000000)'],
  ['protocol_name', 'protocol_name(protocol)'],
  ['service', 'service_name(service_key(protocol, srcport, dstport))'],
] as const

/** Files of a pack, and when the first and the last of its flows start. */
export interface PackFiles {
  rows: string
  sums: Partial<Record<SumsKind, string>>
  firstS: number
  lastS: number
}

/** The packs of one bucket, and objects in them that are not in the bucket any more. */
export interface PackSelection {
  packs: PackFiles[]
  objectsGone: string[]
  /** When given, nobody else's rows: an asker may read a part of a bucket's interfaces only. */
  interfaceIds?: string[] | undefined
}

/**
 * `SELECT` over packs, and perhaps a query of the same columns, bounded by time: `flows` with what packs
 * have. DuckDB looks at conditions in the order of the columns.
 */
export function flowsSelect(
  selection: PackSelection,
  range: { sinceS: number; untilS: number } | undefined,
  beside?: string,
): string {
  const stored = PACK_COLUMNS.map(([name]) => name)
  const conditions = [
    ...(range === undefined ? [] : [`start_s >= ${range.sinceS}`, `start_s < ${range.untilS}`]),
    ...(selection.objectsGone.length === 0
      ? []
      : [`object NOT IN (${selection.objectsGone.map(literal).join(', ')})`]),
    ...interfaceConditions(selection),
  ]
  const packs = packRelation(selection.packs.map(({ rows }) => rows))
  const from =
    beside === undefined ? packs : `(SELECT ${stored.join(', ')} FROM ${packs} UNION ALL ${beside})`
  return `SELECT ${stored.join(', ')} FROM ${from}${whereSql(conditions)}`
}

function whereSql(conditions: string[]): string {
  return conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`
}

function interfaceConditions({ interfaceIds }: PackSelection): string[] {
  return interfaceIds === undefined
    ? []
    : [`interface_id IN (${['', ...interfaceIds].map(literal).join(', ')})`]
}

/**
 * The same with these columns only, counters, times and how many flows a row stands for (`flows`), out of packs' sums
 * where they can be used. Undefined when they nowhere can.
 */
export function sumsSelect(
  selection: PackSelection,
  range: { sinceS: number; untilS: number },
  columns: readonly string[],
  beside?: string,
): string | undefined {
  const kinds = SUMS_KINDS.filter((kind) => {
    const keys = SUMS_KEYS[kind].map(([name]): string => name)
    return columns.every((column) => keys.includes(column))
  })
  const files = Object.groupBy(selection.packs, ({ sums, firstS, lastS }) => {
    const isInside = firstS >= range.sinceS && lastS < range.untilS
    return (isInside ? kinds.find((kind) => sums[kind] !== undefined) : undefined) ?? 'rows'
  })
  const { rows = [], ...summed } = files
  if (rows.length === selection.packs.length) return undefined
  const list = [...columns, 'packets', 'bytes', 'start_s', 'end_s'].join(', ')
  const others = flowsSelect({ ...selection, packs: rows }, range, beside)
  const where = whereSql(interfaceConditions(selection))
  const parts = SUMS_KINDS.flatMap((kind) => {
    const paths = summed[kind]?.map(({ sums }) => sums[kind]!)
    return paths === undefined ? [] : [`SELECT ${list}, flows FROM ${parquetSql(paths)}${where}`]
  })
  return [...parts, `SELECT ${list}, 1::BIGINT AS flows FROM (${others})`].join(' UNION ALL ')
}

/** The same with all columns of `flows`. */
export function withDerived(select: string): string {
  const derived = DERIVED_COLUMNS.map(([name, sql]) => `${sql} AS ${name}`)
  return `SELECT *, ${derived.join(', ')} FROM (${select})`
}

function packRelation(paths: string[]): string {
  if (paths.length > 0) return parquetSql(paths)
  const columns = PACK_COLUMNS.map(([name, type]) => `NULL::${type} AS ${name}`)
  return `(SELECT ${columns.join(', ')} WHERE false)`
}

export function parquetSql(paths: string[]): string {
  return `read_parquet([${paths.map(literal).join(', ')}])`
}

/** A text as SQL writes it. For texts of ours and for names that the file system or a bucket gave. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

/** Whether a protocol has ports. Not by `IN`: five values are a join to DuckDB, in every statement over the view. */
export function hasPortsSql(protocol: string): string {
  return `(${[6, 17, 33, 132, 136].map((it) => `${protocol} = ${it}`).join(' OR ')})`
}

/** Functions that every database has. */
export const MACROS: readonly string[] = [
  `CREATE OR REPLACE MACRO protocol_name(p) AS CASE p
     ${Object.entries(PROTOCOL_NAMES)
       .map(([number, name]) => `WHEN ${number} THEN '${name}'`)
       .join(' ')}
     ELSE p::VARCHAR END`,
  // The lower port is the service's, as a rule. A guess, and the documents say so. (`least` takes four times as long.)
  `CREATE OR REPLACE MACRO service_port(srcport, dstport) AS
     CASE WHEN srcport <= dstport OR dstport IS NULL THEN srcport ELSE dstport END`,
  // What a service is called takes longer to write down than all else: groups are made by a number.
  `CREATE OR REPLACE MACRO service_key(p, srcport, dstport) AS
     p::INTEGER * 65536 + CASE WHEN ${hasPortsSql('p')} THEN service_port(srcport, dstport) ELSE 0 END`,
  `CREATE OR REPLACE MACRO service_name(key) AS
     CASE WHEN ${hasPortsSql('(key // 65536)')} THEN protocol_name(key // 65536) || '/' || (key % 65536)::VARCHAR
       ELSE protocol_name(key // 65536) END`,
]
