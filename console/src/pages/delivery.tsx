import { useState } from 'react'
import type { Interface } from '../api/cloud.ts'
import {
  type Agent,
  type DeliveryStatus,
  type FlowLogDelivery,
  loadObjects,
  loadStatus,
  retryDelivery,
  type StoredObject,
  windowStartOf,
} from '../api/delivery.ts'
import { unlessIdle } from '../state/idle.ts'
import { interfacesOf, useInventory } from '../state/inventory.ts'
import { useLoaded } from '../state/load.ts'
import { setQuery, usePlace } from '../state/location.ts'
import { useSession } from '../state/session.ts'
import { bytesText, countText, percentText, plural } from '../text/numbers.ts'
import { durationText } from '../text/times.ts'
import { Amount } from '../ui/amount.tsx'
import { Badge } from '../ui/badge.tsx'
import { Button } from '../ui/button.tsx'
import { Select } from '../ui/choice.tsx'
import { Long } from '../ui/long.tsx'
import { usePages } from '../ui/pages.tsx'
import { Empty, Failure, Loading } from '../ui/states.tsx'
import { type Column, Table } from '../ui/table.tsx'
import { IsoTime, Time } from '../ui/time.tsx'
import { stateOf, withRemedy } from './flow-log-state.ts'

const REFRESH_MS = 5_000
/** A thousand flow logs are told of every 30 seconds: they are half a megabyte. */
const REFRESH_MS_PER_FLOW_LOG = 30
const PAGE_SIZE = 50
const FAULTS_MAX = 5

/** What has arrived, what is under way, and what is in its way. */
export function Delivery() {
  const loaded = useLoaded('status', loadStatus, (it) =>
    unlessIdle(Math.max(REFRESH_MS, (it?.flowLogs.length ?? 0) * REFRESH_MS_PER_FLOW_LOG)),
  )
  const { value, error } = loaded
  const inventory = useInventory(value?.flowLogs.map(({ id }) => id))
  const interfaces = new Map(inventory.value?.flatMap(interfacesOf).map((it) => [it.id, it]))
  const isHere = value !== undefined && (inventory.value ?? inventory.error) !== undefined
  return (
    <>
      <header className="page-head">
        <h1>Delivery</h1>
        {value !== undefined && <p className="muted">Windows of {durationText(value.windowSizeS)}</p>}
      </header>
      {!isHere && error === undefined && <Loading what="delivery" />}
      {error !== undefined && <Failure error={error} again={loaded.again} />}
      {isHere && error === undefined && (
        <>
          <FlowLogs status={value} interfaces={interfaces} />
          <Agents agents={value.agents} />
          {value.flowLogs.length > 0 && <Objects flowLogs={value.flowLogs} interfaces={interfaces} />}
        </>
      )}
    </>
  )
}

type Interfaces = Map<string, Interface>

function nameOf(interfaces: Interfaces, it: FlowLogDelivery): string {
  return interfaces.get(it.interfaceId)?.name ?? `${it.interfaceId.slice(0, 8)}…`
}

function FlowLogs({ status, interfaces }: { status: DeliveryStatus; interfaces: Interfaces }) {
  const { flowLogs } = status
  const stateFor = (it: FlowLogDelivery) => stateOf(interfaces.get(it.interfaceId)?.flowLog ?? GONE, it)
  const columns: Column<FlowLogDelivery>[] = [
    { title: 'Interface', value: (it) => <Long text={nameOf(interfaces, it)} /> },
    {
      title: 'State',
      value: (it) => <Badge tone={stateFor(it).tone}>{stateFor(it).word}</Badge>,
    },
    {
      title: 'Bucket',
      value: (it) => (
        <code>
          <Long text={[it.bucket, it.prefix].filter((part) => part !== '').join('/')} />
        </code>
      ),
    },
    {
      title: 'Objects',
      value: ({ delivery }) => <Amount value={delivery.objects} text={countText} />,
      numeric: true,
    },
    {
      title: 'Records',
      value: ({ delivery }) => <Amount value={delivery.records} text={countText} />,
      numeric: true,
      minor: true,
    },
    {
      title: 'Size',
      value: ({ delivery }) => <Amount value={delivery.bytes} text={bytesText} />,
      numeric: true,
    },
    { title: 'Waiting', value: ({ delivery }) => <Pending spool={pendingOf(delivery)} /> },
    { title: 'Last object', value: ({ delivery }) => <IsoTime at={delivery.lastDeliveredAt} ago /> },
  ]
  const failing = flowLogs.filter((it) => stateFor(it).tone === 'bad')
  const failingFirst = [...failing, ...flowLogs.filter((it) => stateFor(it).tone !== 'bad')]
  const { shown, pages } = usePages(failingFirst, { of: 'the flow logs', pageSize: PAGE_SIZE })
  return (
    <section className="panel" aria-labelledby="flow-logs">
      <header className="panel-head">
        <h2 id="flow-logs">Flow logs</h2>
      </header>
      {failing.slice(0, FAULTS_MAX).map((it) => (
        <div key={it.id} className="note note-bad" role="alert">
          <strong>{nameOf(interfaces, it)}</strong>: {stateFor(it).why}{' '}
          {it.delivery.lastErrorAt && (
            <span className="muted">
              Last tried <IsoTime at={it.delivery.lastErrorAt} ago />.
            </span>
          )}{' '}
          {it.delivery.lastError !== null && <TryAgain bucket={it.bucket} />}
        </div>
      ))}
      {failing.length > FAULTS_MAX && (
        <p className="bad">{countText(failing.length - FAULTS_MAX)} more are failing.</p>
      )}
      {flowLogs.length === 0 ? (
        <Empty title="No flow log yet">Enable one under Resources. What it delivers appears here.</Empty>
      ) : (
        <Table caption="Flow logs" columns={columns} rows={shown} rowKey={({ id }) => id} />
      )}
      {pages}
    </section>
  )
}

/** For whoever has just mended the bucket. What comes of it shows in the list. */
function TryAgain({ bucket }: { bucket: string }) {
  const [said, setSaid] = useState<string>()
  const ask = () =>
    retryDelivery(bucket).then(
      () => setSaid('It is tried now.'),
      (error: Error) => setSaid(error.message),
    )
  return (
    <>
      <Button look="text" onClick={ask}>
        Try again
      </Button>{' '}
      <span role="status">{said}</span>
    </>
  )
}

/** What no record says: it must be said somewhere. */
function Lost({ host, health }: { host: string; health: Agent['health'] }) {
  const { lostPackets = 0, lateVerdicts = 0 } = health ?? {}
  if (lostPackets + lateVerdicts === 0) return null
  return (
    <p className="note note-warn">
      <strong>{host}</strong>:{' '}
      {lostPackets > 0 && `${plural(lostPackets, 'packet')} counted nowhere, for want of kernel memory. `}
      {lateVerdicts > 0 &&
        `${plural(lateVerdicts, 'packet')} refused only after the window had closed; the records have them as accepted.`}
    </p>
  )
}

function pendingOf(it: FlowLogDelivery['delivery']): Spool {
  const spool = { segments: it.pendingSegments, bytes: it.pendingBytes }
  if (it.oldestPendingWindow === null) return spool
  return { ...spool, oldestWindowStartS: Date.parse(it.oldestPendingWindow) / 1000 }
}

/** A flow log that is being deleted has left the inventory already. */
const GONE = {
  id: '',
  state: 'INACTIVE',
  properties: { name: '', action: 'ALL', direction: 'BIDIRECTIONAL', bucket: '' },
} as const

const AGENT_COLUMNS: Column<Agent>[] = [
  { title: 'Host', value: ({ host }) => <strong>{host}</strong> },
  {
    title: 'Agent',
    value: ({ live, twin, lastSeenAt }) => (
      <>
        <Badge tone={live ? 'good' : 'bad'}>{live ? 'Live' : 'Silent'}</Badge>{' '}
        {twin && <Badge tone="bad">Two machines use its token</Badge>}
        {!live && (
          <span className="muted small">
            {lastSeenAt === null ? (
              'never seen'
            ) : (
              <>
                since <IsoTime at={lastSeenAt} />
              </>
            )}
          </span>
        )}
      </>
    ),
  },
  { title: 'Window', value: ({ health }) => <Time s={health?.windowStartS} />, minor: true },
  {
    title: 'Flows in the window',
    numeric: true,
    value: ({ health }) =>
      health === null
        ? '–'
        : `${countText(health.flows)} (${percentText(health.flows / Math.max(1, health.flowsMax))})`,
  },
  {
    title: 'Skipped packets',
    numeric: true,
    value: ({ health }) =>
      health === null ? (
        '–'
      ) : (
        <span className={health.skippedPackets > 0 ? 'bad' : ''}>{countText(health.skippedPackets)}</span>
      ),
  },
  {
    title: 'Waiting to be delivered',
    value: ({ health }) => (health === null ? '–' : <Pending spool={health.spool} />),
  },
  {
    title: 'Last object',
    minor: true,
    value: ({ health }) => <IsoTime at={health?.lastDelivery?.at} ago />,
  },
]

function Agents({ agents }: { agents: Agent[] }) {
  const failing = agents.filter(({ health }) => health?.lastError !== undefined)
  return (
    <section className="panel" aria-labelledby="agents">
      <header className="panel-head">
        <h2 id="agents">Hosts</h2>
      </header>
      {failing.map(({ host, health }) => (
        <div key={host} className="note note-warn">
          <strong>{host}</strong>: {withRemedy(health!.lastError!.message)}{' '}
          <span className="muted">
            <IsoTime at={health!.lastError!.at} ago />
          </span>
        </div>
      ))}
      {agents.map(({ host, health }) => (
        <Lost key={host} host={host} health={health} />
      ))}
      {agents.length === 0 ? (
        <Empty title="No agent yet">
          Start <code>weir agent</code> on the hosts whose interfaces have flow logs.
        </Empty>
      ) : (
        <Table caption="Hosts" columns={AGENT_COLUMNS} rows={agents} rowKey={({ host }) => host} />
      )}
    </section>
  )
}

interface Spool {
  segments: number
  bytes: number
  oldestWindowStartS?: number
}

function Pending({ spool }: { spool: Spool }) {
  if (spool.segments === 0) return <span className="muted">nothing</span>
  return (
    <>
      {plural(spool.segments, 'segment')}, {bytesText(spool.bytes)}
      {spool.oldestWindowStartS !== undefined && (
        <span className="muted small">
          {' '}
          since <Time s={spool.oldestWindowStartS} />
        </span>
      )}
    </>
  )
}

const SPANS = [
  { value: '3600', label: 'the last hour' },
  { value: '21600', label: 'the last 6 hours' },
  { value: '86400', label: 'the last day' },
  { value: '604800', label: 'the last week' },
] as const

const SHOWN_MAX = 200

function Objects({ flowLogs, interfaces }: { flowLogs: FlowLogDelivery[]; interfaces: Interfaces }) {
  const { windowSizeS } = useSession()
  const { query } = usePlace()
  const chosen = flowLogs.find(({ id }) => id === query.get('flowlog')) ?? flowLogs[0]!
  const span = SPANS.find(({ value }) => value === query.get('span'))?.value ?? '3600'
  const { value, error, again } = useLoaded(
    `${chosen.id} ${span}`,
    (signal) => loadObjects(chosen, Math.floor(Date.now() / 1000) - Number(span), signal),
    REFRESH_MS,
  )
  const newestFirst = value === undefined ? [] : [...value].reverse()
  return (
    <section className="panel" aria-labelledby="objects">
      <header className="panel-head">
        <h2 id="objects">Objects</h2>
      </header>
      <div className="panel-tools">
        <Select
          label="Of"
          value={chosen.id}
          options={flowLogs.map((it) => ({ value: it.id, label: nameOf(interfaces, it) }))}
          onChange={(flowlog) => setQuery({ flowlog })}
        />
        <Select
          label="from"
          value={span}
          options={SPANS}
          onChange={(next) => setQuery({ span: next === '3600' ? undefined : next })}
        />
      </div>
      {error !== undefined && <Failure error={error} again={again} />}
      {value === undefined && error === undefined && <Loading what="objects" />}
      {value?.length === 0 && (
        <Empty title="No object in this time">A window without flows makes no object.</Empty>
      )}
      {newestFirst.length > 0 && (
        <>
          <p className="muted small">
            {plural(newestFirst.length, 'object')},{' '}
            {bytesText(newestFirst.reduce((sum, it) => sum + it.size, 0))}
            {delayText(newestFirst, windowSizeS)}
            {newestFirst.length > SHOWN_MAX && `; the newest ${SHOWN_MAX} are shown`}
          </p>
          <Table
            caption="Objects, newest first"
            columns={objectColumns(windowSizeS)}
            rows={newestFirst.slice(0, SHOWN_MAX)}
            rowKey={({ name }) => name}
          />
        </>
      )}
    </section>
  )
}

/** Seconds from the end of an object's window to its arrival. */
function delayOf(it: Pick<StoredObject, 'name' | 'modifiedAt'>, windowSizeS: number): number | undefined {
  const startS = windowStartOf(it.name)
  return startS === undefined ? undefined : Date.parse(it.modifiedAt) / 1000 - startS - windowSizeS
}

function delayText(objects: StoredObject[], windowSizeS: number): string {
  const delays = objects
    .map((it) => delayOf(it, windowSizeS))
    .filter((it): it is number => it !== undefined && it >= 0)
    .sort((a, b) => a - b)
  const longest = delays.at(-1)
  if (longest === undefined) return ''
  const median = delays[(delays.length - 1) >> 1]!
  return `; arrived ${durationText(median)} after their window had closed, the latest after ${durationText(longest)}`
}

function objectColumns(windowSizeS: number): Column<StoredObject>[] {
  return [
    { title: 'Window', value: ({ name }) => <Time s={windowStartOf(name)} /> },
    {
      title: 'Object',
      value: ({ bucket, name }) => (
        <a
          href={`/weir/v1/objects/content?${new URLSearchParams({ bucket, name })}`}
          download={name.split('/').at(-1)}
        >
          <code>{name}</code>
        </a>
      ),
    },
    { title: 'Size', value: ({ size }) => <Amount value={size} text={bytesText} />, numeric: true },
    { title: 'Arrived', value: ({ modifiedAt }) => <IsoTime at={modifiedAt} />, minor: true },
    {
      title: 'After its window closed',
      numeric: true,
      value: ({ name, modifiedAt }) => {
        const delayS = delayOf({ name, modifiedAt }, windowSizeS)
        if (delayS === undefined) return '–'
        return delayS < 0 ? 'before it' : <Amount value={delayS} text={durationText} />
      },
    },
  ]
}
