import { writevSync } from 'node:fs'

// Parquet as far as packs need it: flat rows, one page for each column of a row group, nothing compressed.
//
//   "PAR1"  row groups: for each column [dictionary page] data page   FileMetaData  its size  "PAR1"
//
// Pages begin with a header; headers and metadata are structs in Thrift's compact protocol (parquet.thrift of
// apache/parquet-format). What pages hold comes encoded.

/** The types that packs have, as DuckDB calls them. */
const PARQUET_TYPES = {
  VARCHAR: { physical: 6, converted: 0 },
  UUID: { physical: 7, length: 16 },
  UTINYINT: { physical: 1, converted: 11 },
  USMALLINT: { physical: 1, converted: 12 },
  UINTEGER: { physical: 1, converted: 13 },
  BIGINT: { physical: 2 },
} as const satisfies Record<string, { physical: number; length?: number; converted?: number }>
export type ParquetType = keyof typeof PARQUET_TYPES

const ENCODING = { plain: 0, rle: 3, differences: 5, dictionary: 8 } as const

/** One column of a row group. */
export interface ColumnChunk {
  /** Its values one after the other (PLAIN); the page then has their numbers. */
  dictionary?: { count: number; content: Uint8Array }
  /** Definition levels and values. */
  page: Uint8Array
  nulls: number
  /** Bounds of the values, in the bytes that PLAIN has for them (texts without their length). */
  bounds?: { min: Uint8Array; max: Uint8Array }
}

const MAGIC = Buffer.from('PAR1')
const OPTIONAL = 1
const UNCOMPRESSED = 0
const DATA_PAGE = 0
const DICTIONARY_PAGE = 2

/** Writes one file. Without `end` it is no Parquet file. */
export class ParquetWriter {
  readonly #file: number
  readonly #columns: readonly (readonly [name: string, type: ParquetType])[]
  readonly #rowGroups: Value[] = []
  #rows = 0
  #size = 0

  constructor(file: number, columns: readonly (readonly [name: string, type: ParquetType])[]) {
    this.#file = file
    this.#columns = columns
    this.#write([MAGIC])
  }

  /** Chunks in the order of the columns. What they refer to may be used again afterwards. */
  writeRowGroup(rows: number, chunks: Iterable<ColumnChunk>): void {
    const begin = this.#size
    const written: Value[] = []
    for (const chunk of chunks) {
      const [name, type] = this.#columns[written.length]!
      written.push(struct({ 2: i64(this.#size), 3: this.#writeChunk(name, type, rows, chunk) }))
    }
    this.#rowGroups.push(struct({ 1: list(written), 2: i64(this.#size - begin), 3: i64(rows) }))
    this.#rows += rows
  }

  get rows(): number {
    return this.#rows
  }

  /** Returns the size of the file. */
  end(): number {
    const root = struct({ 4: text('schema'), 5: i32(this.#columns.length) })
    const schema = [root, ...this.#columns.map(([name, type]) => schemaElement(name, type))]
    const order = struct({ 1: struct({}) }) // Bounds are in the order of their types.
    const metadata = Buffer.from(
      struct({
        1: i32(1),
        2: list(schema),
        3: i64(this.#rows),
        4: list(this.#rowGroups),
        6: text('weir'),
        7: list(this.#columns.map(() => order)),
      }).bytes,
    )
    const size = Buffer.alloc(4)
    size.writeUInt32LE(metadata.length)
    this.#write([metadata, size, MAGIC])
    return this.#size
  }

  /** Returns the ColumnMetaData. */
  #writeChunk(name: string, type: ParquetType, rows: number, chunk: ColumnChunk): Value {
    const { dictionary, page, nulls, bounds } = chunk
    const begin = this.#size
    const encoding = dictionary === undefined ? ENCODING.differences : ENCODING.dictionary
    if (dictionary !== undefined) {
      const { count, content } = dictionary
      const header = struct({ 1: i32(count), 2: i32(ENCODING.plain) })
      this.#write([pageHeader(DICTIONARY_PAGE, content.length, { 7: header }), content])
    }
    const pageAt = this.#size
    const header = struct({ 1: i32(rows), 2: i32(encoding), 3: i32(ENCODING.rle), 4: i32(ENCODING.rle) })
    this.#write([pageHeader(DATA_PAGE, page.length, { 5: header }), page])
    const size = i64(this.#size - begin)
    return struct({
      1: i32(PARQUET_TYPES[type].physical),
      2: list([ENCODING.rle, encoding].map(i32)),
      3: list([text(name)]),
      4: i32(UNCOMPRESSED),
      5: i64(rows),
      6: size,
      7: size,
      9: i64(pageAt),
      ...(dictionary === undefined ? {} : { 11: i64(begin) }),
      12: struct({
        3: i64(nulls),
        ...(bounds === undefined ? {} : { 5: binary(bounds.max), 6: binary(bounds.min) }),
      }),
    })
  }

  #write(parts: Uint8Array[]): void {
    let left = parts
    while (left.length > 0) {
      let written = writevSync(this.#file, left)
      this.#size += written
      left = left.flatMap((part) => {
        const skipped = Math.min(written, part.length)
        written -= skipped
        return skipped === part.length ? [] : [part.subarray(skipped)]
      })
    }
  }
}

function schemaElement(name: string, type: ParquetType): Value {
  const { physical, length, converted } = PARQUET_TYPES[type] as {
    physical: number
    length?: number
    converted?: number
  }
  return struct({
    1: i32(physical),
    ...(length === undefined ? {} : { 2: i32(length) }),
    3: i32(OPTIONAL),
    4: text(name),
    ...(converted === undefined ? {} : { 6: i32(converted) }),
    ...(type === 'UUID' ? { 10: struct({ 14: struct({}) }) } : {}),
  })
}

function pageHeader(type: number, size: number, kind: Record<number, Value>): Buffer {
  return Buffer.from(struct({ 1: i32(type), 2: i32(size), 3: i32(size), ...kind }).bytes)
}

// Thrift's compact protocol.

interface Value {
  type: number
  bytes: number[]
}

/** Fields in the order of their numbers, which is the order that objects keep them in. */
function struct(fields: Record<number, Value>): Value {
  const bytes: number[] = []
  let before = 0
  for (const [key, value] of Object.entries(fields)) {
    bytes.push(((Number(key) - before) << 4) | value.type)
    for (const byte of value.bytes) bytes.push(byte)
    before = Number(key)
  }
  bytes.push(0)
  return { type: 12, bytes }
}

function list(items: Value[]): Value {
  const type = items[0]?.type ?? 12
  const bytes = items.length < 15 ? [(items.length << 4) | type] : [0xf0 | type, ...varint(items.length)]
  for (const item of items) for (const byte of item.bytes) bytes.push(byte)
  return { type: 9, bytes }
}

function i32(value: number): Value {
  return { type: 5, bytes: varint(value * 2) } // Zigzag; nothing here is negative.
}

function i64(value: number): Value {
  return { type: 6, bytes: varint(value * 2) }
}

function binary(content: Uint8Array): Value {
  return { type: 8, bytes: [...varint(content.length), ...content] }
}

function text(content: string): Value {
  return binary(Buffer.from(content))
}

export function varint(value: number): number[] {
  const bytes: number[] = []
  let left = value
  for (; left >= 128; left = Math.floor(left / 128)) bytes.push((left % 128) | 128)
  bytes.push(left)
  return bytes
}
