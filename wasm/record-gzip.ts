// Flow rows to gzip in one go, in AssemblyScript: text, matches and Huffman codes together. zlib has to
// search for what repeats; here it is known: the end of a line and the begin of the next, addresses that
// came before, times that share their first digits. Three steps for each gzip member:
//
//   generate   rows -> text (for the checksum) and tokens
//   tune       sometimes: tokens -> Huffman codes -> the table of all tokens' bits
//   emit       tokens -> one DEFLATE block (RFC 1951) with these codes
//
// A token is a number below DISTANCE: a piece of text or a match length, whose bits stand in the table; or
// DISTANCE plus the distance of the match whose length came before it. Every symbol has a code, so that
// codes that were tuned to other rows are still right, only a little longer.

// Token numbers.
const CHARACTER: u32 = 0 // 256: one character.
const OCTET_DOT: u32 = 256 // 256: '7.' to '255.'
const OCTET_SPACE: u32 = 512 // 256: '7 ' to '255 '
const NUMBER_SPACE: u32 = 768 // 10000: '0 ' to '9999 '
const NUMBER: u32 = 10768 // 10000: '0' to '9999'
const PADDED: u32 = 20768 // 10000: '0000' to '9999'
const PADDED_SPACE: u32 = 30768 // 10000: '0000 ' to '9999 '
const PADDED3_SPACE: u32 = 40768 // 1000: '000 ' to '999 '
const LENGTH: u32 = 41768 // 259: match lengths, 3 to 258.
const DISTANCE: u32 = 42027

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

const ADDRESS_BITS: u32 = 13

// Addresses of what `setup` lays out.
let text: usize = 0
let tokens: usize = 0
let table: usize = 0 // u64 per token below DISTANCE: bits, and their count in the highest byte.
let words: usize = 0 // u32 for 0 to 9999: digits as text; then the same, padded with zeros.
let sizes: usize = 0 // u8 for 0 to 9999: how many digits. A table, since a branch would be guessed wrong too often.
let addressKeys: usize = 0
let addressPlaces: usize = 0
let address6Places: usize = 0
let prefixPlaces: usize = 0
let tailPlaces: usize = 0
let distanceSymbols: usize = 0 // u8 for 0 to 32768.
let lengthSymbols: usize = 0 // u8 for 0 to 258.
let counts: usize = 0 // u32 per symbol, then per distance symbol.
let lengths: usize = 0 // u8 likewise: code lengths.
let codes: usize = 0 // u32 likewise.
let work: usize = 0
let token: usize = 0 // The next one to write.

// Where the line before had what, to match it. Places count from 1; 0 is none.
let tailPlace: u32 = 0 // The protocol.
let timesPlace: u32 = 0
let acceptPlace: u32 = 0
let rejectPlace: u32 = 0
let sourcePlace6: u32 = 0
let destinationPlace6: u32 = 0
let matchEnd: usize = 0 // Where the token behind the last match stands.
let lastDistance: u32 = 0

/** Bytes of working memory behind `base`, for `textSize` bytes of text and `tokenCount` tokens. */
export function memorySize(textSize: usize, tokenCount: usize): usize {
  const tables: usize = DISTANCE * 8 + 90_000 + (16 << ADDRESS_BITS) + (65_536 << 2) + 40_000
  return tables + 16_384 + textSize + 64 + tokenCount * 4 + 64
}

export function setup(base: usize, textSize: usize): void {
  table = base
  words = table + DISTANCE * 8
  sizes = words + 80_000
  addressKeys = sizes + 10_000
  addressPlaces = addressKeys + (4 << ADDRESS_BITS)
  address6Places = addressPlaces + (4 << ADDRESS_BITS)
  prefixPlaces = address6Places + (4 << ADDRESS_BITS)
  tailPlaces = prefixPlaces + (65_536 << 2)
  distanceSymbols = tailPlaces + (4 << ADDRESS_BITS)
  lengthSymbols = distanceSymbols + 39_000
  counts = distanceSymbols + 40_000
  lengths = counts + 2048
  codes = lengths + 1024
  work = codes + 2048
  text = distanceSymbols + 40_000 + 16_384
  tokens = (text + textSize + 64 + 7) & ~7
  for (let i: u32 = 0; i < 10_000; i++) {
    store<u32>(words + (i << 2), digitsOf(i))
    store<u32>(words + 40_000 + (i << 2), paddedOf(i))
    store<u8>(sizes + i, (i < 10 ? 1 : i < 100 ? 2 : i < 1000 ? 3 : 4) as u8)
  }
  let symbol: u32 = 0
  for (let distance: u32 = 1; distance <= WINDOW; distance++) {
    if (symbol < DISTANCES - 1 && distance >= distanceBase(symbol + 1)) symbol++
    store<u8>(distanceSymbols + distance, symbol as u8)
  }
  symbol = 0
  for (let length: u32 = 3; length <= 258; length++) {
    if (symbol < 28 && length >= lengthBase(symbol + 1)) symbol++
    store<u8>(lengthSymbols + length, symbol as u8)
  }
}

export function textPlace(): usize {
  return text
}

function digitsOf(value: u32): u32 {
  if (value < 10) return 48 + value
  if (value < 100) return (48 + value / 10) | ((48 + (value % 10)) << 8)
  if (value < 1000) return paddedOf(value) >> 8
  return paddedOf(value)
}

function paddedOf(value: u32): u32 {
  return (
    (48 + value / 1000) |
    ((48 + ((value / 100) % 10)) << 8) |
    ((48 + ((value / 10) % 10)) << 16) |
    ((48 + (value % 10)) << 24)
  )
}

function digitCount(value: u32): u32 {
  return load<u8>(sizes + value)
}

// --- RFC 1951, section 3.2.5
// -------------------------------------------------------------------------------------

function distanceBase(symbol: u32): u32 {
  if (symbol < 4) return symbol + 1
  const extra = (symbol >> 1) - 1
  return ((2 | (symbol & 1)) << extra) + 1
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

function put(number: u32): void {
  store<u32>(token, number)
  token += 4
}

/** A match that goes on where the last one ended, at the same distance, makes that one longer. */
function match(length: u32, distance: u32): void {
  if (token === matchEnd && distance === lastDistance) {
    const whole = load<u32>(token - 8) + length
    if (whole <= LENGTH + MATCH_MAX) {
      store<u32>(token - 8, whole)
      return
    }
  }
  store<u32>(token, LENGTH + length)
  store<u32>(token, DISTANCE + distance, 4)
  token += 8
  matchEnd = token
  lastDistance = distance
}

/** Tokens of one character each for text that is there already. */
function putCharacters(from: usize, to: usize): void {
  for (let at = from; at < to; at++) put(CHARACTER + load<u8>(at))
}

/** Copies whole words: up to seven bytes too many, which what follows overwrites. */
function copy(to: usize, from: usize, size: usize): void {
  for (let i: usize = 0; i < size; i += 8) store<u64>(to + i, load<u64>(from + i))
}

/**
 * Writes the text of `count` rows of model/flow-rows.ts and their tokens. `prefix` is what each line begins
 * with. Returns the size of the text.
 */
export function generate(rows: usize, count: u32, prefix: usize, prefixSize: usize): usize {
  memory.fill(addressKeys, 0, (12 as usize) << ADDRESS_BITS)
  memory.fill(prefixPlaces, 0, (65_536 << 2) + ((4 as usize) << ADDRESS_BITS))
  token = tokens
  matchEnd = 0
  tailPlace = 0
  timesPlace = 0
  acceptPlace = 0
  rejectPlace = 0
  sourcePlace6 = 0
  destinationPlace6 = 0
  copy(text, prefix, prefixSize)
  putCharacters(text, text + prefixSize)
  let at = text + prefixSize
  for (let i: u32 = 0; i < count; i++) {
    const row = rows + (i << 6)
    const isLast = i === count - 1
    const attributes: u32 = load<u8>(row, 37)
    if ((attributes & ROW_SKIPPED) !== 0) {
      at = skippedLine(row, at, prefix, isLast ? 0 : prefixSize)
      continue
    }
    if ((attributes & ROW_IPV6) === 0) {
      at = ipv4(at, load<u32>(row))
      at = ipv4(at, load<u32>(row, 16))
    } else {
      at = ipv6(at, row, sourcePlace6)
      sourcePlace6 = lastAddress6
      at = ipv6(at, row + 16, destinationPlace6)
      destinationPlace6 = lastAddress6
    }
    at = number(at, load<u16>(row, 32))
    at = tail(row, at, attributes & ROW_REJECT, prefix, prefixSize, isLast)
  }
  return at - text
}

function placeOf(at: usize): u32 {
  return ((at - text) as u32) + 1
}

/** True when text at `place` can be matched from `here`. */
function isNear(here: u32, place: u32): bool {
  return place !== 0 && here - place <= WINDOW
}

function ipv4(at: usize, address: u32): usize {
  const a = address & 255
  const b = (address >> 8) & 255
  const c = (address >> 16) & 255
  const d = address >> 24
  let end = octet(at, a)
  end = octet(end, b)
  const middle = end
  end = octet(end, c)
  end = octet(end, d)
  store<u8>(end - 1, 32)
  const here = placeOf(at)
  const slot = ((address * 0x9e3779b1) >> (32 - ADDRESS_BITS)) << 2
  const place = load<u32>(addressPlaces + slot)
  const isKnown = load<u32>(addressKeys + slot) === address && isNear(here, place)
  store<u32>(addressKeys + slot, address)
  store<u32>(addressPlaces + slot, here)
  const prefixSlot = prefixPlaces + ((address & 0xffff) << 2)
  const prefixPlace = load<u32>(prefixSlot)
  store<u32>(prefixSlot, here)
  if (token === matchEnd) {
    const same = common(at, end, at - lastDistance)
    if (at + same === end) {
      match(same as u32, lastDistance)
      return end
    }
    if (!isKnown && at + same >= middle) {
      match((middle - at) as u32, lastDistance)
      lastOctets(c, d)
      return end
    }
  }
  if (isKnown) {
    match((end - at) as u32, here - place)
    return end
  }
  if (middle - at >= 6 && isNear(here, prefixPlace)) match((middle - at) as u32, here - prefixPlace)
  else {
    store<u32>(token, OCTET_DOT + a)
    store<u32>(token, OCTET_DOT + b, 4)
    token += 8
  }
  lastOctets(c, d)
  return end
}

function lastOctets(c: u32, d: u32): void {
  store<u32>(token, OCTET_DOT + c)
  store<u32>(token, OCTET_SPACE + d, 4)
  token += 8
}

/** Writes an octet and a dot. */
function octet(at: usize, value: u32): usize {
  const count = digitCount(value)
  store<u32>(at, load<u32>(words + (value << 2)) | (46 << (count << 3)))
  return at + count + 1
}

let lastAddress6: u32 = 0

/**
 * Matches the whole address where it came before, else what it has in common with the last one of its
 * field.
 */
function ipv6(at: usize, address: usize, lastPlace: u32): usize {
  const end = writeIpv6(at, address)
  const here = placeOf(at)
  lastAddress6 = here
  const mixed: u64 = (load<u64>(address) ^ (load<u64>(address, 8) * 0x9e3779b1)) * 0x85ebca77
  const slot = (((mixed ^ (mixed >> 32)) as u32) >> (32 - ADDRESS_BITS)) << 2
  const place = load<u32>(address6Places + slot)
  store<u32>(address6Places + slot, here)
  let best: usize = 0
  let bestPlace: u32 = 0
  if (isNear(here, place)) {
    best = common(at, end, text + place - 1)
    bestPlace = place
  }
  if (token === matchEnd) {
    const size = common(at, end, at - lastDistance)
    if (size === end - at || (size > 0 && best < end - at && size + 8 > best)) {
      best = size
      bestPlace = here - lastDistance
    }
  }
  if (best < end - at && isNear(here, lastPlace)) {
    const size = common(at, end, text + lastPlace - 1)
    if (size > best) {
      best = size
      bestPlace = lastPlace
    }
  }
  if (best >= 5 || (best > 0 && token === matchEnd && here - bestPlace === lastDistance))
    match(best as u32, here - bestPlace)
  else best = 0
  putCharacters(at + best, end)
  return end
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
    for (let i: usize = 12; i < 16; i++) at = octet(at, load<u8>(address + i))
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

/** A number and a space: text and tokens. */
function number(at: usize, value: u64): usize {
  putNumber(value)
  return writeNumber(at, value)
}

function putNumber(value: u64): void {
  if (value < 10_000) {
    put(NUMBER_SPACE + (value as u32))
  } else if (value < 100_000_000) {
    const small = value as u32 // Divisions of 32 bits are cheap.
    put(NUMBER + small / 10_000)
    put(PADDED_SPACE + (small % 10_000))
  } else {
    putLeadingDigits(value / 10_000)
    put(PADDED_SPACE + ((value % 10_000) as u32))
  }
}

/** All but the last four digits of a number. */
function putLeadingDigits(value: u64): void {
  if (value < 10_000) {
    put(NUMBER + (value as u32))
    return
  }
  putLeadingDigits(value / 10_000)
  put(PADDED + ((value % 10_000) as u32))
}

function writeNumber(at: usize, value: u64): usize {
  if (value < 10_000) {
    const small = value as u32
    store<u32>(at, load<u32>(words + (small << 2)))
    at += digitCount(small)
  } else if (value < 100_000_000) {
    const small = value as u32
    const high = small / 10_000
    store<u32>(at, load<u32>(words + (high << 2)))
    at += digitCount(high)
    store<u32>(at, load<u32>(words + 40_000 + ((small - high * 10_000) << 2)))
    at += 4
  } else at = writeDigits(at, value)
  store<u8>(at, 32)
  return at + 1
}

function writeDigits(at: usize, value: u64): usize {
  if (value < 10_000) {
    store<u32>(at, load<u32>(words + ((value as u32) << 2)))
    return at + digitCount(value as u32)
  }
  at = writeDigits(at, value / 10_000)
  store<u32>(at, load<u32>(words + 40_000 + (((value % 10_000) as u32) << 2)))
  return at + 4
}

// Where the parts of the line that is being written begin.
let timesAt: usize = 0
let suffixAt: usize = 0
let lineEnd: usize = 0
let startS: u32 = 0
let endS: u32 = 0
let hasTenDigits: bool = false // Times from September 2001 on: only these are matched.

/** Fields 7 to 14, the newline, and the begin of the next line. */
function tail(row: usize, at: usize, reject: u32, prefix: usize, prefixSize: usize, isLast: bool): usize {
  const port: u32 = load<u16>(row, 34)
  const protocol: u32 = load<u8>(row, 36)
  const packets = load<u64>(row, 40)
  const octets = load<u64>(row, 48)
  const protocolAt = writeTail(row, at, reject, prefix, isLast ? 0 : prefixSize)
  let mixed = (((port << 8) | protocol) as u64) * 0x9e3779b1 + packets * 0x85ebca77 + octets * 0xc2b2ae3d
  mixed = (mixed ^ (mixed >> 31)) * 0x27d4eb2f
  const slot = tailPlaces + ((((mixed >> 16) as u32) & ((1 << ADDRESS_BITS) - 1)) << 2)
  let done = at
  const same = load<u32>(slot)
  if (isNear(placeOf(at), same)) done = matchTail(at, same)
  store<u32>(slot, placeOf(at))
  if (done === at) {
    putNumber(port)
    done = protocolAt
    if (isNear(placeOf(protocolAt), tailPlace)) done = matchTail(protocolAt, tailPlace)
    if (done === protocolAt) {
      putNumber(protocol)
      putNumber(packets)
      putNumber(octets)
      done = timesAt
    }
  }
  if (done === timesAt && timesPlace !== 0 && isNear(placeOf(timesAt), timesPlace))
    done = matchTail(timesAt, timesPlace)
  done = putTimes(done)
  const place = reject !== 0 ? rejectPlace : acceptPlace
  if (done !== lineEnd) {
    if (isNear(placeOf(suffixAt), place)) match((lineEnd - suffixAt) as u32, placeOf(suffixAt) - place)
    else putCharacters(suffixAt, lineEnd)
  }
  tailPlace = placeOf(protocolAt)
  timesPlace = hasTenDigits ? placeOf(timesAt) : 0
  if (!isLast) setSuffix(reject, placeOf(suffixAt))
  return lineEnd
}

/** The text; returns where the protocol stands. */
function writeTail(row: usize, at: usize, reject: u32, prefix: usize, prefixSize: usize): usize {
  startS = load<u32>(row, 56)
  endS = load<u32>(row, 60)
  const protocolAt = writeNumber(at, load<u16>(row, 34))
  timesAt = writeNumber(
    writeNumber(writeNumber(protocolAt, load<u8>(row, 36)), load<u64>(row, 40)),
    load<u64>(row, 48),
  )
  hasTenDigits = startS >= 1_000_000_000 && endS >= 1_000_000_000
  if (hasTenDigits) {
    tenDigits(timesAt, startS)
    tenDigits(timesAt + 11, endS)
    suffixAt = timesAt + 22
  } else suffixAt = writeNumber(writeNumber(timesAt, startS), endS)
  copyLineEnd(suffixAt, reject, prefix, prefixSize)
  lineEnd = suffixAt + 10 + prefixSize
  return protocolAt
}

/**
 * Matches the line from `at` on with what stands at `place`: as far as it goes, but only to where tokens
 * can go on. Returns where that is; `at` when the match does not reach the times.
 */
function matchTail(at: usize, place: u32): usize {
  const distance = placeOf(at) - place
  const end = at + common(at, lineEnd, text + place - 1)
  if (end < timesAt) return at
  if (end >= suffixAt) {
    const whole = end >= lineEnd ? lineEnd : suffixAt
    match((whole - at) as u32, distance)
    return whole
  }
  if (hasTenDigits && end >= timesAt + 6) {
    const isEnd = end >= timesAt + 11
    const from = isEnd ? timesAt + 11 : timesAt
    if (!isEnd || (end >= from + 6 && startS !== endS)) {
      match((end - at) as u32, distance)
      putRest(end, from, isEnd ? endS : startS)
      return from + 11
    }
    match((from - at) as u32, distance)
    return from
  }
  if (at < timesAt) match((timesAt - at) as u32, distance)
  return timesAt
}

/** The digits of a time behind the first six or more, and the space. */
function putRest(at: usize, from: usize, time: u32): void {
  if (at === from + 6) put(PADDED_SPACE + (time % 10_000))
  else if (at === from + 7) put(PADDED3_SPACE + (time % 1000))
  else putCharacters(at, from + 11)
}

/** What is left of fields 11 and 12 from `done` on. */
function putTimes(done: usize): usize {
  if (done === timesAt && !hasTenDigits) {
    putNumber(startS)
    putNumber(endS)
    return suffixAt
  }
  if (done === timesAt) {
    putTime(timesAt, startS)
    done = timesAt + 11
  }
  if (hasTenDigits && done === timesAt + 11) {
    if (endS === startS) match(11, 11)
    else {
      const same = common(done, suffixAt, timesAt)
      if (same >= 6) {
        match(same as u32, 11)
        putRest(done + same, done, endS)
      } else putTime(done, endS)
    }
    return suffixAt
  }
  return done
}

function putTime(at: usize, time: u32): void {
  putCharacters(at, at + 2)
  put(PADDED + ((time / 10_000) % 10_000))
  put(PADDED_SPACE + (time % 10_000))
}

function tenDigits(at: usize, value: u32): void {
  const high = value / 100_000_000
  store<u16>(at, paddedOf(high) >> 16)
  store<u32>(at, load<u32>(words + 40_000 + (((value / 10_000) % 10_000) << 2)), 2)
  store<u32>(at, load<u32>(words + 40_000 + ((value % 10_000) << 2)), 6)
  store<u8>(at, 32, 10)
}

function copyLineEnd(at: usize, reject: u32, prefix: usize, prefixSize: usize): void {
  store<u32>(at, reject !== 0 ? 0x454a4552 : 0x45434341) // 'REJE', 'ACCE'
  store<u32>(at, reject !== 0 ? 0x4f205443 : 0x4f205450, 4) // 'CT O', 'PT O'
  store<u16>(at, 0x0a4b, 8) // 'K\n'
  copy(at + 10, prefix, prefixSize)
}

function setSuffix(reject: u32, place: u32): void {
  if (reject !== 0) rejectPlace = place
  else acceptPlace = place
}

/** A SKIPDATA line; with a `prefixSize` of 0 it is the last one. */
function skippedLine(row: usize, at: usize, prefix: usize, prefixSize: usize): usize {
  for (let i: usize = 0; i < 5; i++) store<u16>(at + i * 2, 0x202d) // '- '
  putCharacters(at, at + 10)
  at += 10
  at = number(at, load<u64>(row, 40))
  at = number(at, load<u64>(row, 48))
  at = number(at, load<u32>(row, 56))
  at = number(at, load<u32>(row, 60))
  store<u32>(at, 0x4b53202d) // '- SK'
  store<u32>(at, 0x41445049, 4) // 'IPDA'
  store<u32>(at, 0x0a4154, 8) // 'TA\n'
  copy(at + 11, prefix, prefixSize)
  putCharacters(at, at + 11 + prefixSize)
  tailPlace = 0
  timesPlace = 0
  return at + 11 + prefixSize
}

// --- Tune
// ----------------------------------------------------------------------------------------------------------

/** Makes codes that suit the tokens that `generate` wrote. */
export function tune(): void {
  memory.fill(counts, 0, 2048)
  for (let at = tokens; at < token; at += 4) countToken(load<u32>(at))
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

function countToken(it: u32): void {
  if (it >= DISTANCE) countSymbol(SYMBOLS + load<u8>(distanceSymbols + (it - DISTANCE)))
  else if (it >= LENGTH) countSymbol(257 + load<u8>(lengthSymbols + (it - LENGTH)))
  else if (it < OCTET_DOT) countSymbol(it)
  else if (it >= PADDED3_SPACE) {
    countDigits(it - PADDED3_SPACE, 3)
    countSymbol(32)
  } else if (it >= PADDED) {
    const isSpaced = it >= PADDED_SPACE
    countDigits(isSpaced ? it - PADDED_SPACE : it - PADDED, 4)
    if (isSpaced) countSymbol(32)
  } else {
    const base =
      it >= NUMBER ? NUMBER : it >= NUMBER_SPACE ? NUMBER_SPACE : it >= OCTET_SPACE ? OCTET_SPACE : OCTET_DOT
    countDigits(it - base, digitCount(it - base))
    if (base === OCTET_DOT) countSymbol(46)
    else if (base !== NUMBER) countSymbol(32)
  }
}

/** Huffman's code lengths. Returns false when one is longer than allowed. */
function codeLengths(weights: usize, result: usize, count: u32): bool {
  // Nodes: weight and parent, u32 each; leaves first. A weight of 0 is a node that has a parent.
  const nodes = work
  for (let i: u32 = 0; i < count; i++) {
    store<u32>(nodes + (i << 3), load<u32>(weights + (i << 2)))
    store<u32>(nodes + (i << 3), 0, 4)
  }
  let size = count
  for (let merges: u32 = 0; merges < count - 1; merges++) {
    const first = takeLightest(nodes, size, size)
    const weight = load<u32>(nodes + (first << 3))
    store<u32>(nodes + (first << 3), 0)
    const second = takeLightest(nodes, size, size)
    store<u32>(nodes + (size << 3), weight + load<u32>(nodes + (second << 3)))
    store<u32>(nodes + (second << 3), 0)
    store<u32>(nodes + (first << 3), size, 4)
    store<u32>(nodes + (second << 3), size, 4)
    size++
  }
  let isShort = true
  for (let i: u32 = 0; i < count; i++) {
    let length: u32 = 0
    for (let node = i; node !== size - 1; node = load<u32>(nodes + (node << 3), 4)) length++
    store<u8>(result + i, length as u8)
    if (length > CODE_MAX) isShort = false
  }
  return isShort
}

function takeLightest(nodes: usize, size: u32, none: u32): u32 {
  let best = none
  let bestWeight: u32 = 0xffffffff
  for (let i: u32 = 0; i < size; i++) {
    const weight = load<u32>(nodes + (i << 3))
    if (weight !== 0 && weight < bestWeight) {
      best = i
      bestWeight = weight
    }
  }
  return best
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

let bits: u64 = 0
let bitCount: u32 = 0

function addSymbol(symbol: u32): void {
  bits |= (load<u32>(codes + (symbol << 2)) as u64) << (bitCount as u64)
  bitCount += load<u8>(lengths + symbol)
}

function addDigits(value: u32, count: u32): void {
  let unit: u32 = count === 4 ? 1000 : count === 3 ? 100 : count === 2 ? 10 : 1
  for (; unit > 0; unit /= 10) addSymbol(48 + ((value / unit) % 10))
}

function setEntry(it: u32): void {
  store<u64>(table + (it << 3), bits | ((bitCount as u64) << 56))
  bits = 0
  bitCount = 0
}

function fillTable(): void {
  bits = 0
  bitCount = 0
  for (let i: u32 = 0; i < 256; i++) {
    addSymbol(i)
    setEntry(CHARACTER + i)
    addDigits(i, digitCount(i))
    addSymbol(46)
    setEntry(OCTET_DOT + i)
    addDigits(i, digitCount(i))
    addSymbol(32)
    setEntry(OCTET_SPACE + i)
  }
  for (let i: u32 = 0; i < 10_000; i++) {
    addDigits(i, digitCount(i))
    setEntry(NUMBER + i)
    addDigits(i, digitCount(i))
    addSymbol(32)
    setEntry(NUMBER_SPACE + i)
    addDigits(i, 4)
    setEntry(PADDED + i)
    addDigits(i, 4)
    addSymbol(32)
    setEntry(PADDED_SPACE + i)
    if (i >= 1000) continue
    addDigits(i, 3)
    addSymbol(32)
    setEntry(PADDED3_SPACE + i)
  }
  for (let length: u32 = 3; length <= 258; length++) {
    const symbol: u32 = load<u8>(lengthSymbols + length)
    addSymbol(257 + symbol)
    bits |= ((length - lengthBase(symbol)) as u64) << (bitCount as u64)
    bitCount += lengthExtra(symbol)
    setEntry(LENGTH + length)
  }
}

// --- Emit
// ----------------------------------------------------------------------------------------------------------

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

/** Writes the tokens as one DEFLATE block. Returns its size. */
export function emit(target: usize): usize {
  out = target
  emitHeader()
  let at = out
  let pending = bits
  let count = bitCount as u64
  for (let next = tokens; next < token; next += 4) {
    const it = load<u32>(next)
    if (it < DISTANCE) {
      const entry = load<u64>(table + (it << 3))
      pending |= (entry & (((1 as u64) << 56) - 1)) << count
      count += entry >> 56
    } else {
      const distance = it - DISTANCE
      const symbol: u32 = load<u8>(distanceSymbols + distance)
      pending |= (load<u32>(codes + ((SYMBOLS + symbol) << 2)) as u64) << count
      count += load<u8>(lengths + SYMBOLS + symbol)
      pending |= ((distance - distanceBase(symbol)) as u64) << count
      count += distanceExtra(symbol)
    }
    store<u64>(at, pending)
    at += (count >> 3) as usize
    pending >>= count & 0x38
    count &= 7
  }
  pending |= (load<u32>(codes + (END_OF_BLOCK << 2)) as u64) << count
  count += load<u8>(lengths + END_OF_BLOCK)
  store<u64>(at, pending)
  return at + (((count + 7) >> 3) as usize) - target
}
