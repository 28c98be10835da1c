import type { ReactNode } from 'react'
import type { Answer, ChangedRow, RejectRow, UnusedRow } from '../api/explore.ts'
import { Chart } from '../chart/chart.tsx'
import { seriesOption } from '../chart/series-option.ts'
import { FilterLine } from '../filter/filter-line.tsx'
import { openFromS, useAnswer } from '../state/explore.ts'
import type { Loaded } from '../state/load.ts'
import { pathWithScope, setQuery } from '../state/location.ts'
import { useScope, withCondition } from '../state/scope.ts'
import { useSession } from '../state/session.ts'
import { countText, percentText, plural, rateText } from '../text/numbers.ts'
import { interfaceText } from '../text/words.ts'
import { Amount } from '../ui/amount.tsx'
import { Badge } from '../ui/badge.tsx'
import { Link } from '../ui/link.tsx'
import { Long } from '../ui/long.tsx'
import { RangePicker } from '../ui/range-picker.tsx'
import { Empty } from '../ui/states.tsx'
import { type Column, Table } from '../ui/table.tsx'
import { Time } from '../ui/time.tsx'
import { AnswerFrame, FilterBy } from './explore-parts.tsx'
import { ReachPanel, useReachQuestion } from './firewall-reach.tsx'
import { StepsTable } from './steps-table.tsx'

/** Do the rules do what they should? What was refused, what changed, what nobody uses. */
export function Firewall() {
  const { scope, refreshMs } = useScope()
  const question = useReachQuestion()
  const reach = useAnswer(question, refreshMs)
  const refused = useAnswer({ kind: 'rejects', ...scope }, refreshMs)
  const changed = useAnswer({ kind: 'changed', ...scope, limit: 20 }, refreshMs)
  const unused = useAnswer({ kind: 'unused', ...scope, limit: 20 })
  return (
    <>
      <header className="page-head">
        <h1>Firewall</h1>
        <RangePicker />
      </header>
      <ReachPanel question={question} loaded={reach} />
      <FilterLine value={scope.filter ?? ''} onApply={(filter) => setQuery({ filter })} />
      <Refused loaded={refused} />
      <Changed loaded={changed} />
      <Unused loaded={unused} />
    </>
  )
}

function Refused({ loaded }: { loaded: Loaded<Answer<'rejects'>> }) {
  return (
    <section className="panel refused" aria-labelledby="refused">
      <header className="panel-head">
        <h2 id="refused">What was refused</h2>
      </header>
      <AnswerFrame
        loaded={loaded}
        what="what was refused"
        isEmpty={({ result }) => result.refused.flows === 0}
        empty={loaded.value !== undefined && loaded.value.totals.flows > 0 ? <NothingRefused /> : undefined}
      >
        {(answer) => <RefusedAnswer answer={answer} />}
      </AnswerFrame>
    </section>
  )
}

function NothingRefused() {
  return (
    <Empty title="Nothing was refused">
      Every flow in this time range was let through. If that is a surprise, look whether the flow logs record
      rejected flows too.
    </Empty>
  )
}

function RefusedAnswer({ answer }: { answer: Answer<'rejects'> }) {
  const { windowSizeS } = useSession()
  const { result, names } = answer
  const { refused, share, series } = result
  const values = series.values
  const line = {
    key: 'REJECT',
    label: 'Rejected',
    other: false,
    total: refused.flows,
    avg: 0,
    max: Math.max(0, ...values),
    p95: 0,
    last: values.at(-1) ?? 0,
    values,
  }
  const shown = { stepS: series.stepS, timesS: series.timesS, series: [line], total: line }
  return (
    <>
      <p className="lead">
        <strong>{plural(refused.flows, 'flow')}</strong> refused, {percentText(share)} of all; first{' '}
        <Time s={refused.firstS} />, last <Time s={refused.lastS} />.
      </p>
      <Chart
        label={`Refused flows over time: ${rateText('flows', line.max)} at most. The tables below say by whom and where.`}
        version={JSON.stringify(series)}
        height={180}
        option={(colours, width) =>
          seriesOption(shown, colours, {
            width,
            metric: 'flows',
            labelOf: () => 'Rejected',
            openFromS: openFromS(answer, windowSizeS),
          })
        }
        onZoom={(sinceS, untilS) =>
          setQuery({ since: String(sinceS), until: String(untilS), live: undefined })
        }
      />
      <StepsTable
        timesS={series.timesS}
        lines={[{ title: 'Refused', values }]}
        text={(value) => rateText('flows', value)}
      />
      <div className="quarters">
        <RejectTable
          title="By source"
          rows={result.sources}
          name={(row) => <FilterBy dimension="srcaddr" value={row.key as string} to="/explore" />}
        />
        <RejectTable
          title="By port"
          rows={result.ports}
          name={({ key, label = '' }) => (
            <PortLink {...(key as { protocol: number; dstport: number })} label={label} />
          )}
        />
        <RejectTable
          title="By destination"
          rows={result.targets}
          name={(row) => <FilterBy dimension="dstaddr" value={row.key as string} to="/explore" />}
        />
        <RejectTable
          title="By interface"
          rows={result.interfaces}
          name={(row) => (
            <FilterBy dimension="interface" value={row.key as string} names={names} to="/explore" />
          )}
        />
      </div>
    </>
  )
}

function PortLink({ protocol, dstport, label }: { protocol: number; dstport: number; label: string }) {
  const { scope } = useScope()
  const condition = `protocol = ${protocol} and dstport = ${dstport}`
  const filter = withCondition(scope.filter ?? '', condition)
  return (
    <Link className="filter-by" href={pathWithScope('/explore', { filter })} title={`Explore ${condition}`}>
      {label}
    </Link>
  )
}

function RejectTable({
  title,
  rows,
  name,
}: {
  title: string
  rows: RejectRow[]
  name(row: RejectRow): ReactNode
}) {
  const most = Math.max(1, ...rows.map(({ flows }) => flows))
  const columns: Column<RejectRow>[] = [
    {
      title: title.replace(/^By (.)/, (_all, letter: string) => letter.toUpperCase()),
      value: (row) => (
        <span className="bar-cell">
          {name(row)}
          <meter min={0} max={most} value={row.flows} aria-hidden="true" />
        </span>
      ),
    },
    { title: 'Flows', value: ({ flows }) => <Amount value={flows} text={countText} />, numeric: true },
    { title: 'First', value: ({ firstS }) => <Time s={firstS} />, minor: true },
    { title: 'Last', value: ({ lastS }) => <Time s={lastS} /> },
  ]
  return (
    <div>
      <h3>{title}</h3>
      <Table
        caption={`Refused flows ${title.toLowerCase()}`}
        columns={columns}
        rows={rows}
        rowKey={(row) => JSON.stringify(row.key)}
      />
    </div>
  )
}

const VERDICTS = {
  'now refused': { tone: 'bad', text: 'Now refused' },
  'now allowed': { tone: 'accept', text: 'Now allowed' },
  mixed: { tone: 'warn', text: 'Both' },
} as const

function Changed({ loaded }: { loaded: Loaded<Answer<'changed'>> }) {
  return (
    <section className="panel" aria-labelledby="changed">
      <header className="panel-head">
        <h2 id="changed">Allowed and refused</h2>
        <p className="muted">
          The same conversation, both ways: a rule that changed, or a limit that was reached.
        </p>
      </header>
      <AnswerFrame
        loaded={loaded}
        what="rules that changed"
        brief
        isEmpty={({ result }) => result.rows.length === 0}
        empty={
          <Empty title="No rule changed" brief>
            Nothing was both allowed and refused in this time range.
          </Empty>
        }
      >
        {({ result, names }) => (
          <Table
            caption="Conversations both allowed and refused"
            columns={changedColumns((id) => interfaceText(id, names))}
            rows={result.rows}
            rowKey={(row) =>
              JSON.stringify([row.interface, row.srcaddr, row.dstaddr, row.protocol, row.dstport])
            }
          />
        )}
      </AnswerFrame>
    </section>
  )
}

function changedColumns(nameOf: (id: string) => string): Column<ChangedRow>[] {
  return [
    {
      title: 'Verdict',
      value: ({ verdict }) => <Badge tone={VERDICTS[verdict].tone}>{VERDICTS[verdict].text}</Badge>,
    },
    {
      title: 'Source',
      value: ({ srcaddr }) => <FilterBy dimension="srcaddr" value={srcaddr} to="/explore" />,
    },
    {
      title: 'Destination',
      value: ({ dstaddr }) => <FilterBy dimension="dstaddr" value={dstaddr} to="/explore" />,
    },
    { title: 'Port', value: (row) => <PortLink {...row} /> },
    { title: 'Last allowed', value: ({ accepted }) => <Time s={accepted.lastS} /> },
    { title: 'Last refused', value: ({ refused }) => <Time s={refused.lastS} /> },
    {
      title: 'Allowed',
      value: ({ accepted }) => <Amount value={accepted.flows} text={countText} />,
      numeric: true,
      minor: true,
    },
    {
      title: 'Refused',
      value: ({ refused }) => <Amount value={refused.flows} text={countText} />,
      numeric: true,
      minor: true,
    },
    { title: 'Interface', value: (it) => <Long text={nameOf(it.interface)} />, minor: true },
  ]
}

function Unused({ loaded }: { loaded: Loaded<Answer<'unused'>> }) {
  return (
    <section className="panel" aria-labelledby="unused">
      <header className="panel-head">
        <h2 id="unused">Services that nobody uses</h2>
        <p className="muted">Open, but silent in this time range, or let in and never answered.</p>
      </header>
      <AnswerFrame
        loaded={loaded}
        what="unused services"
        brief
        isEmpty={({ result }) => result.rows.length === 0}
        empty={
          <Empty title="Every known service is used" brief>
            A service is known once it had traffic in the 30 days before this time range.
          </Empty>
        }
      >
        {({ result, names }) => (
          <Table
            caption="Services that nobody uses"
            columns={unusedColumns((id) => interfaceText(id, names))}
            rows={result.rows}
            rowKey={(row) => JSON.stringify([row.interface, row.address, row.protocol, row.port])}
          />
        )}
      </AnswerFrame>
    </section>
  )
}

function unusedColumns(nameOf: (id: string) => string): Column<UnusedRow>[] {
  return [
    {
      title: 'State',
      value: ({ state }) => (
        <Badge tone={state === 'silent' ? 'off' : 'warn'}>
          {state === 'silent' ? 'Silent' : 'Never answered'}
        </Badge>
      ),
    },
    {
      title: 'Address',
      value: ({ address }) => <FilterBy dimension="dstaddr" value={address} to="/explore" />,
    },
    { title: 'Port', value: ({ port, ...row }) => <PortLink {...row} dstport={port} /> },
    { title: 'Last seen', value: ({ lastS }) => <Time s={lastS} /> },
    { title: 'First seen', value: ({ firstS }) => <Time s={firstS} />, minor: true },
    { title: 'Sources', value: ({ sources }) => countText(sources), numeric: true, minor: true },
    { title: 'Flows', value: ({ flows }) => <Amount value={flows} text={countText} />, numeric: true },
    { title: 'Interface', value: (it) => <Long text={nameOf(it.interface)} />, minor: true },
  ]
}
