import type { TimeRange } from './object-name.ts'
import type { Line } from './question.ts'

const STEPS_S = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 604_800,
]
const POINTS_AIM = 240
/** A step that is asked for must not make more points than anybody can look at. */
const POINTS_MAX = 2_000

/** The steps of a range: aligned to the wall clock, so the first and the last may stick out of it. */
export class Steps {
  readonly stepS: number
  readonly firstS: number
  readonly count: number
  readonly #range: TimeRange

  constructor(range: TimeRange, wantedS: number | undefined) {
    const lengthS = range.untilS - range.sinceS
    const leastS = Math.max(wantedS ?? 0, lengthS / (wantedS === undefined ? POINTS_AIM : POINTS_MAX))
    this.stepS =
      wantedS !== undefined && wantedS >= leastS
        ? wantedS
        : (STEPS_S.find((it) => it >= leastS) ?? roundUp(leastS))
    this.firstS = range.sinceS - (range.sinceS % this.stepS)
    this.count = Math.ceil((range.untilS - this.firstS) / this.stepS)
    this.#range = range
  }

  get timesS(): number[] {
    return Array.from({ length: this.count }, (_, at) => this.firstS + at * this.stepS)
  }

  /** Seconds of a step that lie inside of the range. */
  insideS(at: number): number {
    const beginS = this.firstS + at * this.stepS
    return Math.min(beginS + this.stepS, this.#range.untilS) - Math.max(beginS, this.#range.sinceS)
  }

  /** Sums per step as rates. Steps without a sum are 0. */
  rates(sums: Map<number, number> | undefined): number[] {
    return Array.from({ length: this.count }, (_, at) => (sums?.get(at) ?? 0) / this.insideS(at))
  }
}

function roundUp(seconds: number): number {
  return Math.ceil(seconds / 604_800) * 604_800
}

export function line(
  head: Pick<Line, 'key' | 'label' | 'other' | 'total'>,
  values: number[],
  range: TimeRange,
): Line {
  return {
    ...head,
    avg: head.total / (range.untilS - range.sinceS),
    max: Math.max(0, ...values),
    p95: percentile(values, 0.95),
    last: values.at(-1) ?? 0,
    values,
  }
}

/** Nearest rank: a value that occurred, such that at least the share of values is not above it. */
export function percentile(values: number[], share: number): number {
  if (values.length === 0) return 0
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!
}

/**
 * SQL that sums a metric per step and group: the columns of `groups`, `step` and `value`. A flow that spans
 * several
 * steps is spread evenly over its seconds; `flows` counts where a flow starts.
 */
export function stepsSql(
  steps: Steps,
  it: { metric: string; groups: string[]; from: string; untilS: number },
): string {
  const names = it.groups.map((_, at) => `k${at}`)
  const groups = it.groups.map((sql, at) => `${sql} AS k${at}, `).join('')
  const list = names.map((name) => `${name}, `).join('')
  const stepOf = (second: string): string => `((${second} - ${steps.firstS}) // ${steps.stepS})`
  if (it.metric === 'flows') {
    return `SELECT ${groups}${stepOf('start_s')} AS step, count(*) AS value ${it.from} GROUP BY ALL`
  }
  const beginS = `(${steps.firstS} + step * ${steps.stepS})`
  const overlapS = `least(end_s::BIGINT + 1, ${beginS} + ${steps.stepS}, ${it.untilS}) - greatest(start_s, ${beginS})`
  // Read twice rather than kept: most flows are in one step, and those need no row of their own.
  return `WITH spans AS NOT MATERIALIZED (
      SELECT ${groups}start_s, end_s, ${stepOf('start_s')} AS first_step,
        ${stepOf(`least(end_s, ${it.untilS - 1})`)} AS last_step, ${it.metric} AS metric ${it.from}),
    parts AS (
      SELECT ${list}first_step AS step, sum(metric) AS value FROM spans
        WHERE first_step = last_step AND end_s < ${it.untilS} GROUP BY ALL
      UNION ALL
      SELECT ${list}step, sum(metric * (${overlapS}) / (end_s::BIGINT - start_s + 1)) AS value
        FROM (SELECT *, unnest(range(first_step, last_step + 1)) AS step FROM spans
          WHERE first_step <> last_step OR end_s >= ${it.untilS}) GROUP BY ALL)
    SELECT ${list}step, sum(value) AS value FROM parts GROUP BY ALL`
}
