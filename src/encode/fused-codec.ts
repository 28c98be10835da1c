import { crc32 } from 'node:zlib'
import { ROW_SIZE } from '../model/flow-rows.ts'
import { assert } from '../stdx/assert.ts'
import { wasmFunctions, wasmMemory } from '../stdx/wasm.ts'
import { type GzipCodec, MEMBER_ROWS_MAX, ZlibCodec } from './gzip-codec.ts'
import { RECORD_GZIP_WASM } from './record-gzip-wasm.gen.ts'
import { RECORD_SIZE_MAX, type RecordContext } from './record-text.ts'

/** The exports of wasm/record-gzip.ts. */
interface RecordGzipFunctions {
  memorySize(textSize: number, tokenCount: number): number
  setup(base: number, textSize: number): void
  textPlace(): number
  generate(rows: number, count: number, prefix: number, prefixSize: number): number
  tune(): void
  emit(target: number): number
}

const TEXT_SIZE = MEMBER_ROWS_MAX * RECORD_SIZE_MAX
/** Fewer rows are left to zlib: a member of its own codes would not pay. */
const ROWS_MIN = 512
/** Codes are made anew after so many members. Old ones stay right, only a little longer. */
const TUNE_INTERVAL = 32
const PREFIX_SIZE_MAX = 256
const HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255) // RFC 1952: deflate, fastest, system unknown.
const TRAILER_SIZE = 8

/**
 * Text, checksum and DEFLATE in one: knows what repeats from one record to the next, where zlib has to
 * search. Two to three times as fast as zlib's level 1 for files of about the same size (docs/convert.md);
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
  #members = 0

  constructor() {
    const rowsSize = MEMBER_ROWS_MAX * ROW_SIZE
    const sizer = wasmFunctions<RecordGzipFunctions>(RECORD_GZIP_WASM, wasmMemory(0))
    const working = sizer.memorySize(TEXT_SIZE, TEXT_SIZE)
    this.#rowsAt = 64
    this.#prefixAt = this.#rowsAt + rowsSize
    const base = this.#prefixAt + PREFIX_SIZE_MAX
    this.#outAt = (base + working + 63) & ~63
    const memory = wasmMemory(this.#outAt + this.sizeMax(MEMBER_ROWS_MAX))
    this.#functions = wasmFunctions<RecordGzipFunctions>(RECORD_GZIP_WASM, memory)
    this.#memory = new Uint8Array(memory.buffer)
    this.#view = new DataView(memory.buffer)
    this.#functions.setup(base, TEXT_SIZE)
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
    this.#memory.set(rows, this.#rowsAt)
    const textSize = this.#functions.generate(this.#rowsAt, count, this.#prefixAt, prefixSize)
    if (this.#members++ % TUNE_INTERVAL === 0) this.#functions.tune()
    this.#memory.set(HEADER, this.#outAt)
    const end = this.#outAt + HEADER.length + this.#functions.emit(this.#outAt + HEADER.length)
    const text = this.#functions.textPlace()
    this.#view.setUint32(end, crc32(this.#memory.subarray(text, text + textSize)), true)
    this.#view.setUint32(end + 4, textSize, true)
    return end + TRAILER_SIZE - this.#outAt
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
