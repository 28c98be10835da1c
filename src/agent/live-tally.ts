import type { Assignment, LiveRow, LiveWindow } from '../model/agent-protocol.ts'
import { ROW, ROW_IPV6, ROW_REJECT, ROW_SIZE, ROW_SKIPPED } from '../model/flow-rows.ts'
import { formatAddress } from '../model/ip-address.ts'
import { assert } from '../stdx/assert.ts'
import { isSelected, type RecordSelection, selectionOf } from './record-selection.ts'
import { counterAt } from './seal-window.ts'

const ROW_WORDS = ROW_SIZE / 4
const PACKETS_WORD = ROW.packets / 4
const OCTETS_WORD = ROW.octets / 4

interface Told {
  selection: RecordSelection
  accepted: LargestRows
  refused: LargestRows
  skipped: LiveRow[]
}

/**
 * The flows of one window for those who look at it now: of each flow log the largest accepted and the largest refused
 * ones, and the sum of the others. Refused packets are few and small, so they do not compete with the accepted ones.
 */
export class LiveTally {
  readonly #byPoint = new Map<number, Told>()
  readonly #byFlowLog = new Map<string, Told>()

  /** `rowsMax`: of each flow log. */
  constructor(options: { points: ReadonlyMap<number, Assignment>; rowsMax: number }) {
    const kept = Math.max(1, Math.floor(options.rowsMax / 2))
    for (const [point, assignment] of options.points) {
      const told = this.#byFlowLog.get(assignment.flowLogId) ?? {
        selection: selectionOf(assignment),
        accepted: new LargestRows(kept),
        refused: new LargestRows(kept),
        skipped: [],
      }
      this.#byFlowLog.set(assignment.flowLogId, told)
      this.#byPoint.set(point, told)
    }
  }

  /** Rows as `readWindow` gives them; they may be overwritten when this returns. */
  take(rows: Buffer, points: Uint16Array, count: number): void {
    assert(rows.byteOffset % 4 === 0 && count * ROW_SIZE <= rows.length)
    const words = new Uint32Array(rows.buffer, rows.byteOffset, count * ROW_WORDS)
    let point = -1
    let told: Told | undefined
    for (let i = 0; i < count; i++) {
      if (points[i] !== point) {
        point = points[i]!
        told = this.#byPoint.get(point)
      }
      if (told === undefined) continue // Nobody looks at it.
      const attributes = rows[i * ROW_SIZE + ROW.attributes]!
      if (!isSelected(attributes, told.selection)) continue
      if ((attributes & ROW_SKIPPED) !== 0) told.skipped.push(liveRow(rows, i * ROW_SIZE))
      else if ((attributes & ROW_REJECT) !== 0) told.refused.take(words, i * ROW_WORDS)
      else told.accepted.take(words, i * ROW_WORDS)
    }
  }

  /** What each flow log has in the window, those without any flow too. */
  windows(startS: number): Map<string, LiveWindow> {
    const windows = new Map<string, LiveWindow>()
    for (const [flowLogId, { accepted, refused, skipped }] of this.#byFlowLog) {
      const rows = [...accepted.rows(), ...refused.rows(), ...skipped] // Before `left`, to which they add.
      const left = {
        flows: accepted.left.flows + refused.left.flows,
        packets: accepted.left.packets + refused.left.packets,
        octets: accepted.left.octets + refused.left.octets,
      }
      windows.set(flowLogId, { startS, rows, left })
    }
    return windows
  }
}

/** The rows with the most octets. Twice as many are collected before the smaller half goes: no heap to keep. */
class LargestRows {
  readonly left = { flows: 0, packets: 0, octets: 0 }
  readonly #rowsMax: number
  #rows = new Uint32Array(0)
  #count = 0
  /** What does not have more octets need not be collected. */
  #floor = -1

  constructor(rowsMax: number) {
    this.#rowsMax = rowsMax
  }

  take(words: Uint32Array, at: number): void {
    const octets = counterAt(words, at + OCTETS_WORD)
    if (octets <= this.#floor) {
      this.#leave(words, at)
      return
    }
    if (this.#count === 2 * this.#rowsMax) this.#cut()
    const to = this.#count++ * ROW_WORDS
    if (to === this.#rows.length) this.#grow()
    for (let word = 0; word < ROW_WORDS; word++) this.#rows[to + word] = words[at + word]!
  }

  /** The largest first. */
  rows(): LiveRow[] {
    this.#cut()
    const bytes = Buffer.from(this.#rows.buffer)
    return Array.from({ length: this.#count }, (_, i) => liveRow(bytes, i * ROW_SIZE))
  }

  /** Sorts, and leaves all but the largest. */
  #cut(): void {
    const rows = this.#rows
    const octets = Float64Array.from({ length: this.#count }, (_, i) =>
      counterAt(rows, i * ROW_WORDS + OCTETS_WORD),
    )
    const order = Uint32Array.from(octets.keys()).sort((a, b) => octets[b]! - octets[a]!)
    const kept = new Uint32Array(rows.length)
    const count = Math.min(this.#count, this.#rowsMax)
    for (let i = 0; i < this.#count; i++) {
      const at = order[i]! * ROW_WORDS
      if (i < count) kept.set(rows.subarray(at, at + ROW_WORDS), i * ROW_WORDS)
      else this.#leave(rows, at)
    }
    if (count === this.#rowsMax) this.#floor = octets[order[count - 1]!]!
    this.#rows = kept
    this.#count = count
  }

  #leave(words: Uint32Array, at: number): void {
    this.left.flows++
    this.left.packets += counterAt(words, at + PACKETS_WORD)
    this.left.octets += counterAt(words, at + OCTETS_WORD)
  }

  #grow(): void {
    const larger = new Uint32Array(Math.min(2 * this.#rowsMax, 64 + this.#count * 2) * ROW_WORDS)
    larger.set(this.#rows)
    this.#rows = larger
  }
}

function liveRow(rows: Buffer, at: number): LiveRow {
  const attributes = rows[at + ROW.attributes]!
  const packets = Number(rows.readBigUInt64LE(at + ROW.packets))
  const octets = Number(rows.readBigUInt64LE(at + ROW.octets))
  const startS = rows.readUInt32LE(at + ROW.startS)
  const endS = rows.readUInt32LE(at + ROW.endS)
  if ((attributes & ROW_SKIPPED) !== 0) {
    return ['SKIPDATA', null, null, null, null, null, packets, octets, startS, endS]
  }
  const size = (attributes & ROW_IPV6) !== 0 ? 16 : 4
  const address = (offset: number) => formatAddress(rows.subarray(at + offset, at + offset + size))
  return [
    (attributes & ROW_REJECT) !== 0 ? 'REJECT' : 'ACCEPT',
    rows[at + ROW.protocol]!,
    address(ROW.source),
    rows.readUInt16LE(at + ROW.sourcePort),
    address(ROW.destination),
    rows.readUInt16LE(at + ROW.destinationPort),
    packets,
    octets,
    startS,
    endS,
  ]
}
