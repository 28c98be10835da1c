/**
 * Flow records in flight between metering and encoding: rows of 64 bytes, one cache line, little-endian.
 *
 *   0  source address, 16 bytes (IPv4 in the first 4, the rest zero), network order
 *  16  destination address, likewise
 *  32  u16 source port       34  u16 destination port
 *  36  u8  protocol          37  u8  ROW_* attribute bits
 *  38  u8  TCP flags seen    39  u8  who refused: 0 nobody, 1 netfilter, 2 tc, 3 Open vSwitch
 *  40  u64 packets           48  u64 octets
 *  56  u32 start             60  u32 end      (Unix seconds of the first and last packet)
 */
export const ROW_SIZE = 64

export const ROW = {
  source: 0,
  destination: 16,
  sourcePort: 32,
  destinationPort: 34,
  protocol: 36,
  attributes: 37,
  tcpFlags: 38,
  rejectReason: 39,
  packets: 40,
  octets: 48,
  startS: 56,
  endS: 60,
} as const

export const ROW_IPV6 = 1 << 0
export const ROW_REJECT = 1 << 1
export const ROW_EGRESS = 1 << 2
/** A SKIPDATA row: only packets, octets, start and end mean anything. */
export const ROW_SKIPPED = 1 << 3
