import type { Access } from '../explore/explorer.ts'
import type { Account } from '../store/accounts.ts'
import { listRegistrations } from '../store/buckets.ts'
import { listFlowLogs } from '../store/flow-logs.ts'
import { childrenOf, listResources } from '../store/resources.ts'
import type { FlowLogRow, ResourceRow } from '../store/schema.ts'
import type { Services } from './app.ts'
import { visibleDatacenters } from './caller.ts'
import { ownerOf } from './destinations.ts'

/** With the flow logs that the caller may see. */
export interface CallerAccess extends Access {
  flowLogs: FlowLogRow[]
}

type Interface = Access['interfaces'][number]

/**
 * What a caller may explore: buckets of its own contract and no others, whatever a flow log names. Who may
 * see only some data centers gets the records of their interfaces only.
 */
export async function accessOf(services: Services, account: Account): Promise<CallerAccess> {
  const { db } = services.store
  const { contractNumber } = account
  const visible = await visibleDatacenters(db, account)
  const listing = { contractNumber, type: 'datacenter', parentId: '' }
  const datacenters = await listResources(db, visible === undefined ? listing : { ...listing, ids: visible })
  const interfaces = await interfacesOf(services, datacenters)
  const known = new Set(interfaces.map(({ id }) => id))
  const flowLogs = (await listFlowLogs(db, contractNumber)).filter(
    (it) => visible === undefined || known.has(it.interface_id),
  )
  const named = flowLogs.map(({ bucket }) => bucket)
  const candidates = visible === undefined ? [...named, ...(await ownNames(services))] : named
  const own: string[] = []
  for (const bucket of new Set(candidates)) {
    if (await isOwn(services, contractNumber, bucket)) own.push(bucket)
  }
  if (visible === undefined) {
    return { places: own.map((bucket) => ({ bucket, prefix: '' })), interfaces, flowLogs }
  }
  const places = flowLogs
    .filter(({ bucket }) => own.includes(bucket))
    .map((it) => ({ bucket: it.bucket, prefix: it.prefix === '' ? it.interface_id : it.prefix }))
  return { places, interfaces, flowLogs, onlyThese: true }
}

async function ownNames({ store, buckets }: Services): Promise<string[]> {
  const registered = (await listRegistrations(store.db)).map(({ name }) => name)
  return [...registered, ...((await buckets.embedded?.listBuckets()) ?? [])]
}

/** The bucket's owner is asked each time: it may have been deleted and made again by somebody else. */
async function isOwn({ store, buckets }: Services, contractNumber: number, bucket: string): Promise<boolean> {
  const found = await buckets.findBucket(bucket)
  return found !== undefined && (await ownerOf(store.db, bucket, found)) === contractNumber
}

/** Everything in the data centers that can have a flow log. */
async function interfacesOf({ store }: Services, datacenters: ResourceRow[]): Promise<Interface[]> {
  const children = await childrenOf(
    store.db,
    datacenters.map(({ id }) => id),
  )
  const servers = children.filter(({ type }) => type === 'server')
  const nics = (
    await childrenOf(
      store.db,
      servers.map(({ id }) => id),
    )
  ).filter(({ type }) => type === 'nic')
  const nameOf = new Map(
    [...datacenters, ...servers].map((row) => [row.id, propertiesOf(row).name ?? row.id]),
  )
  const ofNics = nics.map((row): Interface => {
    const { name, ips } = propertiesOf(row)
    const server = servers.find(({ id }) => id === row.parent_id)!
    return {
      id: row.id,
      name: name ?? row.id,
      server: nameOf.get(server.id)!,
      datacenter: nameOf.get(server.parent_id)!,
      addresses: ips ?? [],
    }
  })
  const gateways = children
    .filter(({ type }) => /natgateway|balancer/.test(type))
    .map((row): Interface => {
      const { name, ips, publicIps } = propertiesOf(row)
      const addresses = [...(ips ?? []), ...(publicIps ?? [])]
      return { id: row.id, name: name ?? row.id, datacenter: nameOf.get(row.parent_id)!, addresses }
    })
  return [...ofNics, ...gateways]
}

function propertiesOf(row: ResourceRow): { name?: string; ips?: string[]; publicIps?: string[] } {
  return JSON.parse(row.properties) as { name?: string; ips?: string[]; publicIps?: string[] }
}
