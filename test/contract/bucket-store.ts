import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { request } from 'node:http'
import { test } from 'node:test'
import type { BucketStore } from '../../src/api/bucket-store.ts'

/** A store with one empty bucket, reachable over HTTP. */
export interface BucketStoreFixture extends AsyncDisposable {
  store: BucketStore
  bucket: string
  /** Passed to `signUpload`. */
  origin: string
}

const CONTENT = Buffer.from('what lies in the bucket\n')
const HOUR_MS = 3_600_000

/** Every object store passes this, and so does every fake of one. */
export function testBucketStore(name: string, start: () => Promise<BucketStoreFixture>): void {
  const signed = async (it: BucketStoreFixture, objectName: string, content = CONTENT, ttlMs = HOUR_MS) =>
    it.store.signUpload({
      bucket: it.bucket,
      objectName,
      size: content.length,
      sha256: digestOf(content),
      expiresAtMs: Date.now() + ttlMs,
      origin: it.origin,
    })

  test(`${name}: a signed upload puts the object there, whole`, async () => {
    await using it = await start()

    const { url, headers } = await signed(it, 'web/a-1.log.gz')
    const before = await it.store.statObject(it.bucket, 'web/a-1.log.gz')
    const answer = await put(url, headers, CONTENT)

    assert.equal(before, undefined)
    assert.ok(answer === 200 || answer === 201, `answered ${answer}`)
    const found = await it.store.statObject(it.bucket, 'web/a-1.log.gz')
    assert.equal(found?.size, CONTENT.length)
    assert.ok(found.sha256 === undefined || found.sha256 === digestOf(CONTENT))
    const content = await it.store.readObject(it.bucket, 'web/a-1.log.gz')
    assert.deepEqual(Buffer.concat(await content!.toArray()), CONTENT)
  })

  test(`${name}: an object is never overwritten, not even by itself`, async () => {
    await using it = await start()
    const other = Buffer.from('something else altogether')

    const first = await signed(it, 'a-1.log.gz')
    await put(first.url, first.headers, CONTENT)
    const again = await put(first.url, first.headers, CONTENT)
    const second = await signed(it, 'a-1.log.gz', other)
    const over = await put(second.url, second.headers, other)

    assert.deepEqual([again, over], [412, 412])
    assert.equal((await it.store.statObject(it.bucket, 'a-1.log.gz'))?.size, CONTENT.length)
  })

  test(`${name}: a signature is good for one name, one body, one ACL and a while`, async () => {
    await using it = await start()
    const stolen = Buffer.from(CONTENT.toString().toUpperCase())

    const { url, headers } = await signed(it, 'a-1.log.gz')
    const expired = await signed(it, 'b-1.log.gz', CONTENT, -60_000)
    const answers = [
      await put(url.replace('a-1', 'a-2'), headers, CONTENT),
      await put(url, headers, stolen),
      await put(url, { ...headers, 'x-amz-content-sha256': digestOf(stolen) }, stolen),
      await put(url, { ...headers, 'x-amz-acl': 'public-read' }, CONTENT),
      await put(url, without(headers, 'if-none-match'), CONTENT),
      await put(expired.url, expired.headers, CONTENT),
      await put(url.split('?')[0]!, without(headers, 'authorization'), CONTENT), // Wherever the signature is.
    ]

    assert.ok(
      answers.every((status) => status >= 400 && status < 500),
      `answered ${answers}`,
    )
    assert.deepEqual(await it.store.listObjects(it.bucket, { prefix: '', after: '', limit: 10 }), [])
  })

  test(`${name}: objects are listed in the order of their names, page by page, by prefix`, async () => {
    await using it = await start()
    const names = ['a-1.log.gz', 'a.log.gz', 'a/b-1.log.gz', 'a/b/c-1.log.gz', 'a0-1.log.gz', 'b-1.log.gz']
    for (const objectName of names.toReversed()) {
      const { url, headers } = await signed(it, objectName)
      await put(url, headers, CONTENT)
    }

    const paged: string[] = []
    for (let after = ''; ; after = paged.at(-1)!) {
      const page = await it.store.listObjects(it.bucket, { prefix: '', after, limit: 2 })
      paged.push(...page.map((object) => object.name))
      if (page.length < 2) break
    }
    const below = await it.store.listObjects(it.bucket, { prefix: 'a/b', after: '', limit: 10 })

    assert.deepEqual(paged, names)
    assert.deepEqual(
      below.map((object) => object.name),
      ['a/b-1.log.gz', 'a/b/c-1.log.gz'],
    )
    assert.equal(below[0]!.size, CONTENT.length)
  })

  test(`${name}: a bucket that is not there is not found`, async () => {
    await using it = await start()

    const missing = await it.store.findBucket('nobody-has-this')
    const found = await it.store.findBucket(it.bucket, 'a-1.log.gz')

    assert.equal(missing, undefined)
    assert.equal(found?.writeFault, undefined)
    assert.notEqual(found, undefined)
    assert.equal(await it.store.readObject(it.bucket, 'nothing-1.log.gz'), undefined)
  })
}

/** Unlike fetch, sends the headers that it is given, and a body of whatever length. */
export function put(url: string, headers: Record<string, string>, content: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: 'PUT', headers, agent: false }, (answer) => {
      answer.resume()
      answer.once('end', () => resolve(answer.statusCode ?? 0))
    })
    sent.once('error', reject)
    sent.end(content)
  })
}

export function digestOf(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}

function without(headers: Record<string, string>, name: string): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([key]) => key !== name))
}
