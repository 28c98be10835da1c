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

/** What `flows` adds to a pack's columns for people. Each statement takes 8 ms to bind them, used or not. */
const DERIVED_COLUMNS = [
  ['start_time', 'make_timestamptz(start_s::BIGINT * 1000000)'],
  ['end_time', 'make_timestamptz(end_s::BIGINT * 1000000)'],
  ['window_start', 'make_timestamptz(window_s::BIGINT * 1000000)'],
  ['protocol_name', 'protocol_name(protocol)'],
  ['service', 'service_name(service_key(protocol, srcport, dstport))'],
] as const

/** The packs of one bucket, and objects in them that are not in the bucket any more. */
export interface PackSelection {
  paths: string[]
  objectsGone: string[]
  /** When given, nobody else's rows: an asker may read a part of a bucket's interfaces only. */
  interfaceIds?: string[] | undefined
}

/** `SELECT` over packs, and perhaps a query of the same columns, bounded by time: `flows` with what packs have. */
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
  ]
  if (selection.interfaceIds !== undefined) {
    conditions.push(`interface_id IN (${['', ...selection.interfaceIds].map(literal).join(', ')})`)
  }
  const where = conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`
  const packs = packRelation(selection.paths)
  const from =
    beside === undefined ? packs : `(SELECT ${stored.join(', ')} FROM ${packs} UNION ALL ${beside})`
  return `SELECT ${stored.join(', ')} FROM ${from}${where}`
}

/** The same with all columns of `flows`. */
export function withDerived(select: string): string {
  const derived = DERIVED_COLUMNS.map(([name, sql]) => `${sql} AS ${name}`)
  return `SELECT *, ${derived.join(', ')} FROM (${select})`
}

function packRelation(paths: string[]): string {
  if (paths.length > 0) return `read_parquet([${paths.map(literal).join(', ')}])`
  const columns = PACK_COLUMNS.map(([name, type]) => `NULL::${type} AS ${name}`)
  return `(SELECT ${columns.join(', ')} WHERE false)`
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
