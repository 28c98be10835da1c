import { once } from 'node:events'
import { type FileHandle, open } from 'node:fs/promises'
import { Worker } from 'node:worker_threads'
import { WeirError } from '../model/errors.ts'

export type CheckpointMode = 'passive' | 'restart'
export interface CheckpointAnswer {
  /** Of the log, copied ones included. */
  pages: number
}

/** Makes commits outlive a power cut. */
export interface CommitLog {
  /** All that is committed is on the disk when this resolves. */
  sync(): Promise<void>
  /** To be called after each commit that is synced, and waited for before the next begins. */
  tend(): Promise<void>
  close(): Promise<void>
}

const COMMITS_PER_CHECKPOINT = 32
const PAGES_MAX = 16_000 // 64 MiB: beginning anew costs a moment of all who wait to change something.

// The neighbour in src/ as in the compiled dist/, whose names end in .js.
const THREAD = import.meta.url.replace(/sqlite-log(?=\.[jt]s$)/, 'checkpoint-thread')

/**
 * The write-ahead log of a SQLite file. SQLite would wait for the disk within `commit`, and now and then copy
 * the log into the database there; both would stop the event loop, for up to a tenth of a second. Here the disk
 * is waited for beside it, and a thread copies while changes go on. Only to begin the log anew, when it has become
 * long, does the thread need a moment without changes.
 */
export class SqliteLog implements CommitLog {
  readonly #path: string
  readonly #pagesMax: number
  #file: FileHandle | undefined
  #fault: WeirError | undefined
  #worker: Worker | undefined
  #copying: Promise<void> | undefined
  #commits = 0
  #isLong = false

  /** Of a database in WAL mode that is open already. */
  constructor(path: string, { pagesMax = PAGES_MAX }: { pagesMax?: number } = {}) {
    this.#path = path
    this.#pagesMax = pagesMax
  }

  async sync(): Promise<void> {
    try {
      this.#file ??= await open(`${this.#path}-wal`, 'r')
      await this.#file.datasync()
    } catch (cause) {
      // Pages that the disk has refused count as written from now on: only a new start finds out what is there.
      this.#fault ??= new WeirError('WEIR_STORE_UNAVAILABLE', `the disk does not take changes: ${cause}`, {
        cause,
      })
    }
    if (this.#fault !== undefined) throw this.#fault
  }

  async tend(): Promise<void> {
    if (++this.#commits % COMMITS_PER_CHECKPOINT === 0) {
      this.#copying ??= this.#copy('passive').finally(() => {
        this.#copying = undefined
      })
    }
    if (!this.#isLong || this.#copying !== undefined) return
    this.#isLong = false
    await this.#copy('restart')
  }

  async #copy(mode: CheckpointMode): Promise<void> {
    try {
      this.#worker ??= startThread(this.#path)
      this.#worker.postMessage(mode)
      const [{ pages }] = (await once(this.#worker, 'message')) as [CheckpointAnswer]
      this.#isLong = mode === 'passive' && pages > this.#pagesMax
    } catch {
      this.#worker = undefined // Until it succeeds SQLite copies by itself, late (`openSqlite`).
    }
  }

  /** Before the database is closed, which copies the rest. */
  async close(): Promise<void> {
    await this.#copying
    await this.#worker?.terminate()
    await this.#file?.close()
  }
}

function startThread(path: string): Worker {
  const worker = new Worker(new URL(THREAD), {
    name: 'checkpoint',
    workerData: path,
    resourceLimits: { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 16 },
  })
  worker.unref() // Nobody waits for it alone.
  return worker
}
