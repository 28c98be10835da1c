import type { Clock } from '../stdx/clock.ts'

interface Bucket {
  tokens: number
  filledAtNs: bigint
}

const BUCKETS_MAX = 100_000

/** A token bucket per contract: `perMinute` on average, `burst` at once. */
export class RateLimit {
  readonly perMinute: number
  readonly burst: number
  readonly #clock: Clock
  readonly #buckets = new Map<number, Bucket>()

  constructor(options: { perMinute: number; burst: number }, clock: Clock) {
    this.perMinute = options.perMinute
    this.burst = options.burst
    this.#clock = clock
  }

  /** Takes one; says how many are left, and after how many seconds to come back when there is none. */
  take(contractNumber: number): { allowed: boolean; remaining: number; retryAfterS: number } {
    const nowNs = this.#clock.monotonicNs()
    const bucket = this.#buckets.get(contractNumber) ?? { tokens: this.burst, filledAtNs: nowNs }
    if (this.#buckets.size >= BUCKETS_MAX) this.#buckets.clear() // Forgets debts; better than memory without end.
    this.#buckets.set(contractNumber, bucket)
    const perSecond = this.perMinute / 60
    const elapsedS = Number(nowNs - bucket.filledAtNs) / 1e9
    bucket.tokens = Math.min(this.burst, bucket.tokens + elapsedS * perSecond)
    bucket.filledAtNs = nowNs
    if (bucket.tokens < 1) {
      return { allowed: false, remaining: 0, retryAfterS: Math.ceil((1 - bucket.tokens) / perSecond) }
    }
    bucket.tokens -= 1
    return { allowed: true, remaining: Math.floor(bucket.tokens), retryAfterS: 0 }
  }
}
