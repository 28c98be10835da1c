import fs from 'node:fs'
import path from 'node:path'
import { type SpoolFiles, systemFiles } from '../../src/spool/files.ts'

/** Thrown at the step where the machine stops; the test then forgets every object and starts anew on the same disk. */
export class Crash extends Error {}

/**
 * A disk that stops the world after `stepsMax` steps, in the middle of one. What was not synced is lost as a power
 * failure loses it: each unsynced file is cut at a random place.
 */
export class CrashingFiles implements SpoolFiles {
  steps = 0
  readonly #stepsMax: number
  readonly #random: () => number
  readonly #onCrash: () => void
  readonly #unsynced = new Set<string>()
  #stopped = false

  constructor(stepsMax: number, random: () => number, onCrash: () => void = () => {}) {
    this.#stepsMax = stepsMax
    this.#random = random
    this.#onCrash = onCrash
  }

  /** For what else happens in the world of the test: nothing does after the crash, even if somebody caught it. */
  assertAlive(): void {
    if (this.#stopped) this.#crash()
  }

  makeFolder(folder: string): void {
    this.#step(() => systemFiles.makeFolder(folder))
  }

  append(file: string, chunks: readonly Uint8Array[]): void {
    this.#unsynced.add(file)
    this.#step(() => systemFiles.append(file, chunks))
  }

  async appendDurably(file: string, chunks: readonly Uint8Array[]): Promise<void> {
    this.#unsynced.add(file)
    // Written here, so that steps of files written side by side come in the same order each time.
    this.#step(() => systemFiles.append(file, chunks))
    this.#step(() => this.#unsynced.delete(file))
    await Promise.resolve()
  }

  writeDurably(file: string, bytes: Uint8Array): void {
    this.#unsynced.add(file)
    this.#step(() => systemFiles.writeDurably(file, bytes))
    this.#unsynced.delete(file)
  }

  syncFolder(folder: string): void {
    this.#step(() => systemFiles.syncFolder(folder))
  }

  rename(from: string, to: string): void {
    this.#step(() => systemFiles.rename(from, to))
  }

  remove(file: string): void {
    this.#step(() => systemFiles.remove(file))
  }

  async removeAside(file: string): Promise<void> {
    this.remove(file)
  }

  /** File by file, as the kernel sees it. */
  removeFolder(folder: string): void {
    if (!fs.existsSync(folder)) return
    for (const name of fs.readdirSync(folder)) this.#step(() => fs.rmSync(path.join(folder, name)))
    this.#step(() => fs.rmdirSync(folder))
  }

  #step(work: () => void): void {
    if (this.steps >= this.#stepsMax) this.#crash()
    this.steps++
    work()
    if (this.steps >= this.#stepsMax && this.#random() % 2 === 0) this.#crash() // Or else before the next step.
  }

  #crash(): never {
    this.#stopped = true
    for (const file of this.#unsynced) {
      if (fs.existsSync(file)) fs.truncateSync(file, this.#random() % (fs.statSync(file).size + 1))
    }
    this.#unsynced.clear()
    this.#onCrash()
    throw new Crash(`stopped after ${this.#stepsMax} steps`)
  }
}
