import { useState } from 'react'
import type { Datacenter, Interface } from '../api/cloud.ts'
import { type FlowLogDelivery, loadDeliveries } from '../api/delivery.ts'
import { unlessIdle } from '../state/idle.ts'
import { interfacesOf, useInventory } from '../state/inventory.ts'
import { useLoaded } from '../state/load.ts'
import { pathWithScope, setQuery, usePlace } from '../state/location.ts'
import { bytesText, plural } from '../text/numbers.ts'
import { Badge } from '../ui/badge.tsx'
import { Button } from '../ui/button.tsx'
import { Link } from '../ui/link.tsx'
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
  datacenter: Datacenter
}

/** What can have a flow log, where it is, and what its flow log does. */
export function Resources() {
  const delivery = useLoaded('deliveries', loadDeliveries, (value) =>
    unlessIdle(value?.every(isSettled) ? REFRESH_MS : REFRESH_WAITING_MS),
  )
  const inventory = useInventory(delivery.value?.map(({ id }) => id))
  const { query } = usePlace()
  const find = query.get('find') ?? ''
  const [opened, setOpened] = useState<Opened>()
  const again = () => {
    inventory.again()
    delivery.again()
  }
  const close = () => {
    setOpened(undefined)
    again()
  }
  const error = inventory.error ?? delivery.error
  const deliveries = new Map(delivery.value?.map((it) => [it.id, it]))
  const datacenters = delivery.value === undefined ? undefined : inventory.value
  const found = datacenters?.map((it) => matching(it, find)).filter((it) => it !== undefined)
  return (
    <>
      <header className="page-head">
        <h1>Resources</h1>
        {datacenters !== undefined && <Summary datacenters={datacenters} />}
      </header>
      {datacenters === undefined && error === undefined && <Loading what="resources" />}
      {error !== undefined && <Failure error={error} again={again} />}
      {datacenters?.length === 0 && (
        <Empty title="No data center yet">
          Create one through the API, or share one with a group that you are in. On a machine of your own,{' '}
          <code>weir up</code> makes one with all its interfaces.
        </Empty>
      )}
      {datacenters !== undefined && datacenters.flatMap(interfacesOf).length >= FIND_FROM && (
        <Find find={find} />
      )}
      {find !== '' && found?.length === 0 && (
        <Empty
          title="Nothing has that in its name or address"
          action={<Button onClick={() => setQuery({ find: undefined })}>Show all</Button>}
        />
      )}
      {found?.map((it) => (
        <DatacenterSection key={it.id} datacenter={it} deliveries={deliveries} onOpen={setOpened} />
      ))}
      {opened?.kind === 'enable' && (
        <EnableDialog of={opened.of} datacenter={opened.datacenter} onClose={close} />
      )}
      {opened?.kind === 'disable' && <DisableDialog of={opened.of} onClose={close} />}
      {opened?.kind === 'code' && <CodeDialog of={opened.of} onClose={() => setOpened(undefined)} />}
    </>
  )
}

function isSettled({ delivery }: FlowLogDelivery): boolean {
  return delivery.objects > 0 && delivery.lastError === null
}

/** Fewer are found by looking. */
const FIND_FROM = 8

function Find({ find }: { find: string }) {
  return (
    <search className="find">
      <label htmlFor="find">Find</label>
      <input
        id="find"
        type="search"
        value={find}
        placeholder="name, address, bucket or device"
        autoComplete="off"
        spellCheck={false}
        onChange={({ target }) => setQuery({ find: target.value }, { replace: true })}
      />
    </search>
  )
}

/** What of a data center has all the words of `find`; undefined where nothing has. */
function matching(it: Datacenter, find: string): Datacenter | undefined {
  const words = find.toLowerCase().split(/\s+/)
  const fits = (around: string, { name, addresses, place, mac, kind, flowLog }: Interface) => {
    const bucket = flowLog?.properties.bucket ?? 'off'
    const text = [around, name, ...addresses, place, mac, KINDS[kind], bucket].join(' ').toLowerCase()
    return words.every((word) => text.includes(word))
  }
  if (find.trim() === '') return it
  const servers = it.servers
    .map((server) => ({
      ...server,
      nics: server.nics.filter((nic) => fits(`${it.name} ${server.name}`, nic)),
    }))
    .filter(({ nics }) => nics.length > 0)
  const gateways = it.gateways.filter((gateway) => fits(it.name, gateway))
  return servers.length + gateways.length === 0 ? undefined : { ...it, servers, gateways }
}

function Summary({ datacenters }: { datacenters: Datacenter[] }) {
  const interfaces = datacenters.flatMap(interfacesOf)
  const enabled = interfaces.filter(({ flowLog }) => flowLog !== undefined).length
  return (
    <p className="muted">
      {plural(interfaces.length, 'interface')}, {enabled} with a flow log
    </p>
  )
}

interface SectionProps {
  datacenter: Datacenter
  deliveries: Map<string, FlowLogDelivery>
  onOpen(opened: Opened): void
}

function DatacenterSection({ datacenter, deliveries, onOpen }: SectionProps) {
  const { servers, gateways } = datacenter
  const rowOf = (it: Interface) => (
    <InterfaceRow
      key={it.id}
      of={it}
      delivery={it.flowLog && deliveries.get(it.flowLog.id)}
      onOpen={(kind) => onOpen({ kind, of: it, datacenter })}
    />
  )
  return (
    <section className="panel" aria-labelledby={`dc-${datacenter.id}`}>
      <header className="panel-head">
        <h2 id={`dc-${datacenter.id}`}>
          <span className="kind">Data center</span> {datacenter.name}
        </h2>
        {datacenter.location !== '' && <span className="muted">in {datacenter.location}</span>}
      </header>
      {servers.length === 0 && gateways.length === 0 && (
        <Empty title="Nothing in this data center yet">
          Servers, gateways and load balancers appear here.
        </Empty>
      )}
      {servers.map((server) => (
        <div key={server.id} className="server">
          <h3>
            <span className="kind">Server</span> {server.name}
          </h3>
          {server.nics.length === 0 && <p className="muted indent">This server has no NIC.</p>}
          <ul className="interfaces">{server.nics.map(rowOf)}</ul>
        </div>
      ))}
      {gateways.length > 0 && (
        <div className="server">
          <h3>Gateways and load balancers</h3>
          <ul className="interfaces">{gateways.map(rowOf)}</ul>
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
  onOpen(kind: Opened['kind']): void
}

function InterfaceRow({ of, delivery, onOpen }: RowProps) {
  const { flowLog } = of
  const state = stateOf(flowLog, delivery)
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
      <div className="interface-do">
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
