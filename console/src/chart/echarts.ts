import { HeatmapChart, LineChart, SankeyChart } from 'echarts/charts'
import {
  AriaComponent,
  DataZoomComponent,
  GridComponent,
  MarkAreaComponent,
  ToolboxComponent,
  TooltipComponent,
  VisualMapComponent,
} from 'echarts/components'
import { init, use } from 'echarts/core'
import { CanvasRenderer } from 'echarts/renderers'

// Only what the console draws. This file is loaded with the first chart, not with the page.
use([
  AriaComponent,
  CanvasRenderer,
  DataZoomComponent,
  GridComponent,
  HeatmapChart,
  LineChart,
  MarkAreaComponent,
  SankeyChart,
  ToolboxComponent,
  TooltipComponent,
  VisualMapComponent,
])

export { init }
