import { gzipSync } from 'node:zlib'
import { ROW_SIZE } from '../model/flow-rows.ts'
import { assert } from '../stdx/assert.ts'
import { encodeText, RECORD_SIZE_MAX, type RecordContext } from './record-text.ts'

/** Rows that become one gzip member at most, so that a codec's memory is bounded. */
export const MEMBER_ROWS_MAX = 16_384

/**
 * Flow rows to gzip. Whole members leave each call, and gzip members may be concatenated (RFC 1952, section
 * 2.2): what several calls for several interfaces wrote one behind the other is one gzip file. Synchronous:
 * the caller is a worker thread or a command.
 */
export interface GzipCodec {
  readonly name: string
  /**
   * Writes the records of `count` rows, the first at byte `from` of `rows`, as gzip members into `out` from
   * `at` on. Returns the end of what it wrote. `out` must have room for `sizeMax(count)` bytes behind `at`.
   */
  encode(
    context: RecordContext,
    rows: Uint8Array,
    from: number,
    count: number,
    out: Uint8Array,
    at: number,
  ): number
  sizeMax(count: number): number
}

/** The codec of zlib: the records as text, compressed by the library. */
export class ZlibCodec implements GzipCodec {
  readonly name: string = 'zlib'
  readonly #level: number
  readonly #text = Buffer.allocUnsafeSlow(MEMBER_ROWS_MAX * RECORD_SIZE_MAX)

  /** Level 1 by default: level 6 takes three times as long for a fifth less (docs/convert.md). */
  constructor(options: { level?: number } = {}) {
    this.#level = options.level ?? 1
    assert(this.#level >= 1 && this.#level <= 9)
  }

  encode(
    context: RecordContext,
    rows: Uint8Array,
    from: number,
    count: number,
    out: Uint8Array,
    at: number,
  ): number {
    assert(at + this.sizeMax(count) <= out.length)
    for (let done = 0; done < count; done += MEMBER_ROWS_MAX) {
      const some = Math.min(MEMBER_ROWS_MAX, count - done)
      const size = encodeText(context, rows, from + done * ROW_SIZE, some, this.#text, 0)
      const options = { level: this.#level, memLevel: 9, chunkSize: Math.max(64, size) }
      const member = gzipSync(this.#text.subarray(0, size), options)
      out.set(member, at)
      at += member.length
    }
    return at
  }

  sizeMax(count: number): number {
    const members = Math.ceil(count / MEMBER_ROWS_MAX)
    const textSize = count * RECORD_SIZE_MAX
    return textSize + (textSize >> 9) + members * 64 // More than zlib's deflateBound and a gzip frame.
  }
}
