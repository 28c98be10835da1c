import { type GzipCodec, MEMBER_ROWS_MAX } from '../encode/gzip-codec.ts'
import { RecordContext } from '../encode/record-text.ts'
import type { Assignment } from '../model/agent-protocol.ts'
import { ROW, ROW_SIZE, ROW_SKIPPED } from '../model/flow-rows.ts'
import type { GivenUp } from '../spool/loss-ledger.ts'
import { assert } from '../stdx/assert.ts'
import { isSelected, type RecordSelection, selectionOf } from './record-selection.ts'

/** Where sealed records go: a window's segments in the spool. */
export interface SegmentWriter {
  append(
    destination: { contractNumber: number; bucket: string; stem: string },
    bytes: Uint8Array,
    counts: { flowLogId: string; records: number; packets: number; octets: number },
  ): void
}

const POINTS = 65_536
const ROW_WORDS = ROW_SIZE / 4
const PACKETS_WORD = ROW.packets / 4
const OCTETS_WORD = ROW.octets / 4

interface Outlet {
  assignment: Assignment
  context: RecordContext
  selection: RecordSelection
}

/**
 * Turns the rows of a window into segments: sorts each batch by observation point, keeps what the point's flow log
 * wants by action and direction, and appends it as gzip members to the flow log's destination. Memory is that of
 * one batch, however many flows the window has.
 */
export class WindowSealer {
  /** Rows whose point nobody knows. It is a bug if there are any, and they must not go missing in silence. */
  rowsUnassigned = 0
  /** Packets that the kernel could not attribute to a flow. */
  packetsSkipped = 0
  readonly #codec: GzipCodec
  readonly #writer: SegmentWriter
  readonly #outlets = new Map<number, Outlet>()
  readonly #firstOf = new Uint32Array(POINTS + 1)
  readonly #run = Buffer.allocUnsafeSlow(MEMBER_ROWS_MAX * ROW_SIZE)
  readonly #runWords = new Uint32Array(this.#run.buffer, this.#run.byteOffset, MEMBER_ROWS_MAX * ROW_WORDS)
  readonly #out: Buffer
  #order = new Uint32Array(0)

  constructor(
    options: { points: ReadonlyMap<number, Assignment> },
    dependencies: { codec: GzipCodec; writer: SegmentWriter },
  ) {
    this.#codec = dependencies.codec
    this.#writer = dependencies.writer
    this.#out = Buffer.allocUnsafeSlow(this.#codec.sizeMax(MEMBER_ROWS_MAX))
    for (const [point, assignment] of options.points) this.#outlets.set(point, outletOf(assignment))
  }

  /** Rows as `readWindow` gives them; they may be overwritten when this returns. */
  take(rows: Buffer, points: Uint16Array, count: number): void {
    assert(rows.byteOffset % 4 === 0 && count * ROW_SIZE <= rows.length)
    const words = new Uint32Array(rows.buffer, rows.byteOffset, count * ROW_WORDS)
    this.#sortByPoint(points, count)
    let from = 0
    while (from < count) {
      const point = points[this.#order[from]!]!
      const end = this.#firstOf[point]! // After sorting, the end of the point's run.
      assert(end > from)
      const outlet = this.#outlets.get(point)
      if (outlet === undefined) this.rowsUnassigned += end - from
      else this.#appendRun(outlet, rows, words, from, end)
      from = end
    }
  }

  /** Losses that the spool had to accept earlier, told as SKIPDATA records. Returns the ids of those that were told. */
  tell(givenUp: GivenUp[]): string[] {
    const told: string[] = []
    for (const loss of givenUp) {
      const outlet = [...this.#outlets.values()].find((it) => it.assignment.flowLogId === loss.flowLogId)
      if (outlet === undefined) continue // Its flow log is gone from this host; the loss stays in the ledger.
      const run = this.#run
      run.fill(0, 0, ROW_SIZE)
      run[ROW.attributes] = ROW_SKIPPED
      run.writeBigUInt64LE(BigInt(loss.packets), ROW.packets)
      run.writeBigUInt64LE(BigInt(loss.octets), ROW.octets)
      run.writeUInt32LE(loss.startS, ROW.startS)
      run.writeUInt32LE(loss.endS, ROW.endS)
      this.#append(outlet, 1, loss.packets, loss.octets)
      told.push(loss.id)
    }
    return told
  }

  /** Counting sort: `#order` lists the rows point by point, `#firstOf[p]` becomes the end of p's run in it. */
  #sortByPoint(points: Uint16Array, count: number): void {
    const firstOf = this.#firstOf
    if (this.#order.length < count) this.#order = new Uint32Array(count)
    firstOf.fill(0)
    for (let i = 0; i < count; i++) firstOf[points[i]! + 1]!++
    for (let i = 1; i <= POINTS; i++) firstOf[i]! += firstOf[i - 1]!
    for (let i = 0; i < count; i++) this.#order[firstOf[points[i]!]!++] = i
  }

  /** `rows` and `words` are the same memory: attributes are bytes, and words copy a row ten times as fast. */
  #appendRun(outlet: Outlet, rows: Buffer, words: Uint32Array, from: number, end: number): void {
    const { selection } = outlet
    const run = this.#runWords
    let count = 0
    let packets = 0
    let octets = 0
    for (let i = from; i < end; i++) {
      const row = this.#order[i]!
      const at = row * ROW_WORDS
      const attributes = rows[row * ROW_SIZE + ROW.attributes]!
      if ((attributes & ROW_SKIPPED) !== 0) this.packetsSkipped += counterAt(words, at + PACKETS_WORD)
      if (!isSelected(attributes, selection)) continue
      const to = count * ROW_WORDS
      for (let word = 0; word < ROW_WORDS; word++) run[to + word] = words[at + word]!
      packets += counterAt(words, at + PACKETS_WORD)
      octets += counterAt(words, at + OCTETS_WORD)
      if (++count < MEMBER_ROWS_MAX) continue
      this.#append(outlet, count, packets, octets)
      count = packets = octets = 0
    }
    if (count > 0) this.#append(outlet, count, packets, octets)
  }

  #append({ assignment, context }: Outlet, count: number, packets: number, octets: number): void {
    const size = this.#codec.encode(context, this.#run, 0, count, this.#out, 0)
    const bytes = Buffer.from(this.#out.subarray(0, size)) // The writer keeps what it is given.
    const { contractNumber, bucket, prefix, interfaceId, flowLogId } = assignment
    const destination = { contractNumber, bucket, stem: prefix || interfaceId }
    this.#writer.append(destination, bytes, { flowLogId, records: count, packets, octets })
  }
}

/** Exact below 2^53, which is beyond what one window can hold. */
export function counterAt(words: Uint32Array, at: number): number {
  return words[at]! + words[at + 1]! * 2 ** 32
}

function outletOf(assignment: Assignment): Outlet {
  const { contractNumber, interfaceId } = assignment
  return {
    assignment,
    context: new RecordContext({ accountId: contractNumber, interfaceId }),
    selection: selectionOf(assignment),
  }
}
