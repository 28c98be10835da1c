import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { makeDataDirectory } from './data-dir.ts'

test('a data directory is made with those above it, and where none can be made that is said at once', () => {
  const place = mkdtempSync(path.join(tmpdir(), 'weir-data-dir-'))
  const umask = process.umask()
  try {
    writeFileSync(path.join(place, 'file'), '')
    symlinkSync(path.join(place, 'nowhere'), path.join(place, 'link'))

    makeDataDirectory(path.join(place, 'a/b'))
    makeDataDirectory(path.join(place, 'a/b'))

    assert.equal(statSync(path.join(place, 'a')).mode & 0o777, 0o750)
    for (const name of ['file', 'file/below', 'link']) {
      assert.throws(() => makeDataDirectory(path.join(place, name)), {
        code: 'WEIR_CONFIG_INVALID',
        message: /cannot be used: a part of its path is no directory \(EEXIST\)$/,
      })
    }
  } finally {
    process.umask(umask)
    rmSync(place, { recursive: true })
  }
})

test('a file system that holds no directories keeps no command waiting', () => {
  const weir = path.resolve('bin/weir.js')
  const input = Buffer.from('d4c3b2a1020004000000000000000000ffff000001000000', 'hex') // A capture without packets.
  const commands = [
    ['server', '--listen', '127.0.0.1:0', '--data-dir', '/proc/weir/data'],
    ['convert', '--prefix', 'p', '--out', '/proc/weir/data', '-'],
  ]

  for (const args of commands) {
    const it = spawnSync(process.execPath, [weir, ...args], { input, timeout: 20_000, killSignal: 'SIGKILL' })

    assert.deepEqual([it.status, it.signal], [1, null], args.join(' '))
    assert.match(it.stderr.toString(), /\/proc\/weir\/data.*ENOENT/)
  }
})
