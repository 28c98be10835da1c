import {
  BATCH_WORDS,
  CAPTURED_MAX,
  type CaptureCounters,
  isCooked,
  LINK_UNDESCRIBED,
  meteredLink,
  OUTBOUND,
  type PacketBatch,
  type PacketIndexer,
} from './packet-batch.ts'

/**
 * The capture format of sections and blocks (draft-ietf-opsawg-pcapng):
 *
 *   block: u32 type, u32 size of all, body, u32 size again
 *   section header: u32 byte order magic, ...       all that follows is in this byte order, interfaces count anew
 *   interface: u16 link type, u16, u32 snapshot length, options (time resolution, time offset)
 *   enhanced packet: u32 interface, u32 time high, u32 time low, u32 captured, u32 on the wire, bytes, options (direction)
 *   simple packet: u32 on the wire, bytes           of interface 0, without a time
 */
export const SECTION_HEADER = 0x0a0d0d0a
const BYTE_ORDER_MAGIC = 0x1a2b3c4d
const BLOCK = { interface: 1, oldPacket: 2, simplePacket: 3, enhancedPacket: 6 } as const
const BLOCK_SIZE_MIN = 12
/** Of blocks that are read. */
const BLOCK_SIZE_MAX = 2 * CAPTURED_MAX
const INTERFACES_MAX = 4096
const OPTION = { end: 0, packetFlags: 2, timeResolution: 9, timeOffset: 14 } as const
/** The two low bits of a packet's flags. */
const DIRECTION = { unknown: 0, inbound: 1, outbound: 2, notAsked: 4 } as const
const UINT32_MAX = 0xffff_ffff

interface Interface {
  link: number
  snapLength: number
  /** Seconds from the two halves of a time stamp. */
  second(high: number, low: number): number
}

export class PcapngIndexer implements PacketIndexer {
  skipSize = 0
  fault: string | undefined
  #littleEndian = true
  #interfaces: Interface[] = []
  #lastSecond = 0
  readonly #counters: CaptureCounters
  readonly #isDirected: boolean

  constructor(counters: CaptureCounters, options: { directed: boolean }) {
    this.#counters = counters
    this.#isDirected = options.directed
  }

  index(view: DataView, from: number, to: number, batch: PacketBatch): number {
    let at = from
    while (this.fault === undefined && batch.count < batch.countMax && at + BLOCK_SIZE_MIN <= to) {
      const type = view.getUint32(at, this.#littleEndian)
      if (type === SECTION_HEADER && !this.#beginSection(view, at)) break
      const size = (view.getUint32(at + 4, this.#littleEndian) + 3) & ~3
      if (size < BLOCK_SIZE_MIN) {
        this.fault = `a block claims ${size >>> 0} bytes (at least ${BLOCK_SIZE_MIN})`
        break
      }
      if (at + size > to) {
        if (this.#isSkippable(type, size)) {
          this.skipSize = at + size - to
          return to
        }
        if (size > BLOCK_SIZE_MAX)
          this.fault = `a block of type ${type} claims ${size} bytes (at most ${BLOCK_SIZE_MAX})`
        break
      }
      if (!this.#readBlock(view, at, type, size, batch)) break
      at += size
    }
    return at
  }

  /** Blocks of no interest may be larger than the buffer; they are passed over. */
  #isSkippable(type: number, size: number): boolean {
    if (size <= CAPTURED_MAX) return false
    return type !== SECTION_HEADER && !Object.values<number>(BLOCK).includes(type)
  }

  /** Takes over the byte order of a section. Returns false when that cannot be known. */
  #beginSection(view: DataView, at: number): boolean {
    const isLittle = view.getUint32(at + 8, true) === BYTE_ORDER_MAGIC
    if (!isLittle && view.getUint32(at + 8, false) !== BYTE_ORDER_MAGIC) {
      this.fault = 'a section without a byte order magic'
      return false
    }
    this.#littleEndian = isLittle
    this.#interfaces = []
    return true
  }

  /** Returns false when the block has to wait for the next batch. */
  #readBlock(view: DataView, at: number, type: number, size: number, batch: PacketBatch): boolean {
    const little = this.#littleEndian
    switch (type) {
      case BLOCK.interface:
        if (size >= 20) this.#addInterface(view, at, size)
        return true
      case BLOCK.enhancedPacket:
      case BLOCK.oldPacket: {
        if (size < 32) return true
        const number =
          type === BLOCK.oldPacket ? view.getUint16(at + 8, little) : view.getUint32(at + 8, little)
        const it = this.#interfaces[number]
        const second = it?.second(view.getUint32(at + 12, little), view.getUint32(at + 16, little)) ?? 0
        const captured = Math.min(view.getUint32(at + 20, little), size - 32)
        const direction = this.#isDirected
          ? directionOf(view, at, size, captured, little)
          : DIRECTION.notAsked
        const wireLength = view.getUint32(at + 24, little)
        return this.#addPacket(it, second, at + 28, captured, wireLength, direction, batch)
      }
      case BLOCK.simplePacket: {
        if (size < 16) return true
        const it = this.#interfaces[0]
        const wireLength = view.getUint32(at + 8, little)
        const captured = Math.min(wireLength, size - 16, it?.snapLength || UINT32_MAX)
        const direction = this.#isDirected ? DIRECTION.unknown : DIRECTION.notAsked
        return this.#addPacket(it, this.#lastSecond, at + 12, captured, wireLength, direction, batch)
      }
      default:
        return true
    }
  }

  #addPacket(
    it: Interface | undefined,
    second: number,
    at: number,
    captured: number,
    wireLength: number,
    direction: number,
    batch: PacketBatch,
  ): boolean {
    const link = it === undefined ? undefined : meteredLink(it.link)
    if (link !== undefined) {
      if (batch.count > 0 && batch.link !== link) return false
      batch.link = link
      const word = batch.count * BATCH_WORDS
      batch.words[word] = at
      batch.words[word + 1] = direction === DIRECTION.outbound ? captured | OUTBOUND : captured
      batch.words[word + 2] = wireLength
      batch.words[word + 3] = second
      batch.count++
      this.#lastSecond = second
      if (direction === DIRECTION.unknown && !isCooked(link)) this.#counters.undirected++
    } else countUnsupported(this.#counters, it?.link ?? LINK_UNDESCRIBED)
    if (captured < wireLength) this.#counters.cutPackets++
    return true
  }

  #addInterface(view: DataView, at: number, size: number): void {
    if (this.#interfaces.length === INTERFACES_MAX) {
      this.fault = `more than ${INTERFACES_MAX} interfaces`
      return
    }
    const little = this.#littleEndian
    let resolution = 6
    let offsetS = 0
    for (let option = at + 16; option + 4 <= at + size - 4; ) {
      const code = view.getUint16(option, little)
      const length = view.getUint16(option + 2, little)
      if (code === OPTION.end || option + 4 + length > at + size - 4) break
      if (code === OPTION.timeResolution && length >= 1) resolution = view.getUint8(option + 4)
      if (code === OPTION.timeOffset && length >= 8) offsetS = Number(view.getBigInt64(option + 4, little))
      option += 4 + ((length + 3) & ~3)
    }
    const link = view.getUint16(at + 8, little)
    const snapLength = view.getUint32(at + 12, little)
    this.#interfaces.push({ link, snapLength, second: secondsOf(resolution, offsetS) })
  }
}

/** What the options behind a packet's bytes say of its direction. */
function directionOf(view: DataView, at: number, size: number, captured: number, little: boolean): number {
  const end = at + size - 4
  for (let option = at + 28 + ((captured + 3) & ~3); option + 4 <= end; ) {
    const code = view.getUint16(option, little)
    const length = view.getUint16(option + 2, little)
    if (code === OPTION.end || option + 4 + length > end) break
    if (code === OPTION.packetFlags && length >= 4) return view.getUint32(option + 4, little) & 3
    option += 4 + ((length + 3) & ~3)
  }
  return DIRECTION.unknown
}

/**
 * Seconds from 64-bit time stamps: `resolution` is the negative power of 10, or of 2 where its high bit is
 * set. Times before 1970 and after 2106 come to the nearest second that a record can have.
 */
function secondsOf(resolution: number, offsetS: number): (high: number, low: number) => number {
  const power = resolution & 0x7f
  const units = (resolution & 0x80) === 0 ? 10n ** BigInt(power) : 1n << BigInt(power)
  const unitsPerSecond = Number(units)
  const isExact = units < 1n << 51n // Then a remainder and 32 bits more are exact in a double.
  let lastHigh = -1
  let seconds = 0
  let remainder = 0
  return (high, low) => {
    if (high !== lastHigh) {
      // Of nanoseconds, the high half changes every four seconds.
      const stamp = BigInt(high) << 32n
      lastHigh = high
      seconds = Number(stamp / units)
      remainder = Number(stamp % units)
    }
    const whole = isExact
      ? seconds + Math.floor((remainder + low) / unitsPerSecond)
      : Number(((BigInt(high) << 32n) | BigInt(low)) / units)
    return Math.max(0, Math.min(UINT32_MAX, whole + offsetS))
  }
}

function countUnsupported(counters: CaptureCounters, link: number): void {
  counters.unsupported.set(link, (counters.unsupported.get(link) ?? 0) + 1)
}
