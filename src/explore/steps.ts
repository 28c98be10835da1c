import type { TimeRange } from './object-name.ts'
import type { Line, Metric } from './question.ts'

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

  get untilS(): number {
    return this.#range.untilS
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
 * SQL that reads flows once and sums a metric by groups and by the steps in which flows begin and end: the columns
 * `k0` and so on, `first_step`, `last_step` and `total`. A flow that spans several steps is spread evenly over its
 * seconds: `head` and `tail` fall into its first and its last step, `rate` into each second between them. A flow that
 * goes on after the range has its end behind the last step. `flows` counts where a flow starts.
 */
export function spansSql(
  steps: Steps,
  it: { metric: Metric; groups: string[]; from: string; sums?: string },
): string {
  const names = it.groups.map((_, at) => `k${at}, `).join('')
  const groups = it.groups.map((sql, at) => `${sql} AS k${at}, `).join('')
  const sums = it.sums === undefined ? '' : `, ${it.sums}`
  const stepOf = (second: string): string => `((${second} - ${steps.firstS}) // ${steps.stepS})`
  if (it.metric === 'flows') {
    return `SELECT ${groups}${stepOf('start_s')} AS first_step, first_step AS last_step, count(*) AS total,
      0.0 AS rate, 0.0 AS head, 0.0 AS tail${sums} ${it.from} GROUP BY ALL`
  }
  // Most flows are in one step, and CASE works on the others alone.
  const spread = (seconds: string): string =>
    `sum(CASE WHEN first_step <> last_step THEN ${it.metric}::DOUBLE * (${seconds}) / (end_s::BIGINT - start_s + 1) END)`
  return `SELECT ${names}first_step, last_step, sum(${it.metric}) AS total, ${spread('1')} AS rate,
      ${spread(`${beginSql(steps, 'first_step + 1')} - start_s`)} AS head,
      ${spread(`end_s::BIGINT + 1 - ${beginSql(steps, 'last_step')}`)} AS tail${sums}
    FROM (SELECT *, ${groups}${stepOf('start_s')} AS first_step,
      CASE WHEN end_s < ${steps.untilS} THEN ${stepOf('end_s')} ELSE ${steps.count} END AS last_step ${it.from})
    GROUP BY ALL`
}

/** SQL that makes the columns of groups, `step` and `value` out of a relation that spansSql made. */
export function stepsSql(steps: Steps, it: { groups: number; spans: string }): string {
  const names = Array.from({ length: it.groups }, (_, at) => `k${at}, `).join('')
  const insideS = `(${beginSql(steps, 'step + 1')} - ${beginSql(steps, 'step')})`
  return `WITH spread AS MATERIALIZED (FROM ${it.spans}), parts AS (
      SELECT ${names}first_step AS step, CASE WHEN first_step = last_step THEN total ELSE head END AS value FROM spread
      UNION ALL SELECT ${names}last_step, tail FROM spread WHERE first_step < last_step AND last_step < ${steps.count}
      UNION ALL SELECT ${names}step, rate * ${insideS}
        FROM (SELECT *, unnest(range(first_step + 1, last_step)) AS step FROM spread))
    SELECT ${names}step, sum(value) AS value FROM parts GROUP BY ALL`
}

/** When a step begins, or the range ends. */
function beginSql(steps: Steps, step: string): string {
  return `least(${steps.firstS} + (${step}) * ${steps.stepS}, ${steps.untilS})`
}
