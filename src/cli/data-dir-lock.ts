import { closeSync, constants, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'
import path from 'node:path'
import { tryLock } from '../capture/ebpf/ffi/flock.ts'
import { WeirError } from '../model/errors.ts'

/** What a data directory has one of: `weir server` and `weir agent` may share it, `weir up` is both. */
export type Part = 'server' | 'agent'

/**
 * Keeps a second Weir out of a data directory, also one in another container. The lock is the kernel's and ends with its
 * process; what the file says is for people. The file stays: a lock on a file that was removed keeps nobody out.
 */
export class DataDirLock implements Disposable {
  readonly #lock: number

  constructor(directory: string, part: Part, command: 'up' | Part) {
    const file = path.join(directory, `${part}.pid`)
    this.#lock = open(file)
    try {
      if (!tryLock(this.#lock)) throw inUse(directory, file)
    } catch (error) {
      closeSync(this.#lock)
      throw error
    }
    this.#say(`${process.pid} ${command}\n`)
  }

  #say(text: string): void {
    try {
      ftruncateSync(this.#lock)
      writeSync(this.#lock, text, 0)
    } catch {
      // The disk is full: locked it is nevertheless.
    }
  }

  [Symbol.dispose](): void {
    this.#say('')
    closeSync(this.#lock)
  }
}

function open(file: string): number {
  try {
    return openSync(file, constants.O_RDWR | constants.O_CREAT, 0o644)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new WeirError('WEIR_CONFIG_INVALID', `${file} cannot be written (${code})`, { cause })
  }
}

function inUse(directory: string, file: string): WeirError {
  const [, pid, command] = /^(\d+) (\w+)$/m.exec(readFileSync(file, 'utf8')) ?? []
  const holder = pid === undefined ? 'another weir' : `'weir ${command}', process ${pid}`
  return new WeirError('WEIR_DATA_DIR_IN_USE', `${directory} is in use by ${holder}`)
}
