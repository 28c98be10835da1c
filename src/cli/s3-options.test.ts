import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { parseS3 } from './s3-options.ts'

const VALUES = {
  's3-endpoint': 'https://s3.example.org',
  's3-region': 'eu',
  's3-addressing': 'path',
  's3-no-conditional-writes': false,
}
const KEYS = { accessKeyId: 'key', secretAccessKey: 'very secret' }

function withFile<T>(text: string, mode: number, use: (file: string) => T): T {
  const folder = mkdtempSync(path.join(tmpdir(), 'weir-s3-options-'))
  try {
    const file = path.join(folder, 'keys.json')
    writeFileSync(file, text, { mode })
    return use(file)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('keys come from a file or from the environment', () => {
  const env = { WEIR_S3_ACCESS_KEY_ID: 'key', WEIR_S3_SECRET_ACCESS_KEY: 'very secret' }

  const fromFile = withFile(JSON.stringify(KEYS), 0o600, (file) =>
    parseS3({ ...VALUES, 's3-credentials': file }, {}),
  )

  assert.deepEqual(fromFile?.credentials, KEYS)
  assert.deepEqual(parseS3(VALUES, env)?.credentials, KEYS)
  assert.equal(parseS3({ ...VALUES, 's3-endpoint': undefined }, env), undefined)
})

test('a keys file that others can read is refused, and no message quotes a key', () => {
  const from = (file: string) => () => parseS3({ ...VALUES, 's3-credentials': file }, {})

  withFile(JSON.stringify(KEYS), 0o644, (file) => assert.throws(from(file), /readable|read by others/))
  withFile('{"secretAccessKey": very secret', 0o600, (file) =>
    assert.throws(
      from(file),
      (error: Error) => /is not JSON/.test(error.message) && !`${error.stack}`.includes('very'),
    ),
  )
  withFile('{"accessKeyId": "key"}', 0o600, (file) => assert.throws(from(file), /lacks/))
  assert.throws(from('/nowhere'), /cannot read/)
  assert.throws(() => parseS3(VALUES, {}), /needs keys/)
})

test('an endpoint that is no URL and an unknown addressing are refused', () => {
  const env = { WEIR_S3_ACCESS_KEY_ID: 'key', WEIR_S3_SECRET_ACCESS_KEY: 'very secret' }

  assert.throws(() => parseS3({ ...VALUES, 's3-endpoint': 's3.example.org' }, env), /is not a URL/)
  assert.throws(() => parseS3({ ...VALUES, 's3-addressing': 'dns' }, env), /not 'dns'/)
})
