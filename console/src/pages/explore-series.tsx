import type { Answer, Dimension, Line, Metric, Question } from '../api/explore.ts'
import { Chart } from '../chart/chart.tsx'
import { swatchClass } from '../chart/colours.ts'
import { lineAt, seriesOption } from '../chart/series-option.ts'
import { openFromS, useAnswer } from '../state/explore.ts'
import { setQuery, usePlace } from '../state/location.ts'
import { useScope } from '../state/scope.ts'
import { useSession } from '../state/session.ts'
import { amountText, rateText } from '../text/numbers.ts'
import { durationText } from '../text/times.ts'
import { DIMENSIONS, keyText } from '../text/words.ts'
import { Amount } from '../ui/amount.tsx'
import { Select } from '../ui/choice.tsx'
import { type Column, Table } from '../ui/table.tsx'
import { AnswerFrame, FilterBy, filterByClick } from './explore-parts.tsx'
import { StepsTable } from './steps-table.tsx'

const SPLITS: (Dimension | 'none')[] = [
  'action',
  'protocol',
  'service',
  'srcaddr',
  'dstaddr',
  'srcport',
  'dstport',
  'srcnet',
  'dstnet',
  'interface',
  'direction',
  'none',
]
const TOPS = ['5', '8', '10', '20']
const DEFAULT_TOP = '8'

export function SeriesView({ metric }: { metric: Metric }) {
  const { query } = usePlace()
  const { scope, refreshMs } = useScope()
  const split = SPLITS.find((it) => it === query.get('split')) ?? 'action'
  const top = TOPS.find((it) => it === query.get('top')) ?? DEFAULT_TOP
  const previous = query.get('previous') === '1'
  const question: Question<'series'> = {
    kind: 'series',
    ...scope,
    metric,
    top: Number(top),
    ...(split === 'none' ? {} : { splitBy: split }),
    ...(previous ? { previous } : {}),
  }
  const loaded = useAnswer(question, refreshMs)
  return (
    <section className="panel" aria-label="Traffic over time">
      <div className="panel-tools">
        <Select
          label="Split by"
          value={split}
          options={SPLITS.map((value) => ({
            value,
            label: value === 'none' ? 'nothing' : DIMENSIONS[value],
          }))}
          onChange={(value) => setQuery({ split: value === 'action' ? undefined : value })}
        />
        {split !== 'none' && split !== 'action' && (
          <Select
            label="Show the first"
            value={top}
            options={TOPS.map((value) => ({ value, label: value }))}
            onChange={(value) => setQuery({ top: value === DEFAULT_TOP ? undefined : value })}
          />
        )}
        <label className="check">
          <input
            type="checkbox"
            checked={previous}
            onChange={(event) => setQuery({ previous: event.target.checked ? '1' : undefined })}
          />
          Compare with the period before
        </label>
      </div>
      <AnswerFrame loaded={loaded} what="traffic over time" isEmpty={(it) => it.totals.flows === 0}>
        {(answer) => <SeriesAnswer answer={answer} metric={metric} split={split} />}
      </AnswerFrame>
    </section>
  )
}

function SeriesAnswer({
  answer,
  metric,
  split,
}: {
  answer: Answer<'series'>
  metric: Metric
  split: Dimension | 'none'
}) {
  const { scope } = useScope()
  const { windowSizeS } = useSession()
  const { result, names } = answer
  const labelOf = (line: Line) =>
    line.other ? 'Other' : split === 'none' ? 'All' : keyText(split, line, names)
  const label =
    `Traffic over time in steps of ${durationText(result.stepS)}: ${result.series.length} bands, ` +
    `${rateText(metric, result.total.avg)} on average, ${rateText(metric, result.total.max)} at most. The table below has the numbers.`
  return (
    <>
      <Chart
        label={label}
        version={JSON.stringify([answer.range, result, split])}
        height={320}
        option={(colours, width) =>
          seriesOption(result, colours, {
            width,
            metric,
            labelOf: (index) => labelOf(result.series[index]!),
            openFromS: openFromS(answer, windowSizeS),
          })
        }
        onClick={({ seriesIndex }) => {
          const line = lineAt(result, seriesIndex)
          if (line !== undefined && !line.other && split !== 'none')
            filterByClick(scope.filter, { dimension: split, key: line.key })
        }}
        onZoom={(sinceS, untilS) =>
          setQuery({ since: String(sinceS), until: String(untilS), live: undefined, page: undefined })
        }
      />
      <LinesTable answer={answer} metric={metric} split={split} labelOf={labelOf} />
      <StepsTable
        timesS={result.timesS}
        lines={[
          ...result.series.map((line) => ({ title: labelOf(line), values: line.values })),
          { title: 'Total', values: result.total.values },
          ...(result.previous === undefined
            ? []
            : [{ title: 'Period before', values: result.previous.values }]),
        ]}
        text={(value) => rateText(metric, value)}
      />
    </>
  )
}

function LinesTable({
  answer,
  metric,
  split,
  labelOf,
}: {
  answer: Answer<'series'>
  metric: Metric
  split: Dimension | 'none'
  labelOf(line: Line): string
}) {
  const { series, total, previous } = answer.result
  const rate = (value: number) => <Amount value={value} text={(it) => rateText(metric, it)} />
  const rows = [
    ...series.map((line, index) => ({
      line,
      swatch: swatchClass(line, index),
      isTotal: false,
      label: labelOf(line),
    })),
    { line: total, swatch: '', isTotal: true, label: 'Total' },
    ...(previous === undefined
      ? []
      : [{ line: previous, swatch: 'swatch swatch-before', isTotal: true, label: 'Period before' }]),
  ]
  const columns: Column<(typeof rows)[number]>[] = [
    {
      title: split === 'none' ? 'Traffic' : DIMENSIONS[split],
      value: ({ line, swatch, isTotal, label }) => (
        <>
          {swatch !== '' && <span className={swatch} aria-hidden="true" />}
          {isTotal || line.other || split === 'none' ? (
            label
          ) : (
            <FilterBy dimension={split} value={line.key} label={label} />
          )}
        </>
      ),
    },
    {
      title: 'Sum',
      value: ({ line }) => <Amount value={line.total} text={(it) => amountText(metric, it)} />,
      numeric: true,
    },
    { title: 'Average', value: ({ line }) => rate(line.avg), numeric: true },
    { title: '95 %', value: ({ line }) => rate(line.p95), numeric: true, minor: true },
    { title: 'Maximum', value: ({ line }) => rate(line.max), numeric: true },
  ]
  return (
    <Table
      caption="Numbers of the chart"
      columns={columns}
      rows={rows}
      rowKey={({ label }, index) => `${label} ${index}`}
      rowClass={({ isTotal }) => (isTotal ? 'total' : undefined)}
    />
  )
}
