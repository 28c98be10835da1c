import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'

const WEIR = path.resolve(import.meta.dirname, '../../bin/weir.js')

function temporaryDirectory(): { directory: string } & Disposable {
  const directory = mkdtempSync(path.join(tmpdir(), 'weir-main-'))
  return { directory, [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }) }
}

test('a reader that has seen enough is no failure', async () => {
  using cache = temporaryDirectory()
  using records = temporaryDirectory()
  const args = ['query', 'SELECT * FROM range(1000000)', '--format', 'csv', '--from', records.directory]
  const env = { ...process.env, XDG_CACHE_HOME: cache.directory, WEIR_DATA_DIR: records.directory }
  const child = spawn(process.execPath, [WEIR, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })

  child.stdout.once('data', () => child.stdout.destroy())
  const status = await new Promise((resolve) => child.once('close', resolve))

  assert.deepEqual({ status, stderr }, { status: 0, stderr: '' })
})

test('an output that cannot be written is a sentence, not a stack', () => {
  const full = openSync('/dev/full', 'w')
  const { status, stderr } = spawnSync(process.execPath, [WEIR, '--help'], {
    stdio: ['ignore', full, 'pipe'],
    encoding: 'utf8',
  })

  assert.equal(status, 1)
  assert.equal(stderr, 'weir: standard output cannot be written (ENOSPC)\n')
})

test('a server that is told nonsense says which option, and makes no data directory', () => {
  using place = temporaryDirectory()
  const dataDir = path.join(place.directory, 'made')
  const noPem = path.join(place.directory, 'no.pem')
  writeFileSync(noPem, 'no PEM\n')
  const cases = [
    { args: ['--listen', 'nowhere'], status: 2, said: /--listen 'nowhere' is not HOST:PORT/ },
    { args: ['--public-url', 'weir.example.org'], status: 2, said: /'weir.example.org' is not a server URL/ },
    { args: ['--tls-cert', noPem, '--tls-key', noPem], status: 1, said: /--tls-key cannot be used: .*PEM/ },
  ]

  for (const { args, status, said } of cases) {
    const done = spawnSync(process.execPath, [WEIR, 'server', '--data-dir', dataDir, ...args], {
      encoding: 'utf8',
    })
    assert.equal(done.status, status, done.stderr)
    assert.match(done.stderr, said)
    assert.doesNotMatch(done.stderr, /\n {4}at /)
  }
  assert.ok(!existsSync(dataDir))
})
