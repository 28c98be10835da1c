import type { EChartsOption } from 'echarts'
import type { Metric, Series } from '../api/explore.ts'
import { chosenZone } from '../state/zone.ts'
import { rateText } from '../text/numbers.ts'
import { tickText } from '../text/times.ts'
import { type Colours, colourOf } from './colours.ts'
import { TOOLTIP, timeTip } from './tip.ts'

const TIP_ROWS_MAX = 12

interface Options {
  /** Of the chart, in pixels. */
  width: number
  metric: Metric
  labelOf(index: number): string
  /** Shown in bit/s, say, instead of the metric's own unit. */
  valueText?(perSecond: number): string
  /** What the axis' marks are round in: 1024 for bytes, 1000 for counts, 'bits' for bytes shown in bits. */
  unit?: AxisUnit
  /** From here on windows have not been delivered yet. */
  openFromS?: number | undefined
}

/** Narrower ones cannot be told apart, and are drawn askew. */
const STEP_PX_MIN = 3

/**
 * ECharts leaves out a point that is less than 2 pixels from the one before, and for a band's lower edge, drawn backwards, not
 * the same one. Points this far from each corner keep neighbouring bands together.
 */
const SEAM_PX = 2.5
const POINTS_PER_STEP = 4

/** As many steps as there is room for: neighbours become one with their mean rate. */
function forWidth(answer: Series, width: number): Series {
  const count = Math.ceil((answer.timesS.length * STEP_PX_MIN) / Math.max(1, width))
  if (count < 2) return answer
  const merged = (values: readonly number[]) =>
    values.flatMap((_, at) => {
      if (at % count > 0) return []
      const some = values.slice(at, at + count)
      return some.reduce((sum, it) => sum + it, 0) / some.length
    })
  const coarse = (it: Series['total']) => {
    const values = merged(it.values)
    return { ...it, values, max: Math.max(0, ...values) }
  }
  return {
    stepS: answer.stepS * count,
    timesS: answer.timesS.filter((_, at) => at % count === 0),
    series: answer.series.map(coarse),
    total: coarse(answer.total),
    ...(answer.previous === undefined ? {} : { previous: coarse(answer.previous) }),
  }
}

/** Rates over time, one band per series, the largest at the bottom; the period before as a dashed line. */
export function seriesOption(exact: Series, colours: Colours, options: Options): EChartsOption {
  const answer = forWidth(exact, options.width)
  const { timesS, series, previous } = answer
  const text = options.valueText ?? ((value: number) => rateText(options.metric, value))
  const stepMs = answer.stepS * 1000
  const seamMs = Math.min(stepMs / 3, (SEAM_PX * stepMs * timesS.length) / options.width)
  // A rate holds for a whole step. ECharts' own steps leave gaps between stacked bands.
  const points = (values: readonly (number | null)[]) =>
    values.flatMap((value, at) => {
      const fromMs = timesS[at]! * 1000
      return [0, seamMs, stepMs - seamMs, stepMs].map((ms) => [fromMs + ms, value])
    })
  const most = Math.max(answer.total.max, previous?.max ?? 0)
  const step = axisStep(most, options.unit ?? (options.metric === 'bytes' ? 1024 : 1000))
  const top = Math.max(1, Math.ceil(most / step)) * step
  return {
    animation: false,
    aria: { enabled: false }, // The chart's own label says it in words.
    useUTC: chosenZone() === 'utc',
    ...timeGrid(colours, timesS, text, { step, top }),
    tooltip: {
      ...TOOLTIP,
      trigger: 'axis',
      axisPointer: { type: 'line', lineStyle: { color: colours.muted, type: 'dashed' } },
      formatter: (params: unknown) => {
        const total = (params as { seriesIndex: number; dataIndex: number }[]).find(
          ({ seriesIndex }) => seriesIndex === 0,
        )
        return seriesTip(answer, colours, options, {
          at: Math.floor((total?.dataIndex ?? 0) / POINTS_PER_STEP),
          text,
        })
      },
    },
    series: [
      // Has a value at every step, which the tooltip needs; the bands have none where nothing went.
      { ...line('Total', colours.ink), lineStyle: { opacity: 0 }, data: points(answer.total.values) },
      ...series.map((it, index) => {
        const colour = colourOf(colours, it, index)
        return {
          ...line(options.labelOf(index), colour),
          stack: 'all',
          silent: false,
          triggerLineEvent: true,
          lineStyle: { width: 0 }, // The outline of a thin band would hide those below it.
          areaStyle: { color: colour, opacity: 0.9 },
          itemStyle: { color: colour, ...(it.key === 'REJECT' ? { decal: hatch(colours) } : {}) },
          data: points(it.values.map((value) => (value > 0 ? value : null))),
        }
      }),
      ...(previous === undefined || previous.total === 0
        ? []
        : [
            {
              ...line('Period before', colours.ink),
              lineStyle: { width: 1.5, color: colours.ink, type: 'dashed' as const },
              data: points(previous.values),
            },
          ]),
      ...(options.openFromS === undefined ? [] : [openPart(answer, colours, options.openFromS)]),
    ],
  }
}

/** What was clicked; of two lines with one name the right one. The first that is drawn is the total. */
export function lineAt({ series }: Series, seriesIndex = 0): Series['total'] | undefined {
  return series[seriesIndex - 1]
}

function line(name: string, colour: string) {
  return {
    type: 'line' as const,
    name,
    symbol: 'none',
    silent: true,
    itemStyle: { color: colour },
    emphasis: { disabled: true },
  }
}

/** What was refused is told by more than its colour. */
function hatch(colours: Colours) {
  const stripes = { dashArrayX: [1, 0], dashArrayY: [2, 4], rotation: -Math.PI / 4 }
  return { symbol: 'rect' as const, color: colours.surface, ...stripes }
}

/** The end of the range whose windows have not been delivered: no traffic there says nothing yet. */
function openPart(answer: Series, colours: Colours, fromS: number) {
  const untilS = answer.timesS.at(-1)! + answer.stepS
  return {
    ...line('Not delivered yet', colours.muted),
    data: [],
    markArea: {
      silent: true,
      itemStyle: { color: colours.line, opacity: 0.45 },
      label: {
        position: ['100%', -16] as [string, number], // Above the bands, which it would else be drawn upon.
        align: 'right' as const,
        color: colours.muted,
        fontFamily: 'IBM Plex Sans',
        fontSize: colours.labelPx,
      },
      data: [[{ xAxis: fromS * 1000, name: 'not delivered yet' }, { xAxis: untilS * 1000 }]] as [
        { xAxis: number; name: string },
        { xAxis: number },
      ][],
    },
  }
}

function seriesTip(
  { timesS, series, total, previous }: Series,
  colours: Colours,
  { labelOf }: Options,
  { at, text }: { at: number; text(value: number): string },
): HTMLElement {
  const rows = series.map((line, index) => ({
    label: labelOf(index),
    amount: line.values[at] ?? 0,
    colour: colourOf(colours, line, index),
  }))
  const shown = rows.filter(({ amount }) => amount > 0).slice(0, TIP_ROWS_MAX)
  const before = previous?.values[at]
  return timeTip(timesS[at]!, [
    ...shown.map((it) => ({ label: it.label, value: text(it.amount), colour: it.colour })),
    { label: 'Total', value: text(total.values[at] ?? 0) },
    ...(before === undefined ? [] : [{ label: 'Period before', value: text(before) }]),
  ])
}

type AxisUnit = 1000 | 1024 | 'bits'

const MARKS_MAX = 5

/** The distance of the value axis' marks: round in the unit that they are shown in. */
function axisStep(most: number, unit: AxisUnit): number {
  if (most <= 0) return 1
  const factor = unit === 'bits' ? 8 : 1
  const wanted = (most * factor) / MARKS_MAX
  const base = unit === 1024 ? 1024 : 1000
  const scale =
    wanted < 1 ? 10 ** Math.floor(Math.log10(wanted)) : base ** Math.floor(Math.log(wanted) / Math.log(base))
  const last = base === 1024 ? [256, 512] : [200, 500] // So that all marks are round in the unit above, too.
  const step = [1, 2, 5, 10, 20, 50, 100, ...last].map((it) => it * scale).find((it) => it >= wanted)
  return (step ?? base * scale) / factor
}

function timeGrid(
  colours: Colours,
  timesS: readonly number[],
  text: (value: number) => string,
  { step, top }: { step: number; top: number },
): EChartsOption {
  const label = { color: colours.muted, fontFamily: 'IBM Plex Sans', fontSize: colours.labelPx }
  return {
    grid: { left: 8, right: 16, top: 20, bottom: 8, containLabel: true },
    xAxis: {
      type: 'time',
      axisLabel: { ...label, hideOverlap: true, formatter: (ms: number) => tickText(ms / 1000, timesS) },
      axisLine: { lineStyle: { color: colours.line } },
      axisTick: { lineStyle: { color: colours.line } },
    },
    yAxis: {
      type: 'value',
      min: 0,
      interval: step,
      max: top,
      axisLabel: { ...label, formatter: (value: number) => (value === 0 ? '0' : text(value)) },
      splitLine: { lineStyle: { color: colours.line } },
    },
    // Not to be seen: it lets a stretch of time be drawn with the mouse.
    toolbox: { show: true, itemSize: 0, feature: { dataZoom: { yAxisIndex: 'none' as const } } },
  }
}
