import { ApiError, getJson, send } from './http.ts'

export const ACTIONS = ['ALL', 'ACCEPTED', 'REJECTED'] as const
export const DIRECTIONS = ['BIDIRECTIONAL', 'INGRESS', 'EGRESS'] as const

export interface FlowLogProperties {
  name: string
  action: (typeof ACTIONS)[number]
  direction: (typeof DIRECTIONS)[number]
  bucket: string
}

export interface FlowLog {
  id: string
  metadata?: { state: string; createdDate: string; createdBy: string }
  properties: FlowLogProperties
}

export type InterfaceKind = 'nic' | 'natgateway' | 'networkloadbalancer' | 'applicationloadbalancer'

/** Whatever can have a flow log. */
export interface Interface {
  id: string
  kind: InterfaceKind
  name: string
  addresses: string[]
  mac?: string
  /** Host and device, when an operator has bound it. */
  place?: string
  /** Path in the Cloud API. */
  path: string
  flowLog?: FlowLog
}

export interface Server {
  id: string
  name: string
  nics: Interface[]
}

export interface Datacenter {
  id: string
  name: string
  location: string
  servers: Server[]
  gateways: Interface[]
}

interface Resource {
  id: string
  type: string
  properties: Record<string, unknown>
  entities?: Record<string, { items?: Resource[] }>
}

/** The contract's inventory, as deep as flow logs lie in it. */
export async function loadInventory(signal?: AbortSignal): Promise<Datacenter[]> {
  const { items } = await getJson<{ items: Resource[] }>('/datacenters?depth=7&limit=1000', signal)
  return Promise.all(
    items.map(async (it) => {
      const path = `/datacenters/${it.id}`
      const balancers = await balancersOf(path, signal)
      return {
        id: it.id,
        name: text(it, 'name') ?? it.id,
        location: text(it, 'location') ?? '',
        servers: childrenOf(it, 'servers').map((server) => serverOf(server, path)),
        gateways: [
          ...childrenOf(it, 'natgateways').map((gateway) => interfaceOf(gateway, `${path}/natgateways`)),
          ...childrenOf(it, 'networkloadbalancers').map((balancer) =>
            interfaceOf(balancer, `${path}/networkloadbalancers`),
          ),
          ...balancers,
        ],
      }
    }),
  )
}

/** The contract leaves application load balancers out of the tree, and their flow logs out of theirs. */
async function balancersOf(datacenter: string, signal?: AbortSignal): Promise<Interface[]> {
  const collection = `${datacenter}/applicationloadbalancers`
  const { items } = await getJson<{ items: Resource[] }>(`${collection}?depth=1`, signal)
  return Promise.all(
    items.map(async (it) => {
      const flowLogs = await getJson<{ items: Resource[] }>(`${collection}/${it.id}/flowlogs?depth=1`, signal)
      return interfaceOf({ ...it, entities: { flowlogs: flowLogs } }, collection)
    }),
  )
}

function serverOf(it: Resource, datacenter: string): Server {
  const path = `${datacenter}/servers/${it.id}`
  return {
    id: it.id,
    name: text(it, 'name') ?? it.id,
    nics: childrenOf(it, 'nics').map((nic) => interfaceOf(nic, `${path}/nics`)),
  }
}

function interfaceOf(it: Resource, collection: string): Interface {
  const lists = ['ips', 'ipv6Ips', 'publicIps'].flatMap((name) => (it.properties[name] as string[]) ?? [])
  const binding = it.properties['binding'] as { host?: string; device?: string; netns?: string } | undefined
  const [flowLog] = childrenOf(it, 'flowlogs') as unknown as FlowLog[]
  const mac = text(it, 'mac')
  const place = binding ? placeOf(binding) : undefined
  return {
    id: it.id,
    kind: it.type as InterfaceKind,
    name: text(it, 'name') ?? it.id,
    addresses: lists,
    ...(mac === undefined ? {} : { mac }),
    ...(place === undefined ? {} : { place }),
    path: `${collection}/${it.id}`,
    ...(flowLog === undefined ? {} : { flowLog }),
  }
}

function placeOf({ host, device, netns }: { host?: string; device?: string; netns?: string }): string {
  const name = [netns, device].filter((it) => it !== undefined).join(':')
  return [host, name].filter((it) => it !== undefined && it !== '').join(' · ')
}

function childrenOf(it: Resource, name: string): Resource[] {
  return it.entities?.[name]?.items ?? []
}

function text(it: Resource, name: string): string | undefined {
  const value = it.properties[name]
  return typeof value === 'string' && value !== '' ? value : undefined
}

export async function createFlowLog(parent: Interface, properties: FlowLogProperties): Promise<void> {
  const response = await send('POST', `${parent.path}/flowlogs`, { body: { properties } })
  await requestEnded(response)
}

export async function deleteFlowLog(parent: Interface, flowLog: FlowLog): Promise<void> {
  const response = await send('DELETE', `${parent.path}/flowlogs/${flowLog.id}`)
  await requestEnded(response)
}

const POLL_MS = 250

/** Every change is a request; it says in the end whether it went well. */
async function requestEnded(response: Response): Promise<void> {
  const location = response.headers.get('location')
  if (location === null) return
  const path = location.slice(location.indexOf('/requests/'))
  for (;;) {
    const { metadata } = await getJson<{ metadata: { status: string; message: string } }>(path)
    if (metadata.status === 'DONE') return
    if (metadata.status === 'FAILED') throw new ApiError(422, metadata.message)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}
