import { parseAddress } from '../../src/model/ip-address.ts'
import { random } from '../../src/stdx/prng.ts'

/**
 * Packets with names, and what metering must make of each. The TypeScript parser, its fast form and the
 * kernel program are all held to this table. Frames are Ethernet. The frames of one case go through one
 * meter in order (fragments); no two cases share addresses and fragment ids, so a meter may be kept between
 * cases.
 */
export interface PacketCase {
  name: string
  frames: Frame[]
}

export interface Frame {
  bytes: Buffer
  /** Length on the wire where the capture was cut; such a frame cannot be given to a kernel. */
  wireLength?: number
  expected: Expected
}

export type Expected =
  | { kind: 'not-ip' }
  /** IP without readable addresses: counts as skipped. */
  | { kind: 'skipped'; octets: number }
  | {
      kind: 'flow'
      source: string
      destination: string
      ports: [number, number]
      protocol: number
      octets: number
      tcpFlags: number
    }

const A4 = '192.0.2.1'
const B4 = '198.51.100.7'
const A6 = '2001:db8::1'
const B6 = '2001:db8:0:5::9'
export const TCP = 6
export const UDP = 17
const ICMP = 1

// --- Building blocks
// -------------------------------------------------------------------------------------------

export function ethernet(type: number, payload: Uint8Array): Buffer {
  return Buffer.concat([
    Buffer.from('02000000000202000000000108', 'hex').subarray(0, 12),
    uint16(type),
    payload,
  ])
}

export function tag(type: number, payload: Uint8Array, vlan = 5): Buffer {
  return Buffer.concat([uint16(vlan), uint16(type), payload])
}

export interface Ipv4Options {
  source?: string
  destination?: string
  protocol?: number
  options?: Uint8Array
  id?: number
  /** In units of 8 bytes. */
  fragmentOffset?: number
  moreFragments?: boolean
  dontFragment?: boolean
  totalLength?: number
  headerWords?: number
  version?: number
}

export function ipv4(payload: Uint8Array, it: Ipv4Options = {}): Buffer {
  const options = it.options ?? new Uint8Array(0)
  const headerSize = 20 + options.length
  const header = Buffer.alloc(headerSize)
  header[0] = ((it.version ?? 4) << 4) | (it.headerWords ?? headerSize / 4)
  header.writeUInt16BE(it.totalLength ?? headerSize + payload.length, 2)
  header.writeUInt16BE(it.id ?? 0, 4)
  const flags = (it.moreFragments ? 0x2000 : 0) | (it.dontFragment ? 0x4000 : 0)
  header.writeUInt16BE(flags | (it.fragmentOffset ?? 0), 6)
  header[8] = 64
  header[9] = it.protocol ?? UDP
  header.set(parseAddress(it.source ?? A4)!, 12)
  header.set(parseAddress(it.destination ?? B4)!, 16)
  header.set(options, 20)
  return Buffer.concat([header, payload])
}

export interface Ipv6Options {
  source?: string
  destination?: string
  payloadLength?: number
  version?: number
}

/** `first` is the protocol number of what `payload` begins with. */
export function ipv6(first: number, payload: Uint8Array, it: Ipv6Options = {}): Buffer {
  const header = Buffer.alloc(40)
  header[0] = (it.version ?? 6) << 4
  header.writeUInt16BE(it.payloadLength ?? payload.length, 4)
  header[6] = first
  header[7] = 64
  header.set(parseAddress(it.source ?? A6)!, 8)
  header.set(parseAddress(it.destination ?? B6)!, 24)
  return Buffer.concat([header, payload])
}

/** A hop-by-hop, routing, destination options or mobility header of `8 * (units + 1)` bytes. */
export function extension(next: number, payload: Uint8Array, units = 0): Buffer {
  const header = Buffer.alloc(8 * (units + 1))
  header[0] = next
  header[1] = units
  if (units === 0) header.set([1, 4], 2) // PadN.
  return Buffer.concat([header, payload])
}

export function authentication(next: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(24)
  header[0] = next
  header[1] = 4 // In words, less two.
  return Buffer.concat([header, payload])
}

function fragmentHeader(
  next: number,
  payload: Uint8Array,
  id: number,
  offset: number,
  more: boolean,
): Buffer {
  const header = Buffer.alloc(8)
  header[0] = next
  header.writeUInt16BE((offset << 3) | (more ? 1 : 0), 2)
  header.writeUInt32BE(id, 4)
  return Buffer.concat([header, payload])
}

export function tcp(sourcePort: number, destinationPort: number, flags = 0x18, size = 20): Buffer {
  const header = Buffer.alloc(size)
  header.writeUInt16BE(sourcePort, 0)
  header.writeUInt16BE(destinationPort, 2)
  header[12] = 0x50
  header[13] = flags
  return header
}

/**
 * The eight bytes of a UDP header and `size` bytes of payload; also right for the ports of SCTP and others.
 */
export function udp(sourcePort: number, destinationPort: number, size = 0): Buffer {
  const datagram = Buffer.alloc(8 + size)
  datagram.writeUInt16BE(sourcePort, 0)
  datagram.writeUInt16BE(destinationPort, 2)
  datagram.writeUInt16BE(8 + size, 4)
  return datagram
}

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}

const IPV4 = 0x0800
const IPV6 = 0x86dd
const VLAN = 0x8100
const QINQ = 0x88a8

// --- Expectations
// ----------------------------------------------------------------------------------------------

type FlowOptions = { protocol?: number; ports?: [number, number]; octets: number; tcpFlags?: number }

function flow(source: string, destination: string, it: FlowOptions): Expected {
  const { protocol = UDP, ports = [0, 0], octets, tcpFlags = 0 } = it
  return { kind: 'flow', source, destination, ports, protocol, octets, tcpFlags }
}

const flow4 = (it: FlowOptions): Expected => flow(A4, B4, it)
const flow6 = (it: FlowOptions): Expected => flow(A6, B6, it)
const NOT_IP: Expected = { kind: 'not-ip' }

function one(name: string, bytes: Buffer, expected: Expected, wireLength?: number): PacketCase {
  return { name, frames: [wireLength === undefined ? { bytes, expected } : { bytes, expected, wireLength }] }
}

// --- The corpus
// ------------------------------------------------------------------------------------------------

export function packetCorpus(): PacketCase[] {
  return [
    ...linkCases(),
    ...ipv4Cases(),
    ...ipv6Cases(),
    ...lengthCases(),
    ...cutCases(),
    ...fragmentCases(),
    ...fragment6Cases(),
  ]
}

function linkCases(): PacketCase[] {
  const packet = ipv4(udp(4000, 53, 10))
  const expected = flow4({ ports: [4000, 53], octets: 38 })
  const arp = ethernet(0x0806, Buffer.alloc(46))
  return [
    one('IPv4 UDP', ethernet(IPV4, packet), expected),
    one('IPv6 UDP', ethernet(IPV6, ipv6(UDP, udp(4000, 53, 10))), flow6({ ports: [4000, 53], octets: 58 })),
    one('802.1Q', ethernet(VLAN, tag(IPV4, packet)), expected),
    one('802.1ad around 802.1Q', ethernet(QINQ, tag(VLAN, tag(IPV4, packet))), expected),
    one('802.1Q around 802.1Q', ethernet(VLAN, tag(VLAN, tag(IPV4, packet))), expected),
    one(
      '802.1Q around IPv6',
      ethernet(VLAN, tag(IPV6, ipv6(TCP, tcp(1, 2, 2)))),
      flow6({ protocol: TCP, ports: [1, 2], octets: 60, tcpFlags: 2 }),
    ),
    one('priority tag (VLAN 0)', ethernet(VLAN, tag(IPV4, packet, 0xe000)), expected),
    one('ARP', arp, NOT_IP),
    one('802.1Q around ARP', ethernet(VLAN, tag(0x0806, Buffer.alloc(46))), NOT_IP),
    one('LLDP', ethernet(0x88cc, Buffer.alloc(46)), NOT_IP),
    one('IEEE 802.3 length and LLC (STP)', ethernet(38, Buffer.alloc(46, 0x42)), NOT_IP),
    one(
      'MPLS around IPv4',
      ethernet(0x8847, Buffer.concat([Buffer.from('00064140', 'hex'), packet])),
      NOT_IP,
    ),
    one('PPPoE', ethernet(0x8864, Buffer.alloc(46)), NOT_IP),
    one('IPv4 type with an IPv6 packet in it', ethernet(IPV4, ipv6(UDP, udp(1, 2))), NOT_IP),
    one('IPv6 type with an IPv4 packet in it', ethernet(IPV6, ipv4(udp(1, 2, 30))), NOT_IP),
    one('IPv4 of version 5', ethernet(IPV4, ipv4(udp(1, 2), { version: 5 })), NOT_IP),
  ]
}

function ipv4Cases(): PacketCase[] {
  const withPorts: [string, number][] = [
    ['DCCP', 33],
    ['SCTP', 132],
    ['UDP-Lite', 136],
  ]
  const without: [string, number][] = [
    ['ICMP', ICMP],
    ['IGMP', 2],
    ['GRE', 47],
    ['ESP', 50],
    ['AH', 51],
    ['IPv4 in IPv4', 4],
    ['protocol 0', 0],
    ['protocol 255', 255],
  ]
  return [
    ...[0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0xff].map((flags) =>
      one(
        `TCP flags ${flags}`,
        ethernet(IPV4, ipv4(tcp(50_000, 443, flags), { protocol: TCP, dontFragment: true })),
        flow4({ protocol: TCP, ports: [50_000, 443], octets: 40, tcpFlags: flags }),
      ),
    ),
    ...withPorts.map(([name, protocol]) =>
      one(
        name,
        ethernet(IPV4, ipv4(udp(7, 8, 20), { protocol })),
        flow4({ protocol, ports: [7, 8], octets: 48 }),
      ),
    ),
    ...without.map(([name, protocol]) =>
      one(name, ethernet(IPV4, ipv4(udp(2048, 8, 20), { protocol })), flow4({ protocol, octets: 48 })),
    ),
    one(
      'options of 4 bytes',
      ethernet(IPV4, ipv4(udp(9, 10), { options: Buffer.from('94040000', 'hex') })),
      flow4({ ports: [9, 10], octets: 32 }),
    ),
    one(
      'options of 40 bytes',
      ethernet(IPV4, ipv4(tcp(9, 10, 2), { protocol: TCP, options: Buffer.alloc(40, 1) })),
      flow4({ protocol: TCP, ports: [9, 10], octets: 80, tcpFlags: 2 }),
    ),
    one(
      'header length below 5',
      ethernet(IPV4, ipv4(udp(9, 10, 20), { headerWords: 4 })),
      flow4({ octets: 48 }),
    ),
    one('header length 0', ethernet(IPV4, ipv4(udp(9, 10, 20), { headerWords: 0 })), flow4({ octets: 48 })),
    one(
      'header length past the end',
      ethernet(IPV4, ipv4(udp(9, 10, 4), { headerWords: 15 })),
      flow4({ octets: 32 }),
    ),
    one('ports 0 and 65535', ethernet(IPV4, ipv4(udp(0, 65_535))), flow4({ ports: [0, 65_535], octets: 28 })),
    one(
      'broadcast from nowhere',
      ethernet(IPV4, ipv4(udp(68, 67), { source: '0.0.0.0', destination: '255.255.255.255' })),
      flow('0.0.0.0', '255.255.255.255', { ports: [68, 67], octets: 28 }),
    ),
  ]
}

function ipv6Cases(): PacketCase[] {
  const inner = udp(5000, 53, 4) // 12 bytes.
  const expected = (extra: number): Expected => flow6({ ports: [5000, 53], octets: 52 + extra })
  const chain = (count: number, number = 60): Buffer => {
    let payload: Buffer = inner
    for (let i = 0; i < count; i++) payload = extension(i === 0 ? UDP : number, payload)
    return ethernet(IPV6, ipv6(count === 0 ? UDP : number, payload))
  }
  return [
    one('hop-by-hop', ethernet(IPV6, ipv6(0, extension(UDP, inner))), expected(8)),
    one('hop-by-hop of 24 bytes', ethernet(IPV6, ipv6(0, extension(UDP, inner, 2))), expected(24)),
    one('routing', ethernet(IPV6, ipv6(43, extension(UDP, inner, 1))), expected(16)),
    one('destination options', ethernet(IPV6, ipv6(60, extension(UDP, inner))), expected(8)),
    one('authentication header', ethernet(IPV6, ipv6(51, authentication(UDP, inner))), expected(24)),
    one('mobility', ethernet(IPV6, ipv6(135, extension(UDP, inner))), expected(8)),
    one(
      'mobility with nothing behind',
      ethernet(IPV6, ipv6(135, extension(59, Buffer.alloc(0)))),
      flow6({ protocol: 59, octets: 48 }),
    ),
    one(
      'hop-by-hop, destination, routing, AH, destination',
      ethernet(
        IPV6,
        ipv6(0, extension(60, extension(43, extension(51, authentication(60, extension(UDP, inner)))))),
      ),
      expected(8 * 4 + 24),
    ),
    ...[1, 7, 8].map((count) => one(`chain of ${count}`, chain(count), expected(8 * count))),
    ...[9, 12].map((count) =>
      one(
        `chain of ${count} stops behind the eighth`,
        chain(count),
        flow6({ protocol: 60, octets: 52 + 8 * count }),
      ),
    ),
    one('no next header', ethernet(IPV6, ipv6(59, Buffer.alloc(8))), flow6({ protocol: 59, octets: 48 })),
    one('ICMPv6', ethernet(IPV6, ipv6(58, Buffer.alloc(32, 0x80))), flow6({ protocol: 58, octets: 72 })),
    one('IPv6 ESP', ethernet(IPV6, ipv6(50, Buffer.alloc(32, 9))), flow6({ protocol: 50, octets: 72 })),
    one(
      'SCTP behind options',
      ethernet(IPV6, ipv6(60, extension(132, inner))),
      flow6({ protocol: 132, ports: [5000, 53], octets: 60 }),
    ),
    one(
      'TCP behind hop-by-hop',
      ethernet(IPV6, ipv6(0, extension(TCP, tcp(1, 2, 0x11)))),
      flow6({ protocol: TCP, ports: [1, 2], octets: 68, tcpFlags: 0x11 }),
    ),
    one(
      'extension header cut at its second byte',
      ethernet(IPV6, ipv6(60, Buffer.from([UDP, 0]))),
      flow6({ protocol: 60, octets: 42 }),
    ),
    one(
      'extension header longer than the packet',
      ethernet(IPV6, ipv6(60, extension(UDP, inner).fill(255, 1, 2))),
      flow6({ ports: [0, 0], octets: 60 }),
    ),
    one(
      'second extension header is cut',
      ethernet(IPV6, ipv6(0, extension(43, Buffer.from([UDP, 0, 0])))),
      flow6({ protocol: 43, octets: 51 }),
    ),
    one('atomic fragment', ethernet(IPV6, ipv6(44, fragmentHeader(UDP, inner, 77, 0, false))), expected(8)),
  ]
}

function lengthCases(): PacketCase[] {
  const padded = (packet: Buffer): Buffer =>
    Buffer.concat([packet, Buffer.alloc(46 - Math.min(46, packet.length), 0xee)])
  const ports: [number, number] = [11, 12]
  return [
    one(
      'Ethernet padding does not count',
      ethernet(IPV4, padded(ipv4(udp(11, 12)))),
      flow4({ ports, octets: 28 }),
    ),
    one('padding is not read as ports', ethernet(IPV4, padded(ipv4(Buffer.alloc(2)))), flow4({ octets: 22 })),
    one(
      'total length of the header alone',
      ethernet(IPV4, ipv4(udp(11, 12), { totalLength: 20 })),
      flow4({ octets: 20 }),
    ),
    one(
      'total length below the header',
      ethernet(IPV4, ipv4(udp(11, 12), { totalLength: 19 })),
      flow4({ ports, octets: 28 }),
    ),
    one(
      'total length 0 (offload)',
      ethernet(IPV4, ipv4(udp(11, 12), { totalLength: 0 })),
      flow4({ ports, octets: 28 }),
    ),
    one(
      'total length below a header with options',
      ethernet(IPV4, ipv4(udp(11, 12), { options: Buffer.alloc(8, 1), totalLength: 24 })),
      flow4({ ports, octets: 36 }),
    ),
    one(
      'total length above what is there',
      ethernet(IPV4, ipv4(udp(11, 12), { totalLength: 1500 })),
      flow4({ ports, octets: 28 }),
    ),
    one(
      'trailer behind IPv4',
      ethernet(IPV4, Buffer.concat([ipv4(udp(11, 12, 100)), Buffer.alloc(9)])),
      flow4({ ports, octets: 128 }),
    ),
    one(
      'trailer behind IPv6',
      ethernet(IPV6, Buffer.concat([ipv6(UDP, udp(11, 12, 100)), Buffer.alloc(9)])),
      flow6({ ports, octets: 148 }),
    ),
    one(
      'IPv6 payload length above what is there',
      ethernet(IPV6, ipv6(UDP, udp(11, 12), { payloadLength: 9000 })),
      flow6({ ports, octets: 48 }),
    ),
    one(
      'IPv6 payload length 0',
      ethernet(IPV6, ipv6(UDP, udp(11, 12), { payloadLength: 0 })),
      flow6({ octets: 40 }),
    ),
    one(
      'IPv6 jumbogram',
      ethernet(IPV6, ipv6(0, extension(TCP, tcp(11, 12, 0x10)), { payloadLength: 0 })),
      flow6({ protocol: TCP, ports, octets: 68, tcpFlags: 0x10 }),
    ),
    one(
      'UDP header cut behind its ports',
      ethernet(IPV4, ipv4(udp(11, 12).subarray(0, 4))),
      flow4({ ports, octets: 24 }),
    ),
    one(
      'UDP header cut inside its ports',
      ethernet(IPV4, ipv4(udp(11, 12).subarray(0, 3))),
      flow4({ octets: 23 }),
    ),
    one(
      'TCP header cut before its flags',
      ethernet(IPV4, ipv4(tcp(11, 12, 2).subarray(0, 13), { protocol: TCP })),
      flow4({ protocol: TCP, ports, octets: 33 }),
    ),
    one(
      'TCP header cut behind its flags',
      ethernet(IPV4, ipv4(tcp(11, 12, 2).subarray(0, 14), { protocol: TCP })),
      flow4({ protocol: TCP, ports, octets: 34, tcpFlags: 2 }),
    ),
    one(
      'no payload at all',
      ethernet(IPV4, ipv4(Buffer.alloc(0), { protocol: TCP })),
      flow4({ protocol: TCP, octets: 20 }),
    ),
    one('IPv4 header of 19 bytes', ethernet(IPV4, ipv4(Buffer.alloc(0)).subarray(0, 19)), {
      kind: 'skipped',
      octets: 19,
    }),
    one('IPv4 header of one byte', ethernet(IPV4, Buffer.from([0x45])), { kind: 'skipped', octets: 1 }),
    one('IPv6 header of 39 bytes', ethernet(IPV6, ipv6(59, Buffer.alloc(0)).subarray(0, 39)), {
      kind: 'skipped',
      octets: 39,
    }),
    one('802.1Q cut behind its type', ethernet(VLAN, Buffer.from([0, 5])), NOT_IP),
  ]
}

/** Frames that a capture cut short: octets are those of the wire. */
function cutCases(): PacketCase[] {
  const cut = (frame: Buffer, size: number): Buffer => frame.subarray(0, size)
  const big4 = ethernet(IPV4, ipv4(tcp(20, 21, 0x10, 1480), { protocol: TCP }))
  const big6 = ethernet(IPV6, ipv6(UDP, udp(20, 21, 1400)))
  const ports: [number, number] = [20, 21]
  return [
    one(
      'cut to 96 bytes',
      cut(big4, 96),
      flow4({ protocol: TCP, ports, octets: 1500, tcpFlags: 0x10 }),
      big4.length,
    ),
    one('cut behind the ports', cut(big4, 38), flow4({ protocol: TCP, ports, octets: 1500 }), big4.length),
    one('cut before the ports', cut(big4, 36), flow4({ protocol: TCP, octets: 1500 }), big4.length),
    one('cut in the IPv4 header', cut(big4, 30), { kind: 'skipped', octets: 1500 }, big4.length),
    one('cut behind the Ethernet header', cut(big4, 14), { kind: 'skipped', octets: 1500 }, big4.length),
    one('IPv6 cut to 64 bytes', cut(big6, 64), flow6({ ports, octets: 1448 }), big6.length),
    one('IPv6 cut in its header', cut(big6, 50), { kind: 'skipped', octets: 1448 }, big6.length),
    one(
      'cut, and a total length that was offloaded away',
      cut(ethernet(IPV4, ipv4(tcp(20, 21, 0x10, 5000), { protocol: TCP, totalLength: 0 })), 96),
      flow4({ protocol: TCP, ports, octets: 5020, tcpFlags: 0x10 }),
      5034,
    ),
    one(
      'length on the wire below what was captured',
      big4,
      flow4({ protocol: TCP, ports, octets: 1500, tcpFlags: 0x10 }),
      10,
    ),
  ]
}

function fragmentCases(): PacketCase[] {
  const part = (id: number, it: Ipv4Options, payload: Uint8Array): Buffer =>
    ethernet(IPV4, ipv4(payload, { id, ...it }))
  const first = (id: number, payload: Uint8Array, it: Ipv4Options = {}): Buffer =>
    part(id, { moreFragments: true, ...it }, payload)
  const later = (id: number, it: Ipv4Options = {}): Buffer =>
    part(id, { fragmentOffset: 3, ...it }, Buffer.alloc(16, 0xab))
  const ports: [number, number] = [3000, 3001]
  const known = flow4({ ports, octets: 36 })
  const unknown = flow4({ octets: 36 })
  const head = udp(3000, 3001, 16)
  const headFlow = flow4({ ports, octets: 44 })
  return [
    {
      name: 'fragments in order',
      frames: [
        { bytes: first(1, head), expected: headFlow },
        { bytes: later(1, { moreFragments: true }), expected: known },
        { bytes: later(1, { fragmentOffset: 5 }), expected: known },
      ],
    },
    {
      name: 'last fragment before the first',
      frames: [
        { bytes: later(2), expected: unknown },
        { bytes: first(2, head), expected: headFlow },
        { bytes: later(2), expected: known },
      ],
    },
    { name: 'fragment whose first was never seen', frames: [{ bytes: later(3), expected: unknown }] },
    {
      name: 'fragments of another id, protocol or host are not credited',
      frames: [
        { bytes: first(4, head), expected: headFlow },
        { bytes: later(5), expected: unknown },
        { bytes: later(4, { protocol: 136 }), expected: flow4({ protocol: 136, octets: 36 }) },
        { bytes: later(4, { source: '192.0.2.2' }), expected: flow('192.0.2.2', B4, { octets: 36 }) },
        {
          bytes: later(4, { destination: '198.51.100.8' }),
          expected: flow(A4, '198.51.100.8', { octets: 36 }),
        },
        { bytes: later(4, { source: B4, destination: A4 }), expected: flow(B4, A4, { octets: 36 }) },
      ],
    },
    {
      name: 'an id used again belongs to the new flow',
      frames: [
        { bytes: first(6, head), expected: headFlow },
        { bytes: first(6, udp(1, 2, 16)), expected: flow4({ ports: [1, 2], octets: 44 }) },
        { bytes: later(6), expected: flow4({ ports: [1, 2], octets: 36 }) },
      ],
    },
    {
      name: 'first fragment too short for ports',
      frames: [
        { bytes: first(7, Buffer.alloc(2)), expected: flow4({ octets: 22 }) },
        { bytes: later(7), expected: unknown },
      ],
    },
    {
      name: 'fragments of TCP',
      frames: [
        {
          bytes: first(8, tcp(3000, 3001, 2, 24), { protocol: TCP }),
          expected: flow4({ protocol: TCP, ports, octets: 44, tcpFlags: 2 }),
        },
        { bytes: later(8, { protocol: TCP }), expected: flow4({ protocol: TCP, ports, octets: 36 }) },
      ],
    },
    {
      name: 'fragments of ICMP',
      frames: [
        {
          bytes: first(9, Buffer.alloc(24, 8), { protocol: ICMP }),
          expected: flow4({ protocol: ICMP, octets: 44 }),
        },
        { bytes: later(9, { protocol: ICMP }), expected: flow4({ protocol: ICMP, octets: 36 }) },
      ],
    },
    {
      name: 'first fragment with options',
      frames: [
        { bytes: first(10, head, { options: Buffer.alloc(12, 1) }), expected: flow4({ ports, octets: 56 }) },
        { bytes: later(10), expected: known },
      ],
    },
    {
      name: 'fragments below a VLAN tag',
      frames: [
        { bytes: ethernet(VLAN, tag(IPV4, ipv4(head, { id: 11, moreFragments: true }))), expected: headFlow },
        {
          bytes: ethernet(VLAN, tag(IPV4, ipv4(Buffer.alloc(16), { id: 11, fragmentOffset: 3 }))),
          expected: known,
        },
      ],
    },
    {
      name: 'do not fragment is no fragment',
      frames: [{ bytes: part(12, { dontFragment: true }, head), expected: headFlow }],
    },
  ]
}

function fragment6Cases(): PacketCase[] {
  const part = (id: number, offset: number, more: boolean, payload: Uint8Array, next = UDP): Buffer =>
    ethernet(IPV6, ipv6(44, fragmentHeader(next, payload, id, offset, more)))
  const ports: [number, number] = [3000, 3001]
  const head = udp(3000, 3001, 16)
  const rest = Buffer.alloc(16, 0xcd)
  const headFlow = flow6({ ports, octets: 72 })
  const known = flow6({ ports, octets: 64 })
  const unknown = flow6({ octets: 64 })
  return [
    {
      name: 'IPv6 fragments in order',
      frames: [
        { bytes: part(100, 0, true, head), expected: headFlow },
        { bytes: part(100, 3, true, rest), expected: known },
        { bytes: part(100, 5, false, rest), expected: known },
      ],
    },
    {
      name: 'IPv6 fragment before the first, and of another id',
      frames: [
        { bytes: part(101, 3, false, rest), expected: unknown },
        { bytes: part(101, 0, true, head), expected: headFlow },
        { bytes: part(102, 3, false, rest), expected: unknown },
        { bytes: part(101, 3, false, rest), expected: known },
      ],
    },
    {
      name: 'ids that differ in their high half only',
      frames: [
        { bytes: part(0x0001_0100, 0, true, head), expected: headFlow },
        { bytes: part(0x0002_0100, 3, false, rest), expected: unknown },
      ],
    },
    {
      name: 'options behind the fragment header: later fragments follow the first',
      frames: [
        { bytes: part(103, 0, true, extension(UDP, head), 60), expected: flow6({ ports, octets: 80 }) },
        { bytes: part(103, 4, false, rest, 60), expected: known },
      ],
    },
    {
      name: 'options behind the fragment header and ICMPv6: later fragments follow the first',
      frames: [
        { bytes: part(104, 0, true, extension(58, rest), 60), expected: flow6({ protocol: 58, octets: 72 }) },
        { bytes: part(104, 4, false, rest, 60), expected: flow6({ protocol: 58, octets: 64 }) },
      ],
    },
    {
      name: 'options behind the fragment header of an unknown packet',
      frames: [{ bytes: part(105, 4, false, rest, 60), expected: flow6({ protocol: 60, octets: 64 }) }],
    },
    {
      name: 'hop-by-hop before the fragment header',
      frames: [
        {
          bytes: ethernet(IPV6, ipv6(0, extension(44, fragmentHeader(UDP, head, 106, 0, true)))),
          expected: flow6({ ports, octets: 80 }),
        },
        {
          bytes: ethernet(IPV6, ipv6(0, extension(44, fragmentHeader(UDP, rest, 106, 3, false)))),
          expected: flow6({ ports, octets: 72 }),
        },
      ],
    },
    {
      name: 'an atomic fragment is not remembered',
      frames: [
        { bytes: part(107, 0, false, head), expected: headFlow },
        { bytes: part(107, 3, false, rest), expected: unknown },
      ],
    },
  ]
}

/**
 * Frames of the corpus, damaged: bytes changed, cut, lengthened, glued. The same seed gives the same
 * frames. What a frame must become is not known here; every implementation must agree on it, and none may
 * read out of bounds.
 */
export function mutatedFrames(seed: number, count: number): Buffer[] {
  const next = random(seed)
  const frames = packetCorpus().flatMap((it) => it.frames.map((frame) => frame.bytes))
  return Array.from({ length: count }, () => {
    let bytes: Buffer = Buffer.from(frames[next() % frames.length]!)
    for (let changes = next() % 4; changes >= 0; changes--) bytes = mutated(bytes, next)
    return bytes.length < 14 ? Buffer.concat([bytes, Buffer.alloc(14 - bytes.length)]) : bytes
  })
}

function mutated(bytes: Buffer, next: () => number): Buffer {
  const at = next() % (bytes.length + 1)
  switch (next() % 6) {
    case 0:
      return bytes.subarray(0, at)
    case 1:
      return Buffer.concat([bytes, Buffer.alloc(next() % 64, next())])
    case 2: // Where the headers are, a change tells more.
      bytes[14 + (next() % Math.max(1, Math.min(60, bytes.length - 14)))] = next()
      return bytes
    case 3:
      bytes[14 + (next() % Math.max(1, Math.min(60, bytes.length - 14)))] = [
        0, 6, 17, 43, 44, 51, 60, 135, 255,
      ][next() % 9]!
      return bytes
    case 4:
      return Buffer.concat([bytes.subarray(0, at), Buffer.alloc(next() % 9, next()), bytes.subarray(at)])
    default:
      bytes[at] = bytes[at]! ^ (1 << (next() % 8))
      return bytes
  }
}
