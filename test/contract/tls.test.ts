import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { get } from 'node:https'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { startControlPlane } from './support/control-plane.ts'

test('over TLS, hrefs say https', async () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'weir-tls-'))
  const [certFile, keyFile] = ['cert.pem', 'key.pem'].map((it) => path.join(directory, it)) as [
    string,
    string,
  ]
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', keyFile]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2']
  execFileSync('openssl', ['req', '-x509', ...key, ...subject, '-out', certFile], { stdio: 'ignore' })
  const tls = { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') }
  rmSync(directory, { recursive: true })
  await using weir = await startControlPlane({ tls })

  const { href } = await new Promise<{ href: string }>((resolve, reject) => {
    const headers = { authorization: `Bearer ${weir.owner.token}` }
    get(`${weir.base}/contracts`, { ca: tls.cert, headers, agent: false }, async (answer) => {
      resolve(JSON.parse(Buffer.concat(await answer.toArray()).toString()))
    }).once('error', reject)
  })

  assert.match(weir.origin, /^https:/)
  assert.equal(href, `${weir.base}/contracts`)
})
