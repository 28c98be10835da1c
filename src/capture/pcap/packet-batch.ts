/**
 * Where the packets of a capture lie: words of u32 per packet, in the form that the metering loop reads
 * (src/meter/kernel.ts, PACKET): offset, captured length, length on the wire, Unix second.
 */
export interface PacketBatch {
  words: Uint32Array
  count: number
  countMax: number
  /** LINKTYPE_* of all packets of the batch. */
  link: number
}

export const BATCH_WORDS = 4
/** In the word of the captured length: sent by the machine that captured it (where directions are asked for). */
export const OUTBOUND = 0x4000_0000

export interface CaptureCounters {
  /** Packets of which the capture holds less than was on the wire. */
  cutPackets: number
  /** Packets that cannot be metered, by their link type. */
  unsupported: Map<number, number>
  /** Packets of which the capture does not tell which way they went, where that was asked for. */
  undirected: number
}

/** Finds packets in the bytes of one capture format. */
export interface PacketIndexer {
  /**
   * Writes the packets of `view` from `from` up to `to` into the batch until it is full, its link type
   * changes, or the rest is no whole packet. Returns where it stopped.
   */
  index(view: DataView, from: number, to: number, batch: PacketBatch): number
  /** Bytes to pass over that lie behind `to`: a large block of no interest. */
  skipSize: number
  /** Why nothing more can be read from where it stopped. */
  fault: string | undefined
}

/** More than any snapshot length in use; what claims more is damage. */
export const CAPTURED_MAX = 1 << 20

/**
 * Link types that can be metered, by LINKTYPE_* number; two old numbers of raw IP are brought to the new
 * one.
 */
const LINKS: Record<number, number> = {
  0: 0,
  1: 1,
  12: 101,
  14: 101,
  101: 101,
  108: 108,
  113: 113,
  228: 228,
  229: 229,
  276: 276,
}

export const METERED_LINKS = 'Ethernet, raw IP, Linux cooked and BSD loopback can be metered'

/** The link type of packets whose interface the capture does not describe. */
export const LINK_UNDESCRIBED = -1

const LINK_NAMES: Record<number, string> = {
  105: 'IEEE 802.11',
  119: 'IEEE 802.11 (Prism)',
  127: 'IEEE 802.11 (radiotap)',
  163: 'IEEE 802.11 (AVS)',
  9: 'PPP',
  50: 'PPP',
  6: 'Token Ring',
  10: 'FDDI',
  11: 'ATM',
  189: 'USB',
  220: 'USB',
  249: 'USB',
  187: 'Bluetooth',
  201: 'Bluetooth',
  195: 'IEEE 802.15.4',
  230: 'IEEE 802.15.4',
  239: 'NFLOG',
}

/** Linux cooked captures say of each packet whether it came or went. */
export function isCooked(link: number): boolean {
  return link === 113 || link === 276
}

const COOKED_OUTGOING = 4

/** Marks what a Linux cooked capture says was sent. */
export function markOutbound(view: DataView, batch: PacketBatch): void {
  const { words, link } = batch
  for (let word = 0; word < batch.count * BATCH_WORDS; word += BATCH_WORDS) {
    const [at, captured] = [words[word]!, words[word + 1]!]
    const size = captured & (OUTBOUND - 1)
    const isOutbound =
      link === 113
        ? size >= 2 && view.getUint16(at) === COOKED_OUTGOING
        : size >= 11 && view.getUint8(at + 10) === COOKED_OUTGOING
    if (isOutbound) words[word + 1] = captured | OUTBOUND
  }
}

/** The link type as the metering loop knows it, or undefined. */
export function meteredLink(link: number): number | undefined {
  return LINKS[link & 0xffff] // The upper half says how long frame check sequences are.
}

export function linkName(link: number): string {
  if (link === LINK_UNDESCRIBED) return 'an interface that it does not describe'
  const name = LINK_NAMES[link & 0xffff]
  return name === undefined ? `link type ${link & 0xffff}` : `${name} (link type ${link & 0xffff})`
}
