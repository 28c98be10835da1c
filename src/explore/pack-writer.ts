import { closeSync, openSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { rename, stat } from 'node:fs/promises'
import { gunzipSync } from 'node:zlib'
import type { Session } from './duckdb.ts'
import { literal, PACK_COLUMNS } from './flows-view.ts'
import { ParquetWriter } from './parquet.ts'
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

export interface WrittenPack {
  objects: PackedObject[]
  /** 0: no record at all, and no file. */
  size: number
}

/** What one object may unfold to; gzip reaches a thousandfold. */
const TEXT_SIZE_MAX = 2 ** 30
/** Two thirds of the time that zlib's own choice takes: large, and within a processor's cache. */
const UNPACKED_PIECE_SIZE = 1 << 18

/** Takes all of a processor, and no turn of the event loop: for threads and processes that do nothing else. */
export class PackWriter {
  readonly #columns = new RecordColumns()

  /** Reads the objects and writes the pack beside itself first, so that a pack is whole or not there. */
  write(packPath: string, inputs: PackInput[]): WrittenPack {
    const draft = `${packPath}.draft`
    const file = openSync(draft, 'w')
    try {
      const parquet = new ParquetWriter(file, PACK_COLUMNS)
      const writeRowGroup = (): void =>
        parquet.writeRowGroup(this.#columns.rows, this.#columns.rowGroup(PACK_COLUMNS))
      const objects = inputs.map((input) => this.#add(input, writeRowGroup))
      if (this.#columns.rows > 0) writeRowGroup()
      const hasRecords = objects.some(({ records }) => records > 0)
      const size = hasRecords ? parquet.end() : 0
      if (hasRecords) renameSync(draft, packPath)
      return { objects, size }
    } finally {
      closeSync(file)
      rmSync(draft, { force: true })
    }
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
