import type { EChartsOption } from 'echarts'
import type { Metric, Sankey } from '../api/explore.ts'
import { amountText } from '../text/numbers.ts'
import { DIMENSIONS } from '../text/words.ts'
import type { Colours } from './colours.ts'
import { TOOLTIP, tip } from './tip.ts'

const SHORT_BELOW = 600
/** A letter's width, in its size. */
const LETTER = 0.66

/** Who talks to whom: a column per dimension, links as wide as what went over them. */
export function sankeyOption(answer: Sankey, colours: Colours, metric: Metric, width: number): EChartsOption {
  // Where there is little room, a service's number says more than the beginning of its name.
  const isShort = width < SHORT_BELOW
  const labels = new Map(
    answer.nodes.map((node) => [
      node.id,
      isShort && node.dimension === 'service' && node.key !== null ? String(node.key) : node.label,
    ]),
  )
  const lastColumn = Math.max(...answer.nodes.map(({ column }) => column))
  const last = answer.nodes.filter(({ column }) => column === lastColumn)
  const longest = Math.max(...last.map(({ id }) => labels.get(id)!.length)) * colours.labelPx * LETTER
  const labelWidth = Math.max(56, Math.min(190, width / (lastColumn + 2)))
  return {
    animation: false,
    tooltip: {
      ...TOOLTIP,
      trigger: 'item',
      formatter: (params: unknown) => {
        const { dataType, data } = params as { dataType: string; data: Record<string, unknown> }
        if (dataType === 'edge') {
          const from = labels.get(String(data['source'])) ?? ''
          const to = labels.get(String(data['target'])) ?? ''
          return tip(`${from} → ${to}`, [{ label: metric, value: amountText(metric, Number(data['value'])) }])
        }
        const node = answer.nodes.find(({ id }) => id === data['name'])
        if (node === undefined) return ''
        const title = `${DIMENSIONS[node.dimension]} ${node.label}`
        return tip(title, [{ label: metric, value: amountText(metric, node.value) }])
      },
    },
    series: [
      {
        type: 'sankey',
        left: 4,
        right: Math.min(longest, labelWidth) + 8,
        top: 8,
        bottom: 8,
        nodeWidth: 10,
        nodeGap: 15,
        labelLayout: { hideOverlap: true },
        draggable: false,
        layoutIterations: 48,
        emphasis: { focus: 'adjacency' },
        lineStyle: { color: 'source', opacity: 0.32, curveness: 0.5 },
        label: {
          color: colours.ink,
          textBorderColor: colours.surface, // Legible also where links pass below.
          textBorderWidth: 3,
          fontFamily: 'IBM Plex Sans',
          fontSize: colours.labelPx + 1,
          width: labelWidth,
          overflow: 'truncate',
          formatter: (it) => labels.get(it.name) ?? it.name,
        },
        data: answer.nodes.map((node) => ({
          name: node.id,
          depth: node.column,
          itemStyle: { color: nodeColour(colours, node, lastColumn), borderWidth: 0 },
        })),
        links: answer.links,
      },
    ],
  }
}

function nodeColour(colours: Colours, node: Sankey['nodes'][number], lastColumn: number): string {
  if (node.other) return colours.other
  if (node.key === 'REJECT') return colours.reject
  if (node.key === 'ACCEPT') return colours.accept
  if (node.column === 0) return colours.series[0]!
  return node.column === lastColumn ? colours.series[1]! : colours.series[2]!
}
