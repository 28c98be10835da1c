import { type ReactNode, useEffect } from 'react'
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
  const sort = sortOf(query)
  const { by, order } = sort
  const page = Math.max(1, Number(query.get('page') ?? '1') || 1)
  const offset = Math.min((page - 1) * PAGE_SIZE, OFFSET_MAX)
  const loaded = useAnswer({ kind: 'flows', ...scope, sort, limit: PAGE_SIZE, offset }, refreshMs)
  const pages = Math.ceil(Math.min(loaded.value?.result.count ?? 0, OFFSET_MAX + PAGE_SIZE) / PAGE_SIZE)
  // A URL may name a page that is not there any more.
  useEffect(() => {
    if (pages > 0 && page > pages) setQuery({ page: String(pages) }, { replace: true })
  }, [page, pages])
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
              rowKey={identified(answer.result.rows)}
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

const IS_SORTABLE = new Set(columnsFor({ interfaces: {}, addresses: {} }).map(({ sort }) => sort))

/** What the table is sorted by, and the files with it. */
export function sortOf(query: URLSearchParams): { by: FlowColumn; order: 'asc' | 'desc' } {
  const [by = '', order] = (query.get('sort') ?? '').split('.')
  if (!IS_SORTABLE.has(by)) return { by: 'start', order: 'desc' }
  return { by: by as FlowColumn, order: order === 'asc' ? 'asc' : 'desc' }
}

/** A flow keeps its row, with focus and selection, when others come before it. */
function identified(rows: readonly FlowRow[]): (row: FlowRow) => string {
  const seen = new Map<string, number>()
  const keys = new Map(
    rows.map((row) => {
      const { startS, interface: id, action, protocol, srcaddr, srcport, dstaddr, dstport } = row
      const key = [startS, id, action, protocol, srcaddr, srcport, dstaddr, dstport].join(' ')
      const count = seen.get(key) ?? 0
      seen.set(key, count + 1)
      return [row, `${key} ${count}`]
    }),
  )
  return (row) => keys.get(row)!
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
