import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'

test('the committed WebAssembly is what its sources give', () => {
  const { status, stderr } = spawnSync(process.execPath, ['scripts/build-wasm.mjs', '--check'], {
    encoding: 'utf8',
  })

  assert.equal(status, 0, stderr)
})
