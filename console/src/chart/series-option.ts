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
}

/** Rates over time, one band per series, the largest at the bottom; the period before as a dashed line. */
export function seriesOption(answer: Series, colours: Colours, options: Options): EChartsOption {
  const { timesS, series, previous } = answer
  const text = options.valueText ?? ((value: number) => rateText(options.metric, value))
  const points = (values: readonly number[]) => values.map((value, at) => [timesS[at]! * 1000, value])
  return {
    animation: false,
    aria: { enabled: false }, // The chart's own label says it in words.
    ...timeGrid(colours, text),
    tooltip: {
      ...TOOLTIP,
      trigger: 'axis',
      axisPointer: { type: 'line', lineStyle: { color: colours.muted, type: 'dashed' } },
      formatter: (params: unknown) => {
        const [{ dataIndex: at }] = params as [{ dataIndex: number }]
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
        step: 'end' as const,
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
              step: 'end' as const,
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

function timeGrid(colours: Colours, text: (value: number) => string): EChartsOption {
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
      splitNumber: 4,
      axisLabel: { ...label, formatter: (value: number) => (value === 0 ? '0' : text(value)) },
      splitLine: { lineStyle: { color: colours.line } },
    },
    // Not to be seen: it lets a stretch of time be drawn with the mouse.
    toolbox: { show: true, itemSize: 0, feature: { dataZoom: { yAxisIndex: 'none' as const } } },
  }
}
