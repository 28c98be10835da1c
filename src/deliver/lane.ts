import type { DeliveryPlace } from '../model/agent-protocol.ts'
import type { Segment } from '../spool/segment-index.ts'
import { Backoff } from '../stdx/backoff.ts'
import type { DeliveryFault } from './delivery-fault.ts'

export interface LaneOptions {
  retryDelayMsMin: number
  retryDelayMsMax: number
  refusedDelayMsMin: number
  refusedDelayMsMax: number
  random: () => number
}

export type LaneState = 'ok' | 'failing' | 'refused'

export interface QueuedSegment {
  segment: Segment
  /** Monotonic. Not before this: the uploads of one window are spread. */
  dueMs: number
}

/**
 * What one contract has waiting for one bucket: what is refused to one contract says nothing about another's. A fault
 * of the bucket closes its lane for a while and no other; then one segment goes first, and the others follow when it
 * got through.
 */
export class Lane {
  readonly key: string
  readonly bucket: string
  state: LaneState = 'ok'
  lastError: { reason: string; message: string; atMs: number } | undefined
  /** Uploads on their way, and those among them that take suspiciously long. */
  uploads = 0
  slowUploads = 0
  /** Those among the slow ones that wait for the store, and not for the control plane. */
  silentUploads = 0
  failures = 0
  /** Segments that were refused for themselves. */
  parked = 0
  retryAtMs = 0
  readonly #queue: QueuedSegment[] = []
  /** Destinations with a segment that has no object name yet: the next one waits, so that names keep their order. */
  readonly #naming = new Map<string, Segment>()
  /** Destinations that were tried while the bucket fails: it may be that it refuses only them. */
  readonly #tried = new Set<string>()
  readonly #retry: Backoff
  readonly #refused: Backoff

  constructor(place: DeliveryPlace, options: LaneOptions) {
    this.key = laneKeyOf(place)
    this.bucket = place.bucket
    const { retryDelayMsMin, retryDelayMsMax, refusedDelayMsMin, refusedDelayMsMax, random } = options
    this.#retry = new Backoff({ delayMsMin: retryDelayMsMin, delayMsMax: retryDelayMsMax, random })
    this.#refused = new Backoff({ delayMsMin: refusedDelayMsMin, delayMsMax: refusedDelayMsMax, random })
  }

  get waiting(): number {
    return this.#queue.length
  }

  /** Keeps the oldest window first, and in it the order of the parts. */
  add(queued: readonly QueuedSegment[]): void {
    this.#queue.push(...queued)
    this.#queue.sort(byTurn)
  }

  /** When the next segment may go, Infinity while there is none. */
  readyAtMs(ignoreDue: boolean): number {
    if (this.slowUploads > 0) return Number.POSITIVE_INFINITY
    if (this.state !== 'ok' && this.uploads > 0) return Number.POSITIVE_INFINITY // One goes first.
    const next = this.#next()
    if (next === undefined) return Number.POSITIVE_INFINITY
    return Math.max(this.retryAtMs, ignoreDue ? 0 : next.dueMs)
  }

  /** Whether one that was taken may still go on. */
  mayUpload(nowMs: number): boolean {
    return this.silentUploads === 0 && (this.state === 'ok' || nowMs >= this.retryAtMs)
  }

  take(): Segment {
    const next = this.#next()
    if (next === undefined) throw new Error('nothing to take')
    this.#queue.splice(this.#queue.indexOf(next), 1)
    this.#naming.set(next.segment.stem, next.segment)
    if (this.state !== 'ok') this.#tried.add(next.segment.stem)
    this.uploads++
    return next.segment
  }

  /** The segment has its object name, or will not get one in this attempt. */
  named(segment: Segment): void {
    if (this.#naming.get(segment.stem) === segment) this.#naming.delete(segment.stem)
  }

  succeeded(): void {
    this.state = 'ok'
    this.failures = 0
    this.retryNow()
  }

  /** One goes first, as always while the bucket fails. */
  retryNow(): void {
    this.retryAtMs = 0
    this.#tried.clear()
    this.#retry.reset()
    this.#refused.reset()
  }

  failed(fault: DeliveryFault, now: { monotonicMs: number; wallMs: number }): void {
    this.noteError(fault, now.wallMs)
    if (fault.scope !== 'bucket') return
    // Those that were on their way together fail together: that is one failure.
    if (this.state !== 'ok' && now.monotonicMs < this.retryAtMs) return
    this.failures++
    this.state = fault.kind === 'refused' ? 'refused' : 'failing'
    const delayMs = (fault.kind === 'refused' ? this.#refused : this.#retry).nextDelayMs()
    this.retryAtMs = now.monotonicMs + Math.max(delayMs, fault.retryAfterMs ?? 0)
  }

  noteError(fault: DeliveryFault, atMs: number): void {
    this.lastError = { reason: fault.reason, message: fault.message, atMs }
  }

  /** The oldest; while the bucket fails, of one destination after the other. */
  #next(): QueuedSegment | undefined {
    const oldest = this.#queue.find(({ segment }) => !this.#naming.has(segment.stem))
    if (oldest === undefined || !this.#tried.has(oldest.segment.stem)) return oldest
    const untried = this.#queue.find(
      ({ segment: { stem } }) => !this.#naming.has(stem) && !this.#tried.has(stem),
    )
    if (untried === undefined) this.#tried.clear()
    return untried ?? oldest
  }
}

export function laneKeyOf({ contractNumber, bucket }: DeliveryPlace): string {
  return `${contractNumber}/${bucket}`
}

function byTurn(a: QueuedSegment, b: QueuedSegment): number {
  return (
    a.segment.windowStartS - b.segment.windowStartS || a.dueMs - b.dueMs || a.segment.part - b.segment.part
  )
}
