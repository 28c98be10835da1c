import { ROW, ROW_IPV6, ROW_REJECT, ROW_SIZE, ROW_SKIPPED } from '../model/flow-rows.ts'
import { formatAddress, parseAddress } from '../model/ip-address.ts'
import { assert } from '../stdx/assert.ts'

/** A flow log record of format version 2, with the field names of the format. Undefined stands for `-`. */
export interface FlowLogRecord {
  version: number
  accountId: string
  interfaceId: string
  srcaddr: string | undefined
  dstaddr: string | undefined
  srcport: number | undefined
  dstport: number | undefined
  protocol: number | undefined
  packets: bigint | undefined
  bytes: bigint | undefined
  /** Unix seconds of the first packet. */
  start: number
  /** Unix seconds of the last packet. */
  end: number
  action: 'ACCEPT' | 'REJECT' | undefined
  logStatus: 'OK' | 'NODATA' | 'SKIPDATA'
}

/** Why a line is no record: the field's number (1 to 14; 0 for the line as a whole) and a sentence. */
export interface RecordFault {
  field: number
  reason: string
}

export interface ParseOptions {
  /**
   * Strict: what Weir writes and nothing else. One space between fields, numbers without leading zeros,
   * addresses in their one form, `-` only where SKIPDATA asks for it. Lenient (the default): also records
   * of other writers, with `-` in any field but the first and the times, runs of spaces or tabs, CRLF,
   * further fields behind the 14th.
   */
  strict?: boolean
}

export const FIELD_NAMES = [
  'version',
  'account-id',
  'interface-id',
  'srcaddr',
  'dstaddr',
  'srcport',
  'dstport',
  'protocol',
  'packets',
  'bytes',
  'start',
  'end',
  'action',
  'log-status',
] as const
const FIELDS = FIELD_NAMES.length

const UINT32_MAX = 0xffff_ffff
const UINT64_MAX = 0xffff_ffff_ffff_ffffn

export function isFault(it: FlowLogRecord | RecordFault): it is RecordFault {
  return 'reason' in it
}

/** Reads one line (without its newline). Never throws: what is wrong is an answer too. */
export function parseRecord(line: string, options: ParseOptions = {}): FlowLogRecord | RecordFault {
  const strict = options.strict === true
  const fields = strict ? line.split(' ') : line.trim().split(/[ \t]+/)
  if (strict ? fields.length !== FIELDS : fields.length < FIELDS)
    return { field: 0, reason: countFault(line, fields) }
  const faults: RecordFault[] = []
  const read = new FieldReader(fields, strict, faults)
  const record: FlowLogRecord = {
    version: read.number(1, 255) ?? 0,
    accountId: read.word(2),
    interfaceId: read.word(3),
    srcaddr: read.address(4),
    dstaddr: read.address(5),
    srcport: read.number(6, 65_535),
    dstport: read.number(7, 65_535),
    protocol: read.number(8, 255),
    packets: read.counter(9),
    bytes: read.counter(10),
    start: read.number(11, UINT32_MAX) ?? 0,
    end: read.number(12, UINT32_MAX) ?? 0,
    action: read.oneOf(13, ['ACCEPT', 'REJECT']),
    logStatus: read.oneOf(14, ['OK', 'NODATA', 'SKIPDATA']) ?? 'OK',
  }
  return faults[0] ?? wholeFault(record, fields, strict) ?? record
}

/** Bytes that are no text say more than how many fields they seem to be: compressed twice, UTF-16, torn by a crash. */
function countFault(line: string, fields: string[]): string {
  const at = line.search(/[^\t\r -~]/)
  if (at < 0) return `a record has ${FIELDS} fields, this line has ${line === '' ? 0 : fields.length}`
  const byte = line.charCodeAt(at).toString(16).padStart(2, '0')
  return `a record is ASCII text of ${FIELDS} fields, this line has 0x${byte} in column ${at + 1}`
}

/** What no field shows alone. */
function wholeFault(record: FlowLogRecord, fields: string[], strict: boolean): RecordFault | undefined {
  if (record.version !== 2) return { field: 1, reason: `version ${record.version} is not known` }
  for (const field of [11, 12, 14])
    if (fields[field - 1] === '-') return { field, reason: "'-' is not allowed here" }
  if (record.end < record.start)
    return { field: 12, reason: `end ${record.end} lies before start ${record.start}` }
  const { srcaddr, dstaddr } = record
  if (srcaddr !== undefined && dstaddr !== undefined && srcaddr.includes(':') !== dstaddr.includes(':')) {
    return { field: 5, reason: 'an IPv4 address beside an IPv6 address' }
  }
  return strict ? strictFault(record, fields) : undefined
}

function strictFault(record: FlowLogRecord, fields: string[]): RecordFault | undefined {
  if (record.logStatus === 'NODATA') return { field: 14, reason: 'NODATA is never written' }
  const isSkip = record.logStatus === 'SKIPDATA'
  for (let field = 2; field <= FIELDS; field++) {
    const mustBeDash = isSkip && ((field >= 4 && field <= 8) || field === 13)
    if ((fields[field - 1] === '-') === mustBeDash) continue
    const reason = mustBeDash ? "SKIPDATA has '-' here" : "'-' is not allowed here"
    return { field, reason }
  }
  if (record.packets === 0n) return { field: 9, reason: 'a record of no packets' }
  return undefined
}

/** Reads fields by their number and collects what is wrong with them. */
class FieldReader {
  readonly #fields: string[]
  readonly #strict: boolean
  readonly #faults: RecordFault[]

  constructor(fields: string[], strict: boolean, faults: RecordFault[]) {
    this.#fields = fields
    this.#strict = strict
    this.#faults = faults
  }

  word(field: number): string {
    const text = this.#fields[field - 1]!
    if (!/^[!-~]+$/.test(text)) this.#refuse(field, 'is not printable ASCII')
    return text
  }

  number(field: number, max: number): number | undefined {
    const text = this.#fields[field - 1]!
    if (text === '-') return undefined
    if (!this.#isDigits(text)) return this.#refuse(field, 'is not a number')
    const value = Number(text)
    return value <= max ? value : this.#refuse(field, `is greater than ${max}`)
  }

  counter(field: number): bigint | undefined {
    const text = this.#fields[field - 1]!
    if (text === '-') return undefined
    if (!this.#isDigits(text)) return this.#refuse(field, 'is not a number')
    const value = BigInt(text)
    return value <= UINT64_MAX ? value : this.#refuse(field, 'does not fit 64 bits')
  }

  address(field: number): string | undefined {
    const text = this.#fields[field - 1]!
    if (text === '-') return undefined
    const bytes = parseAddress(text)
    if (bytes === undefined) return this.#refuse(field, 'is not an IP address')
    const canonical = formatAddress(bytes)
    if (this.#strict && canonical !== text) return this.#refuse(field, `should be written ${canonical}`)
    return canonical
  }

  oneOf<Word extends string>(field: number, words: readonly Word[]): Word | undefined {
    const text = this.#fields[field - 1]!
    if (text === '-') return undefined
    return words.find((word) => word === text) ?? this.#refuse(field, `is not one of ${words.join(', ')}`)
  }

  #isDigits(text: string): boolean {
    if (text.length > 20) return false
    return this.#strict ? /^(0|[1-9]\d*)$/.test(text) : /^\d+$/.test(text)
  }

  #refuse(field: number, reason: string): undefined {
    const text = this.#fields[field - 1]!
    const shown = text.length > 40 ? `${text.slice(0, 40)}…` : text
    this.#faults.push({ field, reason: `${JSON.stringify(shown)} ${reason}` })
  }
}

/** The line of a record, without a newline. */
export function formatRecord(record: FlowLogRecord): string {
  const { accountId, interfaceId, srcaddr, dstaddr, srcport, dstport, protocol } = record
  const flow = [srcaddr, dstaddr, srcport, dstport, protocol].map((it) => it ?? '-').join(' ')
  const counters = `${record.packets ?? '-'} ${record.bytes ?? '-'} ${record.start} ${record.end}`
  const outcome = `${record.action ?? '-'} ${record.logStatus}`
  return `${record.version} ${accountId} ${interfaceId} ${flow} ${counters} ${outcome}`
}

/** Reads a flow row; the record's version, account and interface are those of the context. */
export function rowToRecord(
  context: { accountId: string; interfaceId: string },
  rows: Uint8Array,
  at: number,
): FlowLogRecord {
  const view = new DataView(rows.buffer, rows.byteOffset + at, ROW_SIZE)
  const attributes = view.getUint8(ROW.attributes)
  const isSkipped = (attributes & ROW_SKIPPED) !== 0
  const size = (attributes & ROW_IPV6) !== 0 ? 16 : 4
  const address = (field: number): string => formatAddress(rows.subarray(at + field, at + field + size))
  return {
    version: 2,
    accountId: context.accountId,
    interfaceId: context.interfaceId,
    srcaddr: isSkipped ? undefined : address(ROW.source),
    dstaddr: isSkipped ? undefined : address(ROW.destination),
    srcport: isSkipped ? undefined : view.getUint16(ROW.sourcePort, true),
    dstport: isSkipped ? undefined : view.getUint16(ROW.destinationPort, true),
    protocol: isSkipped ? undefined : view.getUint8(ROW.protocol),
    packets: view.getBigUint64(ROW.packets, true),
    bytes: view.getBigUint64(ROW.octets, true),
    start: view.getUint32(ROW.startS, true),
    end: view.getUint32(ROW.endS, true),
    action: isSkipped ? undefined : (attributes & ROW_REJECT) !== 0 ? 'REJECT' : 'ACCEPT',
    logStatus: isSkipped ? 'SKIPDATA' : 'OK',
  }
}

/** Writes a record as a flow row, so that it can go through the codecs again. */
export function recordToRow(record: FlowLogRecord, rows: Uint8Array, at: number): void {
  assert(at + ROW_SIZE <= rows.length)
  const view = new DataView(rows.buffer, rows.byteOffset + at, ROW_SIZE)
  for (let i = 0; i < ROW_SIZE; i += 4) view.setInt32(i, 0, true)
  let attributes = record.logStatus === 'OK' ? 0 : ROW_SKIPPED
  if (record.srcaddr?.includes(':')) attributes |= ROW_IPV6
  if (record.action === 'REJECT') attributes |= ROW_REJECT
  if (record.srcaddr !== undefined) rows.set(parseAddress(record.srcaddr)!, at + ROW.source)
  if (record.dstaddr !== undefined) rows.set(parseAddress(record.dstaddr)!, at + ROW.destination)
  view.setUint16(ROW.sourcePort, record.srcport ?? 0, true)
  view.setUint16(ROW.destinationPort, record.dstport ?? 0, true)
  view.setUint8(ROW.protocol, record.protocol ?? 0)
  view.setUint8(ROW.attributes, attributes)
  view.setBigUint64(ROW.packets, record.packets ?? 0n, true)
  view.setBigUint64(ROW.octets, record.bytes ?? 0n, true)
  view.setUint32(ROW.startS, record.start, true)
  view.setUint32(ROW.endS, record.end, true)
}
