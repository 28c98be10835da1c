import { ROW, ROW_EGRESS, ROW_IPV6, ROW_REJECT, ROW_SIZE } from '../model/flow-rows.ts'
import { assert } from '../stdx/assert.ts'
import type { Skipped } from './kernel.ts'
import { OUTCOME, PARSED } from './packet.ts'

const EMPTY = 0 // In the index: a free slot. Others hold the flow's number plus one.
const KEY_WORDS = 10 // Source 4, destination 4, ports, protocol | flags << 8 | is IPv6 << 10.
const KEY_META = 9
const META_EGRESS = 1 << 8
const META_REJECT = 1 << 9
const META_IPV6 = 1 << 10
const FLOWS_MIN = 1024

/**
 * The flows of one window by Flow Key (RFC 7011, section 2): open addressing with linear probing over an
 * index, in front of columns that grow as flows come. A full table is an answer to count (`skipped`), not a
 * crash.
 */
export class FlowTable {
  flows = 0
  readonly #flowsMax: number
  readonly #seed: number
  #index = new Int32Array(FLOWS_MIN * 2)
  #keys = new Uint32Array(FLOWS_MIN * KEY_WORDS)
  #packets = new Float64Array(FLOWS_MIN) // Exact below 2^53, as the octets are: 9 PB in one flow.
  #octets = new Float64Array(FLOWS_MIN)
  #firstS = new Uint32Array(FLOWS_MIN)
  #lastS = new Uint32Array(FLOWS_MIN)
  #tcpFlags = new Uint8Array(FLOWS_MIN)
  readonly #key = new Uint32Array(KEY_WORDS)
  readonly #skipped: [Skipped, Skipped] = [nothingSkipped(), nothingSkipped()]

  constructor(options: { flowsMax: number; seed: number }) {
    assert(options.flowsMax > 0)
    this.#flowsMax = options.flowsMax
    this.#seed = options.seed
  }

  /** Counts one packet that `parsePacket` has read; `flags` has bit 0 for egress and bit 1 for reject. */
  observe(packet: Uint32Array, flags: number, second: number): void {
    const octets = packet[PARSED.octets]!
    if (packet[PARSED.outcome] === OUTCOME.unreadable) {
      this.#skip(flags, octets, second)
      return
    }
    const key = this.#key
    for (let i = 0; i < KEY_META; i++) key[i] = packet[PARSED.source + i]!
    const family = packet[PARSED.outcome] === OUTCOME.ipv6 ? META_IPV6 : 0
    key[KEY_META] = packet[PARSED.protocol]! | (flags << 8) | family
    const flow = this.#find()
    if (flow < 0) {
      this.#skip(flags, octets, second)
      return
    }
    this.#packets[flow]! += 1
    this.#octets[flow]! += octets
    this.#tcpFlags[flow]! |= packet[PARSED.tcpFlags]!
    if (second < this.#firstS[flow]!) this.#firstS[flow] = second
    if (second > this.#lastS[flow]!) this.#lastS[flow] = second
  }

  /** The flow of #key, new if need be; -1 where the table is full. */
  #find(): number {
    if (this.flows * 2 >= this.#index.length) this.#grow()
    const mask = this.#index.length - 1
    let slot = hashOf(this.#key, 0, this.#seed) & mask
    for (; this.#index[slot] !== EMPTY; slot = (slot + 1) & mask) {
      // Ends: half of the slots are free.
      const flow = this.#index[slot]! - 1
      if (this.#holds(flow)) return flow
    }
    if (this.flows === this.#flowsMax) return -1
    const flow = this.flows++
    this.#index[slot] = flow + 1
    this.#keys.set(this.#key, flow * KEY_WORDS)
    this.#packets[flow] = 0
    this.#octets[flow] = 0
    this.#tcpFlags[flow] = 0
    this.#firstS[flow] = 0xffff_ffff
    this.#lastS[flow] = 0
    return flow
  }

  #holds(flow: number): boolean {
    const at = flow * KEY_WORDS
    for (let i = 0; i < KEY_WORDS; i++) if (this.#keys[at + i] !== this.#key[i]) return false
    return true
  }

  #grow(): void {
    const flows = this.#index.length
    this.#index = new Int32Array(flows * 2)
    this.#keys = larger(this.#keys, new Uint32Array(flows * KEY_WORDS))
    this.#packets = larger(this.#packets, new Float64Array(flows))
    this.#octets = larger(this.#octets, new Float64Array(flows))
    this.#firstS = larger(this.#firstS, new Uint32Array(flows))
    this.#lastS = larger(this.#lastS, new Uint32Array(flows))
    this.#tcpFlags = larger(this.#tcpFlags, new Uint8Array(flows))
    const mask = this.#index.length - 1
    for (let flow = 0; flow < this.flows; flow++) {
      let slot = hashOf(this.#keys, flow * KEY_WORDS, this.#seed) & mask
      while (this.#index[slot] !== EMPTY) slot = (slot + 1) & mask
      this.#index[slot] = flow + 1
    }
  }

  #skip(flags: number, octets: number, second: number): void {
    const it = this.#skipped[(flags & 1) as 0 | 1]
    it.firstS = it.packets === 0n ? second : Math.min(it.firstS, second)
    it.lastS = Math.max(it.lastS, second)
    it.packets += 1n
    it.octets += BigInt(octets)
  }

  skipped(isEgress: boolean): Skipped {
    return this.#skipped[isEgress ? 1 : 0]
  }

  /** Writes flows as rows of model/flow-rows.ts. */
  readRows(from: number, count: number, out: Uint8Array, startS: number): void {
    assert(from + count <= this.flows && count * ROW_SIZE <= out.length)
    const view = new DataView(out.buffer, out.byteOffset, out.length)
    for (let i = 0; i < count; i++) this.#writeRow(from + i, view, i * ROW_SIZE, startS)
  }

  #writeRow(flow: number, view: DataView, at: number, startS: number): void {
    const key = flow * KEY_WORDS
    for (let i = 0; i < 8; i++) view.setUint32(at + ROW.source + i * 4, this.#keys[key + i]!, true)
    const ports = this.#keys[key + 8]!
    const meta = this.#keys[key + KEY_META]!
    view.setUint16(at + ROW.sourcePort, ports & 0xffff, false) // Ports are kept as they came: in network order.
    view.setUint16(at + ROW.destinationPort, ports >>> 16, false)
    view.setUint8(at + ROW.protocol, meta & 255)
    const family = (meta & META_IPV6) !== 0 ? ROW_IPV6 : 0
    const action = (meta & META_REJECT) !== 0 ? ROW_REJECT : 0
    view.setUint8(at + ROW.attributes, family | action | ((meta & META_EGRESS) !== 0 ? ROW_EGRESS : 0))
    view.setUint8(at + ROW.tcpFlags, this.#tcpFlags[flow]!)
    view.setUint8(at + ROW.rejectReason, 0)
    view.setBigUint64(at + ROW.packets, BigInt(this.#packets[flow]!), true)
    view.setBigUint64(at + ROW.octets, BigInt(this.#octets[flow]!), true)
    view.setUint32(at + ROW.startS, startS + this.#firstS[flow]!, true)
    view.setUint32(at + ROW.endS, startS + this.#lastS[flow]!, true)
  }

  clear(): void {
    this.flows = 0
    this.#index.fill(EMPTY)
    for (const it of this.#skipped) Object.assign(it, nothingSkipped())
  }
}

function nothingSkipped(): Skipped {
  return { packets: 0n, octets: 0n, firstS: 0, lastS: 0 }
}

function larger<Column extends Uint32Array | Float64Array | Uint8Array>(old: Column, column: Column): Column {
  column.set(old)
  return column
}

/** Seeded, word by word: who does not know the seed cannot choose packets that collide. */
function hashOf(words: Uint32Array, at: number, seed: number): number {
  let hash = seed
  for (let i = 0; i < KEY_WORDS; i++) {
    hash = Math.imul(hash ^ words[at + i]!, 0x9e3779b1)
    hash ^= hash >>> 15
  }
  hash = Math.imul(hash, 0x85ebca77)
  return hash ^ (hash >>> 13)
}
