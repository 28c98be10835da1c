import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { systemFiles } from '../../src/spool/files.ts'
import { random } from '../../src/stdx/prng.ts'
import { Crash, CrashingFiles } from '../support/crashing-files.ts'
import { SpoolWorld } from '../support/spool-world.ts'

const CHILD = path.join(import.meta.dirname, '../support/spool-world-child.ts')

function temporaryFolder() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weir-spool-crash-'))
  return { folder, [Symbol.dispose]: () => fs.rmSync(folder, { recursive: true, force: true }) }
}

function assertBalanced(world: SpoolWorld, hint: string): void {
  const balance = world.balance()
  const text = `${hint}: ${JSON.stringify(balance)}`
  assert.equal(balance.duplicates, 0, text)
  assert.equal(balance.delivered + balance.told + balance.untold - balance.twice, balance.made, text)
}

async function liveUntilCrash(world: SpoolWorld, files: CrashingFiles): Promise<boolean> {
  try {
    await world.live(files)
    return false
  } catch (error) {
    for (let cause = error; cause instanceof Error; cause = cause.cause)
      if (cause instanceof Crash) return true
    throw error
  }
}

test('a machine that stops at any step loses no record and tells none twice', async () => {
  let steps = 1
  for (let stop = 0; stop < steps; stop++) {
    using temporary = temporaryFolder()
    const world = new SpoolWorld({ directory: temporary.folder, windows: 4, bytesMax: 1500, seed: 1 })
    const files = new CrashingFiles(stop, random(stop))
    await liveUntilCrash(world, files)
    const rest = new CrashingFiles(Number.POSITIVE_INFINITY, random(0))
    await world.live(rest)
    if (stop === 0) steps = rest.steps // The first life did nothing, so this one did all.

    assertBalanced(world, `stopped after ${stop} steps`)
  }
  assert.ok(steps > 60, `only ${steps} steps`)
})

test('a machine that stops again and again loses no record and tells none twice', async () => {
  for (let i = 1; i <= 61; i++) {
    const seed = i === 61 ? 5170 : i // That one is given up in the life after the one that could not acknowledge it.
    using temporary = temporaryFolder()
    const next = random(seed)
    const bytesMax = 800 + (next() % 2000)
    const world = new SpoolWorld({ directory: temporary.folder, windows: 6, bytesMax, seed })
    for (let lives = 0; lives < 8; lives++) await liveUntilCrash(world, new CrashingFiles(next() % 60, next))
    await world.live(systemFiles)

    assertBalanced(world, `seed ${seed}`)
  }
})

test('a process killed with SIGKILL at any step loses no record and tells none twice', () => {
  for (let seed = 1; seed <= 12; seed++) {
    using temporary = temporaryFolder()
    const next = random(seed)
    const options = { directory: temporary.folder, windows: 4, bytesMax: 1500, seed }
    const run = (stepsMax: number) =>
      spawnSync(process.execPath, [CHILD, JSON.stringify({ ...options, stepsMax })], { encoding: 'utf8' })
    const killed = run(next() % 60)
    const whole = run(1e9)

    assert.equal(killed.signal, 'SIGKILL', killed.stderr)
    assert.equal(whole.status, 0, whole.stderr)
    assertBalanced(new SpoolWorld(options), `seed ${seed}`)
  }
})
