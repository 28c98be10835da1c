/**
 * The layouts of bpf/flow.h, as TypeScript reads and writes them: little-endian, offsets in bytes. The C side asserts
 * the sizes when it is compiled, and layout.test.ts compares the offsets with the BTF of the compiled object.
 */

/** Part of the pin path. Raise it with any change that an older or newer agent could misread. */
export const LAYOUT_VERSION = 2

export const SLOTS = 4
export const POINTS_BY_IFINDEX = 65_536
/** A window that ended this long ago takes no more verdicts and can be drained (GRACE_S in flow.h, and slack). */
export const DRAIN_GRACE_NS = 1_500_000_000n

/** struct key4 and struct key6; tail is point | direction << 16 | protocol << 24. */
export const KEY4_SIZE = 16
export const KEY6_SIZE = 40

export const FLOW_SIZE = 88
export const FLOW = {
  packets: 0,
  octets: 8,
  last: 16,
  lastBefore: 20,
  first: 24,
  flags: 28,
  cpu: 32,
  refusedFirst: 36,
  packetsShared: 40,
  octetsShared: 48,
  packetsRefused: 56,
  octetsRefused: 64,
  refusedLast: 72,
  acceptedLast: 76,
  packetsAtRefusal: 80,
} as const
export const NO_TICK = 0xffff_ffff

/** struct point_counters, under the key slot << 16 | point: two `struct skipped` of 24 bytes, by direction. */
export const COUNTERS_SIZE = 56
export const COUNTERS = { flows: 0, skipped: 8 } as const
export const SKIPPED_SIZE = 24
export const SKIPPED = { packets: 0, octets: 8, first: 16, last: 20 } as const

export const SLOT_SIZE = 72
export const SLOT = {
  generation: 0,
  opened: 8,
  end: 16,
  startS: 24,
  endS: 32,
  wallBaseNs: 40,
  state: 48,
  flows: 52,
  extensions: 56,
} as const

export const STATE_SIZE = 144 + SLOTS * SLOT_SIZE
export const STATE = {
  current: 0,
  wallBaseNs: 64,
  phaseNs: 72,
  tickNs: 80,
  windowSizeS: 88,
  flowsMax: 96,
  flowsPerPointMax: 100,
  verdictsLate: 104,
  verdictsUnmatched: 112,
  lostPackets: 120,
  lostOctets: 128,
  instance: 136,
  slots: 144,
} as const
/** state.current is the end of the open window, a tick, << 2 | its slot. */
export const SLOT_MASK = 3n

export const COMMAND_SIZE = 72
export const COMMAND = {
  operation: 0,
  flowsMax: 4,
  flowsPerPointMax: 8,
  slot: 12,
  generation: 16,
  wallOffsetNs: 24,
  windowSizeS: 32,
  instance: 40,
  tickNs: 48,
  ticks: 56,
  monotonicNs: 64,
} as const
export const OPERATION = { open: 1, sync: 2, cut: 3, clear: 4, limits: 5, clock: 6 } as const

/** by_ifindex and by_netns: ifindex | point << 32 | these. */
export const POINT_MIRRORED = 1n << 48n
export const POINT_ETHERNET = 1n << 49n
export const POINT_AMBIGUOUS = 1n << 50n

/** What the map `points` keeps about a point for the next agent; the kernel never looks at it. Texts end with zeros. */
export const POINT_RECORD_SIZE = 384
export const POINT_RECORD = {
  flowLogId: 0,
  interfaceId: 40,
  netnsCookie: 80,
  ifindex: 88,
  flags: 92,
  device: 104,
  netns: 120,
} as const
export const POINT_RECORD_TEXT_SIZES = { flowLogId: 40, interfaceId: 40, device: 16, netns: 256 } as const
export const POINT_RECORD_MIRRORED = 1
export const POINT_RECORD_CLASSIC = 2
export const POINT_RECORD_ETHERNET = 4
