import type { Answer, Dimension, Metric } from '../api/explore.ts'
import { Chart } from '../chart/chart.tsx'
import { heatOption } from '../chart/heat-option.ts'
import { useAnswer } from '../state/explore.ts'
import { setQuery, usePlace } from '../state/location.ts'
import { useScope } from '../state/scope.ts'
import { amountText } from '../text/numbers.ts'
import { durationText } from '../text/times.ts'
import { DIMENSIONS, keyText } from '../text/words.ts'
import { Select } from '../ui/choice.tsx'
import { Table } from '../ui/table.tsx'
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
  const labels = result.rows.map(({ key }) => keyText(rows, key, names))
  return (
    <>
      <Chart
        label={`${DIMENSIONS[rows]} over time in steps of ${durationText(result.stepS)}, the darker the more. The table below has the sums.`}
        version={JSON.stringify([result, rows])}
        height={Math.max(200, result.rows.length * 22 + 40)}
        option={(colours) => heatOption(result, colours, metric, labels)}
        onClick={({ data }) => {
          const row = result.rows[(data as number[])[1] ?? -1]
          if (row !== undefined) filterByClick(scope.filter, rows, row.key)
        }}
      />
      <details className="disclosure">
        <summary>The sums as a table</summary>
        <Table
          caption="Sums over the time range"
          columns={[
            {
              title: DIMENSIONS[rows],
              value: ({ key }) => <FilterBy dimension={rows} value={key} names={names} />,
            },
            { title: 'Sum', value: ({ total }) => amountText(metric, total), numeric: true },
          ]}
          rows={result.rows}
          rowKey={({ key }) => String(key)}
        />
      </details>
    </>
  )
}
