import type { EChartsOption } from 'echarts'
import type { Metric, Series } from '../api/explore.ts'
import { rateText } from '../text/numbers.ts'
import { type Colours, colourOf } from './colours.ts'
import { TOOLTIP, timeTip } from './tip.ts'

const TIP_ROWS_MAX = 12

interface Options {
  metric: Metric
  labelOf(index: number): string
  /** Shown in bit/s, say, instead of the metric's own unit. */
  valueText?(perSecond: number): string
  /** What the axis' marks are round in: 1024 for bytes, 1000 for counts, 'bits' for bytes shown in bits. */
  unit?: AxisUnit
}

/** Rates over time, one band per series, the largest at the bottom; the period before as a dashed line. */
export function seriesOption(answer: Series, colours: Colours, options: Options): EChartsOption {
  const { timesS, series, previous } = answer
  const text = options.valueText ?? ((value: number) => rateText(options.metric, value))
  // A rate holds for a whole step: two points each. ECharts' own steps leave gaps between stacked bands.
  const points = (values: readonly number[]) =>
    values.flatMap((value, at) => [
      [timesS[at]! * 1000, value],
      [(timesS[at]! + answer.stepS) * 1000, value],
    ])
  const most = Math.max(answer.total.max, previous?.max ?? 0)
  return {
    animation: false,
    aria: { enabled: false }, // The chart's own label says it in words.
    ...timeGrid(colours, text, axisStep(most, options.unit ?? (options.metric === 'bytes' ? 1024 : 1000))),
    tooltip: {
      ...TOOLTIP,
      trigger: 'axis',
      axisPointer: { type: 'line', lineStyle: { color: colours.muted, type: 'dashed' } },
      formatter: (params: unknown) => {
        const [{ dataIndex }] = params as [{ dataIndex: number }]
        const at = Math.floor(dataIndex / 2)
        const rows = series.map((line, index) => ({
          label: options.labelOf(index),
          amount: line.values[at] ?? 0,
          colour: colourOf(colours, line, index),
        }))
        const shown = rows.filter(({ amount }) => amount > 0).slice(0, TIP_ROWS_MAX)
        const before = previous?.values[at]
        return timeTip(timesS[at]!, [
          ...shown.map((it) => ({ label: it.label, value: text(it.amount), colour: it.colour })),
          { label: 'Total', value: text(answer.total.values[at] ?? 0) },
          ...(before === undefined ? [] : [{ label: 'Period before', value: text(before) }]),
        ])
      },
    },
    series: [
      ...series.map((line, index) => ({
        type: 'line' as const,
        name: options.labelOf(index),
        stack: 'all',
        symbol: 'none',
        triggerLineEvent: true,
        lineStyle: { width: 1, color: colourOf(colours, line, index) },
        areaStyle: { color: colourOf(colours, line, index), opacity: 0.75 },
        itemStyle: { color: colourOf(colours, line, index) },
        emphasis: { disabled: true },
        data: points(line.values),
      })),
      ...(previous === undefined
        ? []
        : [
            {
              type: 'line' as const,
              name: 'Period before',
              symbol: 'none',
              silent: true,
              lineStyle: { width: 1.5, color: colours.ink, type: 'dashed' as const },
              itemStyle: { color: colours.ink },
              data: points(previous.values),
            },
          ]),
    ],
  }
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
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500].map((it) => it * scale).find((it) => it >= wanted)
  return (step ?? base * scale) / factor
}

function timeGrid(colours: Colours, text: (value: number) => string, step: number): EChartsOption {
  const label = { color: colours.muted, fontFamily: 'IBM Plex Sans', fontSize: 11 }
  return {
    grid: { left: 8, right: 16, top: 12, bottom: 8, containLabel: true },
    xAxis: {
      type: 'time',
      axisLabel: { ...label, hideOverlap: true },
      axisLine: { lineStyle: { color: colours.line } },
      axisTick: { lineStyle: { color: colours.line } },
    },
    yAxis: {
      type: 'value',
      min: 0,
      interval: step,
      max: ({ max }: { max: number }) => Math.max(1, Math.ceil(max / step)) * step,
      axisLabel: { ...label, formatter: (value: number) => (value === 0 ? '0' : text(value)) },
      splitLine: { lineStyle: { color: colours.line } },
    },
    // Not to be seen: it lets a stretch of time be drawn with the mouse.
    toolbox: { show: true, itemSize: 0, feature: { dataZoom: { yAxisIndex: 'none' as const } } },
  }
}
