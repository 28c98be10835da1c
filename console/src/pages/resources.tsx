import { useState } from 'react'
import { type Datacenter, type Interface, loadInventory } from '../api/cloud.ts'
import { type FlowLogDelivery, loadDeliveries } from '../api/delivery.ts'
import { useLoaded } from '../state/load.ts'
import { pathWithScope } from '../state/location.ts'
import { bytesText, plural } from '../text/numbers.ts'
import { Badge } from '../ui/badge.tsx'
import { Button } from '../ui/button.tsx'
import { Link } from '../ui/link.tsx'
import { Empty, Failure, Loading } from '../ui/states.tsx'
import { IsoTime } from '../ui/time.tsx'
import { CodeDialog } from './flow-log-code.tsx'
import { DisableDialog, EnableDialog } from './flow-log-dialogs.tsx'
import { type FlowLogState, stateOf } from './flow-log-state.ts'

const REFRESH_MS = 5_000

interface Opened {
  kind: 'enable' | 'disable' | 'code'
  of: Interface
  datacenter: Datacenter
}

async function load(signal: AbortSignal) {
  const datacenters = await loadInventory(signal)
  const ids = datacenters.flatMap(interfacesOf).flatMap((it) => (it.flowLog ? [it.flowLog.id] : []))
  const deliveries = ids.length === 0 ? [] : await loadDeliveries(ids, signal)
  return { datacenters, deliveries: new Map(deliveries.map((it) => [it.id, it])) }
}

function interfacesOf({ servers, gateways }: Datacenter): Interface[] {
  return [...servers.flatMap(({ nics }) => nics), ...gateways]
}

/** What can have a flow log, where it is, and what its flow log does. */
export function Resources() {
  const loaded = useLoaded('resources', load, REFRESH_MS)
  const [opened, setOpened] = useState<Opened>()
  const close = () => {
    setOpened(undefined)
    loaded.again()
  }
  const { value, error } = loaded
  return (
    <>
      <header className="page-head">
        <h1>Resources</h1>
        {value !== undefined && <Summary datacenters={value.datacenters} />}
      </header>
      {value === undefined && error === undefined && <Loading what="resources" />}
      {error !== undefined && <Failure error={error} again={loaded.again} />}
      {value?.datacenters.length === 0 && (
        <Empty title="No data center yet">
          Create one through the API, or share one with a group that you are in. On a machine of your own,{' '}
          <code>weir up</code> makes one with all its interfaces.
        </Empty>
      )}
      {value?.datacenters.map((it) => (
        <DatacenterSection key={it.id} datacenter={it} deliveries={value.deliveries} onOpen={setOpened} />
      ))}
      {opened?.kind === 'enable' && (
        <EnableDialog of={opened.of} datacenter={opened.datacenter} onClose={close} />
      )}
      {opened?.kind === 'disable' && <DisableDialog of={opened.of} onClose={close} />}
      {opened?.kind === 'code' && <CodeDialog of={opened.of} onClose={() => setOpened(undefined)} />}
    </>
  )
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
        {datacenter.location !== '' && <span className="muted">{datacenter.location}</span>}
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
