import type { Answer, Dimension, Heat, Metric } from '../api/explore.ts'
import { Chart } from '../chart/chart.tsx'
import { heatOption } from '../chart/heat-option.ts'
import { useAnswer } from '../state/explore.ts'
import { setQuery, usePlace } from '../state/location.ts'
import { useScope } from '../state/scope.ts'
import { amountText, rateText } from '../text/numbers.ts'
import { durationText } from '../text/times.ts'
import { DIMENSIONS, keyText } from '../text/words.ts'
import { Amount } from '../ui/amount.tsx'
import { Select } from '../ui/choice.tsx'
import { Disclosure } from '../ui/disclosure.tsx'
import { Table } from '../ui/table.tsx'
import { Time } from '../ui/time.tsx'
import { AnswerFrame, FilterBy, filterByClick } from './explore-parts.tsx'

const ROWS: Dimension[] = ['service', 'dstport', 'srcport', 'srcaddr', 'dstaddr', 'interface']

export function HeatView({ metric }: { metric: Metric }) {
  const { query } = usePlace()
  const { scope, refreshMs } = useScope()
  const rows = ROWS.find((it) => it === query.get('rows')) ?? 'service'
  const loaded = useAnswer({ kind: 'heat', ...scope, metric, rows }, refreshMs)
  return (
    <section className="panel" aria-label="Ports over time">
      <div className="panel-tools">
        <Select
          label="Rows"
          value={rows}
          options={ROWS.map((value) => ({ value, label: DIMENSIONS[value] }))}
          onChange={(value) => setQuery({ rows: value === 'service' ? undefined : value })}
        />
      </div>
      <AnswerFrame loaded={loaded} what="ports over time" isEmpty={({ result }) => result.cells.length === 0}>
        {(answer) => <HeatAnswer answer={answer} metric={metric} rows={rows} />}
      </AnswerFrame>
    </section>
  )
}

function HeatAnswer({ answer, metric, rows }: { answer: Answer<'heat'>; metric: Metric; rows: Dimension }) {
  const { scope } = useScope()
  const { result, names } = answer
  const labels = result.rows.map((row) => keyText(rows, row, names))
  const choose = (at: number, row: number) => {
    const sinceS = result.timesS[at]!
    filterByClick(scope.filter, { dimension: rows, key: result.rows[row]!.key })
    const range = { since: String(sinceS), until: String(sinceS + result.stepS), live: undefined }
    setQuery(range, { replace: true }) // One step back takes both away.
  }
  const smallest = Math.min(...result.cells.map(([, , value]) => value))
  return (
    <>
      <Chart
        label={`${DIMENSIONS[rows]} over time in steps of ${durationText(result.stepS)}, the stronger the more. The tables below have the numbers.`}
        version={JSON.stringify([result, rows])}
        height={Math.max(200, result.rows.length * 22 + 40)}
        option={(colours, width) => heatOption(result, colours, metric, { labels, width })}
        onClick={({ data }) => {
          const [at, row] = data as Heat['cells'][number]
          choose(at, row)
        }}
      />
      <p className="heat-scale muted small">
        {rateText(metric, smallest)} <span aria-hidden="true" /> {rateText(metric, result.max)}, on a
        logarithmic scale
      </p>
      <Disclosure summary="The sums as a table">
        {() => (
          <Table
            caption="Sums over the time range"
            columns={[
              {
                title: DIMENSIONS[rows],
                value: ({ key, label }) => (
                  <FilterBy dimension={rows} value={key} label={keyText(rows, { key, label }, names)} />
                ),
              },
              {
                title: 'Sum',
                value: ({ total }) => <Amount value={total} text={(it) => amountText(metric, it)} />,
                numeric: true,
              },
            ]}
            rows={result.rows}
            rowKey={({ key }) => String(key)}
          />
        )}
      </Disclosure>
      <Disclosure summary="Every cell as a table">
        {() => <CellsTable result={result} metric={metric} labels={labels} onChoose={choose} />}
      </Disclosure>
    </>
  )
}

interface CellsTableProps {
  result: Heat
  metric: Metric
  labels: string[]
  onChoose(at: number, row: number): void
}

function CellsTable({ result, metric, labels, onChoose }: CellsTableProps) {
  return (
    <Table
      caption="Every cell of the map"
      columns={[
        { title: 'From', value: ([at]) => <Time s={result.timesS[at]!} /> },
        {
          title: 'Row',
          value: ([at, row]) => (
            <button
              type="button"
              className="filter-by"
              title={`${labels[row]}: filter by it, in this part of the time`}
              onClick={() => onChoose(at, row)}
            >
              {labels[row]}
            </button>
          ),
        },
        {
          title: 'Rate',
          value: ([, , value]) => <Amount value={value} text={(it) => rateText(metric, it)} />,
          numeric: true,
        },
      ]}
      rows={result.cells}
      rowKey={([at, row]) => `${at} ${row}`}
    />
  )
}
