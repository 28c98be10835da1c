import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { access, mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises'
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

test('the store’s own folder comes back when somebody has tidied it away', async () => {
  await using weir = await startControlPlane()
  const content = Buffer.from('twelve bytes')
  const sha256 = createHash('sha256').update(content).digest('hex')
  const order = { bucket: 'flowlogs', objectName: 'a-1.log.gz', size: content.length, sha256 }
  const { url, headers } = await weir.buckets.signUpload({
    ...order,
    expiresAtMs: Date.now() + 60_000,
    origin: weir.origin,
  })

  await rm(path.join(weir.directory, 'buckets', '.weir'), { recursive: true })
  assert.equal(await put(url, headers, content), 201)
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

const OTHER_FILE_SYSTEM = '/dev/shm'

test('a folder on another file system is no bucket, and is said to be so before anything is captured', {
  skip: await access(OTHER_FILE_SYSTEM).then(
    () => false,
    () => `${OTHER_FILE_SYSTEM} is not there`,
  ),
}, async () => {
  await using weir = await startControlPlane()
  const elsewhere = await mkdtemp(path.join(OTHER_FILE_SYSTEM, 'weir-'))
  try {
    await symlink(elsewhere, path.join(weir.directory, 'buckets', 'elsewhere'))
    const properties = { ...FLOW_LOG.properties, bucket: 'elsewhere/x' }
    const { status, body } = await weir.post(`${weir.nicPath}/flowlogs`, { properties })

    assert.equal(status, 422)
    assert.match(body.messages[0].message, /its folder must be on one file system/)
  } finally {
    await rm(elsewhere, { recursive: true })
  }
})

test('a bucket that was made by hand belongs to the only contract, and to none but the registered one when there are two', async () => {
  await using weir = await startControlPlane()
  for (const name of ['used', 'byhand']) await mkdir(path.join(weir.directory, 'buckets', name))
  const flowLog = (bucket: string) => ({ properties: { ...FLOW_LOG.properties, bucket: `${bucket}/x` } })
  const owner = { email: 'tenant@example.org', password: 'a long password' }
  const second = {
    authorization: `Basic ${Buffer.from(`${owner.email}:${owner.password}`).toString('base64')}`,
  }
  const secondNic = `${weir.owner.nics[1]!.path}/flowlogs`

  const alone = await weir.post(`${weir.nicPath}/flowlogs`, flowLog('used'))
  await weir.post('/weir/v1/contracts', { contractNumber: 11_111_111, name: 'other', owner })
  const withOthers = await weir.post(secondNic, flowLog('byhand'))
  const taken = await weir.call('POST', '/weir/v1/buckets', { name: 'byhand' }, second)
  const unregistered = (await weir.get('/weir/v1/registrations')).body.items
  const registered = await weir.post('/weir/v1/registrations', { name: 'byhand' })
  const after = await weir.post(secondNic, flowLog('byhand'))

  assert.equal(alone.status, 202)
  assert.equal(withOthers.status, 422)
  assert.match(withOthers.body.messages[0].message, /registered for no contract.*weir bucket register byhand/)
  assert.equal(taken.status, 422)
  assert.match(taken.body.messages[0].message, /exists already/)
  assert.deepEqual(
    unregistered.map((it: { name: string }) => it.name),
    ['flowlogs', 'used'], // Else its delivery would have ended with the second contract.
  )
  assert.equal(registered.status, 201)
  assert.equal(after.status, 202)
})
