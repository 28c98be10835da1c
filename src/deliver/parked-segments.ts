import type { Lane } from './lane.ts'

/** A segment that was refused; kept after its release, for the next refusal. */
interface Parked {
  lane: Lane
  retryAtMs: number
  refusals: number
  waits: boolean
}

export interface ParkedOptions {
  refusedDelayMsMin: number
  refusedDelayMsMax: number
  /** 0 up to but not including 1. */
  random: () => number
}

/** Segments each of which is refused for itself: they wait longer and longer, and hold up no other. */
export class ParkedSegments {
  readonly #options: ParkedOptions
  readonly #parked = new Map<string, Parked>()

  constructor(options: ParkedOptions) {
    this.#options = options
  }

  add(segmentId: string, lane: Lane, nowMs: number): void {
    lane.parked++
    const refusals = (this.#parked.get(segmentId)?.refusals ?? 0) + 1
    this.#parked.set(segmentId, { lane, refusals, retryAtMs: nowMs + this.#delayMs(refusals), waits: true })
  }

  /** Those whose time has come; they wait no longer. */
  release(nowMs: number): { segmentId: string; lane: Lane }[] {
    const due: { segmentId: string; lane: Lane }[] = []
    for (const [segmentId, parked] of this.#parked) {
      if (!parked.waits || parked.retryAtMs > nowMs) continue
      parked.waits = false
      parked.lane.parked--
      due.push({ segmentId, lane: parked.lane })
    }
    return due
  }

  /** Those of lanes with these keys are due at once. */
  retryNow(keys: ReadonlySet<string>): void {
    for (const parked of this.#parked.values()) if (keys.has(parked.lane.key)) parked.retryAtMs = 0
  }

  /** Infinity while none waits. */
  nextRetryAtMs(): number {
    let earliestMs = Number.POSITIVE_INFINITY
    for (const { waits, retryAtMs } of this.#parked.values()) {
      if (waits && retryAtMs < earliestMs) earliestMs = retryAtMs
    }
    return earliestMs
  }

  /** Forgets those that are not there any more, and says which. */
  forgetGone(isThere: (segmentId: string) => boolean): string[] {
    const gone = [...this.#parked.keys()].filter((it) => !isThere(it))
    for (const segmentId of gone) this.forget(segmentId)
    return gone
  }

  forget(segmentId: string): void {
    const parked = this.#parked.get(segmentId)
    if (parked?.waits === true) parked.lane.parked--
    this.#parked.delete(segmentId)
  }

  #delayMs(refusals: number): number {
    const { refusedDelayMsMin, refusedDelayMsMax, random } = this.#options
    const delayMs = Math.min(refusedDelayMsMax, refusedDelayMsMin * 2 ** Math.min(refusals, 20))
    return delayMs * (0.5 + random() / 2)
  }
}
