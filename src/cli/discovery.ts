import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { WeirError } from '../model/errors.ts'

/** A device as `ip -json -details address` shows it; what Weir looks at. */
export interface Link {
  ifindex: number
  ifname: string
  address?: string
  /** Of the other end, when that is in another namespace; `link_netnsid` says which. */
  link_index?: number
  link_netnsid?: number
  /** Name of the bridge or bond that it is a port of. */
  master?: string
  link_type: string
  linkinfo?: { info_kind?: string; info_data?: { type?: string } }
  addr_info: { local?: string; scope: string }[]
}

/** A network namespace: the machine's own, without a name, or one that `ip netns` knows. */
export interface Namespace {
  netns?: string
  links: Link[]
  /** Namespaces as this one numbers them; unnamed ones are not here. */
  names: ReadonlyMap<number, string>
}

export interface ProposedNic {
  name: string
  mac?: string
  ips: string[]
  dhcp: false
  lan: 1
  binding: { host: string; netns?: string; device: string; side: 'guest' | 'own' }
}

export interface Proposal {
  nics: ProposedNic[]
  /** Devices that stay out, each with the reason. */
  leftOut: { name: string; reason: string }[]
}

const NETNS_DIRECTORY = '/run/netns'

/** Everything that this machine has. A namespace that goes while it is looked at is no part of it. */
export function readNamespaces(): Namespace[] {
  const own: Namespace = { links: ip<Link[]>(['-details', 'address']), names: readNames([]) }
  const named = listNames().flatMap((netns): Namespace[] => {
    try {
      const links = ip<Link[]>(['-netns', netns, '-details', 'address'])
      return [{ netns, links, names: readNames(['-netns', netns]) }]
    } catch (error) {
      if (listNames().includes(netns)) throw error
      return []
    }
  })
  return [own, ...named]
}

function listNames(): string[] {
  try {
    return readdirSync(NETNS_DIRECTORY).sort()
  } catch {
    return [] // No namespace was ever made.
  }
}

function readNames(where: string[]): Map<number, string> {
  const ids = ip<{ nsid: number; name?: string }[]>([...where, 'netns', 'list-id'])
  return new Map(ids.flatMap(({ nsid, name }) => (name === undefined ? [] : [[nsid, name] as const])))
}

function ip<T>(args: string[]): T {
  try {
    const text = execFileSync('ip', ['-json', ...args], {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      stdio: 'pipe',
    })
    return JSON.parse(text.trim() === '' ? '[]' : text) as T
  } catch (cause) {
    const { code, stderr } = cause as NodeJS.ErrnoException & { stderr?: string }
    if (code === 'ENOENT')
      throw new WeirError('WEIR_UNSUPPORTED', "'ip' is missing: install iproute2", { cause })
    throw new WeirError('WEIR_NATIVE_CALL', `ip ${args.join(' ')} failed: ${stderr?.trim() ?? code}`, {
      cause,
    })
  }
}

/**
 * Which devices are somebody's interface. A tap and the host's end of a veth are a guest's; what holds an address is
 * the machine's (or its namespace's) own. What carries the traffic of others, as a bridge's ports do, stays out: each
 * packet is to be seen once.
 */
export function proposeNics(namespaces: Namespace[], host: string): Proposal {
  const proposal: Proposal = { nics: [], leftOut: [] }
  for (const namespace of namespaces) {
    for (const link of namespace.links) {
      const found = judge(link, namespace, namespaces)
      if (found === undefined) continue
      const { netns } = namespace
      const name = netns === undefined ? link.ifname : `${netns}:${link.ifname}`
      if ('reason' in found) {
        proposal.leftOut.push({ name, reason: found.reason })
        continue
      }
      const { side, of } = found
      const mac = of === undefined ? undefined : macOf(of)
      proposal.nics.push({
        name,
        ...(mac === undefined ? {} : { mac }),
        ips: of === undefined ? [] : addressesOf(of),
        dhcp: false,
        lan: 1,
        binding: { host, ...(netns === undefined ? {} : { netns }), device: link.ifname, side },
      })
    }
  }
  return proposal
}

/** `of` is the device whose addresses the interface has: itself, or the other end of a veth, where that is known. */
type Judgement = { side: 'guest' | 'own'; of: Link | undefined } | { reason: string }

function judge(link: Link, namespace: Namespace, all: Namespace[]): Judgement | undefined {
  if (link.link_type === 'loopback') return undefined
  const kind = link.linkinfo?.info_kind
  if (kind === 'tun' && link.linkinfo?.info_data?.type === 'tap') return { side: 'guest', of: undefined }
  if (kind === 'veth' && link.link_netnsid !== undefined) {
    const peer = peerOf(link, namespace, all)
    if (namespace.netns === undefined) return { side: 'guest', of: peer?.link }
    const isOfHost = peer !== undefined && peer.namespace.netns === undefined
    if (isOfHost) return { reason: `the guest's end of ${peer.link.ifname}` }
  }
  if (link.master !== undefined) return { reason: `a port of ${link.master}` }
  if (addressesOf(link).length === 0) return { reason: 'has no address' }
  return { side: 'own', of: link }
}

/** Both ends name each other by index; the namespace's number makes it sure, where it has a name. */
function peerOf(
  { ifindex, link_index, link_netnsid }: Link,
  { netns, names }: Namespace,
  all: Namespace[],
): { namespace: Namespace; link: Link } | undefined {
  const name = names.get(link_netnsid!)
  for (const namespace of all) {
    if (namespace.netns === netns || (name !== undefined && namespace.netns !== name)) continue
    const link = namespace.links.find((it) => it.ifindex === link_index && it.link_index === ifindex)
    if (link?.linkinfo?.info_kind === 'veth') return { namespace, link }
  }
  return undefined
}

function macOf({ address = '' }: Link): string | undefined {
  const isMac = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(address) && address !== '00:00:00:00:00:00'
  return isMac ? address : undefined // Tunnels have addresses of other kinds, or none.
}

function addressesOf({ addr_info }: Link): string[] {
  return addr_info.flatMap(({ local, scope }) =>
    local === undefined || scope === 'link' || scope === 'host' ? [] : [local],
  )
}
