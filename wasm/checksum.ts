// Makes a text short for its checksum, in AssemblyScript: CRC-32 is a remainder in the division by a polynomial, and a
// text of another length that has the same remainder is as good. x^300 + x^155 + x^117 + x^89 + 1 is a multiple of the
// polynomial, and so it is with x^128 for x (squaring keeps zero): a word of 16 bytes may be taken away when it is added,
// by exclusive or, to the words that are 145, 183, 211 and 300 places behind it. What is left is 300 words long, and a
// pass over the text with vectors is several times as fast as the tables of zlib.

const WORD: usize = 16
const TAP1: usize = 145 * WORD
const TAP2: usize = 183 * WORD
const TAP3: usize = 211 * WORD
const TAP4: usize = 300 * WORD
const CHUNK: usize = 8192 // With what is remembered, it fits the first-level cache.

let taken: usize = 0 // The words that were taken away: the last 300, then a chunk.
let rest: usize = 0

/** Bytes that `setupChecksum` takes. */
export const CHECKSUM_SIZE: usize = TAP4 + CHUNK + TAP4 + WORD

export function setupChecksum(base: usize): void {
  taken = base
  rest = base + TAP4 + CHUNK
}

export function restPlace(): usize {
  return rest
}

/**
 * Leaves at `restPlace` what has the remainder of the text from `from` to `to`, of TAP4 bytes at least, before which the
 * register of the checksum is `register`; afterwards it is zero. Returns the size of what is left.
 */
export function shorten(from: usize, to: usize, register: u32): usize {
  memory.fill(taken, 0, TAP4)
  store<u32>(taken, register) // Added to the first word, which looks back so far.
  let at = from
  const takenEnd = from + ((to - from - TAP4) & ~(WORD - 1))
  while (at < takenEnd) {
    const size = min(CHUNK, takenEnd - at)
    take(at, size)
    memory.copy(taken, taken + size, TAP4)
    at += size
  }
  memory.copy(rest, at, to - at)
  addTaken(TAP1)
  addTaken(TAP2)
  addTaken(TAP3)
  addTaken(TAP4)
  return to - at
}

function take(from: usize, size: usize): void {
  const to = taken + TAP4
  for (let at: usize = 0; at < size; at += WORD) {
    const place = to + at
    const a = v128.xor(v128.load(place - TAP1), v128.load(place - TAP2))
    const b = v128.xor(v128.load(place - TAP3), v128.load(place - TAP4))
    v128.store(place, v128.xor(v128.xor(a, b), v128.load(from + at)))
  }
}

/** Adds the last words that were taken away to what is left: those whose place is behind the end of the text. */
function addTaken(tap: usize): void {
  for (let at: usize = 0; at < tap; at += WORD)
    v128.store(rest + at, v128.xor(v128.load(rest + at), v128.load(taken + TAP4 - tap + at)))
}
