import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { parseAddress } from '../model/ip-address.ts'
import { random } from '../stdx/prng.ts'
import { pairHash } from './addresses.ts'
import { openDatabase, Session } from './duckdb.ts'
import { SUMS_COUNTERS, SUMS_KEYS, SUMS_KINDS, type SumsKind, sumsPath } from './flows-view.ts'
import { mergePacks, PackWriter, type WrittenPack } from './pack-writer.ts'

// Text goes in, DuckDB reads what comes out.

const INTERFACE = '7ffd6527-ce80-4e57-a949-f9a45824ebe2'
const directory = mkdtempSync(path.join(tmpdir(), 'weir-pack-'))
const spillDirectory = path.join(directory, 'spill')
const database = await openDatabase({ threads: 2, memoryMaxMib: 512, spillDirectory, spillMaxMib: 512 })
const session = await Session.open(database)
const writer = new PackWriter()
after(() => {
  session[Symbol.dispose]()
  database.closeSync()
  rmSync(directory, { recursive: true, force: true })
})

let packs = 0

function write(...texts: string[]): { file: string; written: WrittenPack } {
  const file = path.join(directory, `${++packs}.parquet`)
  const inputs = texts.map((text, at) => {
    const content = path.join(directory, `${packs}-${at}.gz`)
    writeFileSync(content, gzipSync(text, { level: 1 }))
    return { object: `logs/web-${at}`, windowS: 1_795_000_200 + at, path: content }
  })
  return { file, written: writer.write(file, inputs) }
}

async function rowsOf(file: string): Promise<Record<string, unknown>[]> {
  return session.rows(
    `SELECT * EXCLUDE (file_row_number) REPLACE (src_key::VARCHAR AS src_key, dst_key::VARCHAR AS dst_key)
    FROM read_parquet('${file}', file_row_number = true) ORDER BY file_row_number`,
  )
}

function keyOf(address: string): string | undefined {
  const bytes = parseAddress(address)
  if (bytes === undefined) return undefined
  const hex = Buffer.from(bytes.length === 4 ? [...Buffer.alloc(10), 255, 255, ...bytes] : bytes).toString(
    'hex',
  )
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** The row of a line that is a record. */
function rowOf(line: string, at: number): Record<string, unknown> {
  const fields = line.split(' ').map((it) => (it === '-' ? null : it))
  const number = (index: number): number | null => (fields[index] === null ? null : Number(fields[index]))
  const key = (index: number): string | null => (fields[index] === null ? null : keyOf(fields[index]!)!)
  return {
    object: `logs/web-${at}`,
    window_s: 1_795_000_200 + at,
    account_id: fields[1],
    interface_id: fields[2],
    srcaddr: fields[3],
    dstaddr: fields[4],
    pair_hash: pairHash(key(3) ?? undefined, key(4) ?? undefined),
    src_key: key(3),
    dst_key: key(4),
    srcport: number(5),
    dstport: number(6),
    protocol: number(7),
    packets: number(8),
    bytes: number(9),
    start_s: number(10),
    end_s: number(11),
    action: fields[12],
    log_status: fields[13],
  }
}

test('every field of a record comes back, whichever of them are -', async () => {
  const next = random(7)
  const orNone = (value: unknown): unknown => (next() % 8 === 0 ? '-' : value)
  const address = (): string =>
    [
      `10.${next() % 3}.${next() % 256}.7`,
      `2001:DB8::${(next() % 999).toString(16)}`,
      '::ffff:192.0.2.1',
      '::',
    ][next() % 4]!
  const objects = Array.from({ length: 5 }, (_, object) =>
    Array.from({ length: 300 }, () => {
      const start = next() % 3 === 0 ? 4_294_967_000 : 1_795_000_200 + (next() % 600)
      const numbers = [next() % 65_536, next() % 65_536, next() % 256, next() % 7].map(orNone)
      const bytes = orNone([next(), 0, 2 ** 52, Number.MAX_SAFE_INTEGER][next() % 4])
      const account = orNone(`account-${next() % 40}`)
      const head = `2 ${account} ${object < 2 ? INTERFACE : `eni-${next() % 40}`}`
      return `${head} ${orNone(address())} ${orNone(address())} ${numbers.join(' ')} ${bytes} ${start} ${
        start + (next() % 200)
      } ${orNone(next() % 2 === 0 ? 'ACCEPT' : 'REJECT')} ${['OK', 'SKIPDATA', 'NODATA'][next() % 3]}`
    }),
  )
  // A column may also have nothing but '-'.
  const empty = `2 - ${INTERFACE} - - - - - - - 1795000200 1795000799 - NODATA`

  const { file, written } = write(...objects.map((lines) => `${lines.join('\n')}\n`))
  const nothing = write(`${empty}\n`)

  assert.deepEqual(
    written.objects.map(({ records, linesFailed }) => [records, linesFailed]),
    objects.map((lines) => [lines.length, 0]),
  )
  assert.deepEqual(
    await rowsOf(file),
    objects.flatMap((lines, at) => lines.map((line) => rowOf(line, at))),
  )
  assert.deepEqual(await rowsOf(nothing.file), [rowOf(empty, 0)])
})

test('a text is an address exactly when the rest of Weir takes it for one', async () => {
  const next = random(11)
  const known = [
    '10.0.0.7',
    '255.255.255.255',
    '1::2:3:4',
    'fe80::',
    '::1',
    '1:2:3:4:5:6:7:8',
    '::ffff:1.2.3.4',
  ]
  const odd = ['.', ':', '::', '0', '00', '256', '1', 'f', 'g', 'F00', '1.2.3.4', '12345', '-']
  const texts = [...known, ...odd, '1:2:3:4:5:6:7::', '1:2:3:4:5:6:7::8', '::1.2.3.4', '1:2:3:4:5:6:1.2.3.4']
  while (texts.length < 20_000) {
    let text = texts[next() % (next() % 4 === 0 ? texts.length : 24)]!
    const at = next() % (text.length + 1)
    text = text.slice(0, at) + odd[next() % odd.length]! + text.slice(at + (next() % 3))
    if (text.length < 60) texts.push(text)
  }
  const lines = texts.map(
    (it) => `2 1 ${INTERFACE} ${it} 10.0.0.7 1 2 6 1 60 1795000200 1795000201 ACCEPT OK\n`,
  )

  const { file, written } = write(lines.join(''))

  const expected = texts.filter((it) => it === '-' || parseAddress(it) !== undefined)
  assert.ok(expected.length > 500 && expected.length < texts.length / 2, String(expected.length))
  assert.deepEqual(
    (await rowsOf(file)).map((it) => [it['srcaddr'], it['src_key']]),
    expected.map((it) => (it === '-' ? [null, null] : [it, keyOf(it)])),
  )
  assert.equal(written.objects[0]!.linesFailed, texts.length - expected.length)
})

test('a line that is no record is counted and costs no other line', async () => {
  const good = `2 1 ${INTERFACE} 10.0.0.1 10.0.0.2 1 65535 255 1 9223372036854775807 4294967295 4294967295 REJECT OK`
  const bad = [
    good.replace(' 1 65535', ' 1 65536'),
    good.replace(' 255 ', ' 256 '),
    good.replace('9223372036854775807', '9223372036854775808'),
    good.replace('9223372036854775807', '99999999999999999999'),
    good.replace('9223372036854775807', '-1'),
    good.replace('9223372036854775807', ''),
    good.replace('4294967295 4294967295', '4294967295 4294967296'),
    good.replace('4294967295 4294967295', '4294967295 4294967294'),
    good.replace('4294967295 4294967295', '- 4294967295'),
    good.replace('4294967295 4294967295', '4294967295 -'),
    good.replace('REJECT', 'REJECTED'),
    good.replace(INTERFACE, '-'),
    good.replace(INTERFACE, ''),
    good.replace(INTERFACE, 'x'.repeat(256)),
    good.replace(INTERFACE, 'ü'),
    good.replace('2 1', '3 1'),
    good.replace('2 1', '2  1'),
    good.replace('OK', 'ok'),
    good.replace('OK', 'NODATA2'),
    `${good} `,
    `${good}\r`,
    ` ${good}`,
    'x'.repeat(3 << 20),
    '2',
  ]
  const texts = [bad.flatMap((line) => [line, good]).join('\n'), `\n\n${good}\n\n`]

  const { file, written } = write(...texts, 'half')

  assert.deepEqual(
    written.objects.map(({ records, linesFailed }) => [records, linesFailed]),
    // The last line of the first has no newline: nobody writes half a record.
    [
      [bad.length - 1, bad.length + 1],
      [1, 0],
      [0, 1],
    ],
  )
  const rows = await session.rows(`SELECT count(*) AS n, min(bytes)::VARCHAR AS bytes FROM '${file}'`)
  assert.deepEqual(rows, [{ n: bad.length, bytes: '9223372036854775807' }])
})

test('more rows and addresses than a row group holds, cut anywhere, are all there', async () => {
  const next = random(3)
  const sums = { n: 0, bytes: 0, sources: 0, ports: 0 }
  const texts = [150_000, 1, 140_000].map((count) => {
    let text = ''
    for (let i = 0; i < count; i++) {
      const bytes = next() % 100_000
      text += `2 1 ${INTERFACE} 10.${sums.n >> 16}.${(sums.n >> 8) & 255}.${sums.n & 255} 10.0.0.7 ${
        sums.n & 65_535
      } 443 6 1 ${bytes} 1795000200 1795000201 ACCEPT OK\n`
      sums.ports += sums.n & 65_535
      sums.sources++
      sums.bytes += bytes
      sums.n++
    }
    return text
  })

  const { file } = write(...texts)

  const found =
    await session.rows(`SELECT count(*) AS n, sum(bytes) AS bytes, count(DISTINCT src_key) AS sources,
    sum(srcport) AS ports FROM '${file}'`)
  assert.deepEqual(found, [sums])
  const byObject = await session.rows<{ n: number }>(
    `SELECT count(*) AS n FROM '${file}' GROUP BY object, window_s ORDER BY window_s`,
  )
  assert.deepEqual(
    byObject.map(({ n }) => n),
    [150_000, 1, 140_000],
  )
})

/** What is in the file of sums and not in the rows, and the other way round. */
async function differencesOf(file: string, kind: SumsKind): Promise<unknown> {
  const keys = SUMS_KEYS[kind].map(([name]) => name).join(', ')
  const sums = `SELECT ${keys}, ${SUMS_COUNTERS.map(([name]) => name).join(', ')} FROM '${sumsPath(file, kind)}'`
  const rows = `SELECT ${keys}, count(*), sum(packets), sum(bytes), min(start_s), max(end_s) FROM '${file}' GROUP BY ALL`
  return session.rows(`(${sums} EXCEPT ALL ${rows}) UNION ALL (${rows} EXCEPT ALL ${sums})`)
}

/** Records of few groups, whichever of their fields are -. */
function fewGroups(count: number, next: () => number): string[] {
  const orNone = (value: unknown): unknown => (next() % 9 === 0 ? '-' : value)
  const address = (): string =>
    [`10.0.0.${next() % 20}`, `2001:db8::${next() % 9}`, '::ffff:10.0.0.1'][next() % 3]!
  return Array.from({ length: count }, () => {
    const start = 1_795_000_200 + (next() % 600)
    const ends = `${orNone(address())} ${orNone(address())} ${orNone(next() % 65_536)} ${orNone(next() % 3)}`
    const counters = `${orNone(next() % 7)} ${orNone(next() % 7)} ${orNone(next() % 10_000_000)}`
    const action = orNone(next() % 2 === 0 ? 'ACCEPT' : 'REJECT')
    const status = ['OK', 'OK', 'SKIPDATA', 'NODATA'][next() % 4]
    return `2 ${orNone(1)} eni-${next() % 2} ${ends} ${counters} ${start} ${start + (next() % 200)} ${action} ${status}\n`
  })
}

test('sums are those of the rows, over all row groups and whatever is -', async () => {
  const next = random(13)
  const { file, written } = write(
    fewGroups(70_000, next).join(''),
    'no record\n',
    fewGroups(70_000, next).join(''),
  )
  const small = write(fewGroups(50, next).join(''))

  assert.deepEqual(Object.keys(written.sums).sort(), ['addresses', 'ports', 'verdicts'])
  for (const kind of SUMS_KINDS) assert.deepEqual(await differencesOf(file, kind), [])
  const [starts] = await session.rows(
    `SELECT min(start_s) AS "firstS", max(start_s) AS "lastS" FROM '${file}'`,
  )
  assert.deepEqual(written.startsS, starts)
  // The groups of the pack before are none of these: so few rows have hardly fewer groups.
  assert.deepEqual(small.written.sums, {})
})

test('sums that are too many or too large are not kept, and cost no other sums', async () => {
  const line = (source: string, port: number, bytes: string): string =>
    `2 1 ${INTERFACE} ${source} 10.0.0.7 1 ${port} 6 1 ${bytes} 1795000200 1795000201 ACCEPT OK\n`
  let many = ''
  for (let i = 0; i < 280_000; i++)
    many += line(`10.${(i / 4) >> 16}.${(i >> 10) & 255}.${(i >> 2) & 255}`, 443, '60')
  const large = line('10.0.0.1', 443, '4611686018427387904').repeat(8)

  const addresses = write(many)
  const octets = write(large)
  const merged = path.join(directory, 'merged.parquet')
  const sizes = await mergePacks(session, merged, [addresses.file, octets.file])

  assert.deepEqual(Object.keys(addresses.written.sums), ['verdicts', 'ports'])
  for (const kind of ['verdicts', 'ports'] as const)
    assert.deepEqual(await differencesOf(addresses.file, kind), [])
  assert.deepEqual(octets.written.sums, {})
  assert.deepEqual(sizes.sums, {})
})

test('merged packs have the sums of all their rows', async () => {
  const next = random(17)
  const packs = [1_000, 20, 3_000].map((count) => write(fewGroups(count, next).join('')).file)
  const merged = path.join(directory, 'merged.parquet')

  const { size, sums } = await mergePacks(session, merged, packs)

  assert.equal(statSync(merged).size, size)
  assert.ok(sums.ports !== undefined)
  for (const kind of Object.keys(sums) as SumsKind[]) {
    assert.equal(statSync(sumsPath(merged, kind)).size, sums[kind])
    assert.deepEqual(await differencesOf(merged, kind), [])
  }
})
