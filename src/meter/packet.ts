/**
 * One packet to its flow key: the rules of metering, in the form that is meant to be read. The kernel
 * program (bpf/) and the fast loop (wasm/meter.ts) follow the same rules; one corpus of packets holds all
 * three together (test/support/packet-corpus.ts). docs/convert.md states the rules for users.
 */

/** Link types by their pcap numbers (LINKTYPE_*). */
export const LINK = {
  null: 0,
  ethernet: 1,
  raw: 101,
  loop: 108,
  linuxCooked: 113,
  ipv4: 228,
  ipv6: 229,
  linuxCooked2: 276,
} as const

/** What became of a packet. */
export const OUTCOME = {
  /** ARP and the like: no flow. */
  notIp: 0,
  ipv4: 1,
  ipv6: 2,
  /** IP by its type, but its addresses are not there: counts as skipped. */
  unreadable: 3,
} as const

export const FRAGMENT = { none: 0, first: 1, later: 2 } as const

/** Words of a parsed packet. Addresses and ports keep their bytes as they came (network order in memory). */
export const PARSED = {
  outcome: 0,
  source: 1, // Four words; IPv4 uses the first, the others are zero.
  destination: 5,
  ports: 9, // Source port in the low half, each half byte-swapped on little-endian machines.
  protocol: 10,
  octets: 11,
  tcpFlags: 12,
  fragment: 13,
  fragmentId: 14,
  fragmentProtocol: 15, // The protocol that all fragments of the packet name: part of their key.
  payload: 16, // Where what the IP headers carry begins, counted from the packet's first byte.
  network: 17, // Where the IP header begins, counted likewise.
} as const
export const PARSED_WORDS = 18

const ETHER_IPV4 = 0x0800
const ETHER_IPV6 = 0x86dd
const TAGS_MAX = 2
const EXTENSIONS_MAX = 8
const IPV4_HEADER_SIZE = 20
const IPV6_HEADER_SIZE = 40
const EXTENSION_SIZE_MIN = 8

const HOP_BY_HOP = 0
const TCP = 6
const ROUTING = 43
const FRAGMENT_HEADER = 44
const AUTHENTICATION = 51
const DESTINATION_OPTIONS = 60
const MOBILITY = 135

/** TCP, UDP, DCCP, SCTP and UDP-Lite begin with two ports. */
export function hasPorts(protocol: number): boolean {
  return protocol === 6 || protocol === 17 || protocol === 33 || protocol === 132 || protocol === 136
}

/**
 * Reads the packet whose `length` captured bytes begin at `bytes[at]`; on the wire it had `wireLength`.
 * Writes the words of PARSED to `out` and returns the outcome. Never reads outside the captured bytes.
 */
export function parsePacket(
  bytes: Uint8Array,
  at: number,
  length: number,
  wireLength: number,
  out: Uint32Array,
  link: number = LINK.ethernet,
): number {
  const end = at + length
  const wireEnd = at + Math.max(length, wireLength)
  out.fill(0, 0, PARSED_WORDS)
  const network = findNetwork(bytes, at, end, link)
  if (network < 0) return OUTCOME.notIp
  const isIpv6 = network % 2 === 1
  const ip = Math.floor(network / 2)
  if (ip < end && bytes[ip]! >> 4 !== (isIpv6 ? 6 : 4)) return OUTCOME.notIp
  const headerSize = isIpv6 ? IPV6_HEADER_SIZE : IPV4_HEADER_SIZE
  const outcome = ip + headerSize > end ? OUTCOME.unreadable : isIpv6 ? OUTCOME.ipv6 : OUTCOME.ipv4
  out[PARSED.outcome] = outcome
  out[PARSED.network] = ip - at
  if (outcome === OUTCOME.unreadable) out[PARSED.octets] = Math.max(0, wireEnd - ip)
  else if (isIpv6) out[PARSED.payload] = parseIpv6(bytes, ip, end, wireEnd, out) - at
  else out[PARSED.payload] = parseIpv4(bytes, ip, end, wireEnd, out) - at
  return outcome
}

/** Where the IP header begins, times two, plus one for IPv6; or -1 for what is not IP. */
function findNetwork(bytes: Uint8Array, at: number, end: number, link: number): number {
  switch (link) {
    case LINK.ethernet:
      return afterTags(bytes, at + 12, at + 14, end)
    case LINK.linuxCooked:
      return afterTags(bytes, at + 14, at + 16, end)
    case LINK.linuxCooked2:
      return afterTags(bytes, at, at + 20, end)
    case LINK.ipv4:
      return at * 2
    case LINK.ipv6:
      return at * 2 + 1
    case LINK.raw:
      return at < end ? byVersion(bytes, at) : -1
    default: // LINK.null and LINK.loop: four bytes of address family, of which every system has its own for IPv6.
      return at + 4 < end ? byVersion(bytes, at + 4) : -1
  }
}

/**
 * Steps over VLAN tags (802.1Q, 802.1ad). The type stands at `typeAt`, what it describes begins at `next`.
 */
function afterTags(bytes: Uint8Array, typeAt: number, next: number, end: number): number {
  if (next > end) return -1
  let type = uint16(bytes, typeAt)
  for (let tags = 0; (type === 0x8100 || type === 0x88a8) && tags < TAGS_MAX; tags++) {
    if (next + 4 > end) return -1
    type = uint16(bytes, next + 2)
    next += 4
  }
  if (type === ETHER_IPV4) return next * 2
  return type === ETHER_IPV6 ? next * 2 + 1 : -1
}

function byVersion(bytes: Uint8Array, at: number): number {
  const version = bytes[at]! >> 4
  if (version === 4) return at * 2
  return version === 6 ? at * 2 + 1 : -1
}

/**
 * Octets are the IP packet's own length where it can be true: padding of short frames does not count, and
 * what a capture cut off does.
 */
function ipOctets(total: number, headerSize: number, onWire: number): number {
  return headerSize <= total && total <= onWire ? total : onWire
}

/** Returns where the payload begins. */
function parseIpv4(bytes: Uint8Array, ip: number, end: number, wireEnd: number, out: Uint32Array): number {
  const headerSize = (bytes[ip]! & 15) * 4
  const octets = ipOctets(uint16(bytes, ip + 2), Math.max(IPV4_HEADER_SIZE, headerSize), wireEnd - ip)
  const limit = Math.min(end, ip + octets)
  const protocol = bytes[ip + 9]!
  const fragment = uint16(bytes, ip + 6)
  out[PARSED.source] = word(bytes, ip + 12)
  out[PARSED.destination] = word(bytes, ip + 16)
  out[PARSED.protocol] = protocol
  out[PARSED.octets] = octets
  out[PARSED.fragmentId] = uint16(bytes, ip + 4)
  out[PARSED.fragmentProtocol] = protocol
  if ((fragment & 0x1fff) !== 0) {
    out[PARSED.fragment] = FRAGMENT.later
    return ip + headerSize
  }
  if ((fragment & 0x2000) !== 0) out[PARSED.fragment] = FRAGMENT.first
  if (headerSize >= IPV4_HEADER_SIZE) parseTransport(bytes, ip + headerSize, limit, protocol, out)
  return ip + headerSize
}

/** Returns where the payload begins, or the header that could not be read. */
function parseIpv6(bytes: Uint8Array, ip: number, end: number, wireEnd: number, out: Uint32Array): number {
  const payload = uint16(bytes, ip + 4)
  let protocol = bytes[ip + 6]!
  const isJumbo = payload === 0 && protocol === HOP_BY_HOP // RFC 2675: the length stands in an option.
  const onWire = wireEnd - ip
  const octets = isJumbo ? onWire : ipOctets(IPV6_HEADER_SIZE + payload, IPV6_HEADER_SIZE, onWire)
  const limit = Math.min(end, ip + octets)
  for (let i = 0; i < 4; i++) {
    out[PARSED.source + i] = word(bytes, ip + 8 + i * 4)
    out[PARSED.destination + i] = word(bytes, ip + 24 + i * 4)
  }
  out[PARSED.octets] = octets
  let next = ip + IPV6_HEADER_SIZE
  for (let headers = 0; isExtension(protocol); headers++) {
    out[PARSED.protocol] = protocol
    if (headers === EXTENSIONS_MAX || next + EXTENSION_SIZE_MIN > limit) return next
    if (protocol === FRAGMENT_HEADER && !readFragmentHeader(bytes, next, out)) return next + 8
    const size = extensionSize(bytes, next, protocol)
    protocol = bytes[next]!
    next += size
  }
  out[PARSED.protocol] = protocol
  parseTransport(bytes, next, limit, protocol, out)
  return next
}

function isExtension(protocol: number): boolean {
  return (
    protocol === HOP_BY_HOP ||
    protocol === ROUTING ||
    protocol === FRAGMENT_HEADER ||
    protocol === AUTHENTICATION ||
    protocol === DESTINATION_OPTIONS ||
    protocol === MOBILITY
  )
}

function extensionSize(bytes: Uint8Array, at: number, protocol: number): number {
  if (protocol === FRAGMENT_HEADER) return 8
  if (protocol === AUTHENTICATION) return (bytes[at + 1]! + 2) * 4
  return (bytes[at + 1]! + 1) * 8
}

/** Returns false for a later fragment: what follows its header is no header. */
function readFragmentHeader(bytes: Uint8Array, at: number, out: Uint32Array): boolean {
  const field = uint16(bytes, at + 2)
  const isLater = field >= 8
  const hasMore = (field & 1) !== 0
  if (!isLater && !hasMore) return true // An atomic fragment (RFC 6946) is a packet of its own.
  out[PARSED.fragment] = isLater ? FRAGMENT.later : FRAGMENT.first
  out[PARSED.fragmentId] = word(bytes, at + 4)
  out[PARSED.fragmentProtocol] = bytes[at]!
  if (isLater) out[PARSED.protocol] = bytes[at]!
  return !isLater
}

function parseTransport(
  bytes: Uint8Array,
  at: number,
  limit: number,
  protocol: number,
  out: Uint32Array,
): void {
  if (!hasPorts(protocol) || at + 4 > limit) return
  out[PARSED.ports] = word(bytes, at)
  if (protocol === TCP && at + 14 <= limit) out[PARSED.tcpFlags] = bytes[at + 13]!
}

/** Two bytes in network order. */
function uint16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!
}

/**
 * Four bytes as they lie in memory: little-endian, so that addresses are moved and compared without
 * swapping.
 */
function word(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
}
