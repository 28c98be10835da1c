import assert from 'node:assert/strict'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { put, testBucketStore } from './bucket-store.ts'
import { FLOW_LOG, startControlPlane } from './support/control-plane.ts'

testBucketStore('directory store', async () => {
  const weir = await startControlPlane()
  return {
    store: weir.buckets,
    bucket: weir.owner.bucket,
    origin: weir.origin,
    [Symbol.asyncDispose]: () => weir[Symbol.asyncDispose](),
  }
})

test('no name leads out of the bucket', async () => {
  await using weir = await startControlPlane()
  const order = {
    bucket: 'flowlogs',
    size: 1,
    sha256: '0'.repeat(64),
    expiresAtMs: Date.now() + 1000,
    origin: '',
  }
  const names = ['../x', 'a/../../x', '/x', 'a//x', '.', '', 'a\0b', `${'x'.repeat(256)}`]

  for (const objectName of names) {
    await assert.rejects(
      weir.buckets.signUpload({ ...order, objectName }),
      { code: 'WEIR_INVALID' },
      objectName,
    )
  }
  for (const bucket of ['..', '.weir', 'a/b', '']) {
    await assert.rejects(weir.buckets.signUpload({ ...order, bucket, objectName: 'x' }), {
      code: 'WEIR_INVALID',
    })
  }
})

test('an upload that breaks off leaves nothing behind', async () => {
  await using weir = await startControlPlane()
  const content = Buffer.from('twelve bytes')
  const order = { bucket: 'flowlogs', objectName: 'a-1.log.gz', size: content.length, sha256: '0'.repeat(64) }
  const { url, headers } = await weir.buckets.signUpload({
    ...order,
    expiresAtMs: Date.now() + 60_000,
    origin: weir.origin,
  })

  const status = await put(url, headers, content)

  assert.equal(status, 400)
  assert.deepEqual(await readdir(path.join(weir.directory, 'buckets', 'flowlogs')), [])
  assert.deepEqual(await readdir(path.join(weir.directory, 'buckets', '.weir', 'tmp')), [])
  assert.equal((await readFile(path.join(weir.directory, 'buckets', '.weir', 'signing-secret'))).length, 32)
})

test('a bucket that an operator made by hand belongs to the only contract, and to none when there are two', async () => {
  await using weir = await startControlPlane()
  await mkdir(path.join(weir.directory, 'buckets', 'byhand'))
  const flowLog = { properties: { ...FLOW_LOG.properties, bucket: 'byhand/x' } }

  const alone = await weir.post(`${weir.nicPath}/flowlogs`, flowLog)
  await weir.store.db
    .insertInto('contracts')
    .values({ contract_number: 11111111, name: 'other', created_at: 0 })
    .execute()
  const withOthers = await weir.post(`${weir.owner.nics[1]!.path}/flowlogs`, flowLog)

  assert.equal(alone.status, 202)
  assert.equal(withOthers.status, 422)
  assert.match(withOthers.body.messages[0].message, /does not belong to contract/)
})
