import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { missingForRadosgw } from '../support/radosgw.ts'

const DNS_NAME = 's3.weir.test'
const SUITES = ['s3-store', 'bucket-cli']
/** In a mount namespace of its own, where these names and no others are known. */
const WITH_HOSTS = 'mount --bind "$WEIR_TEST_HOSTS" /etc/hosts && exec "$0" "$@"'

test('the suites of the S3 store pass with the bucket’s name before the host', {
  skip: missingForRadosgw() ?? false,
}, async () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'weir-hosts-'))
  const buckets = ['nobody-has-this', ...Array.from({ length: 40 }, (_, i) => `logs-${i + 1}`)]
  const names = ['localhost', DNS_NAME, ...buckets.map((bucket) => `${bucket}.${DNS_NAME}`)]
  const hosts = path.join(directory, 'hosts')
  writeFileSync(hosts, names.map((name) => `127.0.0.1 ${name}\n`).join(''))
  const files = SUITES.map((it) => path.join(import.meta.dirname, `${it}.test.ts`))
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const node = [process.execPath, '--test', ...files]
  const child = spawn('unshare', ['--mount', 'sh', '-c', WITH_HOSTS, ...node], {
    env: { ...env, WEIR_TEST_HOSTS: hosts, WEIR_TEST_S3_DNS_NAME: DNS_NAME },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const output = child.stdout.toArray()
  const [code] = await once(child, 'exit')
  rmSync(directory, { recursive: true })

  assert.equal(code, 0, Buffer.concat(await output).toString())
})
