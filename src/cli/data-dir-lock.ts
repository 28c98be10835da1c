import { closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import path from 'node:path'
import { WeirError } from '../model/errors.ts'

/** What a data directory has one of: `weir server` and `weir agent` may share it, `weir up` is both. */
export type Part = 'server' | 'agent'

/** Keeps a second Weir out of a data directory; a lock whose process is gone is taken over. Released by `using`. */
export class DataDirLock implements Disposable {
  readonly #file: string

  constructor(directory: string, part: Part, command: 'up' | Part) {
    this.#file = path.join(directory, `${part}.pid`)
    if (this.#take(command)) return
    const holder = readLock(this.#file)
    if (holder !== undefined && startTimeOf(holder.pid) === holder.startTime) {
      throw new WeirError(
        'WEIR_DATA_DIR_IN_USE',
        `${directory} is in use by 'weir ${holder.command}', process ${holder.pid}`,
      )
    }
    rmSync(this.#file, { force: true })
    if (!this.#take(command))
      throw new WeirError('WEIR_DATA_DIR_IN_USE', `${directory} was just taken by another weir`)
  }

  #take(command: string): boolean {
    let lock: number
    try {
      lock = openSync(this.#file, 'wx', 0o644)
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException
      if (code === 'EEXIST') return false
      throw new WeirError('WEIR_CONFIG_INVALID', `${this.#file} cannot be written (${code})`, { cause })
    }
    writeSync(lock, `${process.pid} ${startTimeOf(process.pid)} ${command}\n`)
    closeSync(lock)
    return true
  }

  [Symbol.dispose](): void {
    rmSync(this.#file, { force: true })
  }
}

function readLock(file: string): { pid: number; startTime: string; command: string } | undefined {
  try {
    const [pid = '', startTime = '', command = ''] = readFileSync(file, 'utf8').trim().split(' ')
    return /^\d+$/.test(pid) ? { pid: Number(pid), startTime, command } : undefined
  } catch {
    return undefined // Released in this moment.
  }
}

/** Clock ticks since boot at which a process started: a pid alone may have been given to another process since. */
function startTimeOf(pid: number): string {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const [state = '', ...rest] = text.slice(text.lastIndexOf(')') + 2).split(' ')
    if (/[ZX]/.test(state)) return 'gone' // Dead, and only its parent has not looked yet.
    return rest[18] ?? ''
  } catch {
    return 'gone'
  }
}
