import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { allCommands } from './main.ts'
import { renderReference } from './reference.ts'

test('docs/reference/cli.md says what the commands say', async () => {
  const page = path.join(import.meta.dirname, '../../docs/reference/cli.md')
  const expected = renderReference(await allCommands())
  if (process.env['WEIR_WRITE_DOCS']) writeFileSync(page, expected)

  assert.equal(readFileSync(page, 'utf8'), expected)
})
