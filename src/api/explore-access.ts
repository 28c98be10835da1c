import type { Access } from '../explore/explorer.ts'
import type { Account } from '../store/accounts.ts'
import { listRegistrations } from '../store/buckets.ts'
import { listFlowLogs } from '../store/flow-logs.ts'
import type { FlowLogRow } from '../store/schema.ts'
import type { Services } from './app.ts'
import { sharedWith } from './caller.ts'
import { ownerOf } from './destinations.ts'
import {
  addressesOf,
  type DatacenterNode,
  type InterfaceNode,
  interfaceTree,
  nameOf,
} from './interface-tree.ts'

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
  const seesAll = sharedWith(account) === undefined
  const interfaces = interfacesOf(await interfaceTree(db, account))
  const known = new Set(interfaces.map(({ id }) => id))
  const flowLogs = (await listFlowLogs(db, contractNumber)).filter(
    (it) => seesAll || known.has(it.interface_id),
  )
  const named = flowLogs.map(({ bucket }) => bucket)
  const candidates = seesAll ? [...named, ...(await ownNames(services))] : named
  const own: string[] = []
  for (const bucket of new Set(candidates)) {
    if (await isOwn(services, contractNumber, bucket)) own.push(bucket)
  }
  if (seesAll) {
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

function interfacesOf(datacenters: readonly DatacenterNode[]): Interface[] {
  return datacenters.flatMap((datacenter) => {
    const common = { datacenter: nameOf(datacenter) }
    const render = (node: InterfaceNode) => ({
      id: node.row.id,
      name: nameOf(node),
      ...common,
      addresses: addressesOf(node),
    })
    return [
      ...datacenter.servers.flatMap((server) =>
        server.nics.map((nic) => ({ ...render(nic), server: nameOf(server) })),
      ),
      ...datacenter.gateways.map(render),
    ]
  })
}
