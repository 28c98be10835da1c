import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { GetObjectAclCommand, GetObjectCommand, PutBucketPolicyCommand } from '@aws-sdk/client-s3'
import { missingForRadosgw } from '../support/radosgw.ts'
import { S3World, TECHNICAL_USER, type Tenant } from '../support/s3-world.ts'
import { digestOf, put, testBucketStore } from './bucket-store.ts'

const CONTRACT = 12_345_678
const CONTENT = Buffer.from('what lies in the bucket\n')

const missing = missingForRadosgw()
if (missing !== undefined) test('S3 store on radosgw', { skip: missing }, () => {})
else testS3Store()

function testS3Store(): void {
  let world: S3World
  let tenant: Tenant
  before(async () => {
    world = await S3World.start()
    tenant = world.tenant(CONTRACT)
  })
  after(async () => {
    tenant?.client.destroy()
    await world?.[Symbol.asyncDispose]()
  })

  testBucketStore('S3 store on radosgw', async () => {
    const store = world.store()
    return {
      store,
      bucket: await tenant.createBucket(['WRITE', 'READ', 'READ_ACP']),
      origin: '',
      [Symbol.asyncDispose]: async () => store.stop(),
    }
  })

  async function upload(bucket: string, objectName: string): Promise<number> {
    const size = CONTENT.length
    const order = { bucket, objectName, size, sha256: digestOf(CONTENT), expiresAtMs: Date.now() + 600_000 }
    const { url, headers } = await world.store().signUpload(order)
    const dnsName = process.env['WEIR_TEST_S3_DNS_NAME']
    assert.equal(new URL(url).hostname, dnsName === undefined ? '127.0.0.1' : `${bucket}.${dnsName}`)
    return put(url, headers, CONTENT)
  }

  test('an object belongs to the technical user, and the bucket owner has full control', async () => {
    const bucket = await tenant.createBucket()

    const status = await upload(bucket, 'web-1.log.gz')
    const object = { Bucket: bucket, Key: 'web-1.log.gz' }
    const acl = await tenant.client.send(new GetObjectAclCommand(object))
    const got = await tenant.client.send(new GetObjectCommand(object))

    assert.equal(status, 200)
    assert.equal(acl.Owner?.ID, TECHNICAL_USER)
    assert.deepEqual(
      new Map(acl.Grants?.map((it) => [it.Grantee?.ID, it.Permission])),
      new Map([
        [TECHNICAL_USER, 'FULL_CONTROL'],
        [tenant.user.uid, 'FULL_CONTROL'],
      ]),
    )
    assert.deepEqual(Buffer.from(await got.Body!.transformToByteArray()), CONTENT)
  })

  test('a bucket says whose it is and whether it can be written, without a trace of the question', async () => {
    const granted = await tenant.createBucket()
    const readOnly = await tenant.createBucket(['READ', 'READ_ACP'])
    const closed = await tenant.createBucket([])
    const store = world.store(undefined, world.technicalUser)

    assert.deepEqual(await store.findBucket(granted, 'web-1.log.gz'), { contractNumber: CONTRACT })
    assert.deepEqual(await store.findBucket(readOnly), { contractNumber: CONTRACT })
    assert.deepEqual(await store.findBucket(readOnly, 'web-1.log.gz'), {
      contractNumber: CONTRACT,
      writeFault: 'the technical user may not write (AccessDenied)',
    })
    assert.deepEqual(await store.findBucket(closed, 'web-1.log.gz'), {
      ownerFault: 'AccessDenied',
      writeFault: 'the technical user may not write (AccessDenied)',
    })
    assert.equal(await store.findBucket('nobody-has-this'), undefined)
    assert.deepEqual(await store.listObjects(readOnly, { prefix: '', after: '', limit: 10 }), [])
    await tenant.grant(granted, ['WRITE', 'READ', 'READ_ACP'])
    assert.deepEqual(await store.listObjects(granted, { prefix: '', after: '', limit: 10 }), [])
    assert.equal(await store.technicalUser(), TECHNICAL_USER)
    store.stop()
  })

  test('a bucket policy for one prefix lets write there and nowhere else', async () => {
    const bucket = await tenant.createBucket([])
    const principal = { AWS: [`arn:aws:iam:::user/${TECHNICAL_USER}`] }
    const Policy = JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Principal: principal,
          Action: ['s3:GetBucketAcl'],
          Resource: [`arn:aws:s3:::${bucket}`],
        },
        {
          Effect: 'Allow',
          Principal: principal,
          Action: ['s3:PutObject', 's3:PutObjectAcl', 's3:GetObject'],
          Resource: [`arn:aws:s3:::${bucket}/web-*`],
        },
      ],
    })
    await tenant.client.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy }))
    const store = world.store()

    const there = await store.findBucket(bucket, 'web-1700000000.log.gz')
    const elsewhere = await store.findBucket(bucket, 'db-1700000000.log.gz')

    assert.deepEqual(there, { contractNumber: CONTRACT })
    assert.match(elsewhere?.writeFault ?? '', /may not write/)
    assert.equal(await upload(bucket, 'web-1.log.gz'), 200)
    assert.equal(await upload(bucket, 'db-1.log.gz'), 403)
    store.stop()
  })

  test('faults of keys and of the store are told apart from faults of a bucket, and quote no key', async () => {
    const bucket = await tenant.createBucket()
    const { technicalUser } = world
    const wrongSecret = world.store(undefined, { ...technicalUser, secretAccessKey: 'not-the-secret' })
    const wrongKey = world.store(undefined, { ...technicalUser, accessKeyId: 'NOTTHEKEY' })
    const away = world.store('http://127.0.0.1:1')

    const messages = await Promise.all(
      [wrongSecret, wrongKey, away].map((store) =>
        store.findBucket(bucket).then(
          () => 'found',
          (error: Error & { code: string }) => `${error.code} ${error.message} ${error.stack} ${error.cause}`,
        ),
      ),
    )

    assert.match(messages[0]!, /WEIR_STORE_REFUSED .*SignatureDoesNotMatch/)
    assert.match(messages[1]!, /WEIR_STORE_REFUSED .*InvalidAccessKeyId/)
    assert.match(messages[2]!, /WEIR_STORE_UNAVAILABLE .*ECONNREFUSED/)
    for (const message of messages) {
      for (const secret of [
        'not-the-secret',
        'NOTTHEKEY',
        technicalUser.accessKeyId,
        technicalUser.secretAccessKey,
      ]) {
        assert.ok(!message.includes(secret), message)
      }
    }
  })
}
