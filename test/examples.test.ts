import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'

const UNITS = path.resolve('examples/systemd')

test('systemd finds nothing to say about the example units', {
  skip: spawnSync('systemd-analyze', ['--version']).error === undefined ? false : 'needs systemd-analyze',
}, () => {
  for (const unit of readdirSync(UNITS)) {
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', `./${unit}`], { cwd: UNITS })

    assert.deepEqual([unit, status, stderr.toString()], [unit, 0, ''])
  }
})
