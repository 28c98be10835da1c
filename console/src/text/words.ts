import type { Dimension, Key, Names } from '../api/explore.ts'

const PROTOCOLS: Record<number, string> = {
  1: 'ICMP',
  2: 'IGMP',
  4: 'IPv4',
  6: 'TCP',
  17: 'UDP',
  33: 'DCCP',
  41: 'IPv6',
  47: 'GRE',
  50: 'ESP',
  51: 'AH',
  58: 'ICMPv6',
  89: 'OSPF',
  103: 'PIM',
  112: 'VRRP',
  132: 'SCTP',
  136: 'UDP-Lite',
}

export function protocolText(protocol: number | null): string {
  return protocol === null ? '–' : (PROTOCOLS[protocol] ?? `protocol ${protocol}`)
}

export const DIMENSIONS: Record<Dimension, string> = {
  action: 'Action',
  protocol: 'Protocol',
  srcaddr: 'Source',
  dstaddr: 'Destination',
  srcport: 'Source port',
  dstport: 'Destination port',
  interface: 'Interface',
  service: 'Service',
  srcnet: 'Source network',
  dstnet: 'Destination network',
  direction: 'Direction',
}

/** Values that the server knows names for, such as `https (443)`. */
const NAMED: readonly Dimension[] = ['service', 'srcport', 'dstport']

/** What a person reads for a value of a dimension. */
export function keyText(
  dimension: Dimension,
  { key, label }: { key: Key; label?: string },
  names?: Names,
): string {
  if (key === null) return 'unknown'
  if (label !== undefined && NAMED.includes(dimension)) return label
  if (dimension === 'protocol') return protocolText(Number(key))
  if (dimension === 'action') return key === 'ACCEPT' ? 'Accepted' : 'Rejected'
  if (dimension === 'direction') return key === 'INGRESS' ? 'Ingress' : 'Egress'
  if (dimension === 'interface') return interfaceText(String(key), names)
  return String(key)
}

export function interfaceText(id: string | null, names?: Names): string {
  if (id === null) return '–'
  const known = names?.interfaces[id]
  if (known === undefined) return `${id.slice(0, 8)}…`
  return known.server === undefined ? known.name : `${known.name} · ${known.server}`
}

/** The filter line's condition that means exactly this value; undefined where it has no word for it. */
export function conditionFor(dimension: Dimension, key: Key): string | undefined {
  if (key === null) return undefined
  if (dimension === 'action') return `action = ${key === 'ACCEPT' ? 'accept' : 'reject'}`
  if (dimension === 'srcaddr') return `src = ${key}`
  if (dimension === 'dstaddr') return `dst = ${key}`
  if (dimension === 'srcnet') return `src in ${key}`
  if (dimension === 'dstnet') return `dst in ${key}`
  if (dimension === 'direction') return `direction = ${key === 'INGRESS' ? 'ingress' : 'egress'}`
  if (dimension === 'protocol') return `protocol = ${PROTOCOLS[Number(key)]?.toLowerCase() ?? key}`
  return `${dimension} = ${key}`
}
