import type { Account } from '../store/accounts.ts'
import { childrenOf, listResources } from '../store/resources.ts'
import type { ResourceRow } from '../store/schema.ts'
import type { Db } from '../store/store.ts'
import { sharedWith } from './caller.ts'
import { RESOURCE_TYPES } from './resource-types.ts'

/** Everything that can have a flow log, in its place. */
export interface DatacenterNode {
  row: ResourceRow
  properties: Properties
  servers: { row: ResourceRow; properties: Properties; nics: InterfaceNode[] }[]
  /** NAT gateways and load balancers. */
  gateways: InterfaceNode[]
}

export interface InterfaceNode {
  row: ResourceRow
  properties: Properties
}

interface Properties {
  name?: string
  location?: string
  mac?: string
  ips?: string[] | null
  ipv6Ips?: string[] | null
  publicIps?: string[] | null
  binding?: { host?: string; netns?: string; device?: string } | null
}

const GATEWAYS = ['natgateway', 'networkloadbalancer', 'applicationloadbalancer']

/** The data centers of a contract that the caller may see: two queries and whatever the size. */
export async function interfaceTree(db: Db, account: Account): Promise<DatacenterNode[]> {
  const { contractNumber } = account
  const listing = { contractNumber, type: 'datacenter', parentId: '', sharedWith: sharedWith(account) }
  const datacenters = await listResources(db, listing)
  const children = byParent(await childrenOf(db, idsOf(datacenters)))
  const servers = [...children.values()].flat().filter(({ type }) => type === 'server')
  const ofServers = byParent(await childrenOf(db, idsOf(servers)))
  const nodesOf = (rows: readonly ResourceRow[] | undefined, types: readonly string[]) =>
    (rows ?? []).filter(({ type }) => types.includes(type)).map(nodeOf)
  return datacenters.map((row) => ({
    ...nodeOf(row),
    servers: nodesOf(children.get(row.id), ['server']).map((server) => ({
      ...server,
      nics: nodesOf(ofServers.get(server.row.id), ['nic']),
    })),
    gateways: nodesOf(children.get(row.id), GATEWAYS),
  }))
}

export function nameOf({ row, properties }: InterfaceNode): string {
  return properties.name || row.id
}

export function addressesOf({ properties: { ips, ipv6Ips, publicIps } }: InterfaceNode): string[] {
  return [ips, ipv6Ips, publicIps].flatMap((it) => it ?? [])
}

/** The tree as pages show it: short, since it may have thousands of interfaces. */
export async function renderInterfaceTree(db: Db, tree: readonly DatacenterNode[]): Promise<object[]> {
  const nodes = tree.flatMap(({ servers, gateways }) => [...servers.flatMap(({ nics }) => nics), ...gateways])
  const children = byParent(await childrenOf(db, idsOf(nodes.map(({ row }) => row))))
  const render = (node: InterfaceNode) =>
    renderInterface(
      node,
      children.get(node.row.id)?.find(({ type }) => type === RESOURCE_TYPES['flow-log'].type),
    )
  return tree.map((it) => ({
    id: it.row.id,
    name: nameOf(it),
    location: it.properties.location,
    servers: it.servers.map((server) => ({
      id: server.row.id,
      name: nameOf(server),
      nics: server.nics.map(render),
    })),
    gateways: it.gateways.map(render),
  }))
}

function renderInterface(node: InterfaceNode, flowLog: ResourceRow | undefined): object {
  const { row, properties } = node
  const { mac, binding } = properties
  return {
    id: row.id,
    type: row.type,
    name: nameOf(node),
    addresses: addressesOf(node),
    mac,
    binding: binding ?? undefined,
    flowLog: flowLog && {
      id: flowLog.id,
      state: flowLog.pending > 0 ? 'BUSY' : flowLog.state,
      properties: JSON.parse(flowLog.properties) as object,
    },
  }
}

function nodeOf(row: ResourceRow): InterfaceNode {
  return { row, properties: JSON.parse(row.properties) as Properties }
}

function byParent(rows: readonly ResourceRow[]): Map<string, ResourceRow[]> {
  return Map.groupBy(rows, (row) => row.parent_id)
}

function idsOf(rows: readonly ResourceRow[]): string[] {
  return rows.map(({ id }) => id)
}
