import { assert } from '../stdx/assert.ts'
import { wasmFunctions, wasmMemory } from '../stdx/wasm.ts'
import { type PACK_COLUMNS, SUMS_COUNTERS, SUMS_KEYS, type SumsKind } from './flows-view.ts'
import { type ColumnChunk, varint } from './parquet.ts'
import { RECORD_COLUMNS_WASM } from './record-columns-wasm.gen.ts'

/** What wasm/record-columns.ts exports. Places are in its memory. */
interface ColumnFunctions {
  setup(base: number, inputSize: number, rowsMax: number): number
  inputAt(): number
  outputAt(): number
  keysAt(): number
  parse(size: number): number
  isFull(): number
  rowCount(): number
  failedCount(): number
  dictionaryAt(column: number): number
  dictionarySize(column: number): number
  dictionaryCount(column: number): number
  valueCount(column: number): number
  encodeNumbers(column: number, dictionary: number): number
  encodeValues(column: number): number
  lowestValue(): bigint
  highestValue(): bigint
  bound(column: number): void
  reset(): void
  beginPack(): void
  addToSums(): void
  groupCount(kind: number): number
  loadSums(kind: number): void
}

/** Columns as the module numbers them. */
const NUMBERS = {
  account_id: 0,
  interface_id: 1,
  srcaddr: 2,
  dstaddr: 3,
  srcport: 4,
  dstport: 5,
  protocol: 6,
  action: 7,
  log_status: 8,
  packets: 9,
  bytes: 10,
  start_s: 11,
  end_s: 12,
  flows: 13,
  pair_hash: 14,
} as const

/** Sums as the module numbers them. */
const KINDS = { addresses: 0, ports: 1, verdicts: 2 } as const satisfies Record<SumsKind, number>

type ColumnName = (typeof PACK_COLUMNS | typeof SUMS_COUNTERS)[number][0]

/** Words of closed sets, in the order of the module's numbers. */
const ACTIONS = ['ACCEPT', 'REJECT']
const STATUSES = ['NODATA', 'OK', 'SKIPDATA']

const INPUT_SIZE = 1 << 20
const ROWS_MAX = 1 << 17
const MEMORY_SIZE = 64 << 20
const NEWLINE = 0x0a
const START_MAX = 2 ** 32 - 1

/** Rows of a row group that come from one object. */
interface Run {
  object: string
  windowS: number
  rows: number
}

/**
 * Makes the columns of a pack out of text. A line that is no record (14 fields, one space between them, each of its
 * type) is counted and left out.
 */
export class RecordColumns {
  readonly #functions: ColumnFunctions
  readonly #memory: Uint8Array
  readonly #inputAt: number
  #runs: Run[] = []
  #firstS = START_MAX
  #lastS = 0

  constructor() {
    const memory = wasmMemory(MEMORY_SIZE)
    this.#functions = wasmFunctions<ColumnFunctions>(RECORD_COLUMNS_WASM, memory)
    assert(this.#functions.setup(64, INPUT_SIZE, ROWS_MAX) <= MEMORY_SIZE)
    this.#memory = new Uint8Array(memory.buffer)
    this.#inputAt = this.#functions.inputAt()
  }

  get rows(): number {
    return this.#functions.rowCount()
  }

  /**
   * Takes all lines of an object. Whenever a row group is full, `onFull` has to write it. Returns what the object had.
   */
  take(
    object: { object: string; windowS: number },
    text: Uint8Array,
    onFull: () => void,
  ): { records: number; linesFailed: number } {
    const functions = this.#functions
    const failedBefore = functions.failedCount()
    let records = 0
    let linesFailed = 0
    for (let at = 0; at < text.length; ) {
      const piece = text.subarray(at, at + INPUT_SIZE)
      this.#memory.set(piece, this.#inputAt)
      const rowsBefore = this.rows
      const taken = functions.parse(piece.length)
      at += taken
      const rows = this.rows - rowsBefore
      if (rows > 0) this.#runs.push({ ...object, rows })
      records += rows
      if (functions.isFull() !== 0) {
        onFull()
      } else if (taken === 0) {
        // A line longer than any record's, or the last one without its newline: nobody writes half a record.
        const newline = text.indexOf(NEWLINE, at)
        at = newline < 0 ? text.length : newline + 1
        linesFailed++
      }
    }
    return { records, linesFailed: linesFailed + functions.failedCount() - failedBefore }
  }

  /** When the first and the last flow of all row groups start. */
  get startsS(): { firstS: number; lastS: number } {
    return { firstS: this.#firstS, lastS: this.#lastS }
  }

  /** Begins anew: no rows, no sums. */
  begin(): void {
    this.#functions.beginPack()
    this.#runs = []
    this.#firstS = START_MAX
    this.#lastS = 0
  }

  /** The columns of the rows so far, each good until the next is asked for. Then there are no rows any more. */
  *rowGroup(columns: typeof PACK_COLUMNS): Generator<ColumnChunk> {
    this.#functions.addToSums()
    for (const [name] of columns) yield this.#chunk(name)
    this.#functions.bound(NUMBERS.start_s)
    this.#firstS = Math.min(this.#firstS, Number(this.#functions.lowestValue()))
    this.#lastS = Math.max(this.#lastS, Number(this.#functions.highestValue()))
    this.#functions.reset()
    this.#runs = []
  }

  /** How many rows the sums of all row groups have; 0 when there are none. */
  sumsRows(kind: SumsKind): number {
    return this.#functions.groupCount(KINDS[kind])
  }

  /** The columns of the sums, when there are no rows any more. */
  *sums(kind: SumsKind): Generator<ColumnChunk> {
    this.#functions.loadSums(KINDS[kind])
    for (const [name] of [...SUMS_KEYS[kind], ...SUMS_COUNTERS]) yield this.#chunk(name)
  }

  #chunk(name: ColumnName): ColumnChunk {
    switch (name) {
      case 'object':
        return this.#runChunk(textDictionary(this.#runs.map(({ object }) => object)))
      case 'window_s':
        return this.#runChunk(numberDictionary(this.#runs.map(({ windowS }) => windowS)))
      case 'account_id':
      case 'interface_id':
      case 'srcaddr':
      case 'dstaddr':
      case 'srcport':
      case 'dstport':
      case 'protocol':
        return this.#encoded(NUMBERS[name], this.#dictionary(NUMBERS[name]))
      case 'src_key':
        return this.#encoded(NUMBERS.srcaddr, this.#keys())
      case 'dst_key':
        return this.#encoded(NUMBERS.dstaddr, this.#keys())
      case 'pair_hash':
        return this.#encoded(NUMBERS.pair_hash, PAIR_HASHES)
      case 'action':
        return this.#words(NUMBERS.action, ACTIONS)
      case 'log_status':
        return this.#words(NUMBERS.log_status, STATUSES)
      case 'flows':
      case 'packets':
      case 'bytes':
        return this.#plain(NUMBERS[name], 8)
      case 'start_s':
      case 'end_s':
        return this.#plain(NUMBERS[name], 4)
    }
  }

  #encoded(column: number, dictionary?: Dictionary): ColumnChunk {
    const { encodeNumbers, encodeValues } = this.#functions
    const size = dictionary === undefined ? encodeValues(column) : encodeNumbers(column, dictionary.count)
    const at = this.#functions.outputAt()
    return {
      ...(dictionary === undefined ? {} : { dictionary }),
      page: this.#memory.subarray(at, at + size),
      nulls: this.rows - this.#functions.valueCount(column),
    }
  }

  #words(column: number, words: string[]): ColumnChunk {
    this.#functions.bound(column)
    const bounds = this.#bounds((number) => Buffer.from(words[Number(number)]!), column)
    return { ...this.#encoded(column, textDictionary(words)), ...bounds }
  }

  #plain(column: number, size: 4 | 8): ColumnChunk {
    const chunk = this.#encoded(column)
    return { ...chunk, ...this.#bounds((value) => plainNumber(value, size), column) }
  }

  #bounds(bytesOf: (value: bigint) => Uint8Array, column: number): Pick<ColumnChunk, 'bounds'> {
    if (this.#functions.valueCount(column) === 0) return {}
    const min = bytesOf(this.#functions.lowestValue())
    return { bounds: { min, max: bytesOf(this.#functions.highestValue()) } }
  }

  #keys(): Dictionary {
    const count = this.#functions.dictionaryCount(NUMBERS.srcaddr)
    const at = this.#functions.keysAt()
    return { count, content: this.#memory.subarray(at, at + count * 16) }
  }

  /** A column with one value for each run of rows: a definition run, the width of numbers, a run for each value. */
  #runChunk(dictionary: Dictionary): ColumnChunk {
    const present = [...varint(this.rows * 2), 1]
    const width = Math.max(1, 32 - Math.clz32(dictionary.count - 1))
    const page = [present.length, 0, 0, 0, ...present, width]
    this.#runs.forEach(({ rows }, number) => {
      page.push(...varint(rows * 2))
      for (let shift = 0; shift < width; shift += 8) page.push((number >> shift) & 255)
    })
    return { dictionary, page: Uint8Array.from(page), nulls: 0 }
  }

  #dictionary(column: number): Dictionary {
    const at = this.#functions.dictionaryAt(column)
    const size = this.#functions.dictionarySize(column)
    return {
      count: this.#functions.dictionaryCount(column),
      content: this.#memory.subarray(at, at + size),
    }
  }
}

type Dictionary = NonNullable<ColumnChunk['dictionary']>

function textDictionary(texts: string[]): Dictionary {
  const content = texts.flatMap((text) => [
    plainNumber(BigInt(Buffer.byteLength(text)), 4),
    Buffer.from(text),
  ])
  return { count: texts.length, content: Buffer.concat(content) }
}

function numberDictionary(numbers: number[]): Dictionary {
  return { count: numbers.length, content: Buffer.concat(numbers.map((it) => plainNumber(BigInt(it), 4))) }
}

const PAIR_HASHES = numberDictionary(Array.from({ length: 256 }, (_, hash) => hash))

function plainNumber(value: bigint, size: 4 | 8): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64LE(value)
  return bytes.subarray(0, size)
}
