import { keyOf, metricSql } from './answer-tables.ts'
import { dimensionSql, type Inquiry } from './inquiry.ts'
import type { TimeRange } from './object-name.ts'
import type {
  Dimension,
  HeatQuestion,
  Key,
  Line,
  Metric,
  Results,
  SankeyNode,
  SankeyQuestion,
  SeriesQuestion,
  ThroughputQuestion,
  ThroughputRow,
} from './question.ts'
import { line, percentile, Steps, stepsSql } from './steps.ts'

const SERIES_TOP = 8
const HEAT_TOP = 24
const SANKEY_TOP = 12
const OTHER = 'other'

/** A metric over time: the largest values of a dimension as lines of their own, the rest as one. */
export async function findSeries(inquiry: Inquiry, question: SeriesQuestion): Promise<Results['series']> {
  const { metric, splitBy, top = SERIES_TOP } = question
  const { range } = inquiry
  const steps = new Steps(range, question.stepS)
  const sums = await sumsByStep(inquiry, { steps, metric, range, splitBy, top })
  const heads = splitBy === undefined ? [] : await rank(inquiry, { dimension: splitBy, metric, top })
  const [{ total }] = (await inquiry.rows<{ total: number }>(
    (parameters) => `SELECT coalesce(${metricSql(metric)}, 0) AS total ${inquiry.from(parameters)}`,
  )) as [{ total: number }]
  const series = heads.map(({ key, value }, at) => {
    const label = inquiry.label(splitBy!, keyOf(splitBy!, key))
    return line(
      { key: keyOf(splitBy!, key), label, other: false, total: value },
      steps.rates(sums.get(at)),
      range,
    )
  })
  const rest = total - heads.reduce((sum, it) => sum + it.value, 0)
  if (splitBy !== undefined && sums.has(-1)) {
    series.push(line({ key: null, label: OTHER, other: true, total: rest }, steps.rates(sums.get(-1)), range))
  }
  const whole = line({ key: null, label: 'total', other: false, total }, totalRates(steps, sums), range)
  const answer = { stepS: steps.stepS, timesS: steps.timesS, series, total: whole }
  return question.previous ? { ...answer, previous: await findPrevious(inquiry, metric, steps) } : answer
}

/** The same metric over the range before, its steps laid over those of this range. */
async function findPrevious(inquiry: Inquiry, metric: Metric, steps: Steps): Promise<Line> {
  const { sinceS, untilS } = inquiry.range
  const range = { sinceS: 2 * sinceS - untilS, untilS: sinceS }
  const shiftS = untilS - sinceS
  // Steps are aligned to the clock, and the range before may begin elsewhere in its step: its flows are
  // moved into ours.
  const rows = await inquiry.rows<{ step: number; value: number }>((parameters) => {
    const from = `FROM (SELECT * REPLACE (start_s + ${shiftS} AS start_s, end_s + ${shiftS} AS end_s) ${inquiry.from(parameters, { range })})`
    return stepsSql(steps, { metric, groups: [], from, untilS })
  })
  const [{ total }] = (await inquiry.rows<{ total: number }>(
    (parameters) =>
      `SELECT coalesce(${metricSql(metric)}, 0) AS total ${inquiry.from(parameters, { range })}`,
  )) as [{ total: number }]
  const values = steps.rates(new Map(rows.map((row) => [row.step, row.value])))
  return line({ key: null, label: 'previous', other: false, total }, values, range)
}

/** Sums of the metric by line (index into the ranking, -1 for the rest) and step. */
async function sumsByStep(
  inquiry: Inquiry,
  it: { steps: Steps; metric: Metric; range: TimeRange; splitBy: Dimension | undefined; top: number },
): Promise<Map<number, Map<number, number>>> {
  const { steps, metric, range, splitBy, top } = it
  const rows = await inquiry.rows<{ k0?: number; step: number; value: number }>(
    (parameters) => {
      if (splitBy === undefined) {
        return stepsSql(steps, { metric, groups: [], from: inquiry.from(parameters), untilS: range.untilS })
      }
      const from = `FROM (SELECT * ${inquiry.from(parameters)}) f LEFT
        JOIN (${rankSql(inquiry, splitBy, metric, top, parameters)}) r
        ON r.key IS NOT DISTINCT FROM ${dimensionSql(splitBy)}`
      return stepsSql(steps, { metric, groups: ['coalesce(r.rank, -1)'], from, untilS: range.untilS })
    },
    { show: true },
  )
  const sums = new Map<number, Map<number, number>>()
  for (const { k0 = 0, step, value } of rows) {
    const ofLine = sums.get(k0) ?? new Map<number, number>()
    sums.set(k0, ofLine.set(step, value))
  }
  return sums
}

function rankSql(
  inquiry: Inquiry,
  dimension: Dimension,
  metric: Metric,
  top: number,
  parameters: Parameters<Inquiry['from']>[0],
): string {
  const grouped = `SELECT ${dimensionSql(dimension)} AS key, coalesce(${metricSql(metric)}, 0) AS total ${inquiry.from(parameters)} GROUP BY 1`
  return `SELECT key, total, row_number() OVER (ORDER BY total DESC, key) - 1 AS rank FROM (${grouped})
    ORDER BY rank LIMIT ${top}`
}

async function rank(
  inquiry: Inquiry,
  it: { dimension: Dimension; metric: Metric; top: number },
): Promise<{ key: Key; value: number }[]> {
  const rows = await inquiry.rows<{ key: Key; total: number; rank: number }>((parameters) =>
    rankSql(inquiry, it.dimension, it.metric, it.top, parameters),
  )
  return rows.sort((a, b) => a.rank - b.rank).map(({ key, total }) => ({ key, value: total }))
}

function totalRates(steps: Steps, sums: Map<number, Map<number, number>>): number[] {
  const whole = new Map<number, number>()
  for (const ofLine of sums.values()) {
    for (const [step, value] of ofLine) whole.set(step, (whole.get(step) ?? 0) + value)
  }
  return steps.rates(whole)
}

/** A dimension (a port, as a rule) against time. Only cells that are not 0. */
export async function findHeat(inquiry: Inquiry, question: HeatQuestion): Promise<Results['heat']> {
  const { metric, rows: dimension = 'dstport', top = HEAT_TOP } = question
  const steps = new Steps(inquiry.range, question.stepS)
  const { range } = inquiry
  const sums = await sumsByStep(inquiry, { steps, metric, range, splitBy: dimension, top })
  const heads = await rank(inquiry, { dimension, metric, top })
  const cells: Results['heat']['cells'] = []
  heads.forEach((_, row) => {
    steps.rates(sums.get(row)).forEach((value, at) => {
      if (value !== 0) cells.push([at, row, value])
    })
  })
  return {
    stepS: steps.stepS,
    timesS: steps.timesS,
    rows: heads.map(({ key, value }) => {
      const shown = keyOf(dimension, key)
      return { key: shown, label: inquiry.label(dimension, shown), total: value }
    }),
    cells,
    max: cells.reduce((max, [, , value]) => Math.max(max, value), 0),
  }
}

/**
 * Who talks to whom: a column of nodes per dimension, the largest of each, the rest of a column as one node.
 */
export async function findSankey(inquiry: Inquiry, question: SankeyQuestion): Promise<Results['sankey']> {
  const { metric, path = ['srcaddr', 'service', 'dstaddr'], top = SANKEY_TOP } = question
  const heads: { key: Key; value: number }[][] = []
  for (const dimension of path) heads.push(await rank(inquiry, { dimension, metric, top }))
  const rows = await inquiry.rows<Record<string, number>>(
    (parameters) => {
      const joins = path.map(
        (dimension, at) => `LEFT JOIN (${rankSql(inquiry, dimension, metric, top, parameters)}) r${at}
          ON r${at}.key IS NOT DISTINCT FROM ${dimensionSql(dimension)}`,
      )
      const columns = path.map((_, at) => `coalesce(r${at}.rank, -1) AS c${at}`)
      return `SELECT ${columns.join(', ')}, ${metricSql(metric)} AS value
        FROM (SELECT * ${inquiry.from(parameters)}) f ${joins.join(' ')} GROUP BY ALL`
    },
    { show: true },
  )
  const nodes = new Map<string, SankeyNode>()
  const links = new Map<string, { source: string; target: string; value: number }>()
  for (const row of rows) {
    const ids = path.map((dimension, column) => {
      const at = row[`c${column}`]!
      const id = `${column}:${at}`
      const key = at < 0 ? null : keyOf(dimension, heads[column]![at]!.key)
      const label = at < 0 ? OTHER : inquiry.label(dimension, key)
      const node = nodes.get(id) ?? { id, column, dimension, key, label, other: at < 0, value: 0 }
      node.value += row['value']!
      nodes.set(id, node)
      return id
    })
    for (let at = 1; at < ids.length; at++) {
      const [source, target] = [ids[at - 1]!, ids[at]!]
      const link = links.get(`${source} ${target}`) ?? { source, target, value: 0 }
      link.value += row['value']!
      links.set(`${source} ${target}`, link)
    }
  }
  const byValue = (a: { value: number }, b: { value: number }): number => b.value - a.value
  const ordered = [...nodes.values()].sort(
    (a, b) => a.column - b.column || Number(a.other) - Number(b.other) || byValue(a, b),
  )
  return { nodes: ordered, links: [...links.values()].sort(byValue) }
}

/**
 * What each interface carried, per direction: rates over all steps of the range, those without traffic too.
 */
export async function findThroughput(
  inquiry: Inquiry,
  question: ThroughputQuestion,
): Promise<Results['throughput']> {
  const { range } = inquiry
  const steps = new Steps(range, question.stepS)
  const groups = ['interface_id', 'direction']
  const rows = await inquiry.rows<{
    k0: string
    k1: ThroughputRow['direction']
    step: number
    value: number
  }>(
    (parameters) =>
      stepsSql(steps, { metric: 'bytes', groups, from: inquiry.from(parameters), untilS: range.untilS }),
    { show: true },
  )
  const totals = await inquiry.rows<{
    id: string
    direction: ThroughputRow['direction']
    packets: number
    bytes: number
  }>(
    (
      parameters,
    ) => `SELECT interface_id AS id, direction, sum(packets) AS packets, sum(bytes) AS bytes ${inquiry.from(parameters)}
      GROUP BY ALL ORDER BY bytes DESC, id, direction LIMIT ${question.limit ?? 1000}`,
  )
  const sums = new Map<string, Map<number, number>>()
  for (const { k0, k1, step, value } of rows) {
    const key = `${k0} ${k1}`
    sums.set(key, (sums.get(key) ?? new Map<number, number>()).set(step, value))
  }
  return {
    stepS: steps.stepS,
    rows: totals.map(({ id, direction, packets, bytes }) => {
      const values = steps.rates(sums.get(`${id} ${direction}`))
      const max = Math.max(...values)
      return {
        interface: id,
        direction,
        bytes,
        packets,
        avg: bytes / (range.untilS - range.sinceS),
        p50: percentile(values, 0.5),
        p95: percentile(values, 0.95),
        max,
        maxAtS: steps.firstS + values.indexOf(max) * steps.stepS,
      }
    }),
  }
}
