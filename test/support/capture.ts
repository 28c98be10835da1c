import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { gunzipSync } from 'node:zlib'

/**
 * An independent reading of a tcpdump file: packets and IP octets by flow. Deliberately plain, and not a line of it
 * is shared with Weir, since it is what Weir is measured against. Untagged Ethernet, IPv4 and IPv6.
 */
export interface CapturedPacket {
  /** Unix seconds, with fraction. */
  time: number
  sourceMac: string
  source: string
  destination: string
  sourcePort: number
  destinationPort: number
  protocol: number
  octets: number
}

const GLOBAL_HEADER_SIZE = 24
const RECORD_HEADER_SIZE = 16
const ETHERNET_SIZE = 14
const WITH_PORTS = [6, 17, 33, 132, 136]

export function readCapture(file: string): CapturedPacket[] {
  const bytes = readFileSync(file)
  if (bytes.readUInt32LE(0) !== 0xa1b2c3d4) throw new Error(`${file} is no little-endian microsecond pcap`)
  const packets: CapturedPacket[] = []
  let at = GLOBAL_HEADER_SIZE
  while (at + RECORD_HEADER_SIZE <= bytes.length) {
    const time = bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) / 1e6
    const size = bytes.readUInt32LE(at + 8)
    const frame = bytes.subarray(at + RECORD_HEADER_SIZE, at + RECORD_HEADER_SIZE + size)
    const packet = readFrame(frame)
    if (packet !== undefined) packets.push({ time, ...packet })
    at += RECORD_HEADER_SIZE + size
  }
  return packets
}

function readFrame(frame: Buffer): Omit<CapturedPacket, 'time'> | undefined {
  const sourceMac = [...frame.subarray(6, 12)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')
  const etherType = frame.readUInt16BE(12)
  const ip = frame.subarray(ETHERNET_SIZE)
  if (etherType === 0x0800) {
    const headerSize = (ip[0]! & 15) * 4
    const isLaterFragment = (ip.readUInt16BE(6) & 0x1fff) !== 0
    return {
      sourceMac,
      source: [...ip.subarray(12, 16)].join('.'),
      destination: [...ip.subarray(16, 20)].join('.'),
      ...ports(ip[9]!, isLaterFragment ? Buffer.alloc(0) : ip.subarray(headerSize)),
      protocol: ip[9]!,
      octets: ip.readUInt16BE(2),
    }
  }
  if (etherType !== 0x86dd) return undefined
  let protocol = ip[6]!
  let at = 40
  while (protocol === 0 || protocol === 60) {
    // Hop-by-hop and destination options; MLD reports carry the first.
    protocol = ip[at]!
    at += 8 + ip[at + 1]! * 8
  }
  return {
    sourceMac,
    source: ipv6(ip.subarray(8, 24)),
    destination: ipv6(ip.subarray(24, 40)),
    ...ports(protocol, ip.subarray(at)),
    protocol,
    octets: 40 + ip.readUInt16BE(4),
  }
}

function ports(protocol: number, payload: Buffer): { sourcePort: number; destinationPort: number } {
  if (!WITH_PORTS.includes(protocol) || payload.length < 4) return { sourcePort: 0, destinationPort: 0 }
  return { sourcePort: payload.readUInt16BE(0), destinationPort: payload.readUInt16BE(2) }
}

/** The text form of RFC 5952, by way of the URL parser, which applies it. */
function ipv6(address: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, at) => address.readUInt16BE(at * 2).toString(16))
  return new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1)
}

/** Packets and octets by `source destination sourcePort destinationPort protocol action`. */
export type Totals = Map<string, { packets: number; octets: number }>

function addTo(totals: Totals, key: string, packets: number, octets: number): void {
  const sum = totals.get(key) ?? { packets: 0, octets: 0 }
  totals.set(key, { packets: sum.packets + packets, octets: sum.octets + octets })
}

/** Sums packets by flow and by the action that `actionOf` says the firewall took. */
export function totalsOf(packets: CapturedPacket[], actionOf: (packet: CapturedPacket) => string): Totals {
  const totals: Totals = new Map()
  for (const it of packets) {
    const ports = `${it.sourcePort} ${it.destinationPort}`
    addTo(totals, `${it.source} ${it.destination} ${ports} ${it.protocol} ${actionOf(it)}`, 1, it.octets)
  }
  return totals
}

/** Names of the objects in an embedded bucket's folder, in order. */
export function listObjects(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.log.gz'))
    .sort()
}

/** The record lines of an object. */
export function readRecords(file: string): string[] {
  return gunzipSync(readFileSync(file))
    .toString()
    .split('\n')
    .filter((line) => line !== '')
}

/** Sums over the records of all objects in a folder whose name begins with `prefix`, in the form of `totalsOf`. */
export function readTotals(folder: string, prefix = ''): Totals {
  const totals: Totals = new Map()
  for (const object of listObjects(folder).filter((name) => name.startsWith(prefix))) {
    for (const line of readRecords(path.join(folder, object))) {
      const fields = line.split(' ')
      if (fields.length !== 14) throw new Error(`${object}: a record of ${fields.length} fields: ${line}`)
      const key = [...fields.slice(3, 8), fields[12]].join(' ')
      addTo(totals, key, Number(fields[8]), Number(fields[9]))
    }
  }
  return totals
}

/** In one order, for a readable difference when an assertion fails. */
export function sorted(totals: Totals): [string, { packets: number; octets: number }][] {
  return [...totals].sort(([a], [b]) => (a < b ? -1 : 1))
}
