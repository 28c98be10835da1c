import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { PutObjectCommand } from '@aws-sdk/client-s3'
import { formatRecord } from '../../src/encode/record.ts'
import { explainFor } from '../../src/explore/dialects.ts'
import { missingForRadosgw } from '../support/radosgw.ts'
import { S3World } from '../support/s3-world.ts'
import { generateRecords } from './world.ts'

// What `weir query --explain-for clickhouse` prints, run by ClickHouse itself (chDB, in this process) over objects in
// radosgw. It is a package of its own, in clickhouse/, and there is none for every platform.

interface Clickhouse {
  query(sql: string, format?: string): string
  cleanup(): void
}

function loadClickhouse(): (new () => Clickhouse) | undefined {
  try {
    return (createRequire(`${import.meta.dirname}/clickhouse/`)('chdb') as { Session: new () => Clickhouse })
      .Session
  } catch {
    return undefined
  }
}

/** Each is a pattern, or a part of a URL, to whom it is not told otherwise. */
const ODD_PREFIXES = [
  'a[1]^b',
  'a1^b',
  'a[1]',
  'a\\b',
  'a{b,c}',
  'a?b',
  'a*b',
  "a'b",
  'a b+c',
  'a#b/c',
  'ä%41b',
]

const Session = loadClickhouse()
const missing = missingForRadosgw() ?? (Session === undefined ? 'chdb is not installed' : undefined)

test('ClickHouse runs what is printed for it, and finds what is in the records', {
  skip: missing ?? false,
}, async () => {
  await using world = await S3World.start()
  using tenant = world.tenant(31_000_002)
  const bucket = await tenant.createBucket()
  const records = generateRecords(5)
  for (const [object, some] of Map.groupBy(records, (it) => it.object)) {
    const body = gzipSync(some.map((it) => `${formatRecord(it)}\n`).join(''))
    const Key = object.replace('flowlogs/', '')
    await tenant.client.send(new PutObjectCommand({ Bucket: bucket, Key, Body: body }))
  }
  const sql = `SELECT srcaddr, action, count(*) AS flows, sum(bytes) AS bytes, min(start_s) AS first,
    countIf(start_time >= toDateTime(0) AND window_start >= toDateTime(0) AND startsWith(service, protocol_name)) AS ports FROM flows
    WHERE in_network(srcaddr, '10.1.0.0/16') AND log_status = 'OK' GROUP BY srcaddr, action ORDER BY srcaddr, action`
  const clickhouse = new Session!()
  after(() => clickhouse.cleanup())

  const ask = (sql: string, prefix: string): string => {
    const text = explainFor('clickhouse', sql, [{ bucket, prefix }])
      .replaceAll('https://ENDPOINT', world.ceph.endpoint)
      .replaceAll('ACCESS_KEY', tenant.user.accessKeyId)
      .replaceAll('SECRET_KEY', tenant.user.secretAccessKey)
    const [definition, query] = text.split(/;\n/)
    clickhouse.query('DROP VIEW IF EXISTS flows')
    clickhouse.query(definition!)
    return clickhouse.query(query!, 'JSONCompactEachRow').trim()
  }
  const odd = await Promise.all(
    ODD_PREFIXES.map(async (prefix, at) => {
      const record = { ...records[0]!, packets: BigInt(at + 1) }
      const Body = gzipSync(`${formatRecord(record)}\n`)
      const Key = `${prefix}-1795371000.log.gz`
      await tenant.client.send(new PutObjectCommand({ Bucket: bucket, Key, Body }))
      return { prefix, packets: `[${at + 1}]` }
    }),
  )
  const oddRows = odd.map(({ prefix }) => ({ prefix, packets: ask('SELECT packets FROM flows', prefix) }))
  const rows = ask(sql, 'web').split('\n')
  const skipped = clickhouse.query(
    "SELECT count(*), sum(packets) FROM flows WHERE srcaddr IS NULL AND log_status = 'SKIPDATA'",
    'JSONCompactEachRow',
  )

  const web = records.filter((it) => it.object.includes('/web-'))
  const inside = web.filter((it) => it.logStatus === 'OK' && it.srcaddr!.startsWith('10.1.'))
  const expected = [...Map.groupBy(inside, (it) => `${it.srcaddr} ${it.action}`)]
    .map(([key, some]) => {
      const bytes = some.reduce((sum, it) => sum + Number(it.bytes), 0)
      return [...key.split(' '), some.length, bytes, Math.min(...some.map((it) => it.start)), some.length]
    })
    .sort((a, b) => (`${a[0]} ${a[1]}` < `${b[0]} ${b[1]}` ? -1 : 1))
  assert.deepEqual(oddRows, odd)
  assert.ok(expected.length > 20)
  assert.deepEqual(
    rows.map((it) =>
      JSON.parse(it).map((cell: unknown) => (/^\d+$/.test(String(cell)) ? Number(cell) : cell)),
    ),
    expected,
  )
  const lost = web.filter((it) => it.logStatus === 'SKIPDATA')
  assert.deepEqual(JSON.parse(skipped).map(Number), [
    lost.length,
    lost.reduce((sum, it) => sum + Number(it.packets), 0),
  ])
})
