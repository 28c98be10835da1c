// Texts, each kept once and numbered in the order in which they came, found by hash, in AssemblyScript. They lie in
// memory as in Parquet's dictionary pages (PLAIN): the length in 32 bits, then the text.

/** A slot has the hash, the number (from 1) and the place in the texts. */
export class Texts {
  slots: usize
  mask: u32
  countMax: u32
  count: u32
  at: usize
  size: u32
}

const SLOT_SIZE: usize = 16
export const TEXTS_SIZE: usize = 32

/** Lays out memory from `at`. Returns its end. */
export function placeTexts(texts: Texts, at: usize, countMax: u32, sizeMax: usize): usize {
  const slots: u32 = 1 << (33 - <u32>clz(countMax - 1)) // Load stays at or under one half.
  texts.countMax = countMax
  texts.mask = slots - 1
  texts.slots = at
  texts.at = at + <usize>slots * SLOT_SIZE
  return (texts.at + <usize>countMax * (4 + sizeMax) + 63) & ~63
}

export function clearTexts(texts: Texts): void {
  texts.count = 0
  texts.size = 0
  memory.fill(texts.slots, 0, (<usize>texts.mask + 1) * SLOT_SIZE)
}

/** The number of a text, which is new when it equals the count before. */
export function find(texts: Texts, at: usize, size: usize, hash: u32): u32 {
  let index = hash & texts.mask
  while (true) {
    const slot = texts.slots + <usize>index * SLOT_SIZE
    const number = load<u32>(slot, 4)
    if (number === 0) {
      const place = texts.size
      store<u32>(slot, hash)
      store<u32>(slot, ++texts.count, 4)
      store<u32>(slot, place, 8)
      store<u32>(texts.at + place, <u32>size)
      memory.copy(texts.at + place + 4, at, size)
      texts.size = place + 4 + <u32>size
      return texts.count - 1
    }
    if (load<u32>(slot) === hash) {
      const text = texts.at + load<u32>(slot, 8)
      if (<usize>load<u32>(text) === size && sameBytes(at, text + 4, size)) return number - 1
    }
    index = (index + 1) & texts.mask
  }
}

/** Takes back what `find` has just added. */
export function forgetLast(texts: Texts, hash: u32, size: usize): void {
  let index = hash & texts.mask
  while (load<u32>(texts.slots + <usize>index * SLOT_SIZE, 4) !== texts.count)
    index = (index + 1) & texts.mask
  store<u32>(texts.slots + <usize>index * SLOT_SIZE, 0, 4)
  texts.count--
  texts.size -= 4 + <u32>size
}

/** Reads whole words: what is behind both is there to be read. */
export function sameBytes(a: usize, b: usize, size: usize): bool {
  let at: usize = 0
  for (; at + 8 <= size; at += 8) if (load<u64>(a + at) !== load<u64>(b + at)) return false
  const left = (size - at) << 3
  return left === 0 || (load<u64>(a + at) ^ load<u64>(b + at)) << (64 - left) === 0
}
