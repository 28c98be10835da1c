import type { ReactNode } from 'react'
import type { FlowColumn, FlowRow, Names } from '../api/explore.ts'
import { useAnswer } from '../state/explore.ts'
import { setQuery, usePlace } from '../state/location.ts'
import { useScope } from '../state/scope.ts'
import { bytesText, countText } from '../text/numbers.ts'
import { interfaceText, protocolText } from '../text/words.ts'
import { Amount } from '../ui/amount.tsx'
import { ActionBadge, Badge } from '../ui/badge.tsx'
import { Long } from '../ui/long.tsx'
import { Pages } from '../ui/pages.tsx'
import { type Column, Table } from '../ui/table.tsx'
import { Time } from '../ui/time.tsx'
import { AnswerFrame, FilterBy } from './explore-parts.tsx'

const PAGE_SIZE = 50
const OFFSET_MAX = 100_000

/** The records themselves. */
export function FlowsView() {
  const { query } = usePlace()
  const { scope, refreshMs } = useScope()
  const [by, order] = (query.get('sort') ?? 'start.desc').split('.') as [FlowColumn, 'asc' | 'desc']
  const page = Math.max(1, Number(query.get('page') ?? '1') || 1)
  const offset = Math.min((page - 1) * PAGE_SIZE, OFFSET_MAX)
  const loaded = useAnswer(
    { kind: 'flows', ...scope, sort: { by, order }, limit: PAGE_SIZE, offset },
    refreshMs,
  )
  const onSort = (wanted: string) => {
    const isNumber = ['packets', 'bytes', 'start', 'end'].includes(wanted)
    const next = wanted === by ? (order === 'asc' ? 'desc' : 'asc') : isNumber ? 'desc' : 'asc'
    setQuery({
      sort: wanted === 'start' && next === 'desc' ? undefined : `${wanted}.${next}`,
      page: undefined,
    })
  }
  return (
    <section className="panel" aria-label="Flows">
      <AnswerFrame loaded={loaded} what="flows" paged isEmpty={({ result }) => result.count === 0}>
        {(answer) => (
          <>
            <Table
              caption="Flows"
              columns={columnsFor(answer.names)}
              rows={answer.result.rows}
              rowKey={(_row, index) => String(index)}
              sorting={{ by, order, onSort }}
            />
            <Pages
              of="the table"
              page={page}
              pageSize={PAGE_SIZE}
              shown={answer.result.rows.length}
              count={answer.result.count}
              reachable={OFFSET_MAX + PAGE_SIZE}
            />
          </>
        )}
      </AnswerFrame>
    </section>
  )
}

function columnsFor(names: Names): Column<FlowRow>[] {
  return [
    { title: 'Start', sort: 'start', value: ({ startS }) => <Time s={startS} /> },
    { title: 'End', sort: 'end', value: ({ endS }) => <Time s={endS} />, minor: true },
    {
      title: 'Action',
      sort: 'action',
      value: ({ action, status }) =>
        status === 'SKIPDATA' ? (
          <Badge tone="warn">Skipped</Badge>
        ) : (
          <FilterBy dimension="action" value={action}>
            <ActionBadge action={action} />
          </FilterBy>
        ),
    },
    {
      title: 'Protocol',
      sort: 'protocol',
      value: ({ protocol }) => (
        <FilterBy dimension="protocol" value={protocol} label={protocolText(protocol)} />
      ),
    },
    {
      title: 'Source',
      sort: 'srcaddr',
      value: (row) => (
        <Endpoint side="src" address={row.srcaddr} port={row.srcport} name={nameOf(names, row.srcaddr)} />
      ),
    },
    {
      title: 'Destination',
      sort: 'dstaddr',
      value: (row) => (
        <Endpoint side="dst" address={row.dstaddr} port={row.dstport} name={nameOf(names, row.dstaddr)} />
      ),
    },
    { title: 'Packets', sort: 'packets', value: (it) => amountOr(it.packets, countText), numeric: true },
    { title: 'Bytes', sort: 'bytes', value: (it) => amountOr(it.bytes, bytesText), numeric: true },
    {
      title: 'Interface',
      sort: 'interface',
      minor: true,
      value: (row) => (
        <FilterBy dimension="interface" value={row.interface} label={interfaceText(row.interface, names)} />
      ),
    },
  ]
}

function nameOf(names: Names, address: string | null): string | undefined {
  return address === null ? undefined : names.addresses[address]
}

function amountOr(value: number | null, text: (value: number) => string): ReactNode {
  return value === null ? '–' : <Amount value={value} text={text} />
}

function Endpoint({
  side,
  address,
  port,
  name,
}: {
  side: 'src' | 'dst'
  address: string | null
  port: number | null
  name: string | undefined
}) {
  if (address === null) return <span className="muted">–</span>
  return (
    <span className="endpoint">
      <FilterBy dimension={side === 'src' ? 'srcaddr' : 'dstaddr'} value={address} />
      {port !== null && port !== 0 && (
        <>
          <span className="muted">:</span>
          <FilterBy dimension={side === 'src' ? 'srcport' : 'dstport'} value={port} />
        </>
      )}
      {name !== undefined && (
        <span className="muted small">
          {' '}
          <Long text={name} />
        </span>
      )}
    </span>
  )
}
