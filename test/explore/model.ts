import type { Dimension, Results } from '../../src/explore/question.ts'
import { formatAddress, parseAddress } from '../../src/model/ip-address.ts'
import { type TestRecord, WEB, WEB_ADDRESSES } from './world.ts'

// What questions are about, computed from records with loops and none of explore's code.

export interface Sum {
  flows: number
  packets: number
  bytes: number
}

export function sum(some: readonly TestRecord[]): Sum {
  const total = { flows: some.length, packets: 0, bytes: 0 }
  for (const it of some) {
    total.packets += Number(it.packets ?? 0n)
    total.bytes += Number(it.bytes ?? 0n)
  }
  return total
}

export function tally(some: readonly TestRecord[]): Results['reach']['accepted'] {
  const firstS = some.length === 0 ? null : Math.min(...some.map((it) => it.start))
  const lastS = some.length === 0 ? null : Math.max(...some.map((it) => it.end))
  return { ...sum(some), firstS, lastS }
}

export const accepted = (it: TestRecord): boolean => it.action === 'ACCEPT'
export const refused = (it: TestRecord): boolean => it.action === 'REJECT'

export function isIn(address: string | undefined, network: string): boolean {
  const bytes = parseAddress(address ?? '')
  const [text, bits] = network.split('/')
  const wanted = parseAddress(text!)!
  if (bytes?.length !== wanted.length) return false
  const binary = (it: Uint8Array): string => [...it].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  return binary(bytes).slice(0, Number(bits)) === binary(wanted).slice(0, Number(bits))
}

export function networkOf(address: string): string {
  const bytes = parseAddress(address)!
  const bits = bytes.length === 4 ? 24 : 64
  return `${formatAddress(bytes.map((byte, at) => (at < bits / 8 ? byte : 0)))}/${bits}`
}

export function directionOf(it: TestRecord): 'INGRESS' | 'EGRESS' {
  const own = it.interfaceId === WEB ? WEB_ADDRESSES : ['192.0.2.1', 'fd00::1']
  return own.includes(it.srcaddr!) ? 'EGRESS' : 'INGRESS'
}

/** Protocol and the lower port. */
export function serviceOf({ protocol, srcport, dstport }: TestRecord): string {
  const name = PROTOCOLS[protocol!]!
  return srcport === 0 && dstport === 0 ? name : `${name}/${Math.min(srcport!, dstport!)}`
}

export const PROTOCOLS: Record<number, string> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmpv6' }

/** What a flow is grouped by. */
export const KEYS: Record<Dimension, (it: TestRecord) => string | number | undefined> = {
  action: (it) => it.action,
  protocol: (it) => it.protocol,
  srcaddr: (it) => it.srcaddr,
  dstaddr: (it) => it.dstaddr,
  srcport: (it) => it.srcport,
  dstport: (it) => it.dstport,
  interface: (it) => it.interfaceId,
  service: serviceOf,
  srcnet: (it) => networkOf(it.srcaddr!),
  dstnet: (it) => networkOf(it.dstaddr!),
  direction: directionOf,
}
