import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ROW_SIZE } from '../model/flow-rows.ts'
import { formatAddress, parseAddress } from '../model/ip-address.ts'
import { random } from '../stdx/prng.ts'
import { type FlowLogRecord, formatRecord, isFault, parseRecord, recordToRow } from './record.ts'
import { encodeText, RECORD_SIZE_MAX, RecordContext } from './record-text.ts'

const NIC = '7ffd6527-ce80-4e57-a949-f9a45824ebe2'
const HEAD = `2 12345678 ${NIC}`
const context = new RecordContext({ accountId: 12345678, interfaceId: NIC })

const GOLDEN = [
  `${HEAD} 172.17.1.100 172.17.1.101 59113 443 6 17 1325 1587983051 1587983052 ACCEPT OK`,
  `${HEAD} 203.0.113.9 172.17.1.101 40022 23 6 4 240 1587983051 1587983058 REJECT OK`,
  `${HEAD} 2001:db8::10 2001:db8::20 51000 53 17 2 148 1587983060 1587983061 ACCEPT OK`,
  `${HEAD} 0.0.0.0 255.255.255.255 0 65535 0 1 20 0 4294967295 ACCEPT OK`,
  `${HEAD} 10.0.0.1 100.99.9.0 9999 10000 255 9999 10000 99999999 100000000 REJECT OK`,
  `${HEAD} :: ::1 0 0 58 1 40 1 9 ACCEPT OK`,
  `${HEAD} ::ffff:192.0.2.1 1:: 1 22 33 4444 5 6 7 REJECT OK`,
  `${HEAD} 1:0:0:2::3 2001:db8:0:1:1:1:1:1 1 1 1 1 1 1 1 ACCEPT OK`,
  `${HEAD} fe80::a:b:c:d 1:2:3:4:5:6:7:8 1 1 1 1 1 1 1 ACCEPT OK`,
  `${HEAD} ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 0:1::2:0 1 1 1 1 1 1 1 ACCEPT OK`,
  `${HEAD} 192.0.2.1 192.0.2.2 1 2 6 4294967296 9007199254740991 1 1 ACCEPT OK`,
  `${HEAD} 192.0.2.1 192.0.2.2 1 2 6 9007199254740993 18446744073709551615 1 1 ACCEPT OK`,
  `${HEAD} - - - - - 1234 567890 1587983051 1587983099 - SKIPDATA`,
]

test('records are written exactly as the format says', () => {
  const text = encode(GOLDEN.map(parsed))

  assert.equal(text, `${GOLDEN.join('\n')}\n`)
})

test('what is parsed strictly and formatted again is the same line', () => {
  for (const line of GOLDEN) assert.equal(formatRecord(parsed(line)), line)
})

test('random rows come back from their records unchanged', () => {
  const next = random(20)
  const records = Array.from({ length: 20_000 }, () => randomRecord(next))

  const lines = encode(records).trimEnd().split('\n')

  assert.deepEqual(lines.map(parsed), records)
})

test('every IPv6 address is written in the form of RFC 5952', () => {
  const next = random(21)
  for (let i = 0; i < 20_000; i++) {
    const bytes = randomIpv6(next)
    const text = formatAddress(bytes)
    const groups = Array.from({ length: 8 }, (_, at) =>
      ((bytes[at * 2]! << 8) | bytes[at * 2 + 1]!).toString(16),
    )
    const byUrl = new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1)

    if (!text.startsWith('::ffff:')) assert.equal(text, byUrl)
    assert.deepEqual(parseAddress(text), bytes)
  }
})

test('the longest record fits its bound, and the shortest account and interface work', () => {
  const longest = new RecordContext({ accountId: 'a'.repeat(32), interfaceId: 'i'.repeat(64) })
  const address = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'
  const numbers = `65535 65535 255 ${2n ** 64n - 1n} ${2n ** 64n - 1n} 4294967295 4294967295`
  const row = new Uint8Array(ROW_SIZE)
  recordToRow(parsed(`${HEAD} ${address} ${address} ${numbers} REJECT OK`), row, 0)
  const out = new Uint8Array(RECORD_SIZE_MAX)

  const size = encodeText(longest, row, 0, 1, out, 0)

  assert.ok(size + 16 < RECORD_SIZE_MAX)
  assert.ok(Buffer.from(out.subarray(0, size)).toString().endsWith(`${numbers} REJECT OK\n`))
  assert.ok(encodeText(new RecordContext({ accountId: 1, interfaceId: 'x' }), row, 0, 1, out, 0) < size)
})

test('a context refuses what would break the line', () => {
  for (const accountId of ['', 'a b', 'a\n', 'ä', 'a'.repeat(33)]) {
    assert.throws(() => new RecordContext({ accountId, interfaceId: 'x' }), /account id/)
  }
})

function parsed(line: string): FlowLogRecord {
  const it = parseRecord(line, { strict: true })
  if (isFault(it)) throw new Error(`${line}: field ${it.field} ${it.reason}`)
  return it
}

function encode(records: FlowLogRecord[]): string {
  const rows = new Uint8Array(records.length * ROW_SIZE)
  for (const [at, record] of records.entries()) recordToRow(record, rows, at * ROW_SIZE)
  const out = Buffer.alloc(records.length * RECORD_SIZE_MAX)
  return out.toString('latin1', 0, encodeText(context, rows, 0, records.length, out, 0))
}

function randomRecord(next: () => number): FlowLogRecord {
  const isIpv6 = next() % 2 === 0
  const address = () =>
    formatAddress(isIpv6 ? randomIpv6(next) : Uint8Array.from({ length: 4 }, () => next() & 255))
  const counter = () => 1n + ((BigInt(next()) << 32n) | BigInt(next())) / 2n ** BigInt(next() % 64)
  const start = next() >>> (next() % 32)
  const isSkip = next() % 20 === 0
  const flow = isSkip
    ? { srcaddr: undefined, dstaddr: undefined, srcport: undefined, dstport: undefined, protocol: undefined }
    : {
        srcaddr: address(),
        dstaddr: address(),
        srcport: next() & 0xffff,
        dstport: next() % 1000,
        protocol: next() & 255,
      }
  return {
    version: 2,
    accountId: '12345678',
    interfaceId: NIC,
    ...flow,
    packets: counter(),
    bytes: counter() - 1n,
    start,
    end: Math.max(start, next()),
    action: isSkip ? undefined : next() % 3 === 0 ? 'REJECT' : 'ACCEPT',
    logStatus: isSkip ? 'SKIPDATA' : 'OK',
  }
}

/** Rich in zero groups, where the format has its rules. */
function randomIpv6(next: () => number): Uint8Array {
  const zeros = next()
  return Uint8Array.from({ length: 16 }, (_, at) => ((zeros >> (at >> 1)) & 1 ? 0 : next() >> (next() % 9)))
}
