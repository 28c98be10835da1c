import { keyOf } from './answer-tables.ts'
import type { Parameters } from './duckdb.ts'
import { dimensionColumns, dimensionSql, type Inquiry, metricSql, shownSql } from './inquiry.ts'
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
import { line, percentile, Steps, spansSql, stepsSql } from './steps.ts'

const SERIES_TOP = 8
const HEAT_TOP = 24
const SANKEY_TOP = 12
const OTHER = 'other'

/** A metric over time: the largest values of a dimension as lines of their own, the rest as one. */
export async function findSeries(inquiry: Inquiry, question: SeriesQuestion): Promise<Results['series']> {
  const { metric, splitBy, top = SERIES_TOP } = question
  const { range } = inquiry
  const steps = new Steps(range, question.stepS)
  const ranking = splitBy === undefined ? undefined : { dimension: splitBy, metric, top }
  const heads = ranking === undefined ? [] : await rank(inquiry, ranking)
  const { total, sums } = await sumsByStep(inquiry, { steps, metric, ranking })
  const series = heads.map(({ key, value }, at) => {
    const label = inquiry.label(splitBy!, key)
    return line({ key, label, other: false, total: value }, steps.rates(sums.get(at)), range)
  })
  const rest = total - heads.reduce((sum, it) => sum + it.value, 0)
  if (splitBy !== undefined && sums.has(REST)) {
    const rates = steps.rates(sums.get(REST))
    series.push(line({ key: null, label: OTHER, other: true, total: rest }, rates, range))
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
  const { total, sums } = await sumsOfSpans(inquiry, { steps, groups: 0 }, (parameters) => {
    const from = `FROM (SELECT * REPLACE (start_s + ${shiftS} AS start_s, end_s + ${shiftS} AS end_s) ${inquiry.from(parameters, { range })})`
    return spansSql(steps, { metric, groups: [], from })
  })
  return line({ key: null, label: 'previous', other: false, total }, steps.rates(sums.get(REST)), range)
}

/** The place in a ranking of all that is not in it. */
const REST = -1

/** Metrics by place in a ranking and step, and the exact sum of all. */
interface StepSums {
  total: number
  sums: Map<number, Map<number, number>>
}

/** Where there is a ranking, its table has been made. */
async function sumsByStep(
  inquiry: Inquiry,
  { steps, metric, ranking }: { steps: Steps; metric: Metric; ranking: Ranking | undefined },
): Promise<StepSums> {
  const groups = ranking === undefined ? [] : [`coalesce(place, ${REST})`]
  const spans = (parameters: Parameters, ranks: string): string => {
    const flows = inquiry.from(parameters)
    const from =
      ranking === undefined
        ? flows
        : `FROM (SELECT * ${flows}) LEFT JOIN ${ranks} ON key IS NOT DISTINCT FROM ${dimensionSql(ranking.dimension)}`
    return spansSql(steps, { metric, groups, from })
  }
  inquiry.show((parameters) => {
    const ranks = ranking === undefined ? '' : `(${rankSql(inquiry, ranking, parameters)})`
    return stepsSql(steps, { groups: groups.length, spans: `(${spans(parameters, ranks)})` })
  })
  return sumsOfSpans(inquiry, { steps, groups: groups.length }, (parameters) => spans(parameters, 'ranks'))
}

async function sumsOfSpans(
  inquiry: Inquiry,
  it: { steps: Steps; groups: number },
  spans: (parameters: Parameters) => string,
): Promise<StepSums> {
  await inquiry.run((parameters) => `CREATE OR REPLACE TEMP TABLE spans AS ${spans(parameters)}`)
  const rows = await inquiry.rows<{ k0?: number; step: number; value: number }>(() =>
    stepsSql(it.steps, { groups: it.groups, spans: 'spans' }),
  )
  const [all] = await inquiry.rows<{ total: number }>(
    () => 'SELECT coalesce(sum(total), 0) AS total FROM spans',
  )
  const sums = new Map<number, Map<number, number>>()
  for (const { k0 = REST, step, value } of rows) {
    const ofLine = sums.get(k0) ?? new Map<number, number>()
    sums.set(k0, ofLine.set(step, value))
  }
  return { total: all!.total, sums }
}

/** What to rank: the table `ranks` has the largest values of the dimension. */
interface Ranking {
  dimension: Dimension
  metric: Metric
  top: number
}

function rankSql(inquiry: Inquiry, { dimension, metric, top }: Ranking, parameters: Parameters): string {
  const { from, flows } = inquiry.summed(parameters, dimensionColumns([dimension]))
  const sums = `SELECT ${dimensionSql(dimension)} AS key, coalesce(${metricSql(metric, flows)}, 0) AS total
    ${from} GROUP BY 1`
  return largestSql(sums, { dimension, top })
}

/** The largest of `sums` (`key` and `total`) with their places, those that are equal in the order of their names. */
function largestSql(sums: string, { dimension, top }: Pick<Ranking, 'dimension' | 'top'>): string {
  return `SELECT *, row_number() OVER (ORDER BY total DESC, shown) - 1 AS place FROM (
      SELECT key, ${shownSql(dimension, 'key')} AS shown, total FROM (${sums})
      ORDER BY total DESC, shown LIMIT ${top})`
}

type Head = { key: Key; value: number }

async function rank(inquiry: Inquiry, ranking: Ranking): Promise<Head[]> {
  await inquiry.run(
    (parameters) => `CREATE OR REPLACE TEMP TABLE ranks AS ${rankSql(inquiry, ranking, parameters)}`,
  )
  return headsIn(inquiry, 'ranks', ranking.dimension)
}

async function headsIn(inquiry: Inquiry, table: string, dimension: Dimension): Promise<Head[]> {
  const rows = await inquiry.rows<Head>(
    () => `SELECT shown AS key, total AS value FROM ${table} ORDER BY place`,
  )
  return rows.map(({ key, value }) => ({ key: keyOf(dimension, key), value }))
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
  const ranking = { dimension, metric, top }
  const heads = await rank(inquiry, ranking)
  const { sums } = await sumsByStep(inquiry, { steps, metric, ranking })
  const cells: Results['heat']['cells'] = []
  heads.forEach((_, row) => {
    steps.rates(sums.get(row)).forEach((value, at) => {
      if (value !== 0) cells.push([at, row, value])
    })
  })
  return {
    stepS: steps.stepS,
    timesS: steps.timesS,
    rows: heads.map(({ key, value }) => ({ key, label: inquiry.label(dimension, key), total: value })),
    cells,
    max: cells.reduce((max, [, , value]) => Math.max(max, value), 0),
  }
}

/**
 * Who talks to whom: a column of nodes per dimension, the largest of each, the rest of a column as one node.
 */
export async function findSankey(inquiry: Inquiry, question: SankeyQuestion): Promise<Results['sankey']> {
  const { metric, path = ['srcaddr', 'service', 'dstaddr'], top = SANKEY_TOP } = question
  const keys = path.map((dimension, at) => `${dimensionSql(dimension)} AS k${at}`)
  const groupsSql = (parameters: Parameters): string => {
    const { from, flows } = inquiry.summed(parameters, dimensionColumns(path))
    return `SELECT ${keys.join(', ')}, ${metricSql(metric, flows)} AS value ${from} GROUP BY ALL`
  }
  inquiry.show((parameters) => `${groupsSql(parameters)} ORDER BY value DESC`)
  await inquiry.run((parameters) => `CREATE OR REPLACE TEMP TABLE groups AS ${groupsSql(parameters)}`)
  const heads: Head[][] = []
  for (const [at, dimension] of path.entries()) {
    const sums = `SELECT k${at} AS key, sum(value) AS total FROM groups GROUP BY 1`
    const ranked = largestSql(sums, { dimension, top })
    await inquiry.run(() => `CREATE OR REPLACE TEMP TABLE ranks${at} AS ${ranked}`)
    heads.push(await headsIn(inquiry, `ranks${at}`, dimension))
  }
  const places = path.map((_, at) => `coalesce(ranks${at}.place, ${REST}) AS c${at}`)
  const joins = path.map((_, at) => ` LEFT JOIN ranks${at} ON ranks${at}.key IS NOT DISTINCT FROM k${at}`)
  const rows = await inquiry.rows<Record<string, number>>(
    () => `SELECT ${places.join(', ')}, sum(value) AS value FROM groups${joins.join('')} GROUP BY ALL`,
  )
  const nodes = new Map<string, SankeyNode>()
  const links = new Map<string, { source: string; target: string; value: number }>()
  for (const row of rows) {
    const ids = path.map((dimension, column) => {
      const at = row[`c${column}`]!
      const id = `${column}:${at}`
      const key = at < 0 ? null : heads[column]![at]!.key
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
  const spans = (parameters: Parameters): string =>
    spansSql(steps, {
      metric: 'bytes',
      groups: ['interface_id', 'direction'],
      from: inquiry.from(parameters),
      sums: 'sum(packets) AS packets',
    })
  inquiry.show((parameters) => stepsSql(steps, { groups: 2, spans: `(${spans(parameters)})` }))
  await inquiry.run((parameters) => `CREATE OR REPLACE TEMP TABLE spans AS ${spans(parameters)}`)
  const rows = await inquiry.rows<{
    k0: string
    k1: ThroughputRow['direction']
    step: number
    value: number
  }>(() => stepsSql(steps, { groups: 2, spans: 'spans' }))
  const totals = await inquiry.rows<{
    id: string
    direction: ThroughputRow['direction']
    packets: number
    bytes: number
  }>(
    () => `SELECT k0 AS id, k1 AS direction, sum(packets) AS packets, sum(total) AS bytes FROM spans
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
