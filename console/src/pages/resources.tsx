import { Fragment, useEffect, useState } from 'react'
import type { Datacenter, Interface, Server } from '../api/cloud.ts'
import { type FlowLogDelivery, loadDeliveries } from '../api/delivery.ts'
import { unlessIdle } from '../state/idle.ts'
import { useInventory } from '../state/inventory.ts'
import { useLoaded } from '../state/load.ts'
import { pathWithScope, setQuery, usePlace } from '../state/location.ts'
import { bytesText, countText, plural } from '../text/numbers.ts'
import { Badge } from '../ui/badge.tsx'
import { Button } from '../ui/button.tsx'
import { Find } from '../ui/find.tsx'
import { Link } from '../ui/link.tsx'
import { usePages } from '../ui/pages.tsx'
import { Empty, Failure, Loading } from '../ui/states.tsx'
import { IsoTime } from '../ui/time.tsx'
import { CodeDialog } from './flow-log-code.tsx'
import { DisableDialog, EnableDialog } from './flow-log-dialogs.tsx'
import { type FlowLogState, stateOf } from './flow-log-state.ts'

const REFRESH_MS = 15_000
/** Somebody waits for a flow log to come to life. */
const REFRESH_WAITING_MS = 3_000

interface Opened {
  kind: 'enable' | 'disable' | 'code'
  of: Interface
}

/** What can have a flow log, where it is, and what its flow log does. */
export function Resources() {
  const delivery = useLoaded('deliveries', loadDeliveries, (value) =>
    unlessIdle(value?.every(isSettled) ? REFRESH_MS : REFRESH_WAITING_MS),
  )
  const inventory = useInventory(delivery.value?.map(({ id }) => id))
  const [opened, setOpened] = useState<Opened>()
  const [changed, setChanged] = useState<Interface>()
  const again = () => {
    inventory.again()
    delivery.again()
  }
  const close = () => {
    setChanged(opened?.of)
    setOpened(undefined)
    again()
  }
  const error = inventory.error ?? delivery.error
  const rows = delivery.value && inventory.value && rowsOf(inventory.value, delivery.value)
  const changedTo = rows?.find(({ of }) => of?.id === changed?.id)?.of?.flowLog?.id
  // The button that was pressed is gone then: the focus goes on to what has taken its place.
  useEffect(() => {
    if (changed === undefined || changedTo === changed.flowLog?.id) return
    setChanged(undefined)
    if (document.activeElement !== document.body) return
    document.querySelector<HTMLElement>(`#do-${changed.id} :is(a, button)`)?.focus()
  }, [changed, changedTo])
  return (
    <>
      <header className="page-head">
        <h1>Resources</h1>
        {rows !== undefined && <Summary rows={rows} />}
      </header>
      {rows === undefined && error === undefined && <Loading what="resources" />}
      {error !== undefined && <Failure error={error} again={again} />}
      {rows?.length === 0 && (
        <Empty title="No data center yet">
          Create one through the API, or share one with a group that you are in. On a machine of your own,{' '}
          <code>weir up</code> makes one with all its interfaces.
        </Empty>
      )}
      {rows !== undefined && rows.length > 0 && <Found rows={rows} onOpen={setOpened} />}
      {opened?.kind === 'enable' && <EnableDialog of={opened.of} onClose={close} />}
      {opened?.kind === 'disable' && <DisableDialog of={opened.of} onClose={close} />}
      {opened?.kind === 'code' && <CodeDialog of={opened.of} onClose={() => setOpened(undefined)} />}
    </>
  )
}

/** A line of the page. Servers without a NIC and data centers without anything have one, too. */
interface Row {
  datacenter: Datacenter
  server?: Server
  of?: Interface
  delivery?: FlowLogDelivery | undefined
  state?: FlowLogState
}

function rowsOf(datacenters: Datacenter[], deliveries: FlowLogDelivery[]): Row[] {
  const byId = new Map(deliveries.map((it) => [it.id, it]))
  const rowOf = (of: Interface) => {
    const delivery = of.flowLog && byId.get(of.flowLog.id)
    return { of, delivery, state: stateOf(of.flowLog, delivery) }
  }
  return datacenters.flatMap((datacenter): Row[] => {
    const { servers, gateways } = datacenter
    if (servers.length + gateways.length === 0) return [{ datacenter }]
    return [
      ...servers.flatMap((server): Row[] =>
        server.nics.length === 0
          ? [{ datacenter, server }]
          : server.nics.map((nic) => ({ datacenter, server, ...rowOf(nic) })),
      ),
      ...gateways.map((gateway) => ({ datacenter, ...rowOf(gateway) })),
    ]
  })
}

const PAGE_SIZE = 100

function Found({ rows, onOpen }: { rows: Row[]; onOpen(opened: Opened): void }) {
  const { query } = usePlace()
  const find = query.get('find') ?? ''
  const words = find.toLowerCase().split(/\s+/)
  const found = find.trim() === '' ? rows : rows.filter((row) => hasAll(row, words))
  const { shown, pages } = usePages(found, { of: 'the resources', pageSize: PAGE_SIZE })
  const byDatacenter = Map.groupBy(shown, ({ datacenter }) => datacenter)
  return (
    <>
      {rows.length >= FIND_FROM && (
        <Find find={find} found={found.length} placeholder="name, address, bucket, device or state" />
      )}
      {found.length === 0 && (
        <Empty
          title="Nothing has that in its name, address or state"
          action={<Button onClick={() => setQuery({ find: undefined })}>Show all</Button>}
        />
      )}
      {[...byDatacenter.values()].map((some) => (
        <DatacenterSection key={some[0]!.datacenter.id} rows={some} onOpen={onOpen} />
      ))}
      {pages}
    </>
  )
}

function isSettled({ delivery }: FlowLogDelivery): boolean {
  return delivery.objects > 0 && delivery.lastError === null
}

/** Fewer are found by looking. */
const FIND_FROM = 8

function hasAll({ datacenter, server, of, state }: Row, words: string[]): boolean {
  if (of === undefined || state === undefined) return false
  const bucket = of.flowLog?.properties.bucket
  const own = [of.name, ...of.addresses, of.place, of.mac, KINDS[of.kind], bucket, state.word]
  const text = [datacenter.name, server?.name, ...own].join(' ').toLowerCase()
  return words.every((word) => text.includes(word))
}

function Summary({ rows }: { rows: Row[] }) {
  const states = rows.flatMap(({ state }) => state ?? [])
  const byWord = Map.groupBy(states, ({ word }) => word)
  return (
    <p className="muted">
      {plural(states.length, 'interface')}
      {[...byWord].map(([word, some], index) => (
        <Fragment key={word}>
          {index === 0 ? ': ' : ', '}
          {rows.length < FIND_FROM ? (
            `${countText(some.length)} ${word.toLowerCase()}`
          ) : (
            <Link className="filter-by" href={`/resources?find=${word.toLowerCase()}`}>
              {countText(some.length)} {word.toLowerCase()}
            </Link>
          )}
        </Fragment>
      ))}
    </p>
  )
}

function DatacenterSection({ rows, onOpen }: { rows: Row[]; onOpen(opened: Opened): void }) {
  const { datacenter } = rows[0]!
  const listOf = (some: Row[]) => (
    <ul className="interfaces">
      {some.map(
        ({ of, delivery, state }) =>
          of !== undefined &&
          state !== undefined && (
            <InterfaceRow
              key={of.id}
              of={of}
              delivery={delivery}
              state={state}
              onOpen={(kind) => onOpen({ kind, of })}
            />
          ),
      )}
    </ul>
  )
  const gateways = rows.filter(({ server, of }) => server === undefined && of !== undefined)
  const servers = Map.groupBy(
    rows.filter((row) => row.server !== undefined),
    (row) => row.server!,
  )
  return (
    <section className="panel" aria-labelledby={`dc-${datacenter.id}`}>
      <header className="panel-head">
        <h2 id={`dc-${datacenter.id}`}>
          <span className="kind">Data center</span> {datacenter.name}
        </h2>
        {datacenter.location && <span className="muted">in {datacenter.location}</span>}
      </header>
      {gateways.length + servers.size === 0 && (
        <Empty title="Nothing in this data center yet">
          Servers, gateways and load balancers appear here.
        </Empty>
      )}
      {[...servers].map(([server, some]) => (
        <div key={server.id} className="server">
          <h3>
            <span className="kind">Server</span> {server.name}
          </h3>
          {server.nics.length === 0 ? <p className="muted indent">This server has no NIC.</p> : listOf(some)}
        </div>
      ))}
      {gateways.length > 0 && (
        <div className="server">
          <h3>Gateways and load balancers</h3>
          {listOf(gateways)}
        </div>
      )}
    </section>
  )
}

const KINDS = {
  nic: 'NIC',
  natgateway: 'NAT gateway',
  networkloadbalancer: 'Network load balancer',
  applicationloadbalancer: 'Application load balancer',
}

interface RowProps {
  of: Interface
  delivery: FlowLogDelivery | undefined
  state: FlowLogState
  onOpen(kind: Opened['kind']): void
}

function InterfaceRow({ of, delivery, state, onOpen }: RowProps) {
  const { flowLog } = of
  const addresses = of.addresses.slice(0, 2).join(', ')
  const more = of.addresses.length > 2 ? ` and ${of.addresses.length - 2} more` : ''
  return (
    <li className="interface">
      <div className="interface-who">
        <strong>{of.name}</strong>
        <span className="kind">{KINDS[of.kind]}</span>
        <span className="muted small">
          {[`${addresses}${more}`, of.place].filter((it) => it !== undefined && it !== '').join(' · ')}
        </span>
      </div>
      <div className="interface-what">
        <Badge tone={state.tone}>{state.word}</Badge>
        <StateDetail state={state} of={of} delivery={delivery} />
      </div>
      <div className="interface-do" id={`do-${of.id}`}>
        {flowLog === undefined ? (
          <Button onClick={() => onOpen('enable')} aria-label={`Enable a flow log on ${of.name}`}>
            Enable
          </Button>
        ) : (
          <>
            <Link
              className="button button-quiet"
              href={pathWithScope('/explore', { filter: `interface = ${of.id}` })}
              aria-label={`Explore ${of.name}`}
            >
              Explore
            </Link>
            <Button look="quiet" onClick={() => onOpen('code')} aria-label={`Code for ${of.name}`}>
              Code
            </Button>
            <Button
              look="quiet"
              disabled={state.word === 'Disabling'}
              onClick={() => onOpen('disable')}
              aria-label={`Disable the flow log on ${of.name}`}
            >
              Disable
            </Button>
          </>
        )}
      </div>
    </li>
  )
}

function StateDetail({
  state,
  of,
  delivery,
}: {
  state: FlowLogState
  of: Interface
  delivery: FlowLogDelivery | undefined
}) {
  const { flowLog } = of
  if (flowLog === undefined) return null
  const { bucket, action, direction } = flowLog.properties
  return (
    <div className="small">
      <div>
        <code>{bucket}</code>{' '}
        <span className="muted">
          {action === 'ALL' ? 'accepted and rejected' : action.toLowerCase()},{' '}
          {direction === 'BIDIRECTIONAL' ? 'both directions' : direction.toLowerCase()}
        </span>
      </div>
      {state.why !== undefined && <div className={state.tone === 'bad' ? 'bad' : 'muted'}>{state.why}</div>}
      {delivery?.delivery.lastDeliveredAt && (
        <div className="muted">
          {plural(delivery.delivery.objects, 'object')}, {bytesText(delivery.delivery.bytes)}; last{' '}
          <IsoTime at={delivery.delivery.lastDeliveredAt} ago />
        </div>
      )}
    </div>
  )
}
