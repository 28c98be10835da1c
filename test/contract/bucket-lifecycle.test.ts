import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import {
  GetBucketLifecycleConfigurationCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import { DirectoryStore } from '../../src/buckets/directory/directory-store.ts'
import { S3Lifecycle } from '../../src/buckets/s3/s3-lifecycle.ts'
import { eventually } from '../support/eventually.ts'
import { missingForRadosgw } from '../support/radosgw.ts'
import { S3World } from '../support/s3-world.ts'
import { digestOf, put } from './bucket-store.ts'
import { startControlPlane } from './support/control-plane.ts'

const skip = missingForRadosgw() ?? false
const CONTENT = Buffer.from('what lies in the bucket\n')

test('rules of an embedded bucket are kept, shown, and enforced by age and prefix', async () => {
  await using weir = await startControlPlane()
  const url = '/weir/v1/buckets/flowlogs/lifecycle'
  for (const objectName of ['web-1.log.gz', 'web-2.log.gz', 'db-1.log.gz']) {
    const order = { bucket: 'flowlogs', objectName, size: CONTENT.length, sha256: digestOf(CONTENT) }
    const signed = await weir.buckets.signUpload({
      ...order,
      expiresAtMs: Date.now() + 60_000,
      origin: weir.origin,
    })
    assert.equal(await put(signed.url, signed.headers, CONTENT), 201)
  }
  const folder = path.join(weir.directory, 'buckets', 'flowlogs')
  const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000)
  for (const name of ['web-1.log.gz', 'db-1.log.gz'])
    await utimes(path.join(folder, name), daysAgo(8), daysAgo(8))

  const before = await weir.get(url)
  await weir.post(url, { prefix: 'web', days: 30 })
  await weir.post(url, { prefix: 'db', days: 9 })
  const after = await weir.post(url, { prefix: 'web', days: 7 })
  const removed = await weir.buckets.lifecycle.expire(Date.now())
  const cleared = await weir.post(url, { prefix: 'web', days: null })
  const twice = await weir.post(url, { prefix: 'web', days: null })
  const wrong = await weir.post(url, { prefix: 'web', days: 0 })
  const foreign = await weir.get('/weir/v1/buckets/nobody-has-this/lifecycle')

  assert.deepEqual(before.body.items, [])
  assert.deepEqual(after.body.items, [
    { prefix: 'db', days: 9 },
    { prefix: 'web', days: 7 },
  ])
  assert.equal(removed, 1)
  assert.deepEqual((await readdir(folder)).sort(), ['db-1.log.gz', 'web-2.log.gz'])
  assert.deepEqual(cleared.body.items, [{ prefix: 'db', days: 9 }])
  assert.equal(twice.status, 404)
  assert.match(twice.body.messages[0].message, /made no rule for prefix 'web' of bucket 'flowlogs'/)
  assert.equal(wrong.status, 422)
  assert.equal(foreign.status, 404)
})

test('a server removes what is too old by itself: each hour, and when it starts', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const directory = await mkdtemp(path.join(tmpdir(), 'weir-lifecycle-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  let nowMs = Date.now()
  const clock = { nowMs: () => nowMs, monotonicNs: () => 0n }
  const folder = path.join(directory, 'flowlogs')
  const names = async () => (await readdir(folder)).sort()
  const untilThere = async (wanted: string[]) => {
    await eventually(`${wanted} are there`, async () => (await names()).length === wanted.length)
    assert.deepEqual(await names(), wanted)
  }
  const store = new DirectoryStore({ directory }, { clock })
  await store.start()
  await store.createBucket('flowlogs')
  for (const name of ['db-1.log.gz', 'web-1.log.gz']) await writeFile(path.join(folder, name), CONTENT)
  await store.lifecycle.setRules('flowlogs', [{ prefix: 'web', days: 7 }])

  nowMs += 8 * 86_400_000
  await untilThere(['db-1.log.gz', 'web-1.log.gz'])
  t.mock.timers.tick(3_600_000)
  await untilThere(['db-1.log.gz'])
  await writeFile(path.join(folder, 'web-2.log.gz'), CONTENT)
  await new DirectoryStore({ directory }, { clock }).start()
  await untilThere(['db-1.log.gz'])
})

test('rules of a bucket on radosgw are set with the tenant’s keys, work, and leave others’ rules alone', {
  skip,
}, async () => {
  await using world = await S3World.start({ lifecycleDayS: 2 })
  using tenant = world.tenant(12_345_678)
  const bucket = await tenant.createBucket()
  const s3 = { endpoint: world.ceph.endpoint, region: 'us-east-1', addressing: 'path' } as const
  const lifecycle = new S3Lifecycle({ ...s3, credentials: tenant.user })
  const stranger = new S3Lifecycle({ ...s3, credentials: world.technicalUser })
  for (const Key of ['web-1.log.gz', 'db-1.log.gz']) {
    await tenant.client.send(new PutObjectCommand({ Bucket: bucket, Key, Body: CONTENT }))
  }
  const none = await lifecycle.rules(bucket)
  await lifecycle.set(bucket, { prefix: 'other', days: 300 }) // Stands for a rule that somebody else has made.
  await lifecycle.set(bucket, { prefix: 'web', days: 7 })
  await lifecycle.set(bucket, { prefix: 'web', days: 1 })

  const rules = await lifecycle.rules(bucket)
  await assert.rejects(stranger.set(bucket, { prefix: '', days: 1 }), { code: 'WEIR_FORBIDDEN' })
  await assert.rejects(lifecycle.set('nobody-has-this', { prefix: '', days: 1 }), {
    code: 'WEIR_BUCKET_MISSING',
  })
  const namesLeft = async () => {
    const { Contents = [] } = await tenant.client.send(new ListObjectsV2Command({ Bucket: bucket }))
    return Contents.map(({ Key }) => Key)
  }
  const isCleared = async () => (await namesLeft()).length <= 1
  await eventually('radosgw, which looks when it likes, has removed all but one', isCleared, 30_000)
  const left = await namesLeft()
  const cleared = [await lifecycle.clear(bucket, 'web'), await lifecycle.clear(bucket, 'web')]
  const others = await lifecycle.rules(bucket)
  await lifecycle.clear(bucket, 'other')

  assert.deepEqual(none, [])
  assert.deepEqual(rules, [
    { prefix: 'other', days: 300 },
    { prefix: 'web', days: 1 },
  ])
  assert.deepEqual(left, ['db-1.log.gz'])
  assert.deepEqual(cleared, [true, false])
  assert.deepEqual(others, [{ prefix: 'other', days: 300 }])
  await assert.rejects(tenant.client.send(new GetBucketLifecycleConfigurationCommand({ Bucket: bucket })), {
    name: 'NoSuchLifecycleConfiguration',
  })
  lifecycle.stop()
  stranger.stop()
})
