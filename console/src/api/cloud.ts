import { ApiError, getIfChanged, getJson, send } from './http.ts'

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
  state: string
  properties: FlowLogProperties
}

export type InterfaceKind = 'nic' | 'natgateway' | 'networkloadbalancer' | 'applicationloadbalancer'

/** As the server tells it. */
interface ToldInterface {
  id: string
  type: InterfaceKind
  name: string
  addresses: string[]
  mac?: string
  binding?: { host?: string; device?: string; netns?: string }
  flowLog?: FlowLog
}

/** Whatever can have a flow log. */
export interface Interface extends Omit<ToldInterface, 'type' | 'binding'> {
  kind: InterfaceKind
  /** Host and device, when an operator has bound it. */
  place?: string
  /** Path in the Cloud API. */
  path: string
}

interface Tree<T> {
  id: string
  name: string
  location?: string
  servers: { id: string; name: string; nics: T[] }[]
  gateways: T[]
}

export type Datacenter = Tree<Interface>
export type Server = Datacenter['servers'][number]

/** What can have a flow log in all of the contract; the same array as long as nothing changes. */
export function loadInventory(signal?: AbortSignal): Promise<Datacenter[]> {
  return getIfChanged('/weir/v1/inventory', signal, ({ items }: { items: Tree<ToldInterface>[] }) =>
    items.map((it) => {
      const path = `/datacenters/${it.id}`
      return {
        ...it,
        servers: it.servers.map((server) => ({
          ...server,
          nics: server.nics.map((nic) => interfaceOf(nic, `${path}/servers/${server.id}`)),
        })),
        gateways: it.gateways.map((gateway) => interfaceOf(gateway, path)),
      }
    }),
  )
}

function interfaceOf({ type, binding, ...it }: ToldInterface, parent: string): Interface {
  const place = binding === undefined ? {} : { place: placeOf(binding) }
  return { ...it, ...place, kind: type, path: `${parent}/${type}s/${it.id}` }
}

function placeOf({ host, device, netns }: NonNullable<ToldInterface['binding']>): string {
  const name = [netns, device].filter((it) => it !== undefined).join(':')
  return [host, name].filter((it) => it !== undefined && it !== '').join(' · ')
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
