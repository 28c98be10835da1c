import { ROW, ROW_EGRESS, ROW_IPV6, ROW_REJECT, ROW_SIZE, ROW_SKIPPED } from '../../model/flow-rows.ts'
import { assert } from '../../stdx/assert.ts'
import { FLOW, FLOW_SIZE, KEY6_SIZE, NO_TICK, SKIPPED } from './layout.ts'
import type { SlotHeader } from './state.ts'

export type OnBatch = (rows: Buffer, points: Uint16Array, count: number) => void

const ROW_WORDS = ROW_SIZE / 4
const FLOW_WORDS = FLOW_SIZE / 4

/**
 * Turns the kernel's entries into rows (model/flow-rows.ts): one for what was accepted of a flow, one for what was
 * refused. Words are moved as they are, both sides are little-endian; 64-bit counters stay two words, for a BigInt is an
 * allocation, except where a flow has both verdicts or was counted by several CPUs.
 */
export class RowWriter {
  readonly #rows: Buffer
  readonly #row: Uint32Array
  readonly #points: Uint16Array
  readonly #onBatch: OnBatch
  readonly #startS: number
  readonly #endS: number
  readonly #openedTick: number
  readonly #openedS: number
  readonly #tickS: number
  #count = 0

  constructor(slot: SlotHeader, tickNs: bigint, rowsMax: number, onBatch: OnBatch) {
    assert(rowsMax >= 2)
    const buffer = new ArrayBuffer(rowsMax * ROW_SIZE)
    this.#rows = Buffer.from(buffer)
    this.#row = new Uint32Array(buffer)
    this.#points = new Uint16Array(rowsMax)
    this.#onBatch = onBatch
    this.#startS = slot.startS
    this.#endS = slot.endS
    this.#openedTick = Number(slot.opened & 0xffff_ffffn)
    this.#tickS = Number(tickNs) / 1e9
    this.#openedS = Number(slot.opened * tickNs + slot.wallBaseNs) / 1e9
  }

  /** `count` entries of one family, as a batch read gives them. */
  flows(keys: Buffer, keySize: number, values: Buffer, count: number): void {
    const key = new Uint32Array(keys.buffer, keys.byteOffset, keys.length / 4)
    const value = new Uint32Array(values.buffer, values.byteOffset, values.length / 4)
    const keyWords = keySize / 4
    for (let i = 0; i < count; i++) {
      const at = i * FLOW_WORDS
      if (isPlain(value, at)) this.#plain(key, i * keyWords, keySize, value, at)
      else this.#mixed(key, i * keyWords, keySize, value, at)
    }
  }

  /** Accepted, and counted by one CPU: what most flows are. */
  #plain(key: Uint32Array, keyAt: number, keySize: number, value: Uint32Array, at: number): void {
    const row = this.#begin(key, keyAt, keySize, 0, value[at + FLOW.flags / 4]! & 0xff)
    for (let i = 0; i < 4; i++) this.#row[row + ROW.packets / 4 + i] = value[at + FLOW.packets / 4 + i]!
    this.#end(row, value[at + FLOW.first / 4]!, value[at + FLOW.last / 4]!)
  }

  #mixed(key: Uint32Array, keyAt: number, keySize: number, value: Uint32Array, at: number): void {
    const packets = wide(value, at, FLOW.packets) + wide(value, at, FLOW.packetsShared)
    const octets = wide(value, at, FLOW.octets) + wide(value, at, FLOW.octetsShared)
    const refused = least(wide(value, at, FLOW.packetsRefused), packets)
    // Where nothing is left, no octets are: fragments that were put together may have been taken for one another.
    const isAllRefused = refused === packets
    const refusedOctets = isAllRefused ? octets : least(wide(value, at, FLOW.octetsRefused), octets)
    const flags = value[at + FLOW.flags / 4]!
    if (!isAllRefused) {
      const isLastRefused = Number(packets & 0xffff_ffffn) === value[at + FLOW.packetsAtRefusal / 4]!
      const isTold = refused > 0n && isLastRefused
      const last = value[at + (isTold ? FLOW.acceptedLast : FLOW.last) / 4]!
      const first = value[at + FLOW.first / 4]!
      const row = this.#begin(key, keyAt, keySize, 0, flags & 0xff)
      this.#counters(row, packets - refused, octets - refusedOctets)
      this.#end(row, first === NO_TICK ? last : first, last)
    }
    if (refused > 0n) {
      const row = this.#begin(key, keyAt, keySize, ROW_REJECT, flags & 0xffff)
      this.#counters(row, refused, refusedOctets)
      this.#end(row, value[at + FLOW.refusedFirst / 4]!, value[at + FLOW.refusedLast / 4]!)
    }
  }

  /** A struct skipped at `offset`. */
  skipped(point: number, direction: number, counters: Buffer, offset: number): void {
    const packets = counters.readBigUInt64LE(offset + SKIPPED.packets)
    if (packets === 0n) return
    const row = this.#take(point)
    this.#row.fill(0, row, row + ROW_WORDS)
    this.#row[row + ROW.protocol / 4] = (ROW_SKIPPED | (direction === 0 ? 0 : ROW_EGRESS)) << 8
    this.#counters(row, packets, counters.readBigUInt64LE(offset + SKIPPED.octets))
    this.#end(
      row,
      counters.readUInt32LE(offset + SKIPPED.first),
      counters.readUInt32LE(offset + SKIPPED.last),
    )
  }

  /** Hands out what is there; call it once more at the end. */
  deliver(): void {
    if (this.#count > 0) this.#onBatch(this.#rows, this.#points, this.#count)
    this.#count = 0
  }

  /** Takes a row and fills in all that comes from the key. Returns its first word's index. */
  #begin(key: Uint32Array, keyAt: number, keySize: number, attributes: number, flags: number): number {
    const isIpv6 = keySize === KEY6_SIZE
    const words = isIpv6 ? 4 : 1
    const tail = key[keyAt + words * 2 + 1]!
    const at = this.#take(tail & 0xffff)
    const row = this.#row
    for (let i = 0; i < 4; i++) {
      row[at + ROW.source / 4 + i] = i < words ? key[keyAt + i]! : 0
      row[at + ROW.destination / 4 + i] = i < words ? key[keyAt + words + i]! : 0
    }
    const bits = attributes | (isIpv6 ? ROW_IPV6 : 0) | (tail & 0x10000 ? ROW_EGRESS : 0)
    // Ports lie in the key in network order, in the row in this machine's.
    const ports = key[keyAt + words * 2]!
    row[at + ROW.sourcePort / 4] = ((ports & 0x00ff00ff) << 8) | ((ports >>> 8) & 0x00ff00ff)
    row[at + ROW.protocol / 4] = (tail >>> 24) | (bits << 8) | (flags << 16)
    return at
  }

  #take(point: number): number {
    if (this.#count === this.#points.length) this.deliver()
    this.#points[this.#count] = point
    return this.#count * ROW_WORDS
  }

  #counters(row: number, packets: bigint, octets: bigint): void {
    this.#row[row + ROW.packets / 4] = Number(packets & 0xffff_ffffn)
    this.#row[row + ROW.packets / 4 + 1] = Number(packets >> 32n)
    this.#row[row + ROW.octets / 4] = Number(octets & 0xffff_ffffn)
    this.#row[row + ROW.octets / 4 + 1] = Number(octets >> 32n)
  }

  #end(row: number, firstTick: number, lastTick: number): void {
    const startS = this.#seconds(firstTick)
    this.#row[row + ROW.startS / 4] = startS
    this.#row[row + ROW.endS / 4] = Math.max(startS, this.#seconds(lastTick))
    this.#count++
  }

  /** Unix seconds of a tick. Inside the window, whatever a clock that was stepped meanwhile would make of it. */
  #seconds(tick: number): number {
    const ticks = (tick - this.#openedTick) | 0 // Halves of ticks wrap around, but not within a window.
    const seconds = Math.floor(this.#openedS + ticks * this.#tickS)
    return Math.min(Math.max(seconds, this.#startS), this.#endS - 1)
  }
}

/** Whether nothing of the flow was refused, or counted by a second CPU. */
function isPlain(value: Uint32Array, at: number): boolean {
  const from = at + FLOW.packetsShared / 4
  let any = 0
  for (let i = 0; i < 8; i++) any |= value[from + i]!
  return any === 0
}

function wide(value: Uint32Array, at: number, field: number): bigint {
  return (BigInt(value[at + field / 4 + 1]!) << 32n) | BigInt(value[at + field / 4]!)
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}
