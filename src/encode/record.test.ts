import assert from 'node:assert/strict'
import { test } from 'node:test'
import { random } from '../stdx/prng.ts'
import { isFault, parseRecord } from './record.ts'
import { type RecordLine, readRecords } from './record-stream.ts'

const LINE =
  '2 31931785 d8963239-e78b-4e18-8ee4-42b22dc83047 51.195.90.237 212.227.224.120 60890 22 6 1 60 1682968081 1682968081 REJECT OK'
const AWS_NODATA = '2 123456789010 eni-1235b8ca123456789 - - - - - - - 1431280876 1431280934 - NODATA'

test('a record of the format is read field by field', () => {
  assert.deepEqual(parseRecord(LINE, { strict: true }), {
    version: 2,
    accountId: '31931785',
    interfaceId: 'd8963239-e78b-4e18-8ee4-42b22dc83047',
    srcaddr: '51.195.90.237',
    dstaddr: '212.227.224.120',
    srcport: 60890,
    dstport: 22,
    protocol: 6,
    packets: 1n,
    bytes: 60n,
    start: 1682968081,
    end: 1682968081,
    action: 'REJECT',
    logStatus: 'OK',
  })
})

test('lenient reading takes records of other writers, strict reading names the field', () => {
  const cases: [string, number][] = [
    [AWS_NODATA, 14],
    [AWS_NODATA.replace('NODATA', 'SKIPDATA'), 9],
    [` ${LINE}`, 0],
    [`${LINE}\r`, 14],
    [LINE.replaceAll(' ', '\t'), 0],
    [`${LINE} further fields`, 0],
    [LINE.replace(' 60890 ', ' 060890 '), 6],
    [LINE.replace('51.195.90.237 212.227.224.120', '2001:DB8::1 2001:db8:0::1'), 4],
  ]
  for (const [line, field] of cases) {
    const strict = parseRecord(line, { strict: true })

    assert.ok(!isFault(parseRecord(line)), line)
    assert.ok(isFault(strict) && strict.field === field, `${line}: ${JSON.stringify(strict, bigintText)}`)
  }
})

test('what is no record is a fault with its field in both ways of reading', () => {
  const cases: [string, number][] = [
    ['', 0],
    ['version account-id interface-id', 0],
    [LINE.replace(/^2/, '3'), 1],
    [LINE.replace('51.195.90.237', '51.195.90.256'), 4],
    [LINE.replace('51.195.90.237', '51.195.90'), 4],
    [LINE.replace('212.227.224.120', '2001:db8::1'), 5],
    [LINE.replace('212.227.224.120', '1:2:3:4:5:6:7::8:9'), 5],
    [LINE.replace(' 60890 ', ' 65536 '), 6],
    [LINE.replace(' 22 6 ', ' -1 6 '), 7],
    [LINE.replace(' 22 6 ', ' 22 256 '), 8],
    [LINE.replace(' 6 1 60 ', ` 6 1 ${2n ** 64n} `), 10],
    [LINE.replace('1682968081 REJECT', '1682968080 REJECT'), 12],
    [LINE.replace('1682968081 REJECT', '- REJECT'), 12],
    [LINE.replace('REJECT', 'DENY'), 13],
    [LINE.replace('OK', 'BAD'), 14],
  ]
  for (const [line, field] of cases) {
    for (const strict of [true, false]) {
      const it = parseRecord(line, { strict })

      assert.ok(isFault(it) && it.field === field, `${line}: ${JSON.stringify(it, bigintText)}`)
    }
  }
})

test('a stream cut anywhere gives the same lines', async () => {
  const text = `${LINE}\n\n${AWS_NODATA}\nnonsense\n${LINE}\n`
  const whole = await lines([text])
  assert.deepEqual(
    whole.map(({ kind, line }) => [kind, line]),
    [
      ['record', 1],
      ['record', 3],
      ['fault', 4],
      ['record', 5],
    ],
  )
  for (let at = 0; at <= text.length; at += 7) {
    assert.deepEqual(await lines([text.slice(0, at), Buffer.from(text.slice(at))]), whole)
  }
})

test("lenient reading passes over the header of AWS's files, strict reading does not", async () => {
  const header =
    'version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status'
  const text = `${header}\n${LINE}\n${header}\r\n${LINE}\n${header}`

  assert.deepEqual(
    (await lines([text])).map(({ kind, line }) => [kind, line]),
    [
      ['record', 2],
      ['record', 4],
    ],
  )
  const strict = await Array.fromAsync(readRecords([text], { strict: true }))
  assert.deepEqual(
    strict.map(({ kind }) => kind),
    ['fault', 'record', 'fault', 'record', 'fault'],
  )
})

test('a line of bytes that are no text is told so, with the first of them', () => {
  for (const strict of [true, false]) {
    assert.deepEqual(parseRecord('2 \x1f\x8b', { strict }), {
      field: 0,
      reason: 'a record is ASCII text of 14 fields, this line has 0x1f in column 3',
    })
  }
})

test('a line without end is one fault and no memory', async () => {
  const endless = Array.from({ length: 1000 }, () => 'x'.repeat(5000))

  const found = await lines([`${LINE}\n`, ...endless, '\n', `${LINE}\n`])

  assert.deepEqual(
    found.map(({ kind, line }) => [kind, line]),
    [
      ['record', 1],
      ['fault', 2],
      ['record', 3],
    ],
  )
})

test('a last line without newline is a record, and a fault where reading is strict', async () => {
  assert.equal((await lines([`${LINE}\n${LINE}`])).filter((it) => it.kind === 'record').length, 2)
  const strict = await Array.fromAsync(readRecords([`${LINE}\n${LINE}`], { strict: true }))
  assert.equal(strict[1]?.kind, 'fault')
})

test('no mutation of a record makes the parser throw', () => {
  const next = random(7)
  for (let i = 0; i < 50_000; i++) {
    const bytes = Buffer.from(i % 2 === 0 ? LINE : AWS_NODATA)
    for (let k = next() % 4; k >= 0; k--) bytes[next() % bytes.length] = next()
    const line = bytes.toString('latin1')

    parseRecord(line)
    parseRecord(line, { strict: true })
  }
})

async function lines(chunks: (string | Uint8Array)[]): Promise<RecordLine[]> {
  return await Array.fromAsync(readRecords(chunks))
}

function bigintText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value
}
