import { assert } from '../../stdx/assert.ts'
import { wasmFunctions, wasmMemoryOf } from '../../stdx/wasm.ts'
import {
  BATCH_WORDS,
  CAPTURED_MAX,
  type CaptureCounters,
  meteredLink,
  type PacketBatch,
  type PacketIndexer,
} from './packet-batch.ts'
import { PCAP_INDEX_WASM } from './pcap-index-wasm.gen.ts'

/**
 * The classic capture format (draft-ietf-opsawg-pcap):
 *
 *   file header, 24 bytes: u32 magic, u16 major, u16 minor, 8 bytes unused, u32 snapshot length, u32 link type
 *   packet: u32 second, u32 micro- or nanosecond, u32 captured length, u32 length on the wire; then the bytes
 *
 * All in the byte order of the writer, which the magic shows.
 */
export const PCAP_HEADER_SIZE = 24
const PACKET_HEADER_SIZE = 16

/** Byte order of a file that begins with this word, read as big-endian; undefined: not a classic capture. */
export function pcapByteOrder(magic: number): 'big' | 'little' | undefined {
  if (magic === 0xa1b2c3d4 || magic === 0xa1b23c4d) return 'big'
  return magic === 0xd4c3b2a1 || magic === 0x4d3cb2a1 ? 'little' : undefined
}

/** The exports of wasm/pcap-index.ts. */
interface PcapIndexFunctions {
  index(base: number, from: number, to: number, words: number, countMax: number, isSwapped: boolean): number
  stoppedAt(): number
  cutPackets(): number
}

export class PcapIndexer implements PacketIndexer {
  readonly link: number
  skipSize = 0
  fault: string | undefined
  readonly #littleEndian: boolean
  readonly #counters: CaptureCounters
  #wasm: { buffer: ArrayBufferLike; functions: PcapIndexFunctions } | undefined

  /** `header` has the 24 bytes of the file header. */
  constructor(header: DataView, counters: CaptureCounters) {
    this.#littleEndian = pcapByteOrder(header.getUint32(0)) === 'little'
    this.link = header.getUint32(20, this.#littleEndian)
    this.#counters = counters
    const memory = wasmMemoryOf(header.buffer)
    if (memory === undefined) return
    this.#wasm = {
      buffer: memory.buffer,
      functions: wasmFunctions<PcapIndexFunctions>(PCAP_INDEX_WASM, memory),
    }
  }

  index(view: DataView, from: number, to: number, batch: PacketBatch): number {
    const link = meteredLink(this.link)
    assert(link !== undefined && batch.count === 0)
    batch.link = link
    const isFast = this.#wasm?.buffer === view.buffer && this.#wasm.buffer === batch.words.buffer
    const at = isFast ? this.#indexFast(view, from, to, batch) : this.#indexPlain(view, from, to, batch)
    if (batch.count < batch.countMax && at + PACKET_HEADER_SIZE <= to) {
      const captured = view.getUint32(at + 8, this.#littleEndian)
      if (captured > CAPTURED_MAX)
        this.fault = `a packet claims ${captured} captured bytes (at most ${CAPTURED_MAX})`
    }
    return at
  }

  /** Where capture and batch lie in the memory of the metering loop: the same, three times as fast. */
  #indexFast(view: DataView, from: number, to: number, batch: PacketBatch): number {
    const { functions } = this.#wasm!
    const base = view.byteOffset
    const { byteOffset } = batch.words
    const isSwapped = !this.#littleEndian
    batch.count = functions.index(base, base + from, base + to, byteOffset, batch.countMax, isSwapped)
    this.#counters.cutPackets += functions.cutPackets()
    return functions.stoppedAt() - base
  }

  #indexPlain(view: DataView, from: number, to: number, batch: PacketBatch): number {
    const little = this.#littleEndian
    const { words, countMax } = batch
    let count = 0
    let at = from
    while (count < countMax && at + PACKET_HEADER_SIZE <= to) {
      const captured = view.getUint32(at + 8, little)
      const next = at + PACKET_HEADER_SIZE + captured
      if (next > to) break
      const wireLength = view.getUint32(at + 12, little)
      const word = count * BATCH_WORDS
      words[word] = at + PACKET_HEADER_SIZE
      words[word + 1] = captured
      words[word + 2] = wireLength
      words[word + 3] = view.getUint32(at, little)
      count++
      if (captured < wireLength) this.#counters.cutPackets++
      at = next
    }
    batch.count = count
    return at
  }
}
