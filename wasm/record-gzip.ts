// Flow rows to gzip in one go, in AssemblyScript: text, matches and Huffman codes together. zlib has to
// search for what repeats; here it is known: the end of a line and the begin of the next, addresses that
// came before, times that share their first digits. What repeats is found by comparing rows, not text.
//
// A gzip member is written in slices of rows, small enough that all of a slice stays in the processor's
// cache. Three steps for each slice:
//
//   generate   rows -> text (for the checksum) and slots, one for each literal piece or match
//   tune       for the first slice of some members: slots -> Huffman codes -> the table of all pieces' bits
//   emit       slots -> DEFLATE (RFC 1951) with these codes, one block for each member
//
// A piece is an octet with its dot, a group of digits, a character, a length of a match. The table has 16
// bytes for each: u64 text, up to seven characters and their count in the highest byte; u64 bits of its
// codes, and their count in the highest byte. A slot is such bits. While symbols are counted to tune, the
// table has the numbers of the pieces instead of their bits, and so have the slots. Every symbol has a code,
// so that codes that were tuned to other rows are still right, only a little longer.
//
// The state of writing is one u64, so that it can be handed from function to function and stay in a
// register: the address of the next slot in its upper half, that of the next character in its lower half.

import { CHECKSUM_SIZE, restPlace, setupChecksum, shorten } from './checksum'

// Numbers of pieces.
const OCTET_DOT: u32 = 0 // 256: '7.' to '255.'
const OCTET_SPACE: u32 = 256 // 256: '7 ' to '255 '
const NUMBER_SPACE: u32 = 512 // 10000: '0 ' to '9999 '
const NUMBER: u32 = 10512 // 10000: '1' to '9999'; nothing at all for 0.
const PADDED_SPACE: u32 = 20512 // 10000: '0000 ' to '9999 '
const PADDED: u32 = 30512 // 10000: '0000' to '9999'
const REST3: u32 = 40512 // 1000: '000 ' to '999 '
const REST2: u32 = 41512 // 100: '00 ' to '99 '
const REST1: u32 = 41612 // 10: '0 ' to '9 '
const CHARACTER: u32 = 41622 // 256: one character.
const LENGTH: u32 = 41878 // 259: match lengths, 3 to 258; they have no text.
const PAIR: u32 = 42137 // 100: '00' to '99'.
const PAIR_SPACE: u32 = 42237 // 100: '00 ' to '99 '.
const PIECES: u32 = 42337

const BITS: u64 = ((1 as u64) << 56) - 1
const SLOT: u64 = (8 as u64) << 32
/** In a slot while symbols are counted: a match, its length from bit 20 on, its distance from bit 0 on. */
const MATCH: u64 = (1 as u64) << 40

const SYMBOLS: u32 = 286
const DISTANCES: u32 = 30
const END_OF_BLOCK: u32 = 256
const MATCH_MAX: u32 = 258
const WINDOW: u32 = 32768
const CODE_MAX: u32 = 15
const CODE_MAX_COMMON: u32 = 8 // Of digits, dot and space: five of them fit the 56 bits of a table entry.

const ROW_IPV6: u32 = 1
const ROW_REJECT: u32 = 2
const ROW_SKIPPED: u32 = 8

const TEN_DIGITS: u32 = 1_000_000_000 // Times from September 2001 on: only these are matched.

const ADDRESS_BITS: u32 = 13
const TAG_BITS: u64 = 19
const TAG_MASK: u32 = 0x7ffff
const PLACE_MASK: u32 = 0xffffff
const PREFIX_BITS: u32 = 12

// Addresses of what `setup` lays out.
let text: usize = 0
let slots: usize = 0
let pieces: usize = 0
let addresses: usize = 0 // By hash: 19 bits of it, 24 bits place, 16 bits number of the field, which are 16 bytes each.
let addresses6: usize = 0 // By hash: u32 place.
let prefixes: usize = 0 // By hash of the first two octets: u32 octets, u32 place.
let tails: usize = 0 // By hash of destination port, protocol, packets and octets: u32 address of the row, u32 place.
let offsets: usize = 0 // For each row of the member, from its destination port: u8 to the protocol, u8 to the times.
let lengthSymbols: usize = 0 // u8 for 0 to 258.
let counts: usize = 0 // u32 per symbol, then per distance symbol.
let lengths: usize = 0 // u8 likewise: code lengths.
let codes: usize = 0 // u32 likewise.
let distances: usize = 0 // 16 bytes per distance symbol: u32 code, its length, the least distance, bits with the extra ones.
let work: usize = 0

let rows: usize = 0
let prefix: usize = 0
let prefixSize: usize = 0
let isCounting: bool = false
let state: u64 = 0

// Where the lines before had what, to match it. Places count from 1; 0 is none.
let lastRow: usize = 0 // The row of the line before, when it had all fields.
let protocolPlace: u32 = 0 // Its protocol.
let timesPlace: u32 = 0 // Its times.
let acceptPlace: u32 = 0
let acceptRow: usize = 0
let rejectPlace: u32 = 0
let rejectRow: usize = 0
let sourcePlace6: u32 = 0
let destinationPlace6: u32 = 0

// The last match. When it can go on, `follow` is the field of a row whose text stands where it would.
let lastLength: u32 = 0
let lastDistance: u32 = 0
let lastDistanceBits: u64 = 0
let follow: usize = 0

/** Bytes of working memory behind `base`, for members of `rowCount` rows and `textSize` bytes, slices of `slotCount`. */
export function memorySize(rowCount: usize, textSize: usize, slotCount: usize): usize {
  const tables: usize = (PIECES << 4) + (20 << ADDRESS_BITS) + (8 << PREFIX_BITS) + 16_384
  return tables + CHECKSUM_SIZE + (rowCount << 1) + textSize + 64 + slotCount * 8 + 64
}

export function setup(base: usize, rowCount: usize, textSize: usize): void {
  pieces = base
  addresses = pieces + (PIECES << 4)
  addresses6 = addresses + (8 << ADDRESS_BITS)
  tails = addresses6 + (4 << ADDRESS_BITS)
  prefixes = tails + (8 << ADDRESS_BITS)
  counts = prefixes + (8 << PREFIX_BITS)
  lengths = counts + 2048
  codes = lengths + 512
  distances = codes + 2048
  lengthSymbols = distances + 512
  work = lengthSymbols + 512
  const checksums = counts + 16_384
  setupChecksum(checksums)
  offsets = checksums + CHECKSUM_SIZE
  text = offsets + (rowCount << 1)
  slots = (text + textSize + 64 + 7) & ~7
  fillTexts()
  let symbol: u32 = 0
  for (let length: u32 = 3; length <= 258; length++) {
    if (symbol < 28 && length >= lengthBase(symbol + 1)) symbol++
    store<u8>(lengthSymbols + length, symbol as u8)
  }
}

function fillTexts(): void {
  const space: u64 = 32
  for (let i: u32 = 0; i < 10_000; i++) {
    const size = digitCount(i)
    const digits = digitsOf(i, size)
    if (i < 100) {
      setText(PAIR + i, digitsOf(i, 2), 2)
      setText(PAIR_SPACE + i, digitsOf(i, 2) | (space << 16), 3)
    }
    if (i < 256) {
      setText(OCTET_DOT + i, digits | ((46 as u64) << (size << 3)), size + 1)
      setText(OCTET_SPACE + i, digits | (space << (size << 3)), size + 1)
      setText(CHARACTER + i, i, 1)
    }
    setText(NUMBER_SPACE + i, digits | (space << (size << 3)), size + 1)
    setText(NUMBER + i, digits, i === 0 ? 0 : size)
    setText(PADDED_SPACE + i, digitsOf(i, 4) | (space << 32), 5)
    setText(PADDED + i, digitsOf(i, 4), 4)
  }
}

function setText(piece: u32, characters: u64, size: u32): void {
  store<u64>(pieces + (piece << 4), characters | ((size as u64) << 56))
}

function digitCount(value: u32): u32 {
  return value < 10 ? 1 : value < 100 ? 2 : value < 1000 ? 3 : 4
}

/** The last `count` digits, the first of them in the lowest byte. */
function digitsOf(value: u32, count: u32): u64 {
  let digits: u64 = 0
  for (let i: u32 = 0; i < count; i++) {
    digits = (digits << 8) | (48 + (value % 10))
    value /= 10
  }
  return digits
}

// --- RFC 1951, section 3.2.5
// -------------------------------------------------------------------------------------

function distanceBase(symbol: u32): u32 {
  if (symbol < 4) return symbol + 1
  const extra = (symbol >> 1) - 1
  return ((2 | (symbol & 1)) << extra) + 1
}

/** Of distances from 3 on: none here is shorter than a time. */
// @inline
function distanceSymbol(distance: u32): u32 {
  const from0 = distance - 1
  const highest = 31 - clz(from0)
  return (highest << 1) | ((from0 >> (highest - 1)) & 1)
}

function distanceExtra(symbol: u32): u32 {
  return symbol < 4 ? 0 : (symbol >> 1) - 1
}

/** Of length symbol 257 + `symbol`. */
function lengthBase(symbol: u32): u32 {
  if (symbol < 8) return symbol + 3
  if (symbol === 28) return 258
  const extra = (symbol >> 2) - 1
  return ((4 | (symbol & 3)) << extra) + 3
}

function lengthExtra(symbol: u32): u32 {
  return symbol < 8 || symbol === 28 ? 0 : (symbol >> 2) - 1
}

// --- Generate
// ------------------------------------------------------------------------------------------------------

// @inline
function textAt(it: u64): usize {
  return it as u32 as usize
}

// @inline
function withText(it: u64, at: usize): u64 {
  return ((it >> 32) << 32) | (at as u64)
}

/** The text of a piece. Writes eight bytes; what follows overwrites those that are too many. */
// @inline
function write(at: usize, piece: u32): usize {
  const characters = load<u64>(pieces + ((piece as usize) << 4))
  store<u64>(at, characters)
  return at + ((characters >> 56) as usize)
}

/** The slot of a piece. */
// @inline
function putBits(it: u64, piece: u32): u64 {
  store<u64>((it >> 32) as usize, load<u64>(pieces + ((piece as usize) << 4), 8))
  return it + SLOT
}

/** Text and slot. */
// @inline
function put(it: u64, piece: u32): u64 {
  const at = write(textAt(it), piece)
  return withText(putBits(it, piece), at)
}

function match(it: u64, length: u32, distance: u32): u64 {
  lastLength = length
  lastDistance = distance
  lastDistanceBits = distanceBits(distance)
  store<u64>((it >> 32) as usize, join(lengthBits(length), lastDistanceBits))
  return it + SLOT
}

/** Makes the last match longer: what follows it is the same, too. */
function extend(it: u64, length: u32): u64 {
  if (lastLength + length > MATCH_MAX) return match(it, length, lastDistance)
  lastLength += length
  store<u64>(((it >> 32) as usize) - 8, join(lengthBits(lastLength), lastDistanceBits))
  return it
}

// @inline
function lengthBits(length: u32): u64 {
  return load<u64>(pieces + ((LENGTH + length) << 4), 8)
}

// @inline
function distanceBits(distance: u32): u64 {
  if (isCounting) return distance
  const at = distances + (distanceSymbol(distance) << 4)
  const code = load<u32>(at) | ((distance - load<u32>(at, 8)) << load<u32>(at, 4))
  return (code as u64) | ((load<u32>(at, 12) as u64) << 56)
}

/** Slots of one character each for text that is there already. */
function putCharacters(it: u64, from: usize, to: usize): u64 {
  for (let at = from; at < to; at++) it = putBits(it, CHARACTER + load<u8>(at))
  return it
}

/** Copies whole words: up to seven bytes too many, which what follows overwrites. */
// @inline
function copy(to: usize, from: usize, size: usize): void {
  for (let i: usize = 0; i < size; i += 8) store<u64>(to + i, load<u64>(from + i))
}

/** Up to 15 bytes too many. What is copied lies at least as far before. */
// @inline
function copyVectors(to: usize, from: usize, size: usize): void {
  for (let i: usize = 0; i < size; i += 16) v128.store(to + i, v128.load(from + i))
}

/** Begins a member of the rows at `rowsAt`. Each of its lines begins with `prefixAt`. */
export function begin(rowsAt: usize, prefixAt: usize, size: usize): void {
  rows = rowsAt
  prefix = prefixAt
  prefixSize = size
  memory.fill(addresses, 0, ((20 as usize) << ADDRESS_BITS) + ((8 as usize) << PREFIX_BITS))
  lastRow = 0
  acceptPlace = 0
  rejectPlace = 0
  sourcePlace6 = 0
  destinationPlace6 = 0
  state = text as u64
}

/**
 * Writes text and slots of `count` rows from number `from` on; `isFirst` and `isLast` in their member.
 * Returns where their text ends: it begins where that of the slice before ended, or at `textPlace`.
 */
export function generate(from: u32, count: u32, isFirst: bool, isLast: bool, isTuned: bool): usize {
  if (!isTuned) countPieces()
  follow = 0 // The last match of the slice before is written.
  let it = ((slots as u64) << 32) | (state & 0xffffffff)
  if (isFirst) {
    copy(text, prefix, prefixSize)
    it = withText(putCharacters(it, text, text + prefixSize), text + prefixSize)
  }
  const end = rows + ((from + count) << 6)
  for (let row = rows + (from << 6); row < end; row += 64) {
    const size = isLast && row + 64 === end ? 0 : prefixSize
    const attributes: u32 = load<u8>(row, 37)
    if ((attributes & ROW_SKIPPED) !== 0) {
      it = skippedLine(it, row, size)
      continue
    }
    if (follow !== 0 && ((attributes ^ load<u8>(follow, 37)) & (ROW_IPV6 | ROW_SKIPPED)) !== 0) follow = 0
    if ((attributes & ROW_IPV6) === 0) it = ipv4(ipv4(it, row), row + 16)
    else it = bothIpv6(it, row)
    it = port(it, load<u16>(row, 32))
    it = tail(it, row, attributes & ROW_REJECT, size)
  }
  state = it
  return textAt(it)
}

export function textPlace(): usize {
  return text
}

export { restPlace, shorten }

// @inline
function placeOf(at: usize): u32 {
  return ((at - text) as u32) + 1
}

/** True when text at `place` can be matched from `here`. */
// @inline
function isNear(here: u32, place: u32): bool {
  return place !== 0 && here - place <= WINDOW
}

/** Whether `field` is a row's source: its destination stands behind it. */
// @inline
function isSource(field: usize): bool {
  return ((field - rows) & 63) === 0
}

function ipv4(it: u64, field: usize): u64 {
  const address = load<u32>(field)
  const a = OCTET_DOT + (address & 255)
  const b = OCTET_DOT + ((address >> 8) & 255)
  const c = OCTET_DOT + ((address >> 16) & 255)
  const d = OCTET_SPACE + (address >> 24)
  const at = textAt(it)
  const middle = write(write(at, a), b)
  const end = write(write(middle, c), d)
  it = withText(it, end)
  const here = placeOf(at)
  const hash = address * 0x9e3779b1 // All of it tells the address.
  const slot = addresses + ((hash >> (32 - ADDRESS_BITS)) << 3)
  const known = load<u64>(slot)
  const place = ((known >> TAG_BITS) as u32) & PLACE_MASK
  store<u64>(slot, ((hash & TAG_MASK) as u64) | ((here as u64) << TAG_BITS) | (((field - rows) as u64) << 39))
  const head = address & 0xffff
  const headSlot = prefixes + (((head * 0x9e3779b1) >> (32 - PREFIX_BITS)) << 3)
  const headBefore = load<u64>(headSlot)
  store<u64>(headSlot, (head as u64) | ((here as u64) << 32))
  const isKnown = isNear(here, place) && (((known as u32) ^ hash) & TAG_MASK) === 0
  if (follow !== 0) {
    const difference = load<u32>(follow) ^ address
    if (difference === 0) {
      follow = isSource(follow) ? follow + 16 : 0
      return extend(it, (end - at) as u32)
    }
    follow = 0
    if (!isKnown && (difference & 0xffff) === 0)
      return putBits(putBits(extend(it, (middle - at) as u32), c), d)
  }
  if (isKnown) {
    const knownField = rows + (((known >> 43) << 4) as usize)
    follow = isSource(field) && isSource(knownField) ? knownField + 16 : 0
    return match(it, (end - at) as u32, here - place)
  }
  const headPlace = (headBefore >> 32) as u32
  if (middle - at >= 6 && (headBefore as u32) === head && isNear(here, headPlace))
    it = match(it, (middle - at) as u32, here - headPlace)
  else it = putBits(putBits(it, a), b)
  return putBits(putBits(it, c), d)
}

function bothIpv6(it: u64, row: usize): u64 {
  const source = placeOf(textAt(it))
  it = ipv6(it, row, sourcePlace6)
  const destination = placeOf(textAt(it))
  it = ipv6(it, row + 16, destinationPlace6)
  sourcePlace6 = source
  destinationPlace6 = destination
  return it
}

/**
 * Matches the whole address where it came before, else what it has in common with the last one of its
 * field. Compares text: which groups are left out depends on the whole address.
 */
function ipv6(it: u64, address: usize, lastPlace: u32): u64 {
  const at = textAt(it)
  const end = writeIpv6(at, address)
  it = withText(it, end)
  const here = placeOf(at)
  const mixed: u64 = (load<u64>(address) ^ (load<u64>(address, 8) * 0x9e3779b1)) * 0x85ebca77
  const slot = addresses6 + ((((mixed ^ (mixed >> 32)) as u32) >> (32 - ADDRESS_BITS)) << 2)
  const place = load<u32>(slot)
  store<u32>(slot, here)
  let best: usize = 0
  let distance: u32 = 0
  if (isNear(here, place)) {
    best = common(at, end, text + place - 1)
    distance = here - place
  }
  let goesOn = false
  if (follow !== 0) {
    const size = common(at, end, at - lastDistance)
    if (size === end - at || (size > 0 && best < end - at && size + 8 > best)) {
      goesOn = true
      best = size
    }
  }
  if (best < end - at && isNear(here, lastPlace)) {
    const size = common(at, end, text + lastPlace - 1)
    if (size > best) {
      goesOn = false
      best = size
      distance = here - lastPlace
    }
  }
  follow = goesOn && best === end - at && isSource(follow) ? follow + 16 : 0
  if (goesOn) it = extend(it, best as u32)
  else if (best >= 5) it = match(it, best as u32, distance)
  else best = 0
  return putCharacters(it, at + best, end)
}

/** How many bytes from `at` to `end` are those from `before` on. */
function common(at: usize, end: usize, before: usize): usize {
  let size: usize = 0
  while (at + size < end) {
    const difference = load<u64>(at + size) ^ load<u64>(before + size)
    if (difference !== 0) {
      size += (ctz(difference) >> 3) as usize
      break
    }
    size += 8
  }
  return min(size, end - at)
}

/** The form of RFC 5952 and a space. */
function writeIpv6(at: usize, address: usize): usize {
  if (load<u64>(address) === 0 && load<u32>(address, 8) === 0xffff0000) {
    store<u32>(at, 0x66663a3a) // '::ff'
    store<u32>(at, 0x3a6666, 4) // 'ff:'
    at += 7
    for (let i: usize = 12; i < 16; i++) at = write(at, OCTET_DOT + load<u8>(address + i))
    store<u8>(at - 1, 32)
    return at
  }
  let runFrom = 8
  let runCount = 1
  let count = 0
  for (let i = 0; i < 8; i++) {
    count = load<u16>(address + (i << 1)) === 0 ? count + 1 : 0
    if (count > runCount) {
      runCount = count
      runFrom = i + 1 - count
    }
  }
  for (let i = 0; i < 8; ) {
    if (i === runFrom) {
      if (i === 0) store<u8>(at++, 58)
      store<u8>(at++, 58)
      i += runCount
    } else {
      at = hexadecimal(at, bswap<u16>(load<u16>(address + (i << 1))))
      i++
      if (i < 8) store<u8>(at++, 58)
    }
  }
  store<u8>(at, 32)
  return at + 1
}

function hexadecimal(at: usize, value: u32): usize {
  if (value > 0xfff) store<u8>(at++, hexadecimalDigit(value >> 12))
  if (value > 0xff) store<u8>(at++, hexadecimalDigit((value >> 8) & 15))
  if (value > 0xf) store<u8>(at++, hexadecimalDigit((value >> 4) & 15))
  store<u8>(at, hexadecimalDigit(value & 15))
  return at + 1
}

function hexadecimalDigit(value: u32): u8 {
  return (value < 10 ? 48 + value : 87 + value) as u8
}

/** Ports come in any order: they are made of tables so small that they stay in the first-level cache. */
// @inline
function port(it: u64, value: u32): u64 {
  if (value < 1000) return put(it, NUMBER_SPACE + value)
  const high = value / 10_000
  const low = value - high * 10_000
  it = put(it, NUMBER + high)
  const first = pieces + ((PAIR + low / 100) << 4)
  const second = pieces + ((PAIR_SPACE + (low % 100)) << 4)
  store<u64>((it >> 32) as usize, join(load<u64>(first, 8), load<u64>(second, 8)))
  const at = textAt(it)
  store<u64>(at, load<u32>(first) | (load<u64>(second) << 16))
  return withText(it + SLOT, at + 5)
}

/** A number and a space. */
// @inline
function number(it: u64, value: u64): u64 {
  if (value >= 100_000_000) return large(it, value)
  return small(it, value as u32)
}

/** Two pieces below 10^8, the first of which may be empty: no branch that would be guessed wrong. */
// @inline
function small(it: u64, value: u32): u64 {
  const high = value / 10_000
  return put(put(it, NUMBER + high), lowPiece(value, high))
}

/** The last four digits of a number, or all of them. */
// @inline
function lowPiece(value: u32, high: u32): u32 {
  return NUMBER_SPACE + (PADDED_SPACE - NUMBER_SPACE) * ((high !== 0) as u32) + (value - high * 10_000)
}

function large(it: u64, value: u64): u64 {
  const high = value / 10_000
  it = high < 10_000 ? put(it, NUMBER + (high as u32)) : largeHead(it, high)
  return put(it, PADDED_SPACE + ((value - high * 10_000) as u32))
}

/** All but the last four digits, where they are more than four themselves. */
function largeHead(it: u64, value: u64): u64 {
  const high = value / 10_000
  it = high < 10_000 ? put(it, NUMBER + (high as u32)) : largeHead(it, high)
  return put(it, PADDED + ((value - high * 10_000) as u32))
}

/**
 * Fields 7 to 14, the newline, and the begin of the next line. Looks for a line before with the same
 * destination port, protocol, packets and octets, else takes the line before when these are the same but
 * for the port; and matches up to where the lines differ.
 */
function tail(it: u64, row: usize, reject: u32, nextSize: usize): u64 {
  const at = textAt(it)
  const here = placeOf(at)
  const slot = tails + (hashOfTail(row) << 3)
  const similar: usize = load<u32>(slot)
  const place = load<u32>(slot, 4)
  store<u64>(slot, (row as u64) | ((here as u64) << 32))
  let model: usize = 0
  let distance: u32 = 0
  let from = at
  if (isNear(here, place) && hasSameTail(row, similar, 0x00ffffff)) {
    if (isSameToEnd(row, similar, nextSize)) return repeat(it, row, similar, place, reject)
    model = similar
    distance = here - place
  }
  const begun = it
  it = port(it, load<u16>(row, 34))
  const protocolAt = textAt(it)
  const protocolHere = placeOf(protocolAt)
  if (
    model === 0 &&
    lastRow !== 0 &&
    hasSameTail(row, lastRow, 0x00ff0000) &&
    isNear(protocolHere, protocolPlace)
  ) {
    model = lastRow
    distance = protocolHere - protocolPlace
    from = protocolAt
  } else if (model !== 0) it = withText(begun, protocolAt)
  const isMatched = model !== 0
  const beforeCounters = it
  it = put(it, NUMBER_SPACE + load<u8>(row, 36))
  const packets = load<u64>(row, 40)
  it = packets < 10_000 ? put(it, NUMBER_SPACE + (packets as u32)) : number(it, packets)
  it = number(it, load<u64>(row, 48))
  const timesHere = placeOf(textAt(it))
  if (isMatched) it = withText(beforeCounters, textAt(it))
  else if (lastRow !== 0 && isNear(timesHere, timesPlace)) {
    model = lastRow // Its times may be the same, or nearly so.
    distance = timesHere - timesPlace
    from = textAt(it)
  }
  it = times(it, row, model, from, distance, reject, nextSize)
  store<u16>(offsets + ((row - rows) >> 5), ((protocolHere - here) | ((timesHere - here) << 8)) as u16)
  lastRow = row
  protocolPlace = protocolHere
  timesPlace = timesHere
  return it
}

/** Whether the lines of both, whose tails are the same, go on the same way up to the next line's addresses. */
// @inline
function isSameToEnd(row: usize, other: usize, nextSize: usize): bool {
  return (
    load<u64>(row, 56) === load<u64>(other, 56) &&
    min(load<u32>(row, 56), load<u32>(row, 60)) >= TEN_DIGITS &&
    ((load<u8>(row, 37) ^ load<u8>(other, 37)) & ROW_REJECT) === 0 &&
    nextSize !== 0
  )
}

/** Fields 7 to 14 and the begin of the next line, all as in the line of the row `model`. */
function repeat(it: u64, row: usize, model: usize, place: u32, reject: u32): u64 {
  const at = textAt(it)
  const here = placeOf(at)
  const both: u32 = load<u16>(offsets + ((model - rows) >> 5))
  store<u16>(offsets + ((row - rows) >> 5), both as u16)
  lastRow = row
  protocolPlace = here + (both & 255)
  timesPlace = here + (both >> 8)
  setSuffix(row, reject, timesPlace + 22)
  const size = (both >> 8) + 32 + (prefixSize as u32)
  copyVectors(at, text + place - 1, size)
  follow = model + 64
  return match(withText(it, at + size), size, here - place)
}

/** Of destination port, protocol, packets and octets. */
// @inline
function hashOfTail(row: usize): usize {
  const key = (load<u32>(row, 34) & 0x00ffffff) as u64
  let mixed = key * 0x9e3779b1 + load<u64>(row, 40) * 0x85ebca77 + load<u64>(row, 48) * 0xc2b2ae3d
  mixed = (mixed ^ (mixed >> 31)) * 0x27d4eb2f
  return (((mixed >> 16) as u32) & ((1 << ADDRESS_BITS) - 1)) as usize
}

/** `mask` is for destination port and protocol. */
// @inline
function hasSameTail(row: usize, other: usize, mask: u32): bool {
  return (
    ((load<u32>(row, 34) ^ load<u32>(other, 34)) & mask) === 0 &&
    load<u64>(row, 40) === load<u64>(other, 40) &&
    load<u64>(row, 48) === load<u64>(other, 48)
  )
}

/**
 * Fields 11 to 14 and the begin of the next line. The text from `from` on is that of the row `model`, which is
 * `distance` before, up to the times at least.
 */
function times(
  it: u64,
  row: usize,
  model: usize,
  from: usize,
  distance: u32,
  reject: u32,
  nextSize: usize,
): u64 {
  const at = textAt(it)
  const start = load<u32>(row, 56)
  const end = load<u32>(row, 60)
  if (start < TEN_DIGITS || end < TEN_DIGITS) {
    if (model !== 0 && from < at) it = match(it, (at - from) as u32, distance)
    return suffix(number(number(it, start), end), row, reject, nextSize)
  }
  writeTime(at, start)
  writeTime(at + 11, end)
  it = withText(it, at + 22)
  if (model === 0) return suffix(putEnd(putTime(it, start), start, end), row, reject, nextSize)
  const startSame = sameDigits(start, load<u32>(model, 56))
  const endSame = sameDigits(end, load<u32>(model, 60))
  if (startSame === 10 && endSame === 10) {
    if (((load<u8>(model, 37) ^ load<u8>(row, 37)) & ROW_REJECT) !== 0)
      return suffix(match(it, (at + 22 - from) as u32, distance), row, reject, nextSize)
    setSuffix(row, reject, placeOf(at + 22))
    const next = writeSuffix(at + 22, reject, nextSize)
    follow = model + 64
    return match(withText(it, next), (next - from) as u32, distance)
  }
  if (startSame === 10 && endSame >= 6 && start !== end) {
    it = putRest(match(it, (at + 11 + endSame - from) as u32, distance), end, endSame)
    return suffix(it, row, reject, nextSize)
  }
  if (startSame === 10) it = match(it, (at + 11 - from) as u32, distance)
  else if (startSame >= 6) it = putRest(match(it, (at + startSame - from) as u32, distance), start, startSame)
  else {
    if (from < at) it = match(it, (at - from) as u32, distance)
    it = putTime(it, start)
  }
  return suffix(putEnd(it, start, end), row, reject, nextSize)
}

/** How many of their first digits two times have in common, but 0 when less than six. */
// @inline
function sameDigits(a: u32, b: u32): u32 {
  const high = a / 10_000
  if (b / 10_000 !== high) return 0
  const low = load<u32>(pieces + ((PADDED + a - high * 10_000) << 4))
  return 6 + (ctz(low ^ load<u32>(pieces + ((PADDED + b - high * 10_000) << 4))) >> 3)
}

// @inline
function writeTime(at: usize, time: u32): void {
  const high = time / 10_000
  const highest = high / 10_000
  store<u16>(at, (load<u32>(pieces + ((PADDED + highest) << 4)) >> 16) as u16)
  write(write(at + 2, PADDED + high - highest * 10_000), PADDED_SPACE + time - high * 10_000)
}

function putTime(it: u64, time: u32): u64 {
  const high = time / 10_000
  const highest = high / 10_000
  it = putBits(putBits(it, CHARACTER + 48 + highest / 10), CHARACTER + 48 + (highest % 10))
  return putBits(putBits(it, PADDED + high - highest * 10_000), PADDED_SPACE + time - high * 10_000)
}

/** The end, which the start stands before. */
function putEnd(it: u64, start: u32, end: u32): u64 {
  if (end === start) return match(it, 11, 11)
  const same = sameDigits(end, start)
  return same === 0 ? putTime(it, end) : putRest(match(it, same, 11), end, same)
}

/** The digits of a time behind the first six to nine. */
// @inline
function putRest(it: u64, time: u32, same: u32): u64 {
  const low = time % 10_000
  const piece =
    same === 9
      ? REST1 + (low % 10)
      : same === 8
        ? REST2 + (low % 100)
        : same === 7
          ? REST3 + (low % 1000)
          : PADDED_SPACE + low
  return putBits(it, piece)
}

/** Action, status and the begin of the next line: as in the last line of the same action. */
function suffix(it: u64, row: usize, reject: u32, nextSize: usize): u64 {
  const at = textAt(it)
  const here = placeOf(at)
  const end = writeSuffix(at, reject, nextSize)
  const place = reject !== 0 ? rejectPlace : acceptPlace
  const before = reject !== 0 ? rejectRow : acceptRow
  setSuffix(row, reject, here)
  it = withText(it, end)
  if (!isNear(here, place)) {
    follow = 0
    return putCharacters(it, at, end)
  }
  follow = before + 64
  return match(it, (end - at) as u32, here - place)
}

// @inline
function writeSuffix(at: usize, reject: u32, nextSize: usize): usize {
  store<u32>(at, reject !== 0 ? 0x454a4552 : 0x45434341) // 'REJE', 'ACCE'
  store<u32>(at, reject !== 0 ? 0x4f205443 : 0x4f205450, 4) // 'CT O', 'PT O'
  store<u16>(at, 0x0a4b, 8) // 'K\n'
  copy(at + 10, prefix, nextSize)
  return at + 10 + nextSize
}

// @inline
function setSuffix(row: usize, reject: u32, place: u32): void {
  if (reject !== 0) {
    rejectPlace = place
    rejectRow = row
  } else {
    acceptPlace = place
    acceptRow = row
  }
}

function skippedLine(it: u64, row: usize, nextSize: usize): u64 {
  const at = textAt(it)
  for (let i: usize = 0; i < 5; i++) store<u16>(at + i * 2, 0x202d) // '- '
  it = withText(putCharacters(it, at, at + 10), at + 10)
  it = number(number(it, load<u64>(row, 40)), load<u64>(row, 48))
  it = number(number(it, load<u32>(row, 56)), load<u32>(row, 60))
  const end = textAt(it)
  store<u32>(end, 0x4b53202d) // '- SK'
  store<u32>(end, 0x41445049, 4) // 'IPDA'
  store<u32>(end, 0x0a4154, 8) // 'TA\n'
  copy(end + 11, prefix, nextSize)
  lastRow = 0
  follow = 0
  return withText(putCharacters(it, end, end + 11 + nextSize), end + 11 + nextSize)
}

// --- Tune
// ----------------------------------------------------------------------------------------------------------

/** From now on slots have the numbers of pieces, and matches as they are. */
function countPieces(): void {
  isCounting = true
  for (let piece: u32 = 0; piece < LENGTH; piece++) setBits(piece, piece)
  for (let length: u32 = 3; length <= MATCH_MAX; length++) setBits(LENGTH + length, MATCH | (length << 20))
  for (let i: u32 = 0; i < 100; i++) {
    setBits(PAIR + i, PADDED_SPACE + i * 100) // Added to the number of what follows it, it is that of all four digits.
    setBits(PAIR_SPACE + i, i)
  }
}

/** Makes codes that suit what `generate` wrote, and turns its slots into bits. */
export function tune(): void {
  const end = (state >> 32) as usize
  memory.fill(counts, 0, 2048)
  for (let at = slots; at < end; at += 8) countSlot(load<u64>(at))
  store<u32>(counts + (END_OF_BLOCK << 2), 1)
  let total: u32 = 0
  for (let i: u32 = 0; i < SYMBOLS; i++) total += load<u32>(counts + (i << 2))
  for (let i: u32 = 0; i < SYMBOLS + DISTANCES; i++)
    store<u32>(counts + (i << 2), load<u32>(counts + (i << 2)) * 8 + 1)
  for (let i: u32 = 48; i < 58; i++) raise(i, total >> 2)
  for (let i: u32 = 97; i < 103; i++) raise(i, 16)
  raise(32, total >> 2)
  raise(46, total >> 2)
  raise(58, 16)
  do {
    codeLengths(counts, lengths, SYMBOLS)
  } while (flatten())
  while (!codeLengths(counts + (SYMBOLS << 2), lengths + SYMBOLS, DISTANCES))
    halve(SYMBOLS, SYMBOLS + DISTANCES)
  makeCodes(lengths, codes, SYMBOLS)
  makeCodes(lengths + SYMBOLS, codes + (SYMBOLS << 2), DISTANCES)
  fillTable()
  isCounting = false
  for (let at = slots; at < end; at += 8) store<u64>(at, bitsOf(load<u64>(at)))
}

// @inline
function bitsOf(slot: u64): u64 {
  if ((slot & MATCH) !== 0)
    return join(lengthBits(((slot >> 20) & 0xfffff) as u32), distanceBits((slot & 0xfffff) as u32))
  return load<u64>(pieces + ((slot as usize) << 4), 8)
}

function raise(symbol: u32, least: u32): void {
  const at = counts + (symbol << 2)
  if (load<u32>(at) < least) store<u32>(at, least)
}

function isCommon(symbol: u32): bool {
  return (symbol >= 48 && symbol < 58) || symbol === 32 || symbol === 46
}

/** Where a code is too long, brings the counts nearer to each other and returns true. */
function flatten(): bool {
  let isTooLong = false
  let isCommonTooLong = false
  for (let i: u32 = 0; i < SYMBOLS; i++) {
    const length: u32 = load<u8>(lengths + i)
    if (length > CODE_MAX) isTooLong = true
    if (isCommon(i) && length > CODE_MAX_COMMON) isCommonTooLong = true
  }
  if (isTooLong) halve(0, SYMBOLS)
  if (!isCommonTooLong) return isTooLong
  for (let i: u32 = 0; i < SYMBOLS; i++) {
    const at = counts + (i << 2)
    if (isCommon(i)) store<u32>(at, load<u32>(at) * 2)
  }
  return true
}

function halve(from: u32, to: u32): void {
  for (let i = from; i < to; i++) store<u32>(counts + (i << 2), (load<u32>(counts + (i << 2)) >> 1) + 1)
}

function countSymbol(symbol: u32): void {
  const at = counts + (symbol << 2)
  store<u32>(at, load<u32>(at) + 1)
}

function countDigits(value: u32, count: u32): void {
  for (let i: u32 = 0; i < count; i++) {
    countSymbol(48 + (value % 10))
    value /= 10
  }
}

function countSlot(slot: u64): void {
  if ((slot & MATCH) !== 0) {
    countSymbol(257 + load<u8>(lengthSymbols + (((slot >> 20) & 0xfffff) as usize)))
    countSymbol(SYMBOLS + distanceSymbol((slot & 0xfffff) as u32))
    return
  }
  const piece = slot as u32
  if (piece >= CHARACTER) {
    countSymbol(piece - CHARACTER)
    return
  }
  const characters = load<u64>(pieces + (piece << 4)) // All but the rests of times have their text.
  if (piece < REST3) {
    const count = (characters >> 56) as u32
    for (let i: u32 = 0; i < count; i++) countSymbol(((characters >> (i << 3)) & 255) as u32)
    return
  }
  const base = piece >= REST1 ? REST1 : piece >= REST2 ? REST2 : REST3
  countDigits(piece - base, base === REST1 ? 1 : base === REST2 ? 2 : 3)
  countSymbol(32)
}

/** Huffman's code lengths. Returns false when one is longer than allowed. */
function codeLengths(weights: usize, result: usize, count: u32): bool {
  // Nodes: u32 weight, u32 parent, u32 symbol. Leaves first, the lightest first; what they are joined to comes
  // in the order of weight by itself, so that the lightest two are always at the begin of one of both queues.
  const nodes = work
  for (let i: u32 = 0; i < count; i++) insertLeaf(nodes, i, load<u32>(weights + (i << 2)))
  let leaf: u32 = 0
  let joined = count
  for (let size = count; size < 2 * count - 1; size++) {
    let weight: u32 = 0
    for (let child = 0; child < 2; child++) {
      const isLeaf = leaf < count && (joined === size || weightOf(nodes, leaf) <= weightOf(nodes, joined))
      const lightest = isLeaf ? leaf++ : joined++
      weight += weightOf(nodes, lightest)
      store<u32>(nodes + lightest * 12, size, 4)
    }
    store<u32>(nodes + size * 12, weight)
  }
  let isShort = true
  for (let i: u32 = 0; i < count; i++) {
    let length: u32 = 0
    for (let node = i; node !== 2 * count - 2; node = load<u32>(nodes + node * 12, 4)) length++
    store<u8>(result + load<u32>(nodes + i * 12, 8), length as u8)
    if (length > CODE_MAX) isShort = false
  }
  return isShort
}

function weightOf(nodes: usize, node: u32): u32 {
  return load<u32>(nodes + node * 12)
}

function insertLeaf(nodes: usize, symbol: u32, weight: u32): void {
  let at = symbol
  for (; at > 0 && weightOf(nodes, at - 1) > weight; at--)
    memory.copy(nodes + at * 12, nodes + (at - 1) * 12, 12)
  store<u32>(nodes + at * 12, weight)
  store<u32>(nodes + at * 12, symbol, 8)
}

/** Canonical codes (RFC 1951, section 3.2.2), bits in the order in which they are written. */
function makeCodes(from: usize, result: usize, count: u32): void {
  let code: u32 = 0
  for (let length: u32 = 1; length <= CODE_MAX; length++) {
    for (let i: u32 = 0; i < count; i++) {
      if ((load<u8>(from + i) as u32) !== length) continue
      let reversed: u32 = 0
      for (let bit: u32 = 0; bit < length; bit++) reversed |= ((code >> bit) & 1) << (length - 1 - bit)
      store<u32>(result + (i << 2), reversed)
      code++
    }
    code <<= 1
  }
}

// @inline
function join(first: u64, second: u64): u64 {
  const count = first >> 56
  return ((first & BITS) + ((second & BITS) << count)) | ((count + (second >> 56)) << 56)
}

function symbolBits(symbol: u32): u64 {
  return (load<u32>(codes + (symbol << 2)) as u64) | ((load<u8>(lengths + symbol) as u64) << 56)
}

function setBits(piece: u32, entry: u64): void {
  store<u64>(pieces + (piece << 4), entry, 8)
}

function fillTable(): void {
  const space = symbolBits(32)
  const dot = symbolBits(46)
  const pairs = work // u64 for '00' to '99'.
  for (let i: u32 = 0; i < 100; i++)
    store<u64>(pairs + (i << 3), join(symbolBits(48 + i / 10), symbolBits(48 + (i % 10))))
  for (let i: u32 = 0; i < 10_000; i++) {
    const high = i / 100
    const low = load<u64>(pairs + ((i - high * 100) << 3))
    const padded = join(load<u64>(pairs + (high << 3)), low)
    const digits =
      i >= 1000 ? padded : i >= 100 ? join(symbolBits(48 + high), low) : i >= 10 ? low : symbolBits(48 + i)
    setBits(NUMBER + i, digits)
    setBits(NUMBER_SPACE + i, join(digits, space))
    setBits(PADDED + i, padded)
    setBits(PADDED_SPACE + i, join(padded, space))
    if (i < 1000) setBits(REST3 + i, join(join(symbolBits(48 + high), low), space))
    if (i < 100) {
      setBits(REST2 + i, join(low, space))
      setBits(PAIR + i, low)
      setBits(PAIR_SPACE + i, join(low, space))
    }
    if (i < 10) setBits(REST1 + i, join(digits, space))
    if (i >= 256) continue
    setBits(OCTET_DOT + i, join(digits, dot))
    setBits(OCTET_SPACE + i, join(digits, space))
    setBits(CHARACTER + i, symbolBits(i))
  }
  setBits(NUMBER, 0)
  for (let length: u32 = 3; length <= 258; length++) {
    const symbol: u32 = load<u8>(lengthSymbols + length)
    const extra = ((length - lengthBase(symbol)) as u64) | ((lengthExtra(symbol) as u64) << 56)
    setBits(LENGTH + length, join(symbolBits(257 + symbol), extra))
  }
  for (let symbol: u32 = 0; symbol < DISTANCES; symbol++) {
    const at = distances + (symbol << 4)
    const size: u32 = load<u8>(lengths + SYMBOLS + symbol)
    store<u32>(at, load<u32>(codes + ((SYMBOLS + symbol) << 2)))
    store<u32>(at, size, 4)
    store<u32>(at, distanceBase(symbol), 8)
    store<u32>(at, size + distanceExtra(symbol), 12)
  }
}

// --- Emit
// ----------------------------------------------------------------------------------------------------------

let bits: u64 = 0
let bitCount: u32 = 0
let out: usize = 0

/** For the few bits of the header; `emit` itself keeps its bits in locals. */
function addBits(value: u32, count: u32): void {
  bits |= (value as u64) << (bitCount as u64)
  bitCount += count
  for (; bitCount >= 8; bitCount -= 8) {
    store<u8>(out++, bits as u8)
    bits >>= 8
  }
}

function emitHeader(): void {
  bits = 0
  bitCount = 0
  addBits(1 | (2 << 1), 3) // The last block, with codes of its own.
  addBits(SYMBOLS - 257, 5)
  addBits(DISTANCES - 1, 5)
  addBits(19 - 4, 4)
  // Code lengths are written with a code of their own: 0 to 15 with four bits each, repetitions are not used.
  for (let i = 0; i < 19; i++) addBits(i < 3 ? 0 : 4, 3) // In the order 16 17 18 0 8 7 9 ...
  for (let i: u32 = 0; i < SYMBOLS + DISTANCES; i++) {
    const length: u32 = load<u8>(lengths + i)
    addBits(((length & 1) << 3) | ((length & 2) << 1) | ((length & 4) >> 1) | (length >> 3), 4)
  }
}

/** Writes the slots to `target`, behind the slice before, if this is not the first. Returns where they end. */
export function emit(target: usize, isFirst: bool, isLast: bool): usize {
  out = target
  if (isFirst) emitHeader()
  let at = out
  let pending = bits
  let count = bitCount as u64
  const end = (state >> 32) as usize
  if (((end - slots) & 8) !== 0) store<u64>(end, 0) // Two at a time: the last one may have no second.
  for (let slot = slots; slot < end; slot += 16) {
    const first = load<u64>(slot)
    const second = load<u64>(slot, 8)
    const firstCount = first >> 56
    const both = firstCount + (second >> 56)
    pending |= (first & BITS) << count
    if (both > 56) {
      count += firstCount
      store<u64>(at, pending)
      at += (count >> 3) as usize
      pending = (pending >> (count & 0x38)) | ((second & BITS) << (count & 7))
      count = (count & 7) + (second >> 56)
    } else {
      pending |= (second & BITS) << (count + firstCount)
      count += both
    }
    store<u64>(at, pending)
    at += (count >> 3) as usize
    pending >>= count & 0x38
    count &= 7
  }
  if (isLast) {
    pending |= (load<u32>(codes + (END_OF_BLOCK << 2)) as u64) << count
    count += load<u8>(lengths + END_OF_BLOCK)
    store<u64>(at, pending)
    at += ((count + 7) >> 3) as usize
  }
  bits = pending
  bitCount = count as u32
  return at
}
