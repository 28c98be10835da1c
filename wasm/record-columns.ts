// Text of flow log records to columns of Parquet, in AssemblyScript: one pass over the text that checks every
// field, then one pass over each column that encodes it. Works on one row group at a time:
//
//   parse       text -> numbers of dictionaries and plain numbers, one array for each column
//   encode      an array -> what a data page holds: definition levels, then values
//   addToSums   the arrays -> sums by group of all rows of a pack
//   reset       makes room for the next row group
//   loadSums    sums -> the arrays, a row for each group, to be encoded like others
//
// What repeats is kept in dictionaries whose memory is laid out as Parquet's dictionary pages are (PLAIN):
// texts with their length before them, numbers of 32 bits, addresses a second time as keys of 16 bytes. Counters
// and times are packed by their differences (DELTA_BINARY_PACKED).

import {
  addFlows,
  BATCH,
  clearSums,
  FLOW_SIZE,
  Flow,
  groupAt,
  placeSums,
  SUMS_SIZE,
  Sums,
} from './group-sums'
import { clearTexts, find, forgetLast, placeTexts, sameBytes, TEXTS_SIZE, Texts } from './texts'

const SPACE: u32 = 0x20
const NEWLINE: u32 = 0x0a
const DASH: u32 = 0x2d
const DOT: u32 = 0x2e
const COLON: u32 = 0x3a
const PRINTABLE_MAX: u32 = 0x7e

const HEADS_MAX: u32 = 4096 // Accounts, or interfaces.
const HEAD_TEXT_MAX: usize = 255 // Of an account's or an interface's name.
const HEAD_MAX: usize = 2 + 2 * (HEAD_TEXT_MAX + 1)
const ADDRESS_TEXT_MAX: usize = 45
const KEY_SIZE: usize = 16
const PORTS: usize = 65536
const PROTOCOLS: usize = 256
const COUNTER_MAX: u64 = ((<u64>0x7fffffff) << 32) | 0xffffffff
const DIGITS_MAX: usize = 19 // So many fit 64 bits, whatever they are.

// 'ACCEPT ' and the other words of closed sets, as the little-endian words that they are in memory.
const SEVEN_BYTES: u64 = ((<u64>0xffffff) << 32) | 0xffffffff
const ACCEPT_SPACE: u64 = ((<u64>0x205450) << 32) | 0x45434341
const REJECT_SPACE: u64 = ((<u64>0x205443) << 32) | 0x454a4552
const NODATA_NEWLINE: u64 = ((<u64>0xa4154) << 32) | 0x41444f4e
const SKIPDATA: u64 = ((<u64>0x41544144) << 32) | 0x50494b53

const NONE: u32 = 0xffffffff // The field is '-'.
const WRONG: u32 = 0xfffffffe // The field is none.

// Columns, as the caller numbers them; also their bits in a row's mask of fields that are '-'.
const ACCOUNT: u32 = 0
const INTERFACE: u32 = 1
const SRC_ADDRESS: u32 = 2
const DST_ADDRESS: u32 = 3
const SRC_PORT: u32 = 4
const DST_PORT: u32 = 5
const PROTOCOL: u32 = 6
const ACTION: u32 = 7
const STATUS: u32 = 8
const PACKETS: u32 = 9
const BYTES: u32 = 10
const START: u32 = 11
const END: u32 = 12
const FLOWS: u32 = 13 // Of sums alone.
const PAIR: u32 = 14 // A number made of both addresses, the same for both ways.
const COLUMNS: u32 = 15

// A group's key has the numbers of its fields plus one; 0 stands for '-'. Groups are by interface, action and status,
// and by both addresses, by protocol and destination port, or by nothing else.
const BY_ADDRESSES: u32 = 0
const BY_PORTS: u32 = 1
const DST_ADDRESS_SHIFT: u64 = 20
const PROTOCOL_SHIFT: u64 = 20
const INTERFACE_SHIFT: u64 = 40
const ACTION_SHIFT: u64 = 56
const STATUS_SHIFT: u64 = 60
const FIELD_MASK: u64 = (1 << 20) - 1
const VERDICTS_MAX: u32 = HEADS_MAX // A pack holds one flow log, as a rule.

const BLOCK: u32 = 2048 // Values in a block of differences, and in each of its miniblocks.
const MINIBLOCK: u32 = 256

let rowsMax: u32 = 0
let rows: u32 = 0
let linesFailed: u32 = 0
let input: usize = 0
let accounts: Texts = changetype<Texts>(0)
let interfaces: Texts = changetype<Texts>(0)
let addresses: Texts = changetype<Texts>(0)
let keys: usize = 0
let keyHashes: usize = 0 // u8 for each key.
let numberSlots: usize = 0 // u32 each: ports twice, then protocols. The number of the value in its dictionary, from 1.
let numberValues: usize = 0 // u32 each, likewise: the dictionaries.
let numberCounts: usize = 0 // u32 for each of the three.
let masks: usize = 0
let columns: usize = 0 // An array of rowsMax words of 64 bits for each column.
let counts: usize = 0 // u32 for each column: values in it that are not '-'.
let differences: usize = 0
let output: usize = 0
let head: usize = 0 // The begin of the last record, up to its addresses: most lines begin as the one before.
let headSize: usize = 0
let headAccount: u32 = 0
let headInterface: u32 = 0
let cursor: usize = 0
let lowest: i64 = 0
let highest: i64 = 0
let sumsByAddresses: Sums = changetype<Sums>(0)
let sumsByPorts: Sums = changetype<Sums>(0)
let sumsByVerdicts: Sums = changetype<Sums>(0)
let keysByAddresses: usize = 0 // Of a batch, and so are the following.
let keysByPorts: usize = 0
let keysByVerdicts: usize = 0
let flows: usize = 0
let places: usize = 0

/** Lays out memory from `base`. Returns its end; the input, of `inputSize`, begins at `inputAt()`. */
export function setup(base: usize, inputSize: usize, rowsLimit: u32): usize {
  rowsMax = rowsLimit
  let at = (base + 63) & ~63
  accounts = changetype<Texts>(at)
  interfaces = changetype<Texts>(at + TEXTS_SIZE)
  addresses = changetype<Texts>(at + 2 * TEXTS_SIZE)
  at += 3 * TEXTS_SIZE
  sumsByAddresses = changetype<Sums>(at)
  sumsByPorts = changetype<Sums>(at + SUMS_SIZE)
  sumsByVerdicts = changetype<Sums>(at + 2 * SUMS_SIZE)
  at += 3 * SUMS_SIZE
  at = placeTexts(accounts, at, HEADS_MAX, HEAD_TEXT_MAX)
  at = placeTexts(interfaces, at, HEADS_MAX, HEAD_TEXT_MAX)
  at = placeTexts(addresses, at, rowsMax, ADDRESS_TEXT_MAX)
  at = placeSums(sumsByAddresses, at, rowsMax) // One row group has to hold all groups.
  at = placeSums(sumsByPorts, at, rowsMax)
  at = placeSums(sumsByVerdicts, at, VERDICTS_MAX)
  keys = at
  at += <usize>rowsMax * KEY_SIZE
  keyHashes = at
  at += (<usize>rowsMax + 7) & ~7
  keysByAddresses = at
  keysByPorts = at + BATCH * 8
  keysByVerdicts = keysByPorts + BATCH * 8
  flows = keysByVerdicts + BATCH * 8
  places = flows + BATCH * FLOW_SIZE
  at = places + BATCH * 4
  numberSlots = at
  at += (2 * PORTS + PROTOCOLS) * 4
  numberValues = at
  at += (2 * PORTS + PROTOCOLS) * 4
  numberCounts = at
  at += 16
  counts = at
  at += 64
  masks = at
  at += <usize>rowsMax * 4
  columns = at
  at += <usize>COLUMNS * rowsMax * 8
  differences = at
  at += <usize>BLOCK * 8
  head = at
  at += (HEAD_MAX + 15) & ~7
  output = at
  at += <usize>rowsMax * 10 + 65536
  input = at
  at += inputSize + HEAD_MAX + 64 // Reads of whole words may pass the end.
  beginPack()
  return at
}

export function beginPack(): void {
  clearTexts(accounts)
  clearTexts(interfaces)
  clearTexts(addresses)
  clearSums(sumsByAddresses)
  clearSums(sumsByPorts)
  clearSums(sumsByVerdicts)
  reset()
}

/** Texts keep their numbers over all row groups of a pack, as long as there is room: sums are by these numbers. */
export function reset(): void {
  rows = 0
  headSize = 0
  memory.fill(numberSlots, 0, (2 * PORTS + PROTOCOLS) * 4)
  memory.fill(numberCounts, 0, 16)
  memory.fill(counts, 0, 64)
  if (addresses.count > rowsMax / 2) {
    clearTexts(addresses)
    sumsByAddresses.isLost = true
  }
  if (accounts.count === HEADS_MAX || interfaces.count === HEADS_MAX) {
    clearTexts(accounts)
    clearTexts(interfaces)
    sumsByAddresses.isLost = true
    sumsByPorts.isLost = true
    sumsByVerdicts.isLost = true
  }
}

export function inputAt(): usize {
  return input
}

export function outputAt(): usize {
  return output
}

export function rowCount(): u32 {
  return rows
}

/** Lines so far that were no records. */
export function failedCount(): u32 {
  return linesFailed
}

/** Whether the row group must be taken before more can be parsed. */
export function isFull(): bool {
  return (
    rows === rowsMax ||
    addresses.count + 2 > addresses.countMax ||
    accounts.count === accounts.countMax ||
    interfaces.count === interfaces.countMax
  )
}

/** Takes whole lines of the input until it ends or the row group is full. Returns how many bytes that were. */
export function parse(size: u32): u32 {
  const end = input + size
  store<u8>(end, NEWLINE) // No field goes past it.
  let at = input
  while (at < end && !isFull()) {
    if (parseLine(at, end)) {
      rows++
      at = cursor + 1
      continue
    }
    let newline = at
    while (load<u8>(newline) !== NEWLINE) newline++
    if (newline === end) break // The rest of the line is still to come.
    if (newline > at) linesFailed++
    at = newline + 1
  }
  return <u32>(at - input)
}

/** Checks a line and appends its fields to the columns. Its newline is then at the cursor. */
function parseLine(at: usize, end: usize): bool {
  if (!parseHead(at)) return false
  const src = address()
  if (src === WRONG) return false
  const dst = address()
  if (dst === WRONG) return false
  const srcPort = smallNumber(PORTS)
  if (srcPort === WRONG) return false
  const dstPort = smallNumber(PORTS)
  if (dstPort === WRONG) return false
  const protocol = smallNumber(PROTOCOLS)
  if (protocol === WRONG) return false
  const packets = counter()
  if (packets === -2) return false
  const bytes = counter()
  if (bytes === -2) return false
  const start = counter()
  if (start < 0 || start > <i64>u32.MAX_VALUE) return false
  const last = counter()
  if (last < start || last > <i64>u32.MAX_VALUE) return false
  const action = actionNumber()
  if (action === WRONG) return false
  const status = statusNumber()
  if (status === WRONG) return false
  if (load<u8>(cursor) !== NEWLINE || cursor === end) return false

  let mask: u32 = 0
  mask |= put(ACCOUNT, headAccount)
  mask |= put(INTERFACE, headInterface)
  mask |= put(SRC_ADDRESS, src)
  mask |= put(DST_ADDRESS, dst)
  mask |= put(PAIR, (keyHash(src) + keyHash(dst)) & 255)
  mask |= put(SRC_PORT, srcPort === NONE ? NONE : numberOf(0, srcPort))
  mask |= put(DST_PORT, dstPort === NONE ? NONE : numberOf(PORTS, dstPort))
  mask |= put(PROTOCOL, protocol === NONE ? NONE : numberOf(2 * PORTS, protocol))
  mask |= put(ACTION, action)
  mask |= put(STATUS, status)
  mask |= putNumber(PACKETS, packets)
  mask |= putNumber(BYTES, bytes)
  mask |= putNumber(START, start)
  mask |= putNumber(END, last)
  store<u32>(masks + ((<usize>rows) << 2), mask)
  return true
}

function put(column: u32, value: u32): u32 {
  return putNumber(column, value === NONE ? -1 : <i64>value)
}

/** Returns the column's bit when there is no value. */
function putNumber(column: u32, value: i64): u32 {
  if (value < 0) return 1 << column
  const count = counts + ((<usize>column) << 2)
  const index = load<u32>(count)
  store<i64>(columns + ((<usize>column * rowsMax + index) << 3), value)
  store<u32>(count, index + 1)
  return 0
}

/** Version, account and interface. Sets the cursor behind them. */
function parseHead(at: usize): bool {
  if (headSize > 0 && sameBytes(at, head, headSize)) {
    cursor = at + headSize
    return true
  }
  if (load<u16>(at) !== 0x2032) return false // '2 '
  const account = headText(at + 2, accounts)
  if (account === WRONG) return false
  const name = headText(cursor, interfaces)
  if (name === WRONG || name === NONE) return false
  headAccount = account
  headInterface = name
  headSize = cursor - at
  memory.copy(head, at, headSize)
  return true
}

function headText(at: usize, texts: Texts): u32 {
  let end = at
  while (true) {
    const byte: u32 = load<u8>(end)
    if (byte <= SPACE || byte > PRINTABLE_MAX) break
    end++
  }
  const size = end - at
  if (size === 0 || size > HEAD_TEXT_MAX || load<u8>(end) !== SPACE) return WRONG
  cursor = end + 1
  if (size === 1 && load<u8>(at) === DASH) return NONE
  let hash: u32 = 2166136261
  for (let i = at; i < end; i++) hash = (hash ^ load<u8>(i)) * 16777619
  return find(texts, at, size, hash)
}

/** Where the first space of a word is, in bits; 64 when there is none. */
function spaceBits(word: u64): u64 {
  const other = word ^ (((<u64>0x20202020) << 32) | 0x20202020)
  return (
    ctz(
      (other - (((<u64>0x1010101) << 32) | 0x1010101)) & ~other & (((<u64>0x80808080) << 32) | 0x80808080),
    ) & ~7
  )
}

/** The number of the address at the cursor, which is then behind the space that follows it. */
function address(): u32 {
  const at = cursor
  let size: usize = 0
  let hash: u64 = 0
  while (true) {
    let word = load<u64>(at + size)
    const bits = spaceBits(word)
    if (bits === 64) {
      hash = (hash ^ word) * (((<u64>0x9e3779b9) << 32) | 0x7f4a7c15)
      hash ^= hash >> 29
      size += 8
      if (size > ADDRESS_TEXT_MAX) return WRONG
      continue
    }
    word &= ((<u64>1) << bits) - 1
    hash = (hash ^ word) * (((<u64>0x9e3779b9) << 32) | 0x7f4a7c15)
    size += <usize>(bits >> 3)
    break
  }
  if (size === 0 || size > ADDRESS_TEXT_MAX) return WRONG
  cursor = at + size + 1
  if (size === 1 && load<u8>(at) === DASH) return NONE
  const known = addresses.count
  const found = find(addresses, at, size, <u32>(hash >> 32))
  if (found < known) return found
  const key = keys + <usize>found * KEY_SIZE
  if (parseAddress(at, at + size, key)) {
    store<u8>(keyHashes + found, hashOf(key))
    return found
  }
  forgetLast(addresses, <u32>(hash >> 32), size)
  return WRONG
}

/** Eight bits of a key. Whoever asks for a pair makes the same (src/explore/addresses.ts). */
function hashOf(key: usize): u64 {
  const mixed = load<u64>(key) ^ (load<u64>(key, 8) * (((<u64>0x9e3779b9) << 32) | 0x7f4a7c15))
  return (mixed * (((<u64>0xff51afd7) << 32) | 0xed558ccd)) >> 56
}

function keyHash(number: u32): u32 {
  return number === NONE ? 0 : load<u8>(keyHashes + number)
}

/** A number below `limit` at the cursor, or NONE. */
function smallNumber(limit: usize): u32 {
  let at = cursor
  let digit: u32 = <u32>load<u8>(at) - 48
  if (digit > 9) {
    if (load<u16>(at) !== 0x202d) return WRONG // '- '
    cursor = at + 2
    return NONE
  }
  let value: u32 = 0
  do {
    value = value * 10 + digit
    digit = <u32>load<u8>(++at) - 48
  } while (digit <= 9 && value < <u32>limit)
  if (load<u8>(at) !== SPACE || value >= <u32>limit) return WRONG
  cursor = at + 1
  return value
}

/** A number at the cursor; -1 when it is '-', -2 when it is none. */
function counter(): i64 {
  const begin = cursor
  let at = begin
  let digit: u32 = <u32>load<u8>(at) - 48
  if (digit > 9) {
    if (load<u16>(at) !== 0x202d) return -2 // '- '
    cursor = at + 2
    return -1
  }
  let value: u64 = 0
  do {
    value = value * 10 + digit
    digit = <u32>load<u8>(++at) - 48
  } while (digit <= 9)
  if (load<u8>(at) !== SPACE || at - begin > DIGITS_MAX || value > COUNTER_MAX) return -2
  cursor = at + 1
  return <i64>value
}

function actionNumber(): u32 {
  const word = load<u64>(cursor) & SEVEN_BYTES
  if (word === ACCEPT_SPACE || word === REJECT_SPACE) {
    cursor += 7
    return word === REJECT_SPACE ? 1 : 0
  }
  if (load<u16>(cursor) !== 0x202d) return WRONG // '- '
  cursor += 2
  return NONE
}

/** NODATA, OK, SKIPDATA: in the order of the alphabet, as actions are, so that numbers have the words' order. */
function statusNumber(): u32 {
  const word = load<u64>(cursor)
  if ((word & 0xffffff) === 0x0a4b4f) {
    // 'OK\n'
    cursor += 2
    return 1
  }
  if ((word & SEVEN_BYTES) === NODATA_NEWLINE) {
    cursor += 6
    return 0
  }
  if (word !== SKIPDATA) return WRONG
  cursor += 8
  return 2
}

/** The number of a port or protocol in the dictionary that begins at `from`. */
function numberOf(from: usize, value: u32): u32 {
  const slot = numberSlots + ((from + value) << 2)
  const known = load<u32>(slot)
  return known > 0 ? known - 1 : addNumber(from, value, slot)
}

function addNumber(from: usize, value: u32, slot: usize): u32 {
  const count = numberCounts + ((from / PORTS) << 2)
  const number = load<u32>(count)
  store<u32>(numberValues + ((from + number) << 2), value)
  store<u32>(count, number + 1)
  store<u32>(slot, number + 1)
  return number
}

/** Writes the key of an address, IPv4 as ::ffff:0:0/96. Returns false for what is none. */
function parseAddress(at: usize, end: usize, key: usize): bool {
  store<u64>(key, 0)
  store<u64>(key, 0, 8)
  for (let i = at; i < end; i++) if (load<u8>(i) === COLON) return parseIpv6(at, end, key)
  store<u16>(key, 0xffff, 10)
  return parseIpv4(at, end, key + 12)
}

function parseIpv4(at: usize, end: usize, key: usize): bool {
  for (let octet: usize = 0; octet < 4; octet++) {
    const begin = at
    let value: u32 = 0
    while (at < end && at < begin + 3) {
      const digit: u32 = <u32>load<u8>(at) - 48
      if (digit > 9) break
      value = value * 10 + digit
      at++
    }
    if (at === begin || value > 255 || (at > begin + 1 && load<u8>(begin) === 48)) return false
    store<u8>(key + octet, value)
    if (octet < 3 && (at >= end || load<u8>(at++) !== DOT)) return false
  }
  return at === end
}

function parseIpv6(at: usize, end: usize, key: usize): bool {
  let size: usize = 0 // Bytes so far.
  let gap: i32 = -1 // How many of them stand before '::'.
  if (load<u16>(at) === 0x3a3a) {
    gap = 0
    at += 2
  }
  while (at < end) {
    if (size === KEY_SIZE) return false
    const begin = at
    let value: u32 = 0
    while (at < end && at < begin + 4) {
      const digit = hexDigit(load<u8>(at))
      if (digit > 15) break
      value = (value << 4) | digit
      at++
    }
    if (at < end && load<u8>(at) === DOT) {
      if (size > KEY_SIZE - 4 || !parseIpv4(begin, end, key + size)) return false
      size += 4
      at = end
      break
    }
    if (at === begin) return false
    store<u16>(key + size, bswap<u16>(<u16>value))
    size += 2
    if (at === end) break
    if (load<u8>(at++) !== COLON || at === end) return false
    if (load<u8>(at) === COLON) {
      if (gap >= 0) return false
      gap = <i32>size
      at++
    }
  }
  if (gap < 0) return size === KEY_SIZE
  if (size > KEY_SIZE - 2) return false // '::' stands for one group at least.
  const tail = size - <usize>gap
  memory.copy(key + KEY_SIZE - tail, key + <usize>gap, tail)
  memory.fill(key + <usize>gap, 0, KEY_SIZE - size)
  return true
}

function hexDigit(byte: u32): u32 {
  if (byte - 48 < 10) return byte - 48
  const letter = (byte | 32) - 97
  return letter < 6 ? letter + 10 : 16
}

/** Adds all rows to the sums of the pack. */
export function addToSums(): void {
  const ports = numberValues + (PORTS << 2)
  const protocols = numberValues + ((2 * PORTS) << 2)
  const interfaceAt = valuesOf(INTERFACE)
  const statusAt = valuesOf(STATUS)
  const startAt = valuesOf(START)
  const endAt = valuesOf(END)
  let srcAt = valuesOf(SRC_ADDRESS)
  let dstAt = valuesOf(DST_ADDRESS)
  let portAt = valuesOf(DST_PORT)
  let protocolAt = valuesOf(PROTOCOL)
  let actionAt = valuesOf(ACTION)
  let packetsAt = valuesOf(PACKETS)
  let bytesAt = valuesOf(BYTES)
  for (let from: usize = 0; from < <usize>rows; from += BATCH) {
    const count = min<usize>(BATCH, <usize>rows - from)
    for (let i: usize = 0; i < count; i++) {
      const mask = load<u32>(masks + ((from + i) << 2))
      const word = (from + i) << 3
      const hasSrc = present(mask, SRC_ADDRESS)
      const hasDst = present(mask, DST_ADDRESS)
      const hasPort = present(mask, DST_PORT)
      const hasProtocol = present(mask, PROTOCOL)
      const hasAction = present(mask, ACTION)
      const hasPackets = present(mask, PACKETS)
      const hasBytes = present(mask, BYTES)
      const src = hasSrc > 0 ? load<u64>(srcAt) + 1 : 0
      const dst = hasDst > 0 ? load<u64>(dstAt) + 1 : 0
      const port = hasPort > 0 ? numberIn(ports, portAt) + 1 : 0
      const protocol = hasProtocol > 0 ? numberIn(protocols, protocolAt) + 1 : 0
      const head =
        ((load<u64>(statusAt + word) + 1) << STATUS_SHIFT) |
        (hasAction > 0 ? (load<u64>(actionAt) + 1) << ACTION_SHIFT : 0) |
        ((load<u64>(interfaceAt + word) + 1) << INTERFACE_SHIFT)
      store<u64>(keysByAddresses + (i << 3), head | (dst << DST_ADDRESS_SHIFT) | src)
      store<u64>(keysByPorts + (i << 3), head | (protocol << PROTOCOL_SHIFT) | port)
      store<u64>(keysByVerdicts + (i << 3), head)
      const flow = changetype<Flow>(flows + i * FLOW_SIZE)
      flow.packets = hasPackets > 0 ? load<i64>(packetsAt) : -1
      flow.bytes = hasBytes > 0 ? load<i64>(bytesAt) : -1
      flow.start = load<u32>(startAt + word)
      flow.end = load<u32>(endAt + word)
      srcAt += hasSrc << 3
      dstAt += hasDst << 3
      portAt += hasPort << 3
      protocolAt += hasProtocol << 3
      actionAt += hasAction << 3
      packetsAt += hasPackets << 3
      bytesAt += hasBytes << 3
    }
    if (!sumsByAddresses.isLost) addFlows(sumsByAddresses, keysByAddresses, flows, places, count)
    if (!sumsByPorts.isLost) addFlows(sumsByPorts, keysByPorts, flows, places, count)
    if (!sumsByVerdicts.isLost) addFlows(sumsByVerdicts, keysByVerdicts, flows, places, count)
  }
}

/** 1 when the row has a value in the column, else 0. */
function present(mask: u32, column: u32): usize {
  return ((mask >> column) & 1) ^ 1
}

/** Of the numbers (u32) the one whose place is stored. */
function numberIn(numbers: usize, place: usize): u64 {
  return <u64>load<u32>(numbers + ((<usize>load<u32>(place)) << 2))
}

function sumsOf(kind: u32): Sums {
  if (kind === BY_ADDRESSES) return sumsByAddresses
  return kind === BY_PORTS ? sumsByPorts : sumsByVerdicts
}

/** How many groups a pack's sums have; 0 when there are none. */
export function groupCount(kind: u32): u32 {
  const sums = sumsOf(kind)
  return sums.isLost ? 0 : sums.count
}

/** Makes the row group one of the pack's sums, a row for each group. What it held before is lost. */
export function loadSums(kind: u32): void {
  reset()
  const sums = sumsOf(kind)
  for (; rows < sums.count; rows++) {
    const group = groupAt(sums, rows)
    const key = group.key
    let mask: u32 = 0
    if (kind === BY_ADDRESSES) {
      mask |= putNumber(SRC_ADDRESS, fieldOf(key, 0))
      mask |= putNumber(DST_ADDRESS, fieldOf(key, DST_ADDRESS_SHIFT))
    } else if (kind === BY_PORTS) {
      const port = fieldOf(key, 0)
      const protocol = fieldOf(key, PROTOCOL_SHIFT)
      mask |= putNumber(DST_PORT, port < 0 ? -1 : numberOf(PORTS, <u32>port))
      mask |= putNumber(PROTOCOL, protocol < 0 ? -1 : numberOf(2 * PORTS, <u32>protocol))
    }
    mask |= putNumber(INTERFACE, (<i64>(key >> INTERFACE_SHIFT) & 0xffff) - 1)
    mask |= putNumber(ACTION, (<i64>(key >> ACTION_SHIFT) & 15) - 1)
    mask |= putNumber(STATUS, <i64>(key >> STATUS_SHIFT) - 1)
    mask |= putNumber(PACKETS, group.hasPackets ? group.packets : -1)
    mask |= putNumber(BYTES, group.hasBytes ? group.bytes : -1)
    putNumber(START, <i64>group.start)
    putNumber(END, <i64>group.end)
    putNumber(FLOWS, group.flows)
    store<u32>(masks + ((<usize>rows) << 2), mask)
  }
}

/** A number of a key; -1 when the field is '-'. */
function fieldOf(key: u64, shift: u64): i64 {
  return <i64>((key >> shift) & FIELD_MASK) - 1
}

/** Where the dictionary of a column begins; that of addresses' keys is `keysAt`. */
export function dictionaryAt(column: u32): usize {
  if (column === ACCOUNT) return accounts.at
  if (column === INTERFACE) return interfaces.at
  if (column <= DST_ADDRESS) return addresses.at
  return numberValues + ((<usize>(column - SRC_PORT) * PORTS) << 2)
}

export function dictionarySize(column: u32): u32 {
  if (column === ACCOUNT) return accounts.size
  if (column === INTERFACE) return interfaces.size
  if (column <= DST_ADDRESS) return addresses.size
  return dictionaryCount(column) << 2
}

export function dictionaryCount(column: u32): u32 {
  if (column === ACCOUNT) return accounts.count
  if (column === INTERFACE) return interfaces.count
  if (column <= DST_ADDRESS) return addresses.count
  return load<u32>(numberCounts + ((<usize>(column - SRC_PORT)) << 2))
}

export function keysAt(): usize {
  return keys
}

/** Values of a column that are not '-'. */
export function valueCount(column: u32): u32 {
  return load<u32>(counts + ((<usize>column) << 2))
}

/** Of the column of numbers that was encoded last, or that was bounded. */
export function lowestValue(): i64 {
  return lowest
}

export function highestValue(): i64 {
  return highest
}

export function bound(column: u32): void {
  const values = valuesOf(column)
  const count = valueCount(column)
  lowest = i64.MAX_VALUE
  highest = i64.MIN_VALUE
  for (let i: u32 = 0; i < count; i++) {
    const value = load<i64>(values + ((<usize>i) << 3))
    lowest = min<i64>(lowest, value)
    highest = max<i64>(highest, value)
  }
}

/** Writes what a data page of the column holds to the output: numbers of its dictionary. Returns its size. */
export function encodeNumbers(column: u32, dictionary: u32): u32 {
  const count = valueCount(column)
  const end = packNumbers(valuesOf(column), count, dictionary, encodeLevels(column, count))
  return <u32>(end - output)
}

/** The same for a column of plain numbers. */
export function encodeValues(column: u32): u32 {
  const count = valueCount(column)
  const end = packDifferences(valuesOf(column), count, isShort(column), encodeLevels(column, count))
  return <u32>(end - output)
}

function isShort(column: u32): bool {
  return column === START || column === END
}

function valuesOf(column: u32): usize {
  return columns + ((<usize>column * rowsMax) << 3)
}

/** Definition levels: a bit for each row that says whether there is a value. */
function encodeLevels(column: u32, count: u32): usize {
  let at = output + 4
  if (count === rows) {
    at = varint(at, (<u64>rows) << 1)
    store<u8>(at++, 1)
  } else {
    const groups = (rows + 7) >> 3
    at = varint(at, ((<u64>groups) << 1) | 1)
    for (let row: u32 = rows; row < groups << 3; row++) store<u32>(masks + ((<usize>row) << 2), 0)
    for (let row: u32 = 0; row < rows; row += 8) {
      let bits: u32 = 0
      for (let i: u32 = 0; i < 8; i++) {
        const mask = load<u32>(masks + ((<usize>(row + i)) << 2))
        bits |= (((mask >> column) & 1) ^ 1) << i
      }
      store<u8>(at++, bits)
    }
  }
  store<u32>(output, <u32>(at - output - 4))
  return at
}

/** Numbers of a dictionary: one run when they are all the same, else as many bits as the largest needs. */
function packNumbers(values: usize, count: u32, dictionary: u32, at: usize): usize {
  const width: u32 = dictionary < 2 ? 1 : 32 - <u32>clz(dictionary - 1)
  store<u8>(at++, width)
  const first = count === 0 ? 0 : load<u64>(values)
  let same: u32 = 1
  while (same < count && load<u64>(values + ((<usize>same) << 3)) === first) same++
  if (same >= count) {
    at = varint(at, (<u64>count) << 1)
    store<u32>(at, <u32>first)
    return at + ((width + 7) >> 3)
  }
  const groups = (count + 7) >> 3
  at = varint(at, ((<u64>groups) << 1) | 1)
  const end = at + groups * width
  const packed = pack(values, count, width, 0, at)
  if (packed < end) memory.fill(packed, 0, end - packed)
  return end
}

/** Puts `count` values minus `base` behind each other, `width` bits of each, the lowest first. */
function pack(values: usize, count: u32, width: u32, base: u64, at: usize): usize {
  let bits: u64 = 0
  let fill: u32 = 0
  for (let i: u32 = 0; i < count; i++) {
    const value = load<u64>(values + ((<usize>i) << 3)) - base
    bits |= value << fill
    fill += width
    if (fill >= 64) {
      store<u64>(at, bits)
      at += 8
      fill -= 64
      bits = fill === 0 ? 0 : value >> (width - fill)
    }
  }
  store<u64>(at, bits)
  return at + ((fill + 7) >> 3)
}

/** DELTA_BINARY_PACKED, with the blocks that DuckDB writes. */
function packDifferences(values: usize, count: u32, isShort: bool, at: usize): usize {
  at = varint(at, BLOCK)
  at = varint(at, BLOCK / MINIBLOCK)
  at = varint(at, count)
  let before = count === 0 ? 0 : load<i64>(values)
  lowest = before
  highest = before
  at = varint(at, zigzag(isShort ? <i64>(<i32>before) : before))
  for (let from: u32 = 1; from < count; from += BLOCK) {
    const size = min<u32>(BLOCK, count - from)
    let least: i64 = i64.MAX_VALUE
    for (let i: u32 = 0; i < size; i++) {
      const value = load<i64>(values + ((<usize>(from + i)) << 3))
      lowest = min<i64>(lowest, value)
      highest = max<i64>(highest, value)
      const difference = isShort ? <i64>(<i32>(value - before)) : value - before
      before = value
      least = min<i64>(least, difference)
      store<i64>(differences + ((<usize>i) << 3), difference)
    }
    // A miniblock is always whole: what is behind the last value is as if it were the least.
    const whole = (size + MINIBLOCK - 1) & ~(MINIBLOCK - 1)
    for (let i = size; i < whole; i++) store<i64>(differences + ((<usize>i) << 3), least)
    at = varint(at, zigzag(least))
    const widths = at
    store<u64>(widths, 0)
    at += BLOCK / MINIBLOCK
    for (let part: u32 = 0; part < whole; part += MINIBLOCK) {
      const begin = differences + ((<usize>part) << 3)
      let all: u64 = 0
      for (let i: u32 = 0; i < MINIBLOCK; i++) all |= load<u64>(begin + ((<usize>i) << 3)) - <u64>least
      const width = 64 - <u32>clz(all)
      store<u8>(widths + part / MINIBLOCK, width)
      if (width > 0) at = pack(begin, MINIBLOCK, width, <u64>least, at)
    }
  }
  return at
}

function varint(at: usize, value: u64): usize {
  while (value >= 128) {
    store<u8>(at++, <u32>value | 128)
    value >>= 7
  }
  store<u8>(at++, <u32>value)
  return at
}

function zigzag(value: i64): u64 {
  return <u64>((value << 1) ^ (value >> 63))
}
