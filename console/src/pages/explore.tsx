import { exportUrl, METRICS, type Metric } from '../api/explore.ts'
import { FilterLine } from '../filter/filter-line.tsx'
import { setQuery, usePlace } from '../state/location.ts'
import { useScope } from '../state/scope.ts'
import { Choice } from '../ui/choice.tsx'
import { RangePicker } from '../ui/range-picker.tsx'
import { FlowsView, sortOf } from './explore-flows.tsx'
import { HeatView } from './explore-heat.tsx'
import { SankeyView } from './explore-sankey.tsx'
import { SeriesView } from './explore-series.tsx'

const VIEWS = [
  { value: 'series', label: 'Over time' },
  { value: 'flows', label: 'Flows' },
  { value: 'sankey', label: 'Who talks to whom' },
  { value: 'heat', label: 'Ports over time' },
] as const
type View = (typeof VIEWS)[number]['value']

const METRIC_WORDS: Record<Metric, string> = { bytes: 'Bytes', packets: 'Packets', flows: 'Flows' }

/** Any question to the records, as a picture or a table. The URL is the question. */
export function Explore() {
  const { query } = usePlace()
  const { scope } = useScope()
  const view = VIEWS.find(({ value }) => value === query.get('view'))?.value ?? 'series'
  const metric = METRICS.find((it) => it === query.get('metric')) ?? 'bytes'
  return (
    <>
      <header className="page-head">
        <h1>Explore</h1>
        <RangePicker />
      </header>
      <FilterLine value={scope.filter ?? ''} onApply={(filter) => setQuery({ filter, page: undefined })} />
      <div className="toolbar">
        <Choice<View>
          label="View"
          value={view}
          options={VIEWS}
          onChange={(value) => setQuery({ view: value === 'series' ? undefined : value, page: undefined })}
        />
        {view !== 'flows' && (
          <Choice<Metric>
            label="Counted in"
            value={metric}
            options={METRICS.map((value) => ({ value, label: METRIC_WORDS[value] }))}
            onChange={(value) => setQuery({ metric: value === 'bytes' ? undefined : value })}
          />
        )}
        <Downloads {...(view === 'flows' ? { sort: sortOf(query) } : {})} />
      </div>
      {view === 'series' && <SeriesView metric={metric} />}
      {view === 'flows' && <FlowsView />}
      {view === 'sankey' && <SankeyView metric={metric} />}
      {view === 'heat' && <HeatView metric={metric} />}
    </>
  )
}

const FORMATS = [
  { format: 'csv', label: 'CSV' },
  { format: 'json', label: 'JSON' },
  { format: 'parquet', label: 'Parquet' },
] as const

/** The flows of this range and filter, as a file. */
function Downloads({ sort }: { sort?: ReturnType<typeof sortOf> }) {
  const { scope } = useScope()
  const question = { kind: 'flows', ...scope, ...(sort === undefined ? {} : { sort }) }
  return (
    <div className="downloads">
      <span id="downloads-label">Download flows</span>
      <ul aria-labelledby="downloads-label">
        {FORMATS.map(({ format, label }) => (
          <li key={format}>
            <a href={exportUrl(format, question)} download>
              {label}
            </a>
          </li>
        ))}
      </ul>
    </div>
  )
}
