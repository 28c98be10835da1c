import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { DataDirLock } from './data-dir-lock.ts'

const HOLD = `
const { DataDirLock } = await import(${JSON.stringify(path.join(import.meta.dirname, 'data-dir-lock.ts'))})
new DataDirLock(process.argv[1], 'agent', 'agent')
process.stdout.write('held')
setInterval(() => {}, 1000)
`

test('a lock keeps others out until it is let go', (t) => {
  const directory = folder(t)
  const lock = new DataDirLock(directory, 'agent', 'agent')

  assert.throws(() => new DataDirLock(directory, 'agent', 'agent'), { code: 'WEIR_DATA_DIR_IN_USE' })
  lock[Symbol.dispose]()
  new DataDirLock(directory, 'agent', 'agent')[Symbol.dispose]()
})

test('a lock of a killed process is taken over, even while its parent has not looked', async (t) => {
  const directory = folder(t)
  // A shell that starts the holder, kills it, and sleeps instead of waiting for it: the holder is a zombie then.
  const script = '"$0" --input-type=module -e "$1" "$2" & read line; kill -9 $!; exec sleep 60'
  const shell = spawn('bash', ['-c', script, process.execPath, HOLD, directory], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  t.after(() => shell.kill('SIGKILL'))
  await new Promise((resolve) => shell.stdout.once('data', resolve))
  assert.throws(() => new DataDirLock(directory, 'agent', 'agent'), { code: 'WEIR_DATA_DIR_IN_USE' })

  shell.stdin.write('kill it\n')
  const [holder = ''] = readFileSync(path.join(directory, 'agent.pid'), 'utf8').split(' ')
  const state = (): string => execFileSync('ps', ['-o', 'state=', '-p', holder], { encoding: 'utf8' }).trim()
  while (state() !== 'Z') await new Promise((resolve) => setTimeout(resolve, 10))

  new DataDirLock(directory, 'agent', 'agent')[Symbol.dispose]()
})

function folder(t: { after(callback: () => void): void }): string {
  const made = mkdtempSync(path.join(tmpdir(), 'weir-lock-'))
  t.after(() => rmSync(made, { recursive: true }))
  return made
}

function take(directory: string, part: 'server' | 'agent', command: 'up' | 'server' | 'agent'): () => void {
  const lock = new DataDirLock(directory, part, command)
  return () => lock[Symbol.dispose]()
}

test('server and agent may share a data directory; what weir up runs is taken from both', (t) => {
  const directory = folder(t)
  const ends = [take(directory, 'server', 'up'), take(directory, 'agent', 'up')]
  for (const part of ['server', 'agent'] as const) {
    assert.throws(() => take(directory, part, part), {
      code: 'WEIR_DATA_DIR_IN_USE',
      message: `${directory} is in use by 'weir up', process ${process.pid}`,
    })
  }
  for (const end of ends) end()

  const server = take(directory, 'server', 'server')
  take(directory, 'agent', 'agent')()
  assert.throws(() => take(directory, 'server', 'up'), /in use by 'weir server'/)
  server()
  writeFileSync(path.join(directory, 'server.pid'), `${process.pid} 1 up\n`) // As of a process before the last boot.
  take(directory, 'server', 'server')()
})
