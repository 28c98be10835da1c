import { setImmediate as immediate } from 'node:timers/promises'
import { CompiledQuery, type Transaction } from 'kysely'
import type { Tables } from './schema.ts'
import type { CommitLog } from './sqlite-log.ts'
import type { Db } from './store.ts'

const CHANGES_MAX = 48 // Bounds how long the first of them waits for the last.

const SAVEPOINT = CompiledQuery.raw('savepoint change')
const ROLLBACK = CompiledQuery.raw('rollback to change')
const RELEASE = CompiledQuery.raw('release change')

interface Job {
  work: (tx: Transaction<Tables>) => Promise<unknown>
  resolve: (value: never) => void
  reject: (error: unknown) => void
  outcome?: { value: unknown } | { error: unknown }
}

/**
 * SQLite has one writer, and every commit waits for the disk. Changes that wait at the same time therefore
 * share a commit. Each runs in a savepoint of its own, so one that fails takes nothing of the others with
 * it, and nobody is answered before the disk has it.
 */
export class GroupCommit {
  /** Resolves when what is being committed is on the disk, or will not be. */
  underway: Promise<void> | undefined
  readonly #db: Db
  readonly #log: CommitLog | undefined
  readonly #onCommit: () => void
  readonly #queue: Job[] = []
  readonly #patient: Job[] = []
  #patienceEnds: NodeJS.Timeout | undefined
  #draining = false

  /** `onCommit` is called before anybody hears of what was committed. */
  constructor(db: Db, { log, onCommit }: { log: CommitLog | undefined; onCommit: () => void }) {
    this.#db = db
    this.#log = log
    this.#onCommit = onCommit
  }

  /** With `patienceMs` the change waits that long for company; it goes with the first that cannot wait. */
  run<T>(work: (tx: Transaction<Tables>) => Promise<T>, patienceMs = 0): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const job: Job = { work, resolve, reject }
      if (patienceMs === 0) {
        this.#queue.push(job)
        this.#begin()
        return
      }
      this.#patient.push(job)
      this.#patienceEnds ??= setTimeout(() => this.#begin(), patienceMs)
    })
  }

  #begin(): void {
    clearTimeout(this.#patienceEnds)
    this.#patienceEnds = undefined
    this.#queue.push(...this.#patient.splice(0))
    if (!this.#draining) void this.#drain()
  }

  async #drain(): Promise<void> {
    this.#draining = true
    while (this.#queue.length > 0) {
      await immediate() // Requests that came in during the last commit get here, and share the next one.
      const committing = this.#commit()
      this.underway = committing.then(() => undefined)
      const jobs = await committing
      this.underway = undefined
      this.#onCommit()
      for (const job of jobs) settle(job)
      await this.#log?.tend()
    }
    this.#draining = false
  }

  /** Never fails: the jobs say how they ended. */
  async #commit(): Promise<Job[]> {
    const jobs: Job[] = []
    try {
      await this.#db.transaction().execute(async (tx) => {
        for (let job = this.#next(jobs); job !== undefined; job = this.#next(jobs)) await runOne(job, tx)
      })
      await this.#log?.sync()
    } catch (error) {
      if (jobs.length === 0) jobs.push(...this.#queue.splice(0)) // It did not even begin, nor will it for these.
      for (const job of jobs) job.outcome = { error } // Not on the disk: none of them may be relied on.
    }
    return jobs
  }

  #next(jobs: Job[]): Job | undefined {
    const job = jobs.length < CHANGES_MAX ? this.#queue.shift() : undefined
    if (job !== undefined) jobs.push(job)
    return job
  }
}

async function runOne(job: Job, tx: Transaction<Tables>): Promise<void> {
  await tx.executeQuery(SAVEPOINT)
  try {
    job.outcome = { value: await job.work(tx) }
  } catch (error) {
    job.outcome = { error }
    await tx.executeQuery(ROLLBACK).catch(() => {
      throw error // A full disk has made SQLite roll back everything.
    })
  }
  await tx.executeQuery(RELEASE)
}

function settle({ outcome, resolve, reject }: Job): void {
  if (outcome !== undefined && 'value' in outcome) resolve(outcome.value as never)
  else reject(outcome?.error)
}
