// Where the packets of a classic capture lie: the loop of src/capture/pcap/pcap-indexer.ts, in the memory of the
// metering loop, which reads what this writes (src/meter/kernel.ts, PACKET).

let end: usize = 0
let cut: u32 = 0

/** Where the last `index` stopped. */
export function stoppedAt(): usize {
  return end
}

/** Packets of the last `index` of which the capture holds less than was on the wire. */
export function cutPackets(): u32 {
  return cut
}

/**
 * Writes the whole packets from `from` up to `to`, at most `countMax`, to `words`: offset from `base`, captured length,
 * length on the wire, second. Returns how many.
 */
export function index(
  base: usize,
  from: usize,
  to: usize,
  words: usize,
  countMax: u32,
  isSwapped: bool,
): u32 {
  const wordsEnd = words + (countMax << 4)
  let word = words
  let at = from
  let short: u32 = 0
  while (word < wordsEnd && at + 16 <= to) {
    let captured = load<u32>(at, 8)
    let wire = load<u32>(at, 12)
    let second = load<u32>(at)
    if (isSwapped) {
      captured = bswap<u32>(captured)
      wire = bswap<u32>(wire)
      second = bswap<u32>(second)
    }
    at += 16
    if (captured > to - at) {
      at -= 16
      break
    }
    store<u32>(word, at - base)
    store<u32>(word, captured, 4)
    store<u32>(word, wire, 8)
    store<u32>(word, second, 12)
    word += 16
    short += (captured < wire) as u32
    at += captured
  }
  end = at
  cut = short
  return ((word - words) as u32) >> 4
}
