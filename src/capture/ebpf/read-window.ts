import { WeirError } from '../../model/errors.ts'
import { ROW, ROW_EGRESS, ROW_IPV6, ROW_REJECT, ROW_SIZE, ROW_SKIPPED } from '../../model/flow-rows.ts'
import { assert } from '../../stdx/assert.ts'
import { lookup, openMapById, openPin, readAll } from './ffi/libbpf.ts'
import {
  COUNTERS,
  COUNTERS_SIZE,
  FLOW,
  FLOW_SIZE,
  KEY4_SIZE,
  KEY6_SIZE,
  NO_TICK,
  SKIPPED,
  SKIPPED_SIZE,
} from './layout.ts'
import { layoutPath, type MapName } from './pins.ts'
import { readState, type SlotHeader } from './state.ts'

const BATCH_SIZE = 8192

type OnBatch = (rows: Buffer, points: Uint16Array, count: number) => void

/**
 * Reads one closed window out of the kernel, as batches of rows (model/flow-rows.ts) and the point of each; `rows` and
 * `points` are only valid until `onBatch` returns. Opens the pins itself, so it can run in any thread. Changes nothing:
 * reading again gives the same rows until the window is cleared.
 */
export function readWindow(
  pinPath: string,
  generation: bigint,
  options: { rowsMax: number },
  onBatch: OnBatch,
): void {
  const directory = layoutPath(pinPath)
  using stateMap = openPin(`${directory}/state`)
  const { slots, tickNs } = readState(stateMap.fd)
  const slot = slots.find((it) => it.generation === generation)
  if (slot === undefined) {
    throw new WeirError('WEIR_NOT_FOUND', `the kernel has no window of generation ${generation}`)
  }
  const writer = new RowWriter(slot, tickNs, options.rowsMax, onBatch)
  readFlows({ directory, name: 'windows4', slot: slot.slot, keySize: KEY4_SIZE }, writer)
  readFlows({ directory, name: 'windows6', slot: slot.slot, keySize: KEY6_SIZE }, writer)
  readSkipped(directory, slot.slot, writer)
  writer.end()
}

function readFlows(
  window: { directory: string; name: MapName; slot: number; keySize: number },
  writer: RowWriter,
): void {
  using outer = openPin(`${window.directory}/${window.name}`)
  const key = Buffer.alloc(4)
  const id = Buffer.alloc(4)
  key.writeUInt32LE(window.slot)
  if (!lookup(outer.fd, key, id)) return
  using inner = openMapById(id.readUInt32LE())
  const shape = { fd: inner.fd, keySize: window.keySize, valueSize: FLOW_SIZE, batchSize: BATCH_SIZE }
  readAll(shape, (keys, values, count) => {
    const key32 = new Uint32Array(keys.buffer, keys.byteOffset, keys.length / 4)
    const value32 = new Uint32Array(values.buffer, values.byteOffset, values.length / 4)
    const value64 = new BigUint64Array(values.buffer, values.byteOffset, values.length / 8)
    for (let i = 0; i < count; i++)
      writer.flow(key32, i * (window.keySize / 4), window.keySize, value32, value64, i)
  })
}

function readSkipped(directory: string, slot: number, writer: RowWriter): void {
  using counters = openPin(`${directory}/counters`)
  const shape = { fd: counters.fd, keySize: 4, valueSize: COUNTERS_SIZE, batchSize: BATCH_SIZE }
  readAll(shape, (keys, values, count) => {
    for (let i = 0; i < count; i++) {
      const key = keys.readUInt32LE(i * 4)
      if (key >>> 16 !== slot) continue
      for (let direction = 0; direction < 2; direction++) {
        writer.skipped(
          key & 0xffff,
          direction,
          values,
          i * COUNTERS_SIZE + COUNTERS.skipped + direction * SKIPPED_SIZE,
        )
      }
    }
  })
}

/** Turns kernel entries into rows. Words are moved as they are: both sides are little-endian. */
class RowWriter {
  readonly #rows: Buffer
  readonly #row32: Uint32Array
  readonly #row64: BigUint64Array
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
    this.#row32 = new Uint32Array(buffer)
    this.#row64 = new BigUint64Array(buffer)
    this.#points = new Uint16Array(rowsMax)
    this.#onBatch = onBatch
    this.#startS = slot.startS
    this.#endS = slot.endS
    this.#openedTick = Number(slot.opened & 0xffff_ffffn)
    this.#tickS = Number(tickNs) / 1e9
    this.#openedS = Number(slot.opened * tickNs + slot.wallBaseNs) / 1e9
  }

  /** Unix seconds of a tick. Inside the window, whatever a clock that was stepped meanwhile would make of it. */
  #seconds(tick: number): number {
    const ticks = (tick - this.#openedTick) | 0 // Halves of ticks wrap around, but not within a window.
    const seconds = Math.floor(this.#openedS + ticks * this.#tickS)
    return Math.min(Math.max(seconds, this.#startS), this.#endS - 1)
  }

  flow(
    key32: Uint32Array,
    keyAt: number,
    keySize: number,
    value32: Uint32Array,
    value64: BigUint64Array,
    index: number,
  ): void {
    const at32 = (index * FLOW_SIZE) / 4
    const at64 = (index * FLOW_SIZE) / 8
    const packets = value64[at64 + FLOW.packets / 8]! + value64[at64 + FLOW.packetsShared / 8]!
    const octets = value64[at64 + FLOW.octets / 8]! + value64[at64 + FLOW.octetsShared / 8]!
    const refusedPackets = value64[at64 + FLOW.packetsRefused / 8]!
    const last = value32[at32 + FLOW.last / 4]!
    if (refusedPackets === 0n) {
      const first = value32[at32 + FLOW.first / 4]!
      this.#put(
        key32,
        keyAt,
        keySize,
        0,
        value32[at32 + FLOW.flags / 4]! & 0xff,
        packets,
        octets,
        first,
        last,
      )
      return
    }
    this.#putMixed(key32, keyAt, keySize, value32, at32, value64, at64, packets, octets)
  }

  /** A flow of which some or all was refused. Out of line: there are few of them. */
  #putMixed(
    key32: Uint32Array,
    keyAt: number,
    keySize: number,
    value32: Uint32Array,
    at32: number,
    value64: BigUint64Array,
    at64: number,
    packets: bigint,
    octets: bigint,
  ): void {
    const refused = value64[at64 + FLOW.packetsRefused / 8]!
    const refusedOctets = value64[at64 + FLOW.octetsRefused / 8]!
    const flags = value32[at32 + FLOW.flags / 4]!
    const refusedPackets = refused < packets ? refused : packets
    if (refusedPackets < packets) {
      const first = value32[at32 + FLOW.first / 4]!
      const isLastRefused = Number(packets & 0xffff_ffffn) === value32[at32 + FLOW.packetsAtRefusal / 4]!
      const last = value32[at32 + (isLastRefused ? FLOW.acceptedLast : FLOW.last) / 4]!
      const octetsLeft = octets > refusedOctets ? octets - refusedOctets : 0n
      const start = first === NO_TICK ? last : first
      this.#put(key32, keyAt, keySize, 0, flags & 0xff, packets - refusedPackets, octetsLeft, start, last)
    }
    const first = value32[at32 + FLOW.refusedFirst / 4]!
    const last = value32[at32 + FLOW.refusedLast / 4]!
    const octetsTaken = refusedOctets < octets ? refusedOctets : octets
    this.#put(key32, keyAt, keySize, ROW_REJECT, flags & 0xffff, refusedPackets, octetsTaken, first, last)
  }

  #put(
    key32: Uint32Array,
    keyAt: number,
    keySize: number,
    attributes: number,
    flags: number,
    packets: bigint,
    octets: bigint,
    first: number,
    last: number,
  ): void {
    const row = this.#row32
    const at = this.#take()
    const isIpv6 = keySize === KEY6_SIZE
    const words = isIpv6 ? 4 : 1
    for (let i = 0; i < 4; i++) {
      row[at + ROW.source / 4 + i] = i < words ? key32[keyAt + i]! : 0
      row[at + ROW.destination / 4 + i] = i < words ? key32[keyAt + words + i]! : 0
    }
    const tail = key32[keyAt + words * 2 + 1]!
    const bits = attributes | (isIpv6 ? ROW_IPV6 : 0) | (tail & 0x10000 ? ROW_EGRESS : 0)
    // Ports lie in the key in network order, in the row in this machine's.
    const ports = key32[keyAt + words * 2]!
    row[at + ROW.sourcePort / 4] = ((ports & 0x00ff00ff) << 8) | ((ports >>> 8) & 0x00ff00ff)
    row[at + ROW.protocol / 4] = (tail >>> 24) | (bits << 8) | (flags << 16)
    this.#finish(at, tail & 0xffff, packets, octets, this.#seconds(first), this.#seconds(last))
  }

  skipped(point: number, direction: number, counters: Buffer, offset: number): void {
    const packets = counters.readBigUInt64LE(offset + SKIPPED.packets)
    if (packets === 0n) return
    const at = this.#take()
    this.#row32.fill(0, at, at + ROW_SIZE / 4)
    this.#row32[at + ROW.protocol / 4] = (ROW_SKIPPED | (direction === 0 ? 0 : ROW_EGRESS)) << 8
    const first = this.#seconds(counters.readUInt32LE(offset + SKIPPED.first))
    const last = this.#seconds(counters.readUInt32LE(offset + SKIPPED.last))
    this.#finish(at, point, packets, counters.readBigUInt64LE(offset + SKIPPED.octets), first, last)
  }

  /** The next free row, as an index of 32-bit words. */
  #take(): number {
    if (this.#count === this.#points.length) this.end()
    return this.#count * (ROW_SIZE / 4)
  }

  #finish(at: number, point: number, packets: bigint, octets: bigint, startS: number, endS: number): void {
    this.#row64[(at + ROW.packets / 4) / 2] = packets
    this.#row64[(at + ROW.octets / 4) / 2] = octets
    this.#row32[at + ROW.startS / 4] = startS
    this.#row32[at + ROW.endS / 4] = Math.max(startS, endS)
    this.#points[this.#count++] = point
  }

  end(): void {
    if (this.#count > 0) this.#onBatch(this.#rows, this.#points, this.#count)
    this.#count = 0
  }
}
