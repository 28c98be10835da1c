import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodePath, NO_BODY, signRequest } from './sign-request.ts'

test('a signature is the one that an independent implementation computed', () => {
  const headers = signRequest({
    method: 'PUT',
    url: new URL('https://s3.example.org/logs/web-1.log.gz'),
    region: 'eu',
    credentials: { accessKeyId: 'KEY', secretAccessKey: 'SECRET' },
    headers: { 'content-length': '0', 'x-amz-acl': 'bucket-owner-full-control' },
    sha256: NO_BODY,
    signedAtMs: Date.UTC(2026, 0, 2, 3, 4, 5),
  })

  assert.equal(headers['x-amz-date'], '20260102T030405Z')
  assert.equal(
    headers['authorization'],
    'AWS4-HMAC-SHA256 Credential=KEY/20260102/eu/s3/aws4_request, SignedHeaders=content-length;host;x-amz-acl;x-amz-content-sha256;x-amz-date, Signature=fbfe92b411cc6ba72361743232af40304dfd21084bd19cbd1993993c048b540f',
  )
})

test('paths are encoded as S3 does', () => {
  assert.equal(encodePath("a b/w(e)b'!*~-1.log.gz"), 'a%20b/w%28e%29b%27%21%2A~-1.log.gz')
  assert.equal(encodePath('ü'), '%C3%BC')
})
