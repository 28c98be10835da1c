import {
  BATCH_WORDS,
  CAPTURED_MAX,
  type CaptureCounters,
  meteredLink,
  type PacketBatch,
  type PacketIndexer,
} from './packet-batch.ts'

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

export class PcapIndexer implements PacketIndexer {
  readonly format = 'pcap'
  readonly link: number
  skipSize = 0
  fault: string | undefined
  readonly #littleEndian: boolean
  readonly #metered: number | undefined
  readonly #counters: CaptureCounters

  /** `header` has the 24 bytes of the file header. */
  constructor(header: DataView, counters: CaptureCounters) {
    this.#littleEndian = pcapByteOrder(header.getUint32(0)) === 'little'
    this.link = header.getUint32(20, this.#littleEndian)
    this.#metered = meteredLink(this.link)
    this.#counters = counters
  }

  index(view: DataView, from: number, to: number, batch: PacketBatch): number {
    const little = this.#littleEndian
    const { words, countMax } = batch
    const isMetered = this.#metered !== undefined
    let count = batch.count
    let packets = 0
    let cut = 0
    let at = from
    while (count < countMax && at + PACKET_HEADER_SIZE <= to) {
      const captured = view.getUint32(at + 8, little)
      const next = at + PACKET_HEADER_SIZE + captured
      if (next > to) {
        if (captured > CAPTURED_MAX) this.fault = `a packet claims ${captured} captured bytes`
        break
      }
      const wireLength = view.getUint32(at + 12, little)
      if (isMetered) {
        const word = count * BATCH_WORDS
        words[word] = at + PACKET_HEADER_SIZE
        words[word + 1] = captured
        words[word + 2] = wireLength
        words[word + 3] = view.getUint32(at, little)
        count++
      }
      if (captured < wireLength) cut++
      packets++
      at = next
    }
    batch.count = count
    batch.link = this.#metered ?? 0
    this.#counters.packets += packets
    this.#counters.cutPackets += cut
    if (!isMetered && packets > 0) countUnsupported(this.#counters, this.link, packets)
    return at
  }
}

export function countUnsupported(counters: CaptureCounters, link: number, packets: number): void {
  counters.unsupported.set(link, (counters.unsupported.get(link) ?? 0) + packets)
}
