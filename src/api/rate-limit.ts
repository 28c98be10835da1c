import type { Clock } from '../stdx/clock.ts'

interface Bucket {
  tokens: number
  filledAtNs: bigint
}

interface Taken {
  allowed: boolean
  remaining: number
  retryAfterS: number
}

const BUCKETS_MAX = 100_000

/** A token bucket per key, such as a contract: `perMinute` on average, `burst` at once. */
export class RateLimit<Key> {
  readonly perMinute: number
  readonly burst: number
  readonly #clock: Clock
  readonly #buckets = new Map<Key, Bucket>()

  constructor(options: { perMinute: number; burst: number }, clock: Clock) {
    this.perMinute = options.perMinute
    this.burst = options.burst
    this.#clock = clock
  }

  /** Takes one; says how many are left, and after how many seconds to come back when there is none. */
  take(key: Key): Taken {
    const bucket = this.#filled(key)
    if (this.#buckets.size >= BUCKETS_MAX) this.#buckets.clear() // Forgets debts; better than memory without end.
    this.#buckets.set(key, bucket)
    const taken = this.#left(bucket)
    if (taken.allowed) bucket.tokens -= 1
    return taken
  }

  /** What `take` would say. */
  look(key: Key): Taken {
    return this.#left(this.#filled(key))
  }

  /** As if nothing had been taken. */
  forget(key: Key): void {
    this.#buckets.delete(key)
  }

  #filled(key: Key): Bucket {
    const nowNs = this.#clock.monotonicNs()
    const bucket = this.#buckets.get(key) ?? { tokens: this.burst, filledAtNs: nowNs }
    const elapsedS = Number(nowNs - bucket.filledAtNs) / 1e9
    bucket.tokens = Math.min(this.burst, bucket.tokens + (elapsedS * this.perMinute) / 60)
    bucket.filledAtNs = nowNs
    return bucket
  }

  #left({ tokens }: Bucket): Taken {
    if (tokens >= 1) return { allowed: true, remaining: Math.floor(tokens - 1), retryAfterS: 0 }
    return { allowed: false, remaining: 0, retryAfterS: Math.ceil(((1 - tokens) * 60) / this.perMinute) }
  }
}
