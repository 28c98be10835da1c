import { ROW, ROW_IPV6, ROW_REJECT, ROW_SIZE, ROW_SKIPPED } from '../model/flow-rows.ts'
import { assert } from '../stdx/assert.ts'

/**
 * Flow rows (model/flow-rows.ts) to flow log records, one line each (CONTRACT, section 1.4):
 *
 *   2 <account> <interface> <source> <destination> <sourcePort> <destinationPort> <protocol>
 *     <packets> <octets> <start> <end> ACCEPT|REJECT OK
 *   2 <account> <interface> - - - - - <packets> <octets> <start> <end> - SKIPDATA
 *
 * Numbers and octets of addresses come out of tables, four characters at a store; the bytes that a store
 * writes too many are overwritten by what follows. No strings on the way.
 */

export const ACCOUNT_SIZE_MAX = 32
export const INTERFACE_SIZE_MAX = 64

/** No record is longer, and `encodeText` writes nowhere behind `count` times this. */
export const RECORD_SIZE_MAX = 320

/** What all records of one interface begin with. */
export class RecordContext {
  readonly accountId: string
  readonly interfaceId: string
  /** `2 <account> <interface> `, padded with zeros to whole words. */
  readonly prefix: Uint8Array
  readonly prefixSize: number

  constructor(options: { accountId: string | number; interfaceId: string }) {
    this.accountId = String(options.accountId)
    this.interfaceId = options.interfaceId
    assert(isRecordField(this.accountId, ACCOUNT_SIZE_MAX), 'account id cannot be a field of a record')
    assert(isRecordField(this.interfaceId, INTERFACE_SIZE_MAX), 'interface id cannot be a field of a record')
    const text = `2 ${this.accountId} ${this.interfaceId} `
    this.prefixSize = text.length
    this.prefix = new Uint8Array((text.length + 3) & ~3)
    this.prefix.set(Buffer.from(text, 'latin1'))
  }
}

/** True for what can stand in a record's account or interface field: printable, no spaces. */
export function isRecordField(text: string, sizeMax: number): boolean {
  return text.length > 0 && text.length <= sizeMax && text !== '-' && /^[!-~]+$/.test(text)
}

const DOT_FIELDS = new Int32Array(256) // '7.', '42.', '255.'
const DOT_SIZES = new Uint8Array(256)
const NUMBERS = new Int32Array(10_000) // '0' to '9999', as short as they are.
const NUMBER_SIZES = new Uint8Array(10_000)
const PADDED = new Int32Array(10_000) // '0000' to '9999'.
const HEXADECIMAL = new Uint16Array(256) // '00' to 'ff'.
let isFilled = false

/** When they are first asked for: the fused codec seldom does. */
function fillTables(): void {
  for (let i = 0; i < 10_000; i++) {
    const size = i < 10 ? 1 : i < 100 ? 2 : i < 1000 ? 3 : 4
    const thousands = 0x30 + Math.floor(i / 1000)
    const hundreds = 0x30 + (Math.floor(i / 100) % 10)
    PADDED[i] =
      thousands | (hundreds << 8) | ((0x30 + (Math.floor(i / 10) % 10)) << 16) | ((0x30 + (i % 10)) << 24)
    NUMBERS[i] = PADDED[i]! >>> (8 * (4 - size))
    NUMBER_SIZES[i] = size
    if (i > 255) continue
    HEXADECIMAL[i] = digit(i >> 4) | (digit(i & 15) << 8)
    DOT_FIELDS[i] = NUMBERS[i]! | (0x2e << (8 * size))
    DOT_SIZES[i] = size + 1
  }
  isFilled = true
}

/** A hexadecimal digit. */
function digit(value: number): number {
  return value < 10 ? 0x30 + value : 0x57 + value
}

function word(text: string): number {
  let value = 0
  for (let i = 0; i < text.length; i++) value |= text.charCodeAt(i) << (8 * i)
  return value
}

const SPACE = 0x20
const COLON = 0x3a
const ACCE = word('ACCE')
const REJE = word('REJE')
const CT_O = word('CT O')
const PT_O = word('PT O')
const K_LF = word('K\n')
const DASHES = word('- - ')
const DASH_SK = word('- SK')
const IPDA = word('IPDA')
const TA_LF = word('TA\n')
const MAPPED = ['::ff', 'ff:'].map(word)

/**
 * Writes the records of `count` rows, the first at byte `from` of `rows`, into `out` from `at` on. Returns
 * where the next record would begin. `out` must have room for `count * RECORD_SIZE_MAX` bytes behind `at`.
 */
export function encodeText(
  context: RecordContext,
  rows: Uint8Array,
  from: number,
  count: number,
  out: Uint8Array,
  at: number,
): number {
  assert(from + count * ROW_SIZE <= rows.length)
  assert(at + count * RECORD_SIZE_MAX <= out.length)
  if (!isFilled) fillTables()
  const source = new DataView(rows.buffer, rows.byteOffset, rows.length)
  const target = new DataView(out.buffer, out.byteOffset, out.length)
  const prefix = new Int32Array(context.prefix.buffer)
  const prefixSize = context.prefixSize
  const end = from + count * ROW_SIZE
  for (let row = from; row < end; row += ROW_SIZE) {
    for (let i = 0; i < prefix.length; i++) target.setInt32(at + i * 4, prefix[i]!, true)
    at = encodeFields(source, row, target, at + prefixSize)
  }
  return at
}

function encodeFields(source: DataView, row: number, target: DataView, at: number): number {
  const attributes = source.getUint8(row + ROW.attributes)
  if ((attributes & ROW_SKIPPED) !== 0) return encodeSkipped(source, row, target, at)
  if ((attributes & ROW_IPV6) === 0) {
    at = putIpv4(target, at, source.getInt32(row + ROW.source, true))
    at = putIpv4(target, at, source.getInt32(row + ROW.destination, true))
  } else {
    at = putIpv6(source, row + ROW.source, target, at)
    at = putIpv6(source, row + ROW.destination, target, at)
  }
  at = putNumber(target, at, source.getUint16(row + ROW.sourcePort, true))
  at = putNumber(target, at, source.getUint16(row + ROW.destinationPort, true))
  at = putNumber(target, at, source.getUint8(row + ROW.protocol))
  at = putCounters(source, row, target, at)
  const isReject = (attributes & ROW_REJECT) !== 0
  target.setInt32(at, isReject ? REJE : ACCE, true)
  target.setInt32(at + 4, isReject ? CT_O : PT_O, true)
  target.setInt16(at + 8, K_LF, true)
  return at + 10
}

function encodeSkipped(source: DataView, row: number, target: DataView, at: number): number {
  target.setInt32(at, DASHES, true)
  target.setInt32(at + 4, DASHES, true)
  target.setInt32(at + 8, DASHES, true) // The sixth dash is overwritten: fields 4 to 8 are five.
  at = putCounters(source, row, target, at + 10)
  target.setInt32(at, DASH_SK, true)
  target.setInt32(at + 4, IPDA, true)
  target.setInt32(at + 8, TA_LF, true)
  return at + 11
}

/** Fields 9 to 12 and the space behind them. */
function putCounters(source: DataView, row: number, target: DataView, at: number): number {
  at = putCounter(source, row + ROW.packets, target, at)
  at = putCounter(source, row + ROW.octets, target, at)
  at = putNumber(target, at, source.getUint32(row + ROW.startS, true))
  return putNumber(target, at, source.getUint32(row + ROW.endS, true))
}

/** An unsigned 64-bit number, exact also where doubles are not. */
function putCounter(source: DataView, from: number, target: DataView, at: number): number {
  const low = source.getUint32(from, true)
  const high = source.getUint32(from + 4, true)
  if (high === 0) return putNumber(target, at, low)
  if (high < 0x20_0000) return putNumber(target, at, high * 0x1_0000_0000 + low)
  const text = source.getBigUint64(from, true).toString()
  for (let i = 0; i < text.length; i++) target.setUint8(at + i, text.charCodeAt(i))
  target.setUint8(at + text.length, SPACE)
  return at + text.length + 1
}

/** A whole number below 2^53 and a space. */
function putNumber(target: DataView, at: number, value: number): number {
  at = putDigits(target, at, value)
  target.setUint8(at, SPACE)
  return at + 1
}

function putDigits(target: DataView, at: number, value: number): number {
  if (value < 10_000) {
    target.setInt32(at, NUMBERS[value]!, true)
    return at + NUMBER_SIZES[value]!
  }
  if (value < 100_000_000) {
    const high = (value / 10_000) | 0
    target.setInt32(at, NUMBERS[high]!, true)
    at += NUMBER_SIZES[high]!
    target.setInt32(at, PADDED[value - high * 10_000]!, true)
    return at + 4
  }
  const high = Math.floor(value / 100_000_000)
  at = putDigits(target, at, high)
  const low = value - high * 100_000_000
  const middle = (low / 10_000) | 0
  target.setInt32(at, PADDED[middle]!, true)
  target.setInt32(at + 4, PADDED[low - middle * 10_000]!, true)
  return at + 8
}

/** An address whose first octet is the lowest byte of `value`, and a space. */
function putIpv4(target: DataView, at: number, value: number): number {
  target.setInt32(at, DOT_FIELDS[value & 255]!, true)
  at += DOT_SIZES[value & 255]!
  target.setInt32(at, DOT_FIELDS[(value >>> 8) & 255]!, true)
  at += DOT_SIZES[(value >>> 8) & 255]!
  target.setInt32(at, DOT_FIELDS[(value >>> 16) & 255]!, true)
  at += DOT_SIZES[(value >>> 16) & 255]!
  target.setInt32(at, DOT_FIELDS[value >>> 24]!, true)
  at += DOT_SIZES[value >>> 24]!
  target.setUint8(at - 1, SPACE)
  return at
}

/** The form of RFC 5952 and a space. */
function putIpv6(source: DataView, from: number, target: DataView, at: number): number {
  if (isMapped(source, from)) {
    target.setInt32(at, MAPPED[0]!, true)
    target.setInt32(at + 4, MAPPED[1]!, true)
    return putIpv4(target, at + 7, source.getInt32(from + 12, true))
  }
  const run = longestZeroRun(source, from)
  const runFrom = run >> 4
  const runCount = run & 15
  for (let i = 0; i < 8; ) {
    if (runCount > 0 && i === runFrom) {
      if (i === 0) target.setUint8(at++, COLON) // Else the group before has left one.
      target.setUint8(at++, COLON)
      i += runCount
    } else {
      const group = source.getUint16(from + i * 2, false)
      const size = group < 16 ? 1 : group < 256 ? 2 : group < 4096 ? 3 : 4
      const all = HEXADECIMAL[group >> 8]! | (HEXADECIMAL[group & 255]! << 16)
      target.setInt32(at, all >>> (8 * (4 - size)), true)
      at += size
      i++
      if (i < 8) target.setUint8(at++, COLON)
    }
  }
  target.setUint8(at, SPACE)
  return at + 1
}

function isMapped(source: DataView, from: number): boolean {
  if (source.getInt32(from + 8, true) !== -65_536) return false // 00 00 ff ff
  return source.getInt32(from, true) === 0 && source.getInt32(from + 4, true) === 0
}

/** The first of the longest runs of two or more zero groups: its first group * 16 + its length, or 0. */
function longestZeroRun(source: DataView, from: number): number {
  let best = 0
  let bestCount = 1
  let count = 0
  for (let i = 0; i < 8; i++) {
    count = source.getUint16(from + i * 2, true) === 0 ? count + 1 : 0
    if (count > bestCount) {
      bestCount = count
      best = ((i + 1 - count) << 4) | count
    }
  }
  return best
}
