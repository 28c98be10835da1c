import { crc32 } from 'node:zlib'
import { ROW_SIZE } from '../model/flow-rows.ts'
import { assert } from '../stdx/assert.ts'
import { wasmFunctions, wasmMemory } from '../stdx/wasm.ts'
import { type GzipCodec, MEMBER_ROWS_MAX, ZlibCodec } from './gzip-codec.ts'
import { RECORD_GZIP_WASM } from './record-gzip-wasm.gen.ts'
import { RECORD_SIZE_MAX, type RecordContext } from './record-text.ts'

/** The exports of wasm/record-gzip.ts. */
interface RecordGzipFunctions {
  memorySize(rowCount: number, textSize: number, slotCount: number): number
  setup(base: number, rowCount: number, textSize: number): void
  textPlace(): number
  begin(rows: number, prefix: number, prefixSize: number): void
  generate(from: number, count: number, isFirst: boolean, isLast: boolean, isTuned: boolean): number
  tune(): void
  emit(target: number, isFirst: boolean, isLast: boolean): number
  shorten(from: number, to: number, register: number): number
  restPlace(): number
}

const TEXT_SIZE = MEMBER_ROWS_MAX * RECORD_SIZE_MAX
/** Fewer rows are left to zlib: a member of its own codes would not pay. */
const ROWS_MIN = 512
/** Rows at a time: their text and codes should stay in the processor's cache until all is done with them. */
const SLICE_ROWS = 1024
/** Codes are made anew after so many rows. Old ones stay right, only a little longer. */
const TUNE_INTERVAL_ROWS = 1 << 17
const PREFIX_SIZE_MAX = 256
const HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255) // RFC 1952: deflate, fastest, system unknown.
const TRAILER_SIZE = 8

/**
 * Text, checksum and DEFLATE in one: knows what repeats from one record to the next, where zlib has to
 * search. Three to four times as fast as zlib's level 1 for files of about the same size (docs/convert.md);
 * plain gzip like any other.
 */
export class FusedCodec implements GzipCodec {
  readonly name = 'fused'
  readonly #functions: RecordGzipFunctions
  readonly #view: DataView
  readonly #memory: Uint8Array
  readonly #rowsAt: number
  readonly #prefixAt: number
  readonly #outAt: number
  readonly #small = new ZlibCodec()
  #rowsUntuned = Number.POSITIVE_INFINITY

  constructor() {
    const rowsSize = MEMBER_ROWS_MAX * ROW_SIZE
    const sizer = wasmFunctions<RecordGzipFunctions>(RECORD_GZIP_WASM, wasmMemory(0))
    const slotCount = SLICE_ROWS * RECORD_SIZE_MAX
    const working = sizer.memorySize(MEMBER_ROWS_MAX, TEXT_SIZE, slotCount)
    this.#rowsAt = 64
    this.#prefixAt = this.#rowsAt + rowsSize
    const base = this.#prefixAt + PREFIX_SIZE_MAX
    this.#outAt = (base + working + 63) & ~63
    const memory = wasmMemory(this.#outAt + this.sizeMax(MEMBER_ROWS_MAX))
    this.#functions = wasmFunctions<RecordGzipFunctions>(RECORD_GZIP_WASM, memory)
    this.#memory = new Uint8Array(memory.buffer)
    this.#view = new DataView(memory.buffer)
    this.#functions.setup(base, MEMBER_ROWS_MAX, TEXT_SIZE)
  }

  encode(
    context: RecordContext,
    rows: Uint8Array,
    from: number,
    count: number,
    out: Uint8Array,
    at: number,
  ): number {
    if (count < ROWS_MIN) return this.#small.encode(context, rows, from, count, out, at)
    assert(at + this.sizeMax(count) <= out.length)
    assert(from + count * ROW_SIZE <= rows.length)
    this.#memory.set(context.prefix, this.#prefixAt)
    for (let done = 0; done < count; done += MEMBER_ROWS_MAX) {
      const some = Math.min(MEMBER_ROWS_MAX, count - done)
      const begin = from + done * ROW_SIZE
      const size = this.#member(rows.subarray(begin, begin + some * ROW_SIZE), some, context.prefixSize)
      out.set(this.#memory.subarray(this.#outAt, this.#outAt + size), at)
      at += size
    }
    return at
  }

  #member(rows: Uint8Array, count: number, prefixSize: number): number {
    this.#memory.set(HEADER, this.#outAt)
    this.#functions.begin(this.#rowsAt, this.#prefixAt, prefixSize)
    let end = this.#outAt + HEADER.length
    const text = this.#functions.textPlace()
    let textEnd = text
    for (let from = 0; from < count; from += SLICE_ROWS) {
      const some = Math.min(SLICE_ROWS, count - from)
      const slice = rows.subarray(from * ROW_SIZE, (from + some) * ROW_SIZE)
      this.#memory.set(slice, this.#rowsAt + from * ROW_SIZE)
      const [isFirst, isLast] = [from === 0, from + some === count]
      const isTuned = !isFirst || this.#rowsUntuned < TUNE_INTERVAL_ROWS
      textEnd = this.#functions.generate(from, some, isFirst, isLast, isTuned)
      if (!isTuned) this.#tune()
      end = this.#functions.emit(end, isFirst, isLast)
    }
    this.#rowsUntuned += count
    this.#view.setUint32(end, this.#checksum(text, textEnd), true)
    this.#view.setUint32(end + 4, textEnd - text, true)
    return end + TRAILER_SIZE - this.#outAt
  }

  /** CRC-32, whose register begins with ones, by way of a shorter text (wasm/checksum.ts); ROWS_MIN lines are enough. */
  #checksum(text: number, textEnd: number): number {
    const size = this.#functions.shorten(text, textEnd, 0xffff_ffff)
    const at = this.#functions.restPlace()
    return crc32(this.#memory.subarray(at, at + size), 0xffff_ffff)
  }

  #tune(): void {
    this.#functions.tune()
    this.#rowsUntuned = 0
  }

  /**
   * Digits take at most their own size, other characters at most twice theirs; RECORD_SIZE_MAX has room for
   * that.
   */
  sizeMax(count: number): number {
    return Math.max(
      this.#small?.sizeMax(count) ?? 0,
      count * RECORD_SIZE_MAX + 4096 + Math.ceil(count / MEMBER_ROWS_MAX) * 1024,
    )
  }
}
