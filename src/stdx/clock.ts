/** The only place that reads the machine's clocks. Everything else is handed a `Clock`, so that tests can step it. */
export interface Clock {
  /** Wall clock, milliseconds since the Unix epoch. May step. */
  nowMs(): number
  /** Monotonic clock (CLOCK_MONOTONIC on Linux), nanoseconds. Never steps, stands still during suspend. */
  monotonicNs(): bigint
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicNs: () => process.hrtime.bigint(),
}
