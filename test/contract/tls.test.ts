import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { get } from 'node:https'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { makeCertificate } from '../support/certificate.ts'
import { startControlPlane } from './support/control-plane.ts'

test('over TLS, hrefs say https', async () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'weir-tls-'))
  const { certFile, keyFile } = makeCertificate(directory)
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
