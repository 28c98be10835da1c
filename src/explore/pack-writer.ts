import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { WeirError } from '../model/errors.ts'
import type { Session } from './duckdb.ts'
import { literal, PACK_COLUMNS } from './flows-view.ts'
import { keepRecordLines } from './record-lines.ts'

// A pack is a Parquet file with the typed records of some objects of one flow log. Objects never change, so
// a pack is
// made once; text is parsed once however often it is asked about.

/** An object to be packed: where its bytes are, and the name that its rows carry. */
export interface PackInput {
  object: string
  windowS: number
  path: string
}

/** What became of one object. */
export interface PackedObject {
  object: string
  records: number
  linesFailed: number
  /** Why none of it could be used. */
  fault?: string
}

export interface WrittenPack {
  objects: PackedObject[]
  /** 0: no record at all, and no file. */
  size: number
}

/** What one object may unfold to; gzip reaches a thousandfold. */
const TEXT_SIZE_MAX = 2 ** 30

const TEXT_COLUMNS = [
  'version',
  'account_id',
  'interface_id',
  'srcaddr',
  'dstaddr',
  'srcport',
  'dstport',
  'protocol',
  'packets',
  'bytes',
  'start_s',
  'end_s',
  'action',
  'log_status',
] as const

/**
 * Numbers are read as such: half the time and half the memory of text, which is for the day when one is none.
 */
const NUMBER_TYPES = new Map<string, string>(
  PACK_COLUMNS.filter(([, type]) => type.startsWith('U') && type !== 'UUID'),
)

/** Reads the objects and writes the pack beside itself first, so that a pack is whole or not there. */
export async function writePack(
  session: Session,
  packPath: string,
  inputs: PackInput[],
): Promise<WrittenPack> {
  const drafts = `${packPath}.draft`
  await rm(drafts, { recursive: true, force: true })
  await mkdir(drafts, { recursive: true })
  try {
    const unpacked = await Promise.all(
      inputs.map((input, index) => unpack(input, path.join(drafts, `${index}.txt`))),
    )
    const readable = inputs
      .map((input, index) => ({ ...input, index }))
      .filter(({ index }) => unpacked[index]!.lines > 0)
    const objects: PackedObject[] = inputs.map(({ object }, index) => {
      const { linesFailed, fault } = unpacked[index]!
      return { object, records: 0, linesFailed, ...(fault === undefined ? {} : { fault }) }
    })
    if (readable.length === 0) return { objects, size: 0 }
    await stage(session, drafts, readable)
    const counts = await session.rows<{ input: number; records: number; failed: number }>(
      'SELECT input, count(*) FILTER (valid) AS records, count(*) FILTER (NOT valid) AS failed FROM staged GROUP BY input',
    )
    for (const { input, records, failed } of counts) {
      objects[input]!.records = records
      objects[input]!.linesFailed += failed
      if (records === 0) objects[input]!.fault = 'holds no flow log records'
    }
    const draft = path.join(drafts, 'pack.parquet')
    const columns = PACK_COLUMNS.map(([name]) => name).join(', ')
    await session.run(
      `COPY (SELECT ${columns} FROM staged WHERE valid)
        TO ${literal(draft)} (FORMAT parquet, COMPRESSION lz4_raw)`,
    )
    await session.run('DROP TABLE staged')
    await rename(draft, packPath)
    return { objects, size: (await stat(packPath)).size }
  } finally {
    await rm(drafts, { recursive: true, force: true })
  }
}

/** One pack out of several: a flow log that delivers each minute would else have a file for each. */
export async function mergePacks(session: Session, packPath: string, from: string[]): Promise<number> {
  const draft = `${packPath}.draft`
  await session.run(
    `COPY (SELECT * FROM read_parquet([${from.map(literal).join(', ')}]))
      TO ${literal(draft)} (FORMAT parquet, COMPRESSION lz4_raw)`,
  )
  await rename(draft, packPath)
  return (await stat(packPath)).size
}

const gunzipAsync = promisify(gunzip)

/**
 * Decompresses here and not in DuckDB: zlib checks lengths and sums, so a damaged object is found out and
 * not believed
 * in part, and what is no record never reaches the CSV reader.
 */
async function unpack(
  input: PackInput,
  textPath: string,
): Promise<{ lines: number; linesFailed: number; fault?: string }> {
  let text: Uint8Array
  try {
    text = await gunzipAsync(await readFile(input.path), { maxOutputLength: TEXT_SIZE_MAX })
  } catch (error) {
    return { lines: 0, linesFailed: 0, fault: gzipFault(error) }
  }
  const { kept, lines, linesFailed } = keepRecordLines(text)
  if (lines === 0) return { lines, linesFailed, fault: 'holds no flow log records' }
  await writeFile(textPath, kept)
  return { lines, linesFailed }
}

function gzipFault(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? ''
  if (code === 'Z_BUF_ERROR') return 'damaged: the gzip data ends too early'
  if (code === 'Z_DATA_ERROR') {
    return (error as Error).message.includes('header')
      ? 'is not gzip'
      : 'damaged: the gzip data does not add up'
  }
  if (code === 'ERR_BUFFER_TOO_LARGE') return `unfolds to more than ${TEXT_SIZE_MAX >> 20} MiB`
  if (code === 'ENOENT') return 'has vanished'
  return `cannot be read: ${code === '' ? String(error) : code}`
}

/** Fills the table `staged` with typed rows, `input` (which object) and `valid`. */
async function stage(
  session: Session,
  drafts: string,
  inputs: (PackInput & { index: number })[],
): Promise<void> {
  const files = inputs.map(({ index }) => literal(path.join(drafts, `${index}.txt`))).join(', ')
  const names = inputs
    .map(({ index, object, windowS }) => `(${index}, ${literal(object)}, ${windowS})`)
    .join(', ')
  const readLines = (types: (name: string) => string): Promise<void> => {
    const columns = TEXT_COLUMNS.map((name) => `'${name}': '${types(name)}'`).join(', ')
    return session.run(`CREATE OR REPLACE TEMP TABLE lines AS
      SELECT *, regexp_extract(filename, '(\\d+)\\.txt$', 1)::INTEGER AS input
      FROM read_csv([${files}], columns = {${columns}}, auto_detect = false, header = false, delim = ' ', quote = '',
        escape = '', comment = '', nullstr = '-', filename = true, max_line_size = 1000000)`)
  }
  try {
    await readLines((name) => NUMBER_TYPES.get(name) ?? 'VARCHAR')
  } catch (error) {
    if (!(error instanceof WeirError) || error.code !== 'WEIR_QUERY_FAILED') throw error
    await readLines(() => 'VARCHAR') // Some number is none: as text, so that only its line is lost.
  }
  // Addresses repeat: each is read once.
  await session.run(`CREATE OR REPLACE TEMP TABLE staged AS
    WITH inputs(input, object, window_s) AS (VALUES ${names}),
    distinct_addresses AS (SELECT address FROM (SELECT srcaddr AS address FROM lines UNION SELECT dstaddr
      FROM lines)
      WHERE address IS NOT NULL),
    v6_undotted AS (SELECT address, ipv6_undotted(address) AS undotted FROM distinct_addresses
      WHERE contains(address, ':')),
    v6_filled AS (SELECT *, ipv6_filled(undotted) AS filled FROM v6_undotted),
    addresses AS (
      SELECT address, TRY_CAST('00000000000000000000ffff' || ipv4_hex(address) AS UUID) AS key
        FROM distinct_addresses WHERE NOT contains(address, ':')
      UNION ALL SELECT address, TRY_CAST(ipv6_hex_of(address, undotted, filled) AS UUID) FROM v6_filled),
    typed AS (
      SELECT input, object, window_s::UINTEGER AS window_s, version, account_id, interface_id, srcaddr, dstaddr,
        s.key AS src_key, d.key AS dst_key, TRY_CAST(srcport AS USMALLINT) AS srcport,
        TRY_CAST(dstport AS USMALLINT) AS dstport, TRY_CAST(protocol AS UTINYINT) AS protocol,
        TRY_CAST(packets AS UBIGINT) AS packets, TRY_CAST(bytes AS UBIGINT) AS bytes,
        TRY_CAST(start_s AS UINTEGER) AS start_s, TRY_CAST(end_s AS UINTEGER) AS end_s, action, log_status,
        lines.srcport AS srcport_text, lines.dstport AS dstport_text, lines.protocol AS protocol_text,
        lines.packets AS packets_text, lines.bytes AS bytes_text
      FROM lines JOIN inputs USING (input)
        LEFT JOIN addresses s ON s.address = lines.srcaddr LEFT JOIN addresses d ON d.address = lines.dstaddr)
    SELECT *, version = '2' AND interface_id IS NOT NULL AND start_s IS NOT NULL
      AND coalesce(end_s >= start_s, false)
      AND (srcaddr IS NULL) = (src_key IS NULL) AND (dstaddr IS NULL) = (dst_key IS NULL)
      AND (srcport_text IS NULL) = (srcport IS NULL) AND (dstport_text IS NULL) = (dstport IS NULL)
      AND (protocol_text IS NULL) = (protocol IS NULL) AND (packets_text IS NULL) = (packets IS NULL)
      AND (bytes_text IS NULL) = (bytes IS NULL) AND coalesce(action IN ('ACCEPT', 'REJECT'), true)
      AND coalesce(log_status IN ('OK', 'NODATA', 'SKIPDATA'), false) AS valid
    FROM typed`)
  await session.run('DROP TABLE lines')
}
