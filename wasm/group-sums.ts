// Counters and times of groups of flows, found by a key of 64 bits, in AssemblyScript. What they cannot hold exactly
// (too many groups, a sum of more than 63 bits) makes them be lost altogether.
//
// Groups are as large as caches, so most of the time would go by waiting for memory. Flows come in batches, and each
// step goes over all of a batch: what it asks for is fetched at the same time.

/** A slot has the number of a group, from 1. */
export class Sums {
  slots: usize
  mask: u32
  count: u32
  countMax: u32
  at: usize
  isLost: bool
}

/** One of a batch. Counters that it has not are below 0. */
export class Flow {
  packets: i64
  bytes: i64
  start: u32
  end: u32
}

export class Group {
  key: u64
  flows: i64
  packets: i64
  bytes: i64
  start: u32
  end: u32
  /** Whether any flow had the counter. */
  hasPackets: bool
  hasBytes: bool
}

export const BATCH: usize = 512
export const FLOW_SIZE: usize = 24
export const SUMS_SIZE: usize = 32
const GROUP_SIZE: usize = 64 // One line of the caches.
const FACTOR: u64 = ((<u64>0x9e3779b9) << 32) | 0x7f4a7c15

/** Lays out memory from `at`. Returns its end. */
export function placeSums(sums: Sums, at: usize, countMax: u32): usize {
  const slots: u32 = 1 << (33 - <u32>clz(countMax - 1)) // Load stays at or under one half.
  sums.countMax = countMax
  sums.mask = slots - 1
  sums.at = (at + GROUP_SIZE - 1) & ~(GROUP_SIZE - 1)
  sums.slots = sums.at + <usize>countMax * GROUP_SIZE
  return sums.slots + ((<usize>slots) << 2)
}

export function clearSums(sums: Sums): void {
  sums.count = 0
  sums.isLost = false
  memory.fill(sums.slots, 0, (<usize>sums.mask + 1) << 2)
}

export function groupAt(sums: Sums, index: u32): Group {
  return changetype<Group>(sums.at + <usize>index * GROUP_SIZE)
}

function slotOf(sums: Sums, key: u64): u32 {
  return <u32>((key * FACTOR) >> 40) & sums.mask
}

/** Adds a batch of flows to their groups. `places` has room for a number (u32) for each. */
export function addFlows(sums: Sums, keys: usize, flows: usize, places: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const slot = slotOf(sums, load<u64>(keys + (i << 3)))
    store<u32>(places + (i << 2), load<u32>(sums.slots + ((<usize>slot) << 2)))
  }
  for (let i: usize = 0; i < count; i++) {
    const key = load<u64>(keys + (i << 3))
    let number = load<u32>(places + (i << 2))
    if (number === 0 || groupAt(sums, number - 1).key !== key) {
      number = findGroup(sums, key)
      if (number === 0) {
        sums.isLost = true
        return
      }
      store<u32>(places + (i << 2), number)
    }
  }
  let all: i64 = 0
  for (let i: usize = 0; i < count; i++) {
    const flow = changetype<Flow>(flows + i * FLOW_SIZE)
    const group = groupAt(sums, load<u32>(places + (i << 2)) - 1)
    group.flows++
    group.start = min<u32>(group.start, flow.start)
    group.end = max<u32>(group.end, flow.end)
    if (flow.packets >= 0) {
      group.packets += flow.packets
      group.hasPackets = true
    }
    if (flow.bytes >= 0) {
      group.bytes += flow.bytes
      group.hasBytes = true
    }
    all |= group.packets | group.bytes
  }
  if (all < 0) sums.isLost = true
}

/** The number of the key's group, which is made where there is none. 0: there is no room. */
function findGroup(sums: Sums, key: u64): u32 {
  let index = slotOf(sums, key)
  while (true) {
    const slot = sums.slots + ((<usize>index) << 2)
    const number = load<u32>(slot)
    if (number === 0) {
      if (sums.count === sums.countMax) return 0
      const added = groupAt(sums, sums.count)
      memory.fill(changetype<usize>(added), 0, GROUP_SIZE)
      added.key = key
      added.start = u32.MAX_VALUE
      store<u32>(slot, ++sums.count)
      return sums.count
    }
    if (groupAt(sums, number - 1).key === key) return number
    index = (index + 1) & sums.mask
  }
}
