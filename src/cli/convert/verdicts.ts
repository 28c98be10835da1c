import type { CaptureReader } from '../../capture/pcap/capture-reader.ts'
import type { PacketBatch } from '../../capture/pcap/packet-batch.ts'
import { CAPTURED_MASK, PACKET, PACKET_REJECT, PACKET_WORDS, PACKETS_MAX } from '../../meter/kernel.ts'
import { FRAGMENT, OUTCOME, PARSED, PARSED_WORDS, parsePacket } from '../../meter/packet.ts'

/** Packets that came out and are remembered until they are asked for or too old; some 100 bytes each. */
const REMEMBERED_MAX = 1 << 21

/**
 * Which packets a firewall let through, from captures on both of its sides: a packet that goes in and comes
 * out within `delayS` seconds was accepted. A packet is known again by what forwarding does not change:
 * addresses, length, IPv4 id, and the begin of what IP carries, without its checksum (which offloading
 * leaves unfinished). Of packets that look the same, the first that came out belongs to the first that went in.
 */
export class Verdicts {
  /** Packets refused although not all that came out in their time could be remembered. */
  unsure = 0
  /** Packets refused before the first second of what came out, or behind its last: nothing may have been captured then. */
  outside = 0
  /** Packets that came out and had gone in. */
  matched = 0
  #seen = 0
  #firstS = Infinity
  #lastS = -Infinity
  readonly #after: CaptureReader
  readonly #memory: Uint8Array
  readonly #batch: PacketBatch
  readonly #delayS: number
  readonly #rememberedMax: number
  readonly #packet = new Uint32Array(PARSED_WORDS)
  /** Packets that came out and were not yet asked for: how often, by fingerprint. */
  readonly #open = new Map<number, number>()
  /** Those that were asked for and still stand in the queue, likewise. */
  readonly #taken = new Map<number, number>()
  /** What came out, in order, to forget it again: fingerprint and second in turn. */
  #queue: number[] = []
  #queueAt = 0
  #at = 0
  #isOver = false

  constructor(
    options: { memory: Uint8Array; delayS: number; rememberedMax?: number },
    dependencies: { after: CaptureReader },
  ) {
    this.#memory = options.memory
    this.#delayS = options.delayS
    this.#rememberedMax = options.rememberedMax ?? REMEMBERED_MAX
    this.#after = dependencies.after
    this.#batch = {
      words: new Uint32Array(PACKETS_MAX * PACKET_WORDS),
      count: 0,
      countMax: PACKETS_MAX,
      link: 0,
    }
  }

  /** Packets that came out without having gone in: of the machine itself, or changed on the way. */
  get unmatched(): number {
    return this.#seen - this.matched
  }

  /** Marks the packets of a batch that did not come out. */
  async judge(bytes: Uint8Array, batch: PacketBatch): Promise<void> {
    for (let i = 0; i < batch.count; i++) {
      const word = i * PACKET_WORDS
      const print = fingerprint(bytes, batch, i, this.#packet)
      if (print === undefined) continue
      const second = batch.words[word + PACKET.second]!
      this.#forget(second - this.#delayS)
      while (!this.#open.has(print) && !this.#isReadUntil(second)) await this.#readMore()
      if (take(this.#open, print)) {
        this.matched++
        put(this.#taken, print)
        continue
      }
      batch.words[word + PACKET.captured] = (batch.words[word + PACKET.captured]! | PACKET_REJECT) >>> 0
      if (this.#remembered === this.#rememberedMax) this.unsure++
      if (second < this.#firstS || (this.#isOver && second > this.#lastS)) this.outside++
    }
  }

  /** Nothing goes in any more: counts what still came out. */
  async end(): Promise<void> {
    while (!this.#isReadUntil(Infinity)) await this.#readMore()
  }

  async #readMore(): Promise<void> {
    this.#at = 0
    this.#isOver = !(await this.#after.next(this.#batch))
  }

  get #remembered(): number {
    return (this.#queue.length - this.#queueAt) / 2
  }

  /**
   * Remembers what came out up to `delayS` after this second. Returns false where the batch has ended before that, and
   * the next one is to be read.
   */
  #isReadUntil(second: number): boolean {
    for (; this.#at < this.#batch.count; this.#at++) {
      const packetS = this.#batch.words[this.#at * PACKET_WORDS + PACKET.second]!
      this.#firstS = Math.min(this.#firstS, packetS)
      this.#lastS = Math.max(this.#lastS, packetS)
      if (packetS > second + this.#delayS) return true
      this.#forget(second - this.#delayS)
      if (this.#remembered === this.#rememberedMax) return true
      const print = fingerprint(this.#memory, this.#batch, this.#at, this.#packet)
      if (print === undefined) continue
      this.#seen++
      put(this.#open, print)
      this.#queue.push(print, packetS)
    }
    return this.#isOver
  }

  /** What was asked for, and what came out before this second, belongs to nothing that may still go in. */
  #forget(second: number): void {
    for (; this.#queueAt < this.#queue.length; this.#queueAt += 2) {
      const print = this.#queue[this.#queueAt]!
      if (take(this.#taken, print)) continue
      if (this.#queue[this.#queueAt + 1]! >= second) break
      take(this.#open, print)
    }
    if (this.#queueAt > 65_536 && this.#queueAt * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#queueAt)
      this.#queueAt = 0
    }
  }
}

function put(counts: Map<number, number>, print: number): void {
  counts.set(print, (counts.get(print) ?? 0) + 1)
}

/** Returns false where there is none. */
function take(counts: Map<number, number>, print: number): boolean {
  const count = counts.get(print)
  if (count === undefined) return false
  if (count === 1) counts.delete(print)
  else counts.set(print, count - 1)
  return true
}

const PAYLOAD_SIZE = 20
/** Where the checksum stands in what IP carries, and its size: ICMP, TCP, UDP, ICMPv6, SCTP, UDP-Lite. */
const CHECKSUMS: Record<number, readonly [at: number, size: number]> = {
  1: [2, 2],
  6: [16, 2],
  17: [6, 2],
  58: [2, 2],
  132: [8, 4],
  136: [6, 2],
}
const NO_CHECKSUM = [0, 0] as const

/** 52 bits that tell a packet from others; undefined for what is no IP. */
function fingerprint(
  bytes: Uint8Array,
  batch: PacketBatch,
  i: number,
  packet: Uint32Array,
): number | undefined {
  const word = i * PACKET_WORDS
  const at = batch.words[word + PACKET.at]!
  const captured = batch.words[word + PACKET.captured]! & CAPTURED_MASK
  const wireLength = batch.words[word + PACKET.wireLength]!
  const outcome = parsePacket(bytes, at, captured, wireLength, packet, batch.link)
  if (outcome !== OUTCOME.ipv4 && outcome !== OUTCOME.ipv6) return undefined
  let low = 0x811c9dc5
  let high = 0x1b873593
  const mix = (value: number): void => {
    low = Math.imul(low ^ value, 0x01000193)
    high = Math.imul(high ^ value, 0x85ebca6b)
    high ^= high >>> 13
  }
  for (let k = PARSED.source; k < PARSED.tcpFlags; k++) mix(packet[k]!)
  if (outcome === OUTCOME.ipv4) mix(packet[PARSED.fragmentId]!) // IPv6 fragments get a new one where they are put together.
  mix(packet[PARSED.fragment]!)
  const isLater = packet[PARSED.fragment] === FRAGMENT.later
  const [sumAt, sumSize] = (isLater ? undefined : CHECKSUMS[packet[PARSED.protocol]!]) ?? NO_CHECKSUM
  const payload = at + packet[PARSED.payload]!
  const packetEnd = at + packet[PARSED.network]! + packet[PARSED.octets]! // Behind it is Ethernet's padding.
  const end = Math.min(at + captured, packetEnd, payload + PAYLOAD_SIZE)
  for (let k = payload; k < end; k++)
    if (k < payload + sumAt || k >= payload + sumAt + sumSize) mix(bytes[k]!)
  return (low >>> 0) * 0x10_0000 + (high >>> 12)
}
