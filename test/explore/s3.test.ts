import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { PutObjectCommand } from '@aws-sdk/client-s3'
import { runCommand } from '../../src/cli/main.ts'
import { formatRecord } from '../../src/encode/record.ts'
import { missingForRadosgw } from '../support/radosgw.ts'
import { S3World } from '../support/s3-world.ts'
import { generateRecords } from './world.ts'

const missing = missingForRadosgw()

test('a tenant asks its own bucket in an object store, with its own keys', {
  skip: missing ?? false,
}, async (t) => {
  await using world = await S3World.start()
  using tenant = world.tenant(31_000_001)
  const bucket = await tenant.createBucket()
  const records = generateRecords(11)
  for (const [object, some] of Map.groupBy(records, (it) => it.object)) {
    const body = gzipSync(some.map((it) => `${formatRecord(it)}\n`).join(''))
    const name = object.replace('flowlogs/', '')
    await tenant.client.send(new PutObjectCommand({ Bucket: bucket, Key: name, Body: body }))
  }
  const home = await mkdtemp(path.join(tmpdir(), 'weir-explore-s3-'))
  t.after(() => rm(home, { recursive: true, force: true }))
  const weir = async (...args: string[]) => {
    const written = { stdout: '', stderr: '' }
    const sink = (name: 'stdout' | 'stderr') => new PassThrough().on('data', (it) => (written[name] += it))
    const { accessKeyId, secretAccessKey } = tenant.user
    const code = await runCommand(args, {
      stdin: Readable.from([]),
      stdout: sink('stdout'),
      stderr: sink('stderr'),
      env: {
        HOME: home,
        WEIR_DATA_DIR: path.join(home, 'none'),
        WEIR_S3_ACCESS_KEY_ID: accessKeyId,
        WEIR_S3_SECRET_ACCESS_KEY: secretAccessKey,
      },
      stdoutIsTerminal: false,
      stderrIsTerminal: false,
      signal: new AbortController().signal,
    })
    return { code, ...written }
  }
  const sql = "SELECT count(*) AS n, sum(bytes) AS bytes FROM flows WHERE log_status = 'OK'"
  const from = ['--from', `s3://${bucket}/web`, '--s3-endpoint', world.ceph.endpoint]

  const first = await weir('query', sql, '--json', ...from)
  const second = await weir('query', sql, '--json', ...from)

  const own = records.filter((it) => it.object.includes('/web-') && it.logStatus === 'OK')
  const expected = { n: own.length, bytes: own.reduce((sum, it) => sum + Number(it.bytes), 0) }
  assert.deepEqual([first.code, JSON.parse(first.stdout)], [0, expected], first.stderr)
  assert.deepEqual([second.code, JSON.parse(second.stdout)], [0, expected])
})
