import type { EChartsOption } from 'echarts'
import type { ECharts } from 'echarts/core'
import { useEffect, useRef, useState } from 'react'
import { useTheme } from '../state/theme.ts'
import { useZone } from '../state/zone.ts'
import { type Colours, readColours } from './colours.ts'

export interface Clicked {
  seriesIndex?: number | undefined
  dataIndex?: number | undefined
  data?: unknown
  dataType?: string | undefined
}

interface Props {
  /** What the chart shows, in a sentence, for those who do not see it. A table beside it has the numbers. */
  label: string
  option(colours: Colours, width: number): EChartsOption
  /** Changes whenever `option` would give something else. */
  version: string
  height?: number
  onClick?(clicked: Clicked): void
  /** A stretch of time was drawn with the mouse; in Unix seconds. */
  onZoom?(sinceS: number, untilS: number): void
}

export function Chart({ label, option, version, height = 300, onClick, onZoom }: Props) {
  const element = useRef<HTMLDivElement>(null)
  const chart = useRef<ECharts>(null)
  const [width, setWidth] = useState(0)
  const [state, setState] = useState<'loading' | 'ready' | 'failed'>('loading')
  const pointer = useRef<{ x: number; y: number }>(undefined)
  const { isDark } = useTheme()
  const zone = useZone()
  const calls = useRef({ onClick, onZoom })
  calls.current = { onClick, onZoom }

  useEffect(() => {
    let isGone = false
    const host = element.current!
    const observer = new ResizeObserver(([entry]) => {
      chart.current?.resize()
      setWidth(Math.round(entry!.contentRect.width))
    })
    const make = ({ init }: typeof import('./echarts.ts')) => {
      if (isGone) return
      const made = init(host, null, { renderer: 'canvas' })
      made.on('click', (event) => calls.current.onClick?.(event as Clicked))
      made.on('datazoom', (event) => zoomed(made, event, calls.current.onZoom))
      const at = ({ offsetX: x, offsetY: y }: { offsetX: number; offsetY: number }) => {
        pointer.current = { x, y }
      }
      made.getZr().on('mousemove', at)
      made.getZr().on('globalout', () => {
        pointer.current = undefined
      })
      chart.current = made
      observer.observe(host)
      setState('ready')
    }
    import('./echarts.ts').then(make, () => setState('failed'))
    return () => {
      isGone = true
      observer.disconnect()
      chart.current?.dispose()
      chart.current = null
    }
  }, [])

  // biome-ignore lint/correctness/useExhaustiveDependencies: `version` stands for `option`; theme and zone for its colours and times.
  useEffect(() => {
    if (state !== 'ready' || width === 0) return
    chart.current?.setOption(option(readColours(), width), { notMerge: true })
    // Whoever reads a tip while the next answer comes goes on reading.
    if (pointer.current !== undefined) chart.current?.dispatchAction({ type: 'showTip', ...pointer.current })
    if (onZoom === undefined) return
    chart.current?.dispatchAction({
      type: 'takeGlobalCursor',
      key: 'dataZoomSelect',
      dataZoomSelectActive: true,
    })
  }, [state, version, isDark, zone, width])

  if (state === 'failed') {
    return <p className="note note-warn">The chart could not be loaded. The tables have its numbers.</p>
  }
  return (
    <div className="chart" role="img" aria-label={label}>
      <div
        ref={element}
        className="chart-canvas"
        style={{ height: `calc(${height}px * var(--chart-scale))` }}
      />
    </div>
  )
}

function zoomed(chart: ECharts, event: unknown, onZoom: Props['onZoom']): void {
  const [zoom] = (event as { batch?: { startValue?: number; endValue?: number }[] }).batch ?? []
  if (zoom?.startValue === undefined || zoom.endValue === undefined) return
  const sinceS = Math.floor(zoom.startValue / 1000)
  const untilS = Math.ceil(zoom.endValue / 1000)
  chart.dispatchAction({ type: 'dataZoom', start: 0, end: 100 }) // The page asks anew for this range instead.
  if (untilS > sinceS) onZoom?.(sinceS, untilS)
}
