import { WeirError } from '../model/errors.ts'
import { parseNetwork } from './addresses.ts'
import { hasPortsSql, literal } from './flows-view.ts'
import type { TimeRange } from './object-name.ts'
import type { Place } from './object-store.ts'
import { PROTOCOL_NAMES } from './well-known.ts'

// The same objects, read by an engine for more than one machine: what to define there, and the same query.

export const ENGINES = ['clickhouse', 'trino', 'athena'] as const
export type Engine = (typeof ENGINES)[number]

/** The 14 fields in their order, with the types that they have in `flows`. */
const FIELDS = [
  ['version', 'number'],
  ['account_id', 'text'],
  ['interface_id', 'text'],
  ['srcaddr', 'text'],
  ['dstaddr', 'text'],
  ['srcport', 'number'],
  ['dstport', 'number'],
  ['protocol', 'number'],
  ['packets', 'counter'],
  ['bytes', 'counter'],
  ['start_s', 'counter'],
  ['end_s', 'counter'],
  ['action', 'text'],
  ['log_status', 'text'],
] as const

/** Definitions and query as one script. `places` are where the flow logs' objects lie. */
export function explainFor(engine: Engine, sql: string, places: Place[], range?: TimeRange): string {
  const query = translate(engine, sql.trim().replace(/;$/, ''))
  const chosen = places.length === 0 ? [{ bucket: 'BUCKET', prefix: '' }] : places
  return `${DEFINITIONS[engine](chosen, range)}\n\n-- The query.\n${query};\n`
}

const DEFINITIONS: Record<Engine, (places: Place[], range: TimeRange | undefined) => string> = {
  clickhouse: clickhouseDefinitions,
  trino: trinoDefinitions,
  athena: athenaDefinitions,
}

const IN_NETWORK = /\bin_network\s*\(\s*((?:\w+\.)?)(srcaddr|dstaddr)\s*,\s*'([^']*)'\s*\)/gi

/** `in_network(srcaddr, '10.0.0.0/8')` in DuckDB's words: a comparison of keys, which reads no text. */
export function withNetworks(sql: string): string {
  return sql.replaceAll(IN_NETWORK, (_text, table: string, column: string, network: string) => {
    const range = parseNetwork(network)
    if (range === undefined) throw new WeirError('WEIR_INVALID', `in_network: '${network}' is not a network`)
    const key = `${table}${column.slice(0, 3).toLowerCase()}_key`
    return `(${key} BETWEEN '${range.first}'::UUID AND '${range.last}'::UUID)`
  })
}

/** The rest of a query is passed on as it is. */
function translate(engine: Engine, sql: string): string {
  if (engine === 'clickhouse') return sql.replaceAll(IN_NETWORK, "isIPAddressInRange($1$2, '$3')")
  return sql.replaceAll(IN_NETWORK, "contains('$3', CAST($1$2 AS IPADDRESS))")
}

function clickhouseDefinitions(places: Place[], range: TimeRange | undefined): string {
  const types = { text: 'String', number: 'UInt16', counter: 'UInt64' }
  // Fields that are '-' come as NULL.
  const structure = FIELDS.map(([name, type]) => `${name} Nullable(${types[type]})`).join(', ')
  // What a URL or the patterns in it could take for something else stands as '*': the path is compared below.
  const plain = (prefix: string): string => prefix.replaceAll(/[^\w./-]+/g, '*')
  const sources = places.map((place) => {
    const url = literal(`https://ENDPOINT/${place.bucket}/${plain(place.prefix)}**.log.gz`)
    // Its literals know backslashes, other engines' do not.
    return `SELECT *, CAST(_path AS String) AS object FROM s3(${url}, 'ACCESS_KEY', 'SECRET_KEY', 'CustomSeparated',
    ${literal(structure)}, 'gzip')
  WHERE match(_path, ${literal(objectPattern(place).replaceAll('\\', '\\\\'))})`
  })
  return `-- ClickHouse 23.1 or newer; tested with 26.7. Put in ENDPOINT and the keys; 'CREATE TABLE … AS SELECT * FROM flows' imports the records.
CREATE VIEW flows AS
SELECT *, ${serviceSql('Nullable(String)')}
FROM (SELECT account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, packets, bytes, start_s, end_s,
  toDateTime(start_s, 'UTC') AS start_time, toDateTime(end_s, 'UTC') AS end_time, action, log_status, object,
  toDateTime(toUInt32OrNull(extract(object, '-([0-9]+)[.]log[.]gz$')), 'UTC') AS window_start,
  ${protocolNameSql('toString(protocol)')},
  ${namesSql('Nullable(String)')}
FROM (
  ${sources.join('\n  UNION ALL\n  ')}
)${whereRange(range)})
SETTINGS format_custom_field_delimiter = ' ', format_custom_escaping_rule = 'CSV', format_csv_null_representation = '-';`
}

function trinoDefinitions(places: Place[], range: TimeRange | undefined): string {
  const columns = FIELDS.map(([name]) => `  ${name} VARCHAR`).join(',\n')
  const tables = buckets(places).map((bucket, at) => {
    return `CREATE TABLE hive.default.${tableName(at)} (\n${columns}\n) WITH (
  external_location = ${literal(`s3://${bucket}/`)}, format = 'CSV', csv_separator = ' '
);`
  })
  return `-- Trino with the Hive connector, by its documented grammar. Its CSV tables are text: the view makes the types.
-- Objects below a prefix with '/' are found with hive.recursive-directories=true in the catalog's properties.
${tables.join('\n')}
${typedView(places, range, (at) => `hive.default.${tableName(at)}`)}`
}

function athenaDefinitions(places: Place[], range: TimeRange | undefined): string {
  const columns = FIELDS.map(([name]) => `  ${name} string`).join(',\n')
  const tables = buckets(places).map((bucket, at) => {
    return `CREATE EXTERNAL TABLE ${tableName(at)} (\n${columns}\n)
ROW FORMAT DELIMITED FIELDS TERMINATED BY ' '
LOCATION ${literal(`s3://${bucket}/`)};`
  })
  return `-- Athena, engine version 3, by its documented grammar. Run the statements one by one.
${tables.join('\n')}
${typedView(places, range, tableName)}`
}

/** A view over tables of text, which are whole buckets: the objects' path tells flow logs apart. */
function typedView(places: Place[], range: TimeRange | undefined, nameOf: (at: number) => string): string {
  const selects = buckets(places).map((bucket, at) => {
    const patterns = places.filter((it) => it.bucket === bucket).map((it) => literal(objectPattern(it)))
    const paths = patterns.map((it) => `regexp_like("$path", ${it})`)
    const fields = FIELDS.slice(1).map(([name, type]) => {
      if (type === 'text') return `nullif(${name}, '-') AS ${name}`
      return `TRY_CAST(${name} AS ${type === 'number' ? 'INTEGER' : 'BIGINT'}) AS ${name}`
    })
    return `SELECT ${fields.join(',\n  ')}, "$path" AS object
FROM ${nameOf(at)} WHERE version = '2' AND (${paths.join(' OR ')})`
  })
  // Views keep times without a zone: these are in UTC.
  const time = (seconds: string): string =>
    `CAST(from_unixtime(TRY_CAST(${seconds} AS BIGINT), 'UTC') AS timestamp)`
  return `CREATE VIEW flows AS
SELECT *, ${serviceSql('VARCHAR')}
FROM (SELECT *, ${time('start_s')} AS start_time, ${time('end_s')} AS end_time,
  ${time("regexp_extract(object, '-([0-9]+)[.]log[.]gz$', 1)")} AS window_start,
  ${protocolNameSql('CAST(protocol AS VARCHAR)')},
  ${namesSql('VARCHAR')}
FROM (
${selects.join('\nUNION ALL\n')}
)${whereRange(range)});`
}

/** The objects of a place, and no others', as a pattern for their paths. */
function objectPattern({ bucket, prefix }: Place): string {
  const plain = (text: string): string =>
    text.replaceAll(/[[\]^\\]/g, '\\$&').replaceAll(/[.+*?$(){}|]/g, '[$&]')
  const stem = prefix === '' || prefix.endsWith('/') ? `${plain(prefix)}.+` : `${plain(prefix)}(/.+)?`
  return `(^|/)${plain(bucket)}/${stem}-[0-9]+[.]log[.]gz$`
}

function protocolNameSql(number: string): string {
  const names = Object.entries(PROTOCOL_NAMES).map(([protocol, name]) => `WHEN ${protocol} THEN '${name}'`)
  return `CASE protocol ${names.join(' ')} ELSE ${number} END AS protocol_name`
}

function serviceSql(text: string): string {
  return `CASE WHEN ${hasPortsSql('protocol')}
  THEN concat(protocol_name, '/', CAST(least(srcport, dstport) AS ${text})) ELSE protocol_name END AS service`
}

/** Names are the inventory's, which other engines do not have. */
function namesSql(text: string): string {
  return `interface_id AS interface, CAST(NULL AS ${text}) AS server, CAST(NULL AS ${text}) AS datacenter`
}

function whereRange(range: TimeRange | undefined): string {
  return range === undefined ? '' : ` WHERE start_s >= ${range.sinceS} AND start_s < ${range.untilS}`
}

function buckets(places: Place[]): string[] {
  return [...new Set(places.map(({ bucket }) => bucket))]
}

function tableName(at: number): string {
  return at === 0 ? 'flow_logs_text' : `flow_logs_text_${at + 1}`
}
