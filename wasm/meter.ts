// The metering loop in AssemblyScript: the rules of src/meter/packet.ts, the tables of
// src/meter/flow-table.ts, made fast. Memory latency is what it costs, so packets are parsed in batches of
// 128 into a scratch area, then a tight loop touches the index slots and the rows that the batch will use
// (many cache misses at once instead of one after the other), then a third loop counts.
//
// The caller (src/meter/wasm-kernel.ts) lays out the memory and hands over addresses. Nothing is allocated
// here.
//
// Packets, 16 bytes each: u32 offset in input, u32 captured length | flags << 30, u32 length on the wire,
// u32 second. Flags: 1 egress, 2 reject; they are part of the flow's key.
//
// Table, 128 bytes: see T_*. Index: u32 per slot, row number in the low 22 bits, 10 bits of the hash above;
// 0 is free.
// IPv4 row, 32 bytes:  0 source, 4 destination, 8 ports, 12 meta, 16 packets, 20 octets, 24 start | end << 16, 28 hash
// IPv6 row, 64 bytes:  0 source, 16 destination, 32 ports, 36 meta, 40 packets, 44 octets, 48 start | end << 16, 52 hash
// Meta: protocol, flags << 8, TCP flags << 10, octets above 32 bits << 18 (13 bits), retired << 31.
// A row whose counters would overflow is copied to a new row, marked as retired, and begins again at zero.

const BATCH: u32 = 128
const ROW_MASK: u32 = 0x3fffff
const KEY_MASK: u32 = 0x3ff
const RETIRED: u32 = 0x80000000

const T_INDEX4: usize = 0
const T_BITS4: usize = 4
const T_ROWS4: usize = 8
const T_COUNT4: usize = 12
const T_INDEX6: usize = 16
const T_BITS6: usize = 20
const T_ROWS6: usize = 24
const T_COUNT6: usize = 28
const T_FLOWS_MAX: usize = 32
const T_BITS_MAX: usize = 36
const T_SKIPPED: usize = 40 // Two of 24 bytes, by direction: u64 packets, u64 octets, u32 first, u32 last.
const SKIPPED_SIZE: usize = 24

const NOWHERE: usize = 16 // Nothing but zeros before it.

const FRAGMENT_WAYS: usize = 8
const FRAGMENT_SIZE: usize = 52 // 0 source, 16 destination, 32 id, 36 protocol, 40 ports, 44 final protocol, 48 used

let packets: usize = 0
let input: usize = 0
let scratch4: usize = 0
let scratch6: usize = 0
let fragmentKey: usize = 0
let portMasks: usize = 0 // u32 for each protocol: all bits where it has ports.
let fragments: usize = 0
let fragmentMask: u32 = 0
let fragmentUses: u32 = 0
let notIp: u32 = 0
let octetsSum: u64 = 0
let touchedSum: u32 = 0
let k0: u32 = 0
let k1: u32 = 0
let k2: u32 = 0
let k3: u32 = 0
let k4: u32 = 0
let k5: u32 = 0
let k6: u32 = 0
let k7: u32 = 0
let k8: u32 = 0
let k9: u32 = 0

/** `scratch` has 128 * 160 + 64 + 1024 bytes, `keys` ten random words. */
export function setup(
  packetsAt: usize,
  inputAt: usize,
  scratchAt: usize,
  fragmentsAt: usize,
  fragmentSets: u32,
  keys: usize,
): void {
  packets = packetsAt
  input = inputAt
  scratch4 = scratchAt
  scratch6 = scratchAt + 32 * BATCH
  fragmentKey = scratch6 + 64 * BATCH * 2
  portMasks = fragmentKey + 64
  for (let protocol: u32 = 0; protocol < 256; protocol++)
    store<u32>(portMasks + (protocol << 2), hasPorts(protocol) ? 0xffffffff : 0)
  fragments = fragmentsAt
  fragmentMask = fragmentSets - 1
  k0 = load<u32>(keys)
  k1 = load<u32>(keys, 4)
  k2 = load<u32>(keys, 8)
  k3 = load<u32>(keys, 12)
  k4 = load<u32>(keys, 16)
  k5 = load<u32>(keys, 20)
  k6 = load<u32>(keys, 24)
  k7 = load<u32>(keys, 28)
  k8 = load<u32>(keys, 32)
  k9 = load<u32>(keys, 36)
}

/** Packets of the last `observe` that were no IP. */
export function notIpPackets(): u32 {
  return notIp
}

/** Octets of the IP packets of the last `observe`, those that were skipped too. */
export function octets(): f64 {
  return octetsSum as f64
}

/** Nobody needs it, but what nobody could read the compiler would leave out, and the touching with it. */
export function touched(): u32 {
  return touchedSum
}

function hasPorts(protocol: u32): bool {
  return protocol === 6 || protocol === 17 || protocol === 132 || protocol === 33 || protocol === 136
}

/** Universal hashing (NH): without the keys nobody can craft packets that collide. */
// @inline
function hash4(source: u32, destination: u32, ports: u32, key: u32): u32 {
  return mix(
    ((((source + k0) as u64) * ((destination + k1) as u64) + (ports + k2)) as u64) * ((key + k3) as u64),
  )
}

function hash6(s: usize): u32 {
  return mix(
    ((((((((((load<u32>(s) + k0) as u64) * ((load<u32>(s, 4) + k1) as u64) + (load<u32>(s, 8) + k2)) as u64) *
      ((load<u32>(s, 12) + k3) as u64) +
      (load<u32>(s, 16) + k4)) as u64) *
      ((load<u32>(s, 20) + k5) as u64) +
      (load<u32>(s, 24) + k6)) as u64) *
      ((load<u32>(s, 28) + k7) as u64) +
      (load<u32>(s, 32) + k8)) as u64) * (((load<u32>(s, 36) & KEY_MASK) + k9) as u64),
  )
}

// @inline
function mix(value: u64): u32 {
  return (((value ^ (value >> 29)) * (((0x9e3779b9 as u64) << 32) | 0x7f4a7c15)) >> 32) as u32
}

/**
 * Counts packets `from` to `count` into `table` as long as their second lies in the window. Returns the
 * number of the first packet that was not counted: `count`, or one of another window.
 */
export function observe(table: usize, from: u32, count: u32, link: u32, startS: u32, sizeS: u32): u32 {
  const batchAt = packets // In locals: what is global is read from memory each time.
  const inputAt = input
  let at = from
  let others: u32 = 0
  notIp = 0
  octetsSum = 0
  let sum: u64 = 0
  let inside = true
  let s6 = scratch6
  while (inside && at < count) {
    grow4(table)
    const stop = min(count, at + BATCH)
    let s4 = scratch4
    for (; at < stop; at++) {
      const packet = batchAt + (at << 4)
      const second = load<u32>(packet, 12) - startS
      if (second >= sizeS) {
        inside = false
        break
      }
      const field = load<u32>(packet, 4)
      const captured = field & 0x3fffffff
      const flags = field >> 30
      const begin = inputAt + load<u32>(packet)
      const end = begin + captured
      const wire = max(captured, load<u32>(packet, 8))
      // Most packets are these: EtherType IPv4, and a header of five words.
      if (link === 1 && captured >= 34 && (load<u32>(begin, 12) & 0xffffff) === 0x450008) {
        parseIpv4(s4, begin + 14, end, wire - 14, flags, 20)
        store<u32>(s4, second, 20)
        sum += load<u32>(s4, 16)
        s4 += 32
        continue
      }
      const ip = link === 1 ? ethernetNetwork(begin, end) : linkedNetwork(begin, end, link)
      const type: u32 = link === 1 ? (load<u16>(ip - 2) as u32) : linkedType
      const onWire = wire - ((ip - begin) as u32)
      if (type === 0x0008) {
        if (ip + 20 > end) {
          unreadable(table, ip, end, 0x40, flags, onWire, second)
          continue
        }
        if ((load<u8>(ip) & 0xf0) !== 0x40) {
          others++
          continue
        }
        parseIpv4(s4, ip, end, onWire, flags, (load<u8>(ip) & 15) << 2)
        store<u32>(s4, second, 20)
        sum += load<u32>(s4, 16)
        s4 += 32
      } else if (type === 0xdd86) {
        if (ip + 40 > end) {
          unreadable(table, ip, end, 0x60, flags, onWire, second)
        } else if ((load<u8>(ip) & 0xf0) !== 0x60) {
          others++
        } else {
          parseIpv6(s6, ip, end, onWire, flags)
          store<u32>(s6, second, 44)
          sum += load<u32>(s6, 40)
          store<u32>(s6, hash6(s6), 48)
          s6 += 64
        }
      } else others++
    }
    count4(table, s4)
    // IPv6 packets may be few in each batch: they wait until they are worth a loop that touches what they need.
    if (s6 - scratch6 >= 64 * BATCH) {
      count6(table, s6)
      s6 = scratch6
    }
  }
  if (s6 !== scratch6) count6(table, s6)
  notIp += others
  octetsSum += sum
  return at
}

/**
 * Where the packet of an Ethernet frame begins, behind at most two VLAN tags. The EtherType stands before it; NOWHERE
 * has none.
 */
// @inline
function ethernetNetwork(begin: usize, end: usize): usize {
  let ip: usize = begin + 14
  const type: u32 = load<u16>(begin, 12)
  if (isTag(type)) {
    ip += 4
    if (isTag(load<u16>(begin, 16))) ip += 4
  }
  return ip <= end ? ip : NOWHERE
}

// @inline
function isTag(type: u32): bool {
  return type === 0x0081 || type === 0xa888
}

let linkedType: u32 = 0

/** The same for other link types; leaves the EtherType, as it lies in memory, in `linkedType`. */
function linkedNetwork(begin: usize, end: usize, link: u32): usize {
  let ip = begin + linkHeaderSize(link)
  let type = ip <= end ? typeOf(begin, ip, end, link) : 0
  for (let tags = 0; isTag(type) && tags < 2; tags++) {
    type = ip + 4 <= end ? (load<u16>(ip, 2) as u32) : 0
    ip += 4
  }
  linkedType = type
  return ip
}

function linkHeaderSize(link: u32): u32 {
  if (link === 113) return 16
  if (link === 276) return 20
  if (link === 0 || link === 108) return 4
  return 0
}

/** The EtherType (as it lies in memory) of a packet that has no Ethernet header. */
function typeOf(begin: usize, ip: usize, end: usize, link: u32): u32 {
  if (link === 113) return load<u16>(begin, 14)
  if (link === 276) return load<u16>(begin)
  if (link === 228) return 0x0008
  if (link === 229) return 0xdd86
  if (ip >= end) return 0
  const version = load<u8>(ip) >> 4
  return version === 4 ? 0x0008 : version === 6 ? 0xdd86 : 0
}

function unreadable(
  table: usize,
  ip: usize,
  end: usize,
  version: u32,
  flags: u32,
  onWire: u32,
  second: u32,
): void {
  if (ip < end && (load<u8>(ip) & 0xf0) !== version) notIp++
  else {
    octetsSum += onWire
    skip(table, flags, onWire, second)
  }
}

function skip(table: usize, flags: u32, octets: u32, second: u32): void {
  const at = table + T_SKIPPED + ((flags & 1) as usize) * SKIPPED_SIZE
  const before = load<u64>(at)
  store<u64>(at, before + 1)
  store<u64>(at, load<u64>(at, 8) + octets, 8)
  if (before === 0 || second < load<u32>(at, 16)) store<u32>(at, second, 16)
  if (before === 0 || second > load<u32>(at, 20)) store<u32>(at, second, 20)
}

function isExtension(protocol: u32): bool {
  return (
    protocol === 0 ||
    protocol === 43 ||
    protocol === 44 ||
    protocol === 51 ||
    protocol === 60 ||
    protocol === 135
  )
}

/** Writes the first five words and the hash of an IPv4 packet to scratch. */
// @inline
function parseIpv4(s: usize, ip: usize, end: usize, onWire: u32, flags: u32, headerSize: u32): void {
  const total: u32 = bswap<u16>(load<u16>(ip, 2))
  const octets = total >= max<u32>(20, headerSize) && total <= onWire ? total : onWire
  const limit = octets < ((end - ip) as u32) ? ip + octets : end
  const fragment: u32 = load<u16>(ip, 6)
  const protocol: u32 = load<u8>(ip, 9)
  const key: u32 = protocol | (flags << 8)
  const transport = ip + headerSize
  let ports: u32 = 0
  let tcpFlags: u32 = 0
  if ((fragment & 0xff1f) === 0 && headerSize >= 20 && transport + 4 <= limit) {
    ports = load<u32>(transport) & load<u32>(portMasks + (protocol << 2)) // No branches: protocols come in any order.
    tcpFlags = (load<u8>(transport, 13) as u32) & (((protocol !== 6 || transport + 14 > limit) as u32) - 1)
  }
  if ((fragment & 0xff3f) !== 0) ports = creditIpv4(ip, fragment, protocol, ports)
  store<u64>(s, load<u64>(ip, 12))
  store<u32>(s, ports, 8)
  store<u32>(s, key | (tcpFlags << 10), 12)
  store<u32>(s, octets, 16)
  store<u32>(s, hash4(load<u32>(ip, 12), load<u32>(ip, 16), ports, key), 24)
}

/** Writes addresses, ports, key with TCP flags, and octets of an IPv6 packet to scratch. */
function parseIpv6(s: usize, ip: usize, end: usize, onWire: u32, flags: u32): void {
  const payload: u32 = bswap<u16>(load<u16>(ip, 4))
  let protocol: u32 = load<u8>(ip, 6)
  const isJumbo = payload === 0 && protocol === 0
  const total: u32 = 40 + payload
  const octets = isJumbo || total > onWire ? onWire : total
  const limit = octets < ((end - ip) as u32) ? ip + octets : end
  store<u64>(s, load<u64>(ip, 8))
  store<u64>(s, load<u64>(ip, 16), 8)
  store<u64>(s, load<u64>(ip, 24), 16)
  store<u64>(s, load<u64>(ip, 32), 24)
  store<u32>(s, octets, 40)
  let ports: u32 = 0
  let tcpFlags: u32 = 0
  let next = ip + 40
  let fragment: u32 = 0 // 1 first, 2 later.
  let id: u32 = 0
  let named: u32 = 0
  let readable = true
  for (let headers = 0; isExtension(protocol); headers++) {
    if (headers === 8 || next + 8 > limit) {
      readable = false
      break
    }
    const following: u32 = load<u8>(next)
    if (protocol === 44) {
      const field: u32 = bswap<u16>(load<u16>(next, 2))
      if (field >= 8 || (field & 1) !== 0) {
        fragment = field >= 8 ? 2 : 1
        id = load<u32>(next, 4)
        named = following
      }
      protocol = following
      if (field >= 8) {
        readable = false
        break
      }
      next += 8
    } else {
      const units: u32 = load<u8>(next, 1)
      next += protocol === 51 ? (units + 2) << 2 : (units + 1) << 3
      protocol = following
    }
  }
  if (readable && next + 4 <= limit && hasPorts(protocol)) {
    ports = load<u32>(next)
    if (protocol === 6 && next + 14 <= limit) tcpFlags = load<u8>(next, 13)
  }
  if (fragment !== 0) {
    memory.copy(fragmentKey, s, 32)
    store<u32>(fragmentKey, id, 32)
    store<u32>(fragmentKey, named, 36)
    const credited = credit(fragment === 1, ports, protocol)
    ports = credited as u32
    protocol = (credited >> 32) as u32
  }
  store<u32>(s, ports, 32)
  store<u32>(s, protocol | (flags << 8) | (tcpFlags << 10), 36)
}

function creditIpv4(ip: usize, field: u32, protocol: u32, ports: u32): u32 {
  memory.fill(fragmentKey, 0, 40)
  store<u32>(fragmentKey, load<u32>(ip, 12))
  store<u32>(fragmentKey, load<u32>(ip, 16), 16)
  store<u32>(fragmentKey, bswap<u16>(load<u16>(ip, 4)), 32)
  store<u32>(fragmentKey, protocol, 36)
  return credit((field & 0xff1f) === 0, ports, protocol) as u32
}

/**
 * Remembers a first fragment, finds what a later one belongs to (src/meter/fragment-cache.ts). The key lies
 * at `fragmentKey`. Returns ports | protocol << 32.
 */
function credit(isFirst: bool, ports: u32, protocol: u32): u64 {
  const unchanged = (ports as u64) | ((protocol as u64) << 32)
  if (isFirst && protocol === load<u32>(fragmentKey, 36) && !hasPorts(protocol)) return unchanged
  let hash: u32 = (load<u32>(fragmentKey, 32) ^ k0) * 0x9e3779b1
  for (let i: usize = 0; i < 32; i += 4) {
    hash = (hash ^ load<u32>(fragmentKey + i) ^ (hash >> 15)) * 0x85ebca77
  }
  const set = fragments + (((hash ^ (hash >> 16)) & fragmentMask) as usize) * FRAGMENT_WAYS * FRAGMENT_SIZE
  let oldest = set
  let found: usize = 0
  for (let at = set; at < set + FRAGMENT_WAYS * FRAGMENT_SIZE; at += FRAGMENT_SIZE) {
    if (load<u32>(at, 48) !== 0 && sameFragmentKey(at)) {
      found = at
      break
    }
    if (load<u32>(at, 48) < load<u32>(oldest, 48)) oldest = at
  }
  if (!isFirst && found === 0) return unchanged
  if (fragmentUses === 0xffffffff) {
    memory.fill(fragments, 0, ((fragmentMask + 1) as usize) * FRAGMENT_WAYS * FRAGMENT_SIZE)
    fragmentUses = 0
    return unchanged
  }
  fragmentUses++
  const entry = found !== 0 ? found : oldest
  store<u32>(entry, fragmentUses, 48)
  if (!isFirst) return (load<u32>(entry, 40) as u64) | ((load<u32>(entry, 44) as u64) << 32)
  memory.copy(entry, fragmentKey, 40)
  store<u32>(entry, ports, 40)
  store<u32>(entry, protocol, 44)
  return unchanged
}

function sameFragmentKey(at: usize): bool {
  return (
    load<u64>(at, 32) === load<u64>(fragmentKey, 32) &&
    load<u64>(at) === load<u64>(fragmentKey) &&
    load<u64>(at, 8) === load<u64>(fragmentKey, 8) &&
    load<u64>(at, 16) === load<u64>(fragmentKey, 16) &&
    load<u64>(at, 24) === load<u64>(fragmentKey, 24)
  )
}

/** Start in the low half, end in the high half. */
function widen(times: u32, second: u32): u32 {
  const start = min(times & 0xffff, second)
  const end = max(times >> 16, second)
  return start | (end << 16)
}

/**
 * Brings the slots and rows of a batch near: all their cache misses at once. Leaves in scratch where counting begins
 * to look.
 */
function touch4(index: usize, rows: usize, bits: u32, scratchEnd: usize): void {
  let sum: u32 = 0
  for (let s = scratch4; s < scratchEnd; s += 32) {
    const at = index + ((load<u32>(s, 24) >> (32 - bits)) << 2)
    store<u32>(s, at as u32, 28)
    sum += load<u32>(at)
  }
  for (let s = scratch4; s < scratchEnd; s += 32) {
    const at = seek(index, load<u32>(s, 28), load<u32>(s, 24), bits)
    store<u32>(s, at as u32, 28)
    sum += load<u32>(rows + ((load<u32>(at) & ROW_MASK) << 5))
  }
  touchedSum = sum
}

/** The first slot from `at` on that is free or has the tag of this hash. */
// @inline
function seek(index: usize, at: usize, hash: u32, bits: u32): usize {
  let value = load<u32>(at)
  while (value !== 0 && (value ^ (hash << 22)) >> 22 !== 0) {
    at = nextSlot(index, at, bits)
    value = load<u32>(at)
  }
  return at
}

// @inline
function nextSlot(index: usize, at: usize, bits: u32): usize {
  return index + ((at + 4 - index) & (((4 as usize) << bits) - 1))
}

function count4(table: usize, scratchEnd: usize): void {
  const index = load<u32>(table, T_INDEX4) as usize
  const rows = load<u32>(table, T_ROWS4) as usize
  const bits = load<u32>(table, T_BITS4)
  const countMax = load<u32>(table, T_FLOWS_MAX) - load<u32>(table, T_COUNT6)
  let count = load<u32>(table, T_COUNT4)
  touch4(index, rows, bits, scratchEnd)
  for (let s = scratch4; s < scratchEnd; s += 32) {
    const hash = load<u32>(s, 24)
    const tagBits = hash << 22
    const addresses = load<u64>(s)
    const ports = load<u32>(s, 8)
    const meta = load<u32>(s, 12)
    const octets = load<u32>(s, 16)
    const second = load<u32>(s, 20)
    let at: usize = load<u32>(s, 28)
    for (;;) {
      const value = load<u32>(at)
      if (value === 0) {
        if (count >= countMax) {
          skip(table, (meta >> 8) & 3, octets, second)
          break
        }
        count++
        store<u32>(at, tagBits | count)
        const row = rows + (count << 5)
        store<u64>(row, addresses)
        store<u32>(row, ports, 8)
        store<u32>(row, meta, 12)
        store<u32>(row, 1, 16)
        store<u32>(row, octets, 20)
        store<u32>(row, second | (second << 16), 24)
        store<u32>(row, hash, 28)
        break
      }
      if ((value ^ tagBits) >> 22 === 0) {
        const row = rows + ((value & ROW_MASK) << 5)
        const old = load<u32>(row, 12)
        if (load<u64>(row) === addresses && load<u32>(row, 8) === ports && ((old ^ meta) & KEY_MASK) === 0) {
          const sum = load<u32>(row, 20) + octets
          const carry: u32 = sum < octets ? 1 << 18 : 0
          const packetsNow = load<u32>(row, 16) + 1
          if (packetsNow === 0 || old + carry >= RETIRED) {
            if (count >= countMax) {
              skip(table, (meta >> 8) & 3, octets, second)
              break
            }
            count++
            memory.copy(rows + (count << 5), row, 32)
            store<u32>(rows + (count << 5), old | RETIRED, 12)
            store<u32>(row, meta, 12)
            store<u32>(row, 1, 16)
            store<u32>(row, octets, 20)
            store<u32>(row, second | (second << 16), 24)
            break
          }
          store<u32>(row, (old | (meta & 0x3fc00)) + carry, 12)
          store<u32>(row, packetsNow, 16)
          store<u32>(row, sum, 20)
          store<u32>(row, widen(load<u32>(row, 24), second), 24)
          break
        }
      }
      at = nextSlot(index, at, bits)
    }
  }
  store<u32>(table, count, T_COUNT4)
}

/** As `touch4` does. */
function touch6(index: usize, rows: usize, bits: u32, scratchEnd: usize): void {
  let sum: u32 = 0
  for (let s = scratch6; s < scratchEnd; s += 64) {
    const at = index + ((load<u32>(s, 48) >> (32 - bits)) << 2)
    store<u32>(s, at as u32, 52)
    sum += load<u32>(at)
  }
  for (let s = scratch6; s < scratchEnd; s += 64) {
    const at = seek(index, load<u32>(s, 52), load<u32>(s, 48), bits)
    store<u32>(s, at as u32, 52)
    sum += load<u32>(rows + ((load<u32>(at) & ROW_MASK) << 6))
  }
  touchedSum = sum
}

function count6(table: usize, scratchEnd: usize): void {
  grow6(table)
  const index = load<u32>(table, T_INDEX6) as usize
  const rows = load<u32>(table, T_ROWS6) as usize
  const bits = load<u32>(table, T_BITS6)
  const countMax = load<u32>(table, T_FLOWS_MAX) - load<u32>(table, T_COUNT4)
  let count = load<u32>(table, T_COUNT6)
  touch6(index, rows, bits, scratchEnd)
  for (let s = scratch6; s < scratchEnd; s += 64) {
    const hash = load<u32>(s, 48)
    const tagBits = hash << 22
    const meta = load<u32>(s, 36)
    const octets = load<u32>(s, 40)
    const second = load<u32>(s, 44)
    let at: usize = load<u32>(s, 52)
    for (;;) {
      const value = load<u32>(at)
      if (value === 0) {
        if (count >= countMax) {
          skip(table, (meta >> 8) & 3, octets, second)
          break
        }
        count++
        store<u32>(at, tagBits | count)
        const row = rows + (count << 6)
        store<u64>(row, load<u64>(s))
        store<u64>(row, load<u64>(s, 8), 8)
        store<u64>(row, load<u64>(s, 16), 16)
        store<u64>(row, load<u64>(s, 24), 24)
        store<u64>(row, load<u64>(s, 32), 32)
        store<u32>(row, 1, 40)
        store<u32>(row, octets, 44)
        store<u32>(row, second | (second << 16), 48)
        store<u32>(row, hash, 52)
        break
      }
      if ((value ^ tagBits) >> 22 === 0) {
        const row = rows + ((value & ROW_MASK) << 6)
        const old = load<u32>(row, 36)
        if (sameKey6(row, s) && ((old ^ meta) & KEY_MASK) === 0) {
          const sum = load<u32>(row, 44) + octets
          const carry: u32 = sum < octets ? 1 << 18 : 0
          const packetsNow = load<u32>(row, 40) + 1
          if (packetsNow === 0 || old + carry >= RETIRED) {
            if (count >= countMax) {
              skip(table, (meta >> 8) & 3, octets, second)
              break
            }
            count++
            memory.copy(rows + (count << 6), row, 64)
            store<u32>(rows + (count << 6), old | RETIRED, 36)
            store<u32>(row, meta, 36)
            store<u32>(row, 1, 40)
            store<u32>(row, octets, 44)
            store<u32>(row, second | (second << 16), 48)
            break
          }
          store<u32>(row, (old | (meta & 0x3fc00)) + carry, 36)
          store<u32>(row, packetsNow, 40)
          store<u32>(row, sum, 44)
          store<u32>(row, widen(load<u32>(row, 48), second), 48)
          break
        }
      }
      at = nextSlot(index, at, bits)
    }
  }
  store<u32>(table, count, T_COUNT6)
}

function sameKey6(row: usize, s: usize): bool {
  return (
    load<u64>(row, 24) === load<u64>(s, 24) &&
    load<u64>(row, 8) === load<u64>(s, 8) &&
    load<u32>(row, 32) === load<u32>(s, 32) &&
    load<u64>(row) === load<u64>(s) &&
    load<u64>(row, 16) === load<u64>(s, 16)
  )
}

/**
 * Keeps the load of the index at or below one half (but for one batch) until it is as large as it may get.
 */
function grow4(table: usize): void {
  const bits = load<u32>(table, T_BITS4)
  if (load<u32>(table, T_COUNT4) * 2 < 1 << bits || bits >= load<u32>(table, T_BITS_MAX)) return
  store<u32>(table, bits + 1, T_BITS4)
  index4(table)
}

function grow6(table: usize): void {
  const bits = load<u32>(table, T_BITS6)
  if (load<u32>(table, T_COUNT6) * 2 < 1 << bits || bits >= load<u32>(table, T_BITS_MAX)) return
  store<u32>(table, bits + 1, T_BITS6)
  index6(table)
}

function index4(table: usize): void {
  const rows = load<u32>(table, T_ROWS4) as usize
  indexRows(
    load<u32>(table, T_INDEX4) as usize,
    load<u32>(table, T_BITS4),
    rows + 28,
    rows + 12,
    5,
    load<u32>(table, T_COUNT4),
  )
}

function index6(table: usize): void {
  const rows = load<u32>(table, T_ROWS6) as usize
  indexRows(
    load<u32>(table, T_INDEX6) as usize,
    load<u32>(table, T_BITS6),
    rows + 52,
    rows + 36,
    6,
    load<u32>(table, T_COUNT6),
  )
}

/** Builds an index anew from the hashes that the rows keep. */
function indexRows(index: usize, bits: u32, hashes: usize, metas: usize, rowShift: u32, count: u32): void {
  const shift = 32 - bits
  const mask: u32 = (1 << bits) - 1
  memory.fill(index, 0, (4 as usize) << bits)
  for (let row: u32 = 1; row <= count; row++) {
    if (load<u32>(metas + (row << rowShift)) >= RETIRED) continue
    const hash = load<u32>(hashes + (row << rowShift))
    let slot = hash >> shift
    while (load<u32>(index + (slot << 2)) !== 0) slot = (slot + 1) & mask
    store<u32>(index + (slot << 2), (hash << 22) | row)
  }
}

/** Empties a table; its index keeps its size, since the next window is likely to be like this one. */
export function clear(table: usize): void {
  const rows4 = load<u32>(table, T_ROWS4) as usize
  const rows6 = load<u32>(table, T_ROWS6) as usize
  clearIndex(load<u32>(table, T_INDEX4), load<u32>(table, T_BITS4), rows4 + 28, 5, load<u32>(table, T_COUNT4))
  clearIndex(load<u32>(table, T_INDEX6), load<u32>(table, T_BITS6), rows6 + 52, 6, load<u32>(table, T_COUNT6))
  store<u32>(table, 0, T_COUNT4)
  store<u32>(table, 0, T_COUNT6)
  memory.fill(table + T_SKIPPED, 0, 2 * SKIPPED_SIZE)
}

/** A few rows clear their own runs of slots: clock jumps must not cost a whole index each. */
function clearIndex(index: usize, bits: u32, hashes: usize, rowShift: u32, count: u32): void {
  if (count * 8 > 1 << bits) {
    memory.fill(index, 0, (4 as usize) << bits)
    return
  }
  const mask: u32 = (1 << bits) - 1
  for (let row: u32 = 1; row <= count; row++) {
    let slot = load<u32>(hashes + (row << rowShift)) >> (32 - bits)
    while (load<u32>(index + (slot << 2)) !== 0) {
      store<u32>(index + (slot << 2), 0)
      slot = (slot + 1) & mask
    }
  }
}

/** Moves all that `source` has to `target`, which is empty. */
export function move(source: usize, target: usize): void {
  const count4 = load<u32>(source, T_COUNT4)
  const count6 = load<u32>(source, T_COUNT6)
  memory.copy(load<u32>(target, T_ROWS4), load<u32>(source, T_ROWS4), ((count4 as usize) + 1) << 5)
  memory.copy(load<u32>(target, T_ROWS6), load<u32>(source, T_ROWS6), ((count6 as usize) + 1) << 6)
  memory.copy(target + T_SKIPPED, source + T_SKIPPED, 2 * SKIPPED_SIZE)
  store<u32>(target, count4, T_COUNT4)
  store<u32>(target, count6, T_COUNT6)
  store<u32>(target, max(load<u32>(target, T_BITS4), load<u32>(source, T_BITS4)), T_BITS4)
  store<u32>(target, max(load<u32>(target, T_BITS6), load<u32>(source, T_BITS6)), T_BITS6)
  index4(target)
  index6(target)
  clear(source)
}

/** Writes `count` flows, the first of number `from`, as rows of model/flow-rows.ts. IPv4 flows come first. */
export function readRows(table: usize, from: u32, count: u32, out: usize, startS: u32): void {
  const count4 = load<u32>(table, T_COUNT4)
  const rows4 = load<u32>(table, T_ROWS4) as usize
  const rows6 = load<u32>(table, T_ROWS6) as usize
  for (let flow = from; flow < from + count; flow++) {
    if (flow < count4) {
      const row = rows4 + ((flow + 1) << 5)
      store<u64>(out, load<u32>(row) as u64)
      store<u64>(out, 0, 8)
      store<u64>(out, load<u32>(row, 4) as u64, 16)
      store<u64>(out, 0, 24)
      writeFields(row + 8, out, 0, startS)
    } else {
      const row = rows6 + ((flow - count4 + 1) << 6)
      store<u64>(out, load<u64>(row))
      store<u64>(out, load<u64>(row, 8), 8)
      store<u64>(out, load<u64>(row, 16), 16)
      store<u64>(out, load<u64>(row, 24), 24)
      writeFields(row + 32, out, 1, startS)
    }
    out += 64
  }
}

function writeFields(fields: usize, out: usize, attributes: u32, startS: u32): void {
  const meta = load<u32>(fields, 4)
  const times = load<u32>(fields, 16)
  const isEgress = (meta >> 8) & 1
  const isReject = (meta >> 9) & 1
  store<u16>(out, bswap<u16>(load<u16>(fields)), 32)
  store<u16>(out, bswap<u16>(load<u16>(fields, 2)), 34)
  store<u8>(out, meta as u8, 36)
  store<u8>(out, (attributes | (isReject << 1) | (isEgress << 2)) as u8, 37)
  store<u16>(out, (meta >> 10) & 0xff, 38)
  store<u64>(out, load<u32>(fields, 8) as u64, 40)
  store<u64>(out, (load<u32>(fields, 12) as u64) | ((((meta >> 18) & 0x1fff) as u64) << 32), 48)
  store<u32>(out, startS + (times & 0xffff), 56)
  store<u32>(out, startS + (times >> 16), 60)
}
