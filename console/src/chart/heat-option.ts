import type { EChartsOption } from 'echarts'
import type { Heat, Metric } from '../api/explore.ts'
import { rateText } from '../text/numbers.ts'
import { tickText, zoneOffsetMin } from '../text/times.ts'
import type { Colours } from './colours.ts'
import { TOOLTIP, timeTip } from './tip.ts'

/** Ports over time. The scale is logarithmic: one backup must not make everything else white. */
export function heatOption(
  answer: Heat,
  colours: Colours,
  metric: Metric,
  { labels, width }: { labels: readonly string[]; width: number },
): EChartsOption {
  const label = { color: colours.muted, fontFamily: 'IBM Plex Sans', fontSize: colours.labelPx }
  const smallest = Math.min(...answer.cells.map(([, , value]) => value).filter((value) => value > 0))
  const logOf = (value: number) => Math.log10(Math.max(value, smallest))
  return {
    animation: false,
    grid: { left: 8, right: 16, top: 8, bottom: 8, containLabel: true },
    xAxis: {
      type: 'category',
      data: answer.timesS.map((s) => tickText(s, answer.timesS)),
      axisLabel: { ...label, hideOverlap: true, interval: (at: number) => isRound(answer.timesS, at) },
      axisLine: { lineStyle: { color: colours.line } },
      axisTick: { show: false },
    },
    yAxis: {
      type: 'category',
      inverse: true,
      data: [...labels],
      axisLabel: label,
      axisLine: { show: false },
      axisTick: { show: false },
    },
    visualMap: {
      show: false,
      dimension: 2,
      min: logOf(smallest),
      max: Math.max(logOf(answer.max), logOf(smallest) + 0.1),
      inRange: { color: colours.scale },
    },
    tooltip: {
      ...TOOLTIP,
      formatter: (params: unknown) => {
        const [at, row, , value] = (params as { data: [number, number, number, number] }).data
        return timeTip(answer.timesS[at]!, [{ label: labels[row]!, value: rateText(metric, value) }])
      },
    },
    series: [
      {
        type: 'heatmap',
        data: answer.cells
          .filter(([, , value]) => value > 0)
          .map(([at, row, value]) => [at, row, logOf(value), value]),
        encode: { value: 2 },
        itemStyle: { borderColor: colours.surface, borderWidth: width / answer.timesS.length > 6 ? 1 : 0 },
        emphasis: { itemStyle: { borderColor: colours.ink } },
      },
    ],
  }
}

const TICKS_MAX = 12
const TICKS_S = [1, 5, 15, 30, 60, 300, 900, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 604_800]

/** Whether the step at `at` begins at a time of day that people call round, in their zone. */
function isRound(timesS: readonly number[], at: number): boolean {
  const spanS = timesS.at(-1)! - timesS[0]!
  const everyS = TICKS_S.find((it) => spanS / it <= TICKS_MAX) ?? spanS
  const localOf = (s: number) => s + zoneOffsetMin(s) * 60
  const before = timesS[at - 1]
  if (before === undefined) return localOf(timesS[at]!) % everyS === 0
  return Math.floor(localOf(timesS[at]!) / everyS) > Math.floor(localOf(before) / everyS)
}
