import { closeSync, openSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { rename, stat } from 'node:fs/promises'
import { gunzipSync } from 'node:zlib'
import type { Session } from './duckdb.ts'
import {
  literal,
  PACK_COLUMNS,
  type PackSizes,
  parquetSql,
  SUMS_COUNTERS,
  SUMS_GAIN_MIN,
  SUMS_KEYS,
  SUMS_KINDS,
  sumsPath,
} from './flows-view.ts'
import { type ParquetType, ParquetWriter } from './parquet.ts'
import { RecordColumns } from './record-columns.ts'

// A pack is a Parquet file with the typed records of some objects of one flow log. Objects never change, so a pack is
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

export interface WrittenPack extends PackSizes {
  objects: PackedObject[]
  /** When the first and the last of its flows start. */
  startsS: { firstS: number; lastS: number }
}

/** What one object may unfold to; gzip reaches a thousandfold. */
const TEXT_SIZE_MAX = 2 ** 30
/** Two thirds of the time that zlib's own choice takes: large, and within a processor's cache. */
const UNPACKED_PIECE_SIZE = 1 << 18

/** Takes all of a processor, and no turn of the event loop: for threads and processes that do nothing else. */
export class PackWriter {
  readonly #columns = new RecordColumns()

  write(packPath: string, inputs: PackInput[]): WrittenPack {
    const columns = this.#columns
    columns.begin()
    let objects: PackedObject[] = []
    const size = writeParquet(packPath, PACK_COLUMNS, (parquet) => {
      const writeRowGroup = (): void => parquet.writeRowGroup(columns.rows, columns.rowGroup(PACK_COLUMNS))
      objects = inputs.map((input) => this.#add(input, writeRowGroup))
      if (columns.rows > 0) writeRowGroup()
    })
    const records = objects.reduce((sum, it) => sum + it.records, 0)
    const sums: PackSizes['sums'] = {}
    for (const kind of SUMS_KINDS) {
      const rows = columns.sumsRows(kind)
      if (rows === 0 || rows * SUMS_GAIN_MIN > records) continue
      const names = [...SUMS_KEYS[kind], ...SUMS_COUNTERS]
      const writeSums = (parquet: ParquetWriter): void => parquet.writeRowGroup(rows, columns.sums(kind))
      sums[kind] = writeParquet(sumsPath(packPath, kind), names, writeSums)
    }
    return { objects, size, sums, startsS: columns.startsS }
  }

  #add(input: PackInput, writeRowGroup: () => void): PackedObject {
    const { object } = input
    let text: Uint8Array
    try {
      text = unpack(input.path)
    } catch (error) {
      return { object, records: 0, linesFailed: 0, fault: gzipFault(error) }
    }
    const { records, linesFailed } = this.#columns.take(input, text, writeRowGroup)
    const fault = records === 0 ? { fault: 'holds no flow log records' } : {}
    return { object, records, linesFailed, ...fault }
  }
}

/**
 * Decompresses here and not in DuckDB: zlib checks lengths and sums, so a damaged object is found out and not believed
 * in part.
 */
function unpack(file: string): Uint8Array {
  return gunzipSync(readFileSync(file), { maxOutputLength: TEXT_SIZE_MAX, chunkSize: UNPACKED_PIECE_SIZE })
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

/**
 * Writes beside the file first: it is whole or not there. Returns its size; 0, and there is no file, when it would have
 * no rows.
 */
function writeParquet(
  target: string,
  columns: readonly (readonly [name: string, type: ParquetType])[],
  write: (parquet: ParquetWriter) => void,
): number {
  const draft = `${target}.draft`
  const file = openSync(draft, 'w')
  try {
    const parquet = new ParquetWriter(file, columns)
    write(parquet)
    if (parquet.rows === 0) return 0
    const size = parquet.end()
    renameSync(draft, target)
    return size
  } finally {
    closeSync(file)
    rmSync(draft, { force: true })
  }
}

/** One pack out of several: a flow log that delivers each minute would else have a file for each. */
export async function mergePacks(session: Session, packPath: string, from: string[]): Promise<PackSizes> {
  const size = await copyTo(session, `SELECT * FROM ${parquetSql(from)}`, packPath)
  const sums: PackSizes['sums'] = {}
  for (const kind of SUMS_KINDS) {
    const keys = SUMS_KEYS[kind].map(([name]) => name).join(', ')
    await session.run(`CREATE OR REPLACE TEMP TABLE sums AS SELECT ${keys}, count(*) AS flows, sum(packets) AS packets,
      sum(bytes) AS bytes, min(start_s) AS start_s, max(end_s) AS end_s FROM ${parquetSql([packPath])} GROUP BY ALL`)
    const [found] = await session.rows<{
      isWorth: boolean | null
    }>(`SELECT sum(flows) >= ${SUMS_GAIN_MIN} * count(*)
      AND greatest(max(packets), max(bytes), 0) < 2::HUGEINT ** 63 AS "isWorth" FROM sums`)
    if (!found?.isWorth) continue
    const typed = 'SELECT * REPLACE (packets::BIGINT AS packets, bytes::BIGINT AS bytes) FROM sums'
    sums[kind] = await copyTo(session, typed, sumsPath(packPath, kind))
  }
  return { size, sums }
}

async function copyTo(session: Session, select: string, target: string): Promise<number> {
  const draft = `${target}.draft`
  await session.run(`COPY (${select}) TO ${literal(draft)} (FORMAT parquet, COMPRESSION lz4_raw)`)
  await rename(draft, target)
  return (await stat(target)).size
}
