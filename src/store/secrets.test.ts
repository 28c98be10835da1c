import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import { test } from 'node:test'
import { hashPassword, passwordMatches } from './secrets.ts'

test('however many passwords are tried, the disk is not waited for longer', async () => {
  const ended: string[] = []
  const hashes = Array.from({ length: 8 }, async () => {
    const hash = await hashPassword('secret')
    ended.push('password')
    return hash
  })
  const disk = stat('.').then(() => ended.push('disk'))

  const [hash] = await Promise.all(hashes)
  await disk

  // All of Node's threads would take passwords first.
  assert.ok(ended.indexOf('disk') < 4, ended.join(' '))
  assert.deepEqual(await Promise.all(['secret', 'other'].map((it) => passwordMatches(it, hash!))), [
    true,
    false,
  ])
})
