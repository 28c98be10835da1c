/** Delays between attempts: exponential with full jitter, so that many clients do not return at the same moment. */
export class Backoff {
  readonly #delayMsMin: number
  readonly #delayMsMax: number
  readonly #random: () => number
  #attempts = 0

  constructor(options: { delayMsMin: number; delayMsMax: number; random?: () => number }) {
    this.#delayMsMin = options.delayMsMin
    this.#delayMsMax = options.delayMsMax
    this.#random = options.random ?? Math.random
  }

  get attempts(): number {
    return this.#attempts
  }

  /** The next delay in milliseconds, never below half of the minimum and never above the maximum. */
  nextDelayMs(): number {
    const ceiling = Math.min(this.#delayMsMax, this.#delayMsMin * 2 ** Math.min(this.#attempts, 30))
    this.#attempts++
    return Math.max(this.#delayMsMin / 2, this.#random() * ceiling)
  }

  reset(): void {
    this.#attempts = 0
  }
}
