import type { Answer, Line, Question, ThroughputRow } from '../api/explore.ts'
import { Chart } from '../chart/chart.tsx'
import { swatchClass } from '../chart/colours.ts'
import { lineAt, seriesOption } from '../chart/series-option.ts'
import { FilterLine } from '../filter/filter-line.tsx'
import { openFromS, useAnswer } from '../state/explore.ts'
import { useSettled } from '../state/load.ts'
import { setQuery, usePlace } from '../state/location.ts'
import { useScope, withCondition } from '../state/scope.ts'
import { useSession } from '../state/session.ts'
import { bitRateText, bytesText, countText, percentText } from '../text/numbers.ts'
import { durationText } from '../text/times.ts'
import { conditionFor, interfaceText, keyText } from '../text/words.ts'
import { Amount } from '../ui/amount.tsx'
import { Button } from '../ui/button.tsx'
import { RangePicker } from '../ui/range-picker.tsx'
import { Empty, Loading } from '../ui/states.tsx'
import { type Column, Table } from '../ui/table.tsx'
import { Time } from '../ui/time.tsx'
import { AnswerFrame, FilterBy, filterByClick } from './explore-parts.tsx'
import { StepsTable } from './steps-table.tsx'

/** How much went through each interface, and who made the peaks. */
export function Throughput() {
  const { scope, refreshMs } = useScope()
  const loaded = useAnswer({ kind: 'throughput', ...scope }, refreshMs)
  const question: Question<'series'> = {
    kind: 'series',
    ...scope,
    metric: 'bytes',
    splitBy: 'interface',
    top: 8,
  }
  const overTime = useAnswer(question, refreshMs)
  const isSettled = useSettled(overTime)
  return (
    <>
      <header className="page-head">
        <h1>Throughput</h1>
        <RangePicker />
      </header>
      <FilterLine value={scope.filter ?? ''} onApply={(filter) => setQuery({ filter, peak: undefined })} />
      {!isSettled && (
        <section className="panel" aria-label="Throughput">
          <Loading what="throughput" rows={7} />
        </section>
      )}
      {isSettled && <OverTime answer={overTime.value} />}
      {isSettled && (
        <section className="panel" aria-labelledby="interfaces">
          <header className="panel-head">
            <h2 id="interfaces">By interface and direction</h2>
          </header>
          <AnswerFrame loaded={loaded} what="throughput" isEmpty={({ result }) => result.rows.length === 0}>
            {(answer) => <InterfacesTable answer={answer} />}
          </AnswerFrame>
        </section>
      )}
    </>
  )
}

function OverTime({ answer: value }: { answer: Answer<'series'> | undefined }) {
  const { windowSizeS } = useSession()
  const { scope } = useScope()
  if (value === undefined || value.totals.flows === 0) return null // The table below says why.
  const { result, names } = value
  const labelOf = (line: Line) => (line.other ? 'Other' : keyText('interface', line, names))
  return (
    <section className="panel" aria-labelledby="over-time">
      <header className="panel-head">
        <h2 id="over-time">All interfaces</h2>
        <p className="muted">Both directions of each, one upon the other.</p>
      </header>
      <Chart
        label={`Throughput of all interfaces: ${bitRateText(result.total.avg)} on average, ${bitRateText(result.total.max)} at most. The table below has the numbers.`}
        version={JSON.stringify(result)}
        height={240}
        option={(colours, width) =>
          seriesOption(result, colours, {
            width,
            metric: 'bytes',
            labelOf: (index) => labelOf(result.series[index]!),
            valueText: bitRateText,
            unit: 'bits',
            openFromS: openFromS(value, windowSizeS),
          })
        }
        onClick={({ seriesIndex }) => {
          const line = lineAt(result, seriesIndex)
          if (line?.other === false) filterByClick(scope.filter, { dimension: 'interface', key: line.key })
        }}
        onZoom={(sinceS, untilS) =>
          setQuery({ since: String(sinceS), until: String(untilS), live: undefined, peak: undefined })
        }
      />
      <ul className="legend" aria-label="Interfaces in the chart">
        {result.series.map((line, index) => (
          <li key={`${line.key} ${line.other}`}>
            <span className={swatchClass(line, index)} aria-hidden="true" />
            {line.other ? 'Other' : <FilterBy dimension="interface" value={line.key} label={labelOf(line)} />}
          </li>
        ))}
      </ul>
      <StepsTable
        timesS={result.timesS}
        lines={[
          ...result.series.map((line) => ({ title: labelOf(line), values: line.values })),
          { title: 'Total', values: result.total.values },
        ]}
        text={bitRateText}
      />
    </section>
  )
}

const DIRECTIONS = { INGRESS: 'Ingress', EGRESS: 'Egress' }

function InterfacesTable({ answer }: { answer: Answer<'throughput'> }) {
  const { query } = usePlace()
  const { windowSizeS } = useSession()
  const openS = openFromS(answer, windowSizeS)
  const { result, names } = answer
  const most = Math.max(1, ...result.rows.map(({ max }) => max))
  const keyOf = (row: ThroughputRow) => `${row.interface}.${row.direction ?? ''}`
  // The moment is part of what was chosen: while the page is live the peak may move on.
  const [, key, at] = /^(.*)\.(\d+)$/.exec(query.get('peak') ?? '') ?? []
  const chosen = result.rows.find((row) => keyOf(row) === key)
  const isChosen = (row: ThroughputRow) => row === chosen && row.maxAtS === Number(at)
  const columns: Column<ThroughputRow>[] = [
    {
      title: 'Interface',
      value: (row) => (
        <FilterBy dimension="interface" value={row.interface} label={interfaceText(row.interface, names)} />
      ),
    },
    {
      title: 'Direction',
      value: ({ direction }) => (direction === null ? 'Unknown' : DIRECTIONS[direction]),
    },
    { title: 'Median, 95 %, maximum', value: (row) => <Spread row={row} most={most} />, minor: true },
    {
      title: 'Average',
      value: ({ avg }) => <Amount value={avg} text={bitRateText} />,
      numeric: true,
      minor: true,
    },
    { title: 'Median', value: ({ p50 }) => <Amount value={p50} text={bitRateText} />, numeric: true },
    { title: '95 %', value: ({ p95 }) => <Amount value={p95} text={bitRateText} />, numeric: true },
    { title: 'Maximum', value: ({ max }) => <Amount value={max} text={bitRateText} />, numeric: true },
    {
      title: 'Sum',
      value: ({ bytes }) => <Amount value={bytes} text={bytesText} />,
      numeric: true,
      minor: true,
    },
    {
      title: 'Peak',
      value: (row) =>
        row.maxAtS === null ? (
          '–'
        ) : (
          <Button
            look="text"
            aria-expanded={isChosen(row)}
            onClick={() => setQuery({ peak: isChosen(row) ? undefined : `${keyOf(row)}.${row.maxAtS}` })}
          >
            <Time s={row.maxAtS} />
          </Button>
        ),
    },
  ]
  return (
    <>
      <p className="muted small">
        Rates over steps of {durationText(result.stepS)}. A peak, clicked, says who made it.
        {openS !== undefined && (
          <>
            {' '}
            What was captured since <Time s={openS} /> has not been delivered yet and counts as no traffic
            here.
          </>
        )}
      </p>
      <Table
        caption="Throughput by interface and direction"
        columns={columns}
        rows={result.rows}
        rowKey={keyOf}
        rowClass={(row) => (row === chosen ? 'chosen' : undefined)}
      />
      {chosen !== undefined && (
        <Peak
          row={chosen}
          atS={Number(at)}
          stepS={result.stepS}
          name={interfaceText(chosen.interface, names)}
        />
      )}
    </>
  )
}

/** Median to 95 % as a bar, the maximum as a mark. The columns beside it have the numbers. */
function Spread({ row, most }: { row: ThroughputRow; most: number }) {
  const at = (value: number) => (value / most) * 100
  return (
    <svg className="spread" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
      <rect className="spread-track" x="0" y="4" width="100" height="2" />
      <rect
        className="spread-bar"
        x={at(row.p50)}
        y="2"
        width={Math.max(0.8, at(row.p95 - row.p50))}
        height="6"
      />
      <rect className="spread-max" x={Math.max(0, at(row.max) - 1)} y="0" width="1" height="10" />
    </svg>
  )
}

function Peak({ row, atS, stepS, name }: { row: ThroughputRow; atS: number; stepS: number; name: string }) {
  const { scope, refreshMs } = useScope()
  const ofInterface = withCondition(scope.filter ?? '', `interface = ${row.interface}`)
  const direction = conditionFor('direction', row.direction)
  const question: Question<'top'> = {
    kind: 'top',
    ...scope,
    filter: direction === undefined ? ofInterface : withCondition(ofInterface, direction),
    within: { sinceS: atS, untilS: atS + stepS },
    by: ['srcaddr', 'dstaddr', 'service'],
    metric: 'bytes',
    limit: 10,
  }
  const loaded = useAnswer(question, refreshMs)
  return (
    <div className="peak">
      <h3>
        Who made the peak of {name}
        {row.direction !== null && `, ${DIRECTIONS[row.direction].toLowerCase()},`} at <Time s={atS} />
      </h3>
      <AnswerFrame
        loaded={loaded}
        what="contributors"
        brief
        paged
        isEmpty={({ result }) => result.rows.length === 0}
        empty={
          <Empty title="Nothing of it is here" brief>
            The moment is not in this time range, or nothing passes the filter then.
          </Empty>
        }
      >
        {({ result }) => (
          <Table
            caption="Contributors of the peak"
            columns={[
              {
                title: 'Source',
                value: ({ key }) => <FilterBy dimension="srcaddr" value={key.srcaddr ?? null} />,
              },
              {
                title: 'Destination',
                value: ({ key }) => <FilterBy dimension="dstaddr" value={key.dstaddr ?? null} />,
              },
              {
                title: 'Service',
                value: ({ key, labels }) => (
                  <FilterBy dimension="service" value={key.service ?? null} label={labels.service!} />
                ),
              },
              {
                title: 'Bytes',
                value: ({ bytes }) => <Amount value={bytes} text={bytesText} />,
                numeric: true,
              },
              { title: 'Share', value: ({ share }) => percentText(share), numeric: true },
              { title: 'Packets', value: ({ packets }) => countText(packets), numeric: true, minor: true },
            ]}
            rows={result.rows}
            rowKey={({ key }) => JSON.stringify(key)}
          />
        )}
      </AnswerFrame>
    </div>
  )
}
