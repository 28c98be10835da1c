import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { ROW, ROW_IPV6, ROW_REJECT, ROW_SIZE, ROW_SKIPPED } from '../model/flow-rows.ts'
import { random } from '../stdx/prng.ts'
import { FusedCodec } from './fused-codec.ts'
import { type GzipCodec, MEMBER_ROWS_MAX, ZlibCodec } from './gzip-codec.ts'
import { encodeText, RECORD_SIZE_MAX, RecordContext } from './record-text.ts'

// One suite for every codec: plain gzip whose text is byte for byte that of the text codec.
const CODECS: GzipCodec[] = [new ZlibCodec(), new FusedCodec()]

const context = new RecordContext({
  accountId: 12345678,
  interfaceId: '7ffd6527-ce80-4e57-a949-f9a45824ebe2',
})
const other = new RecordContext({ accountId: 1, interfaceId: 'x' })

for (const codec of CODECS) {
  test(`${codec.name}: any number of rows gunzips to the text codec's records`, () => {
    const next = random(3)
    for (const count of [1, 2, 3, 10, 500, MEMBER_ROWS_MAX, MEMBER_ROWS_MAX + 1, 40_000]) {
      const rows = randomRows(next, count)
      assert.equal(gunzipSync(encoded(codec, context, rows)).compare(text(context, rows)), 0, `${count} rows`)
    }
  })

  test(`${codec.name}: members of several interfaces are one gzip file`, () => {
    const next = random(4)
    const rows = randomRows(next, 300)
    const out = Buffer.alloc(2 * codec.sizeMax(300) + 5)

    const middle = codec.encode(context, rows, 0, 100, out, 5)
    const end = codec.encode(other, rows, 100 * ROW_SIZE, 200, out, middle)

    const expected = Buffer.concat([
      text(context, rows.subarray(0, 100 * ROW_SIZE)),
      text(other, rows.subarray(100 * ROW_SIZE)),
    ])
    assert.deepEqual(gunzipSync(out.subarray(5, end)), expected)
    assert.deepEqual(out.subarray(0, 5), Buffer.alloc(5))
    assert.equal(codec.encode(context, rows, 0, 0, out, 7), 7)
  })

  test(`${codec.name}: rows of every shape survive`, () => {
    for (let seed = 0; seed < 300; seed++) {
      const next = random(seed)
      const rows = randomRows(next, 1 + (next() % 2000), next() % 6)
      const it = seed % 2 === 0 ? context : other
      assert.equal(gunzipSync(encoded(codec, it, rows)).compare(text(it, rows)), 0, `seed ${seed}`)
    }
  })

  test(`${codec.name}: rows of a scan, whose lines repeat to their end, survive`, () => {
    const rows = scanRows(random(6), MEMBER_ROWS_MAX + 700)
    assert.equal(gunzipSync(encoded(codec, context, rows)).compare(text(context, rows)), 0)
  })
}

function encoded(codec: GzipCodec, it: RecordContext, rows: Uint8Array): Buffer {
  const count = rows.length / ROW_SIZE
  const out = Buffer.alloc(codec.sizeMax(count))
  return out.subarray(0, codec.encode(it, rows, 0, count, out, 0))
}

function text(it: RecordContext, rows: Uint8Array): Buffer {
  const count = rows.length / ROW_SIZE
  const out = Buffer.alloc(count * RECORD_SIZE_MAX)
  return out.subarray(0, encodeText(it, rows, 0, count, out, 0))
}

/** Rows with much in common, as real ones have; `variety` 0 to 5 goes from few values to all of them. */
function randomRows(next: () => number, count: number, variety = 3): Uint8Array {
  const rows = Buffer.alloc(count * ROW_SIZE)
  const hosts = 1 + 4 ** variety
  for (let at = 0; at < rows.length; at += ROW_SIZE) {
    let attributes = next() % 4 === 0 ? ROW_REJECT : 0
    if (next() % 3 === 0) attributes |= ROW_IPV6
    if (next() % 97 === 0) attributes |= ROW_SKIPPED
    for (const field of [ROW.source, ROW.destination]) {
      const host = next() % hosts
      if ((attributes & ROW_IPV6) === 0) rows.writeUInt32BE(0x0a00_0000 + Math.imul(host, 77_777), at + field)
      else {
        rows.writeUInt32BE(0x2001_0db8, at + field)
        rows.writeUInt32BE(variety > 4 ? next() : host, at + field + 4)
        rows.writeUInt32BE(host % 3 === 0 ? next() : 0, at + field + 8)
        rows.writeUInt32BE(host, at + field + 12)
      }
    }
    rows.writeUInt16LE(next() % (1 << (4 + variety * 2)), at + ROW.sourcePort)
    rows.writeUInt16LE([22, 53, 443, next() & 0xffff][next() & 3]!, at + ROW.destinationPort)
    rows[at + ROW.protocol] = [6, 17, 6, next() & 255][next() & 3]!
    rows[at + ROW.attributes] = attributes
    const isHuge = variety === 5 && next() % 5 === 0
    rows.writeBigUInt64LE(
      isHuge ? BigInt(next()) << BigInt(next() % 33) : BigInt(next() % 20),
      at + ROW.packets,
    )
    rows.writeBigUInt64LE(isHuge ? BigInt(next()) << 31n : BigInt(next() >>> (next() % 32)), at + ROW.octets)
    const startS = variety === 5 ? next() : 1_700_000_400 + (next() % 600)
    rows.writeUInt32LE(startS, at + ROW.startS)
    rows.writeUInt32LE(variety === 5 ? next() : startS + (next() % 3), at + ROW.endS)
  }
  return rows
}

/** Every row a packet to one of few ports, many in each second, refused now and then. */
function scanRows(next: () => number, count: number): Uint8Array {
  const rows = Buffer.alloc(count * ROW_SIZE)
  for (let row = 0; row < count; row++) {
    const at = row * ROW_SIZE
    rows.writeUInt32BE(next() % 3 === 0 ? next() : 0xcb00_7107 + (next() % 4), at + ROW.source)
    rows.writeUInt32BE(next() % 3 === 0 ? next() : 0xc633_640a + (next() % 50), at + ROW.destination)
    rows.writeUInt16LE(next() & 0xffff, at + ROW.sourcePort)
    rows.writeUInt16LE([22, 443, 3389, 50_000][next() & 3]!, at + ROW.destinationPort)
    rows[at + ROW.protocol] = next() % 5 === 0 ? 17 : 6
    rows[at + ROW.attributes] = (next() % 4 === 0 ? ROW_REJECT : 0) | (next() % 9 === 0 ? ROW_IPV6 : 0)
    rows.writeBigUInt64LE(1n, at + ROW.packets)
    rows.writeBigUInt64LE(40n, at + ROW.octets)
    // From before the time has ten digits to after it.
    const startS = 999_999_990 + Math.floor(row / 400)
    rows.writeUInt32LE(startS, at + ROW.startS)
    rows.writeUInt32LE(startS, at + ROW.endS)
  }
  return rows
}
