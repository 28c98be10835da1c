import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { eventually } from '../../test/support/eventually.ts'
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

test('a lock keeps out whoever does not see its process, and ends with that', async (t) => {
  const directory = folder(t)
  // As in another container, where there is a way to make one.
  const apart = process.getuid?.() === 0 ? ['unshare', '--pid', '--fork', '--kill-child'] : ['env']
  const [program = '', ...args] = [...apart, process.execPath, '--input-type=module', '-e', HOLD, directory]
  const holder = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => holder.kill('SIGKILL'))
  await new Promise((resolve) => holder.stdout.once('data', resolve))

  assert.throws(() => new DataDirLock(directory, 'agent', 'agent'), {
    code: 'WEIR_DATA_DIR_IN_USE',
    message: /in use by 'weir agent', process \d+$/,
  })
  const closed = new Promise((resolve) => holder.stdout.once('close', resolve)) // All that could hold the lock are gone.
  holder.kill('SIGKILL')
  await closed

  await eventually('the lock is free', () => isFree(directory))
})

function folder(t: { after(callback: () => void): void }): string {
  const made = mkdtempSync(path.join(tmpdir(), 'weir-lock-'))
  t.after(() => rmSync(made, { recursive: true }))
  return made
}

function isFree(directory: string): boolean {
  try {
    take(directory, 'agent', 'agent')()
    return true
  } catch {
    return false
  }
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
  writeFileSync(path.join(directory, 'server.pid'), `${process.pid} up\n`) // As a power cut leaves it.
  take(directory, 'server', 'server')()
})
