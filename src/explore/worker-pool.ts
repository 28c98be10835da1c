import { type ChildProcess, fork } from 'node:child_process'
import { type ErrorCode, WeirError } from '../model/errors.ts'
import { assert } from '../stdx/assert.ts'
import type { DatabaseOptions } from './duckdb.ts'
import type { Executor, Job, JobResults } from './jobs.ts'

export type WorkerRequest =
  | { kind: 'open'; options: DatabaseOptions }
  | { kind: 'job'; job: Job }
  | { kind: 'cancel' }

export type WorkerAnswer =
  | { kind: 'done'; result: JobResults[Job['kind']] }
  | { kind: 'failed'; message: string; code: ErrorCode | undefined }

export interface WorkerPoolOptions {
  workers: number
  database: DatabaseOptions
  /** For a question or an export, from when a worker takes it up. */
  timeLimitMs: number
  /** Jobs that wait for a worker; one more is refused. */
  queueMax: number
}

/** Making a pack out of objects is bounded by their number and size, and is not the asker's fault. */
const PACK_TIME_LIMIT_MS = 300_000
/** A worker that does not stop when it is asked to is stopped. */
const CANCEL_GRACE_MS = 2_000
const IDLE_MS = 60_000
const HEAP_MAX_MIB = 512

// The neighbour in src/ as in the compiled dist/, whose names end in .js.
const WORKER = import.meta.url.replace(/worker-pool(?=\.[jt]s$)/, 'query-worker')

interface Task {
  job: Job
  signal: AbortSignal | undefined
  resolve(result: JobResults[Job['kind']]): void
  reject(error: unknown): void
}

interface Worker {
  child: ChildProcess
  task: Task | undefined
  /** Why the task at work is being cancelled. */
  cancelled: unknown
  timers: NodeJS.Timeout[]
}

/**
 * Does jobs in processes of their own, so that a question that is too large costs its asker an error, and nobody else
 * anything: not the API's event loop, not its memory, not its life. Workers start when there is work and end when idle.
 */
export class WorkerPool implements Executor {
  readonly #options: WorkerPoolOptions
  readonly #workers = new Set<Worker>()
  readonly #queue: Task[] = []
  #stopped = false

  constructor(options: WorkerPoolOptions) {
    assert(options.workers > 0)
    this.#options = options
  }

  async run<Kind extends Job['kind']>(
    job: Extract<Job, { kind: Kind }>,
    signal?: AbortSignal,
  ): Promise<JobResults[Kind]> {
    assert(!this.#stopped, 'the pool is stopped')
    signal?.throwIfAborted()
    if (this.#queue.length >= this.#options.queueMax) {
      throw new WeirError('WEIR_QUERY_BUSY', 'too many questions are waiting; try again in a few seconds')
    }
    return new Promise<JobResults[Job['kind']]>((resolve, reject) => {
      const task: Task = { job, signal, resolve, reject }
      this.#queue.push(task)
      signal?.addEventListener('abort', () => this.#abandon(task), { once: true })
      this.#assign()
    }) as Promise<JobResults[Kind]>
  }

  async stop(): Promise<void> {
    this.#stopped = true
    for (const task of this.#queue.splice(0)) task.reject(stopped())
    await Promise.all(
      [...this.#workers].map((worker) => {
        worker.cancelled ??= stopped()
        const ended = new Promise((resolve) => worker.child.once('exit', resolve))
        worker.child.kill('SIGKILL') // It holds nothing that is not made again.
        return ended
      }),
    )
  }

  /** Gives waiting tasks to workers, as long as there are both. */
  #assign(): void {
    while (this.#queue.length > 0) {
      const idle = [...this.#workers].find((it) => it.task === undefined)
      const worker = idle ?? (this.#workers.size < this.#options.workers ? this.#start() : undefined)
      if (worker === undefined) return
      this.#give(worker, this.#queue.shift()!)
    }
  }

  #give(worker: Worker, task: Task): void {
    clearTimers(worker)
    worker.task = task
    worker.cancelled = undefined
    worker.child.send({ kind: 'job', job: task.job } satisfies WorkerRequest)
    const isAsked = task.job.kind === 'ask' || task.job.kind === 'export'
    const limitMs = isAsked ? this.#options.timeLimitMs : PACK_TIME_LIMIT_MS
    this.#after(worker, limitMs, () => this.#cancel(worker, tooLong(limitMs)))
  }

  /** The asker has gone. */
  #abandon(task: Task): void {
    const at = this.#queue.indexOf(task)
    if (at >= 0) {
      this.#queue.splice(at, 1)
      task.reject(task.signal!.reason)
      return
    }
    const worker = [...this.#workers].find((it) => it.task === task)
    if (worker !== undefined) this.#cancel(worker, task.signal!.reason)
  }

  #cancel(worker: Worker, reason: unknown): void {
    if (worker.cancelled !== undefined) return
    worker.cancelled = reason
    worker.child.send({ kind: 'cancel' } satisfies WorkerRequest)
    this.#after(worker, CANCEL_GRACE_MS, () => worker.child.kill('SIGKILL'))
  }

  #start(): Worker {
    const child = fork(new URL(WORKER), {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      execArgv: [`--max-old-space-size=${HEAP_MAX_MIB}`],
      env: {}, // Nothing of the server's secrets.
    })
    const worker: Worker = { child, task: undefined, cancelled: undefined, timers: [] }
    this.#workers.add(worker)
    child.send({ kind: 'open', options: this.#options.database } satisfies WorkerRequest)
    child.on('message', (answer: WorkerAnswer) => this.#settle(worker, answer))
    child.on('error', () => child.kill('SIGKILL'))
    child.on('exit', (code, signal) => this.#ended(worker, code ?? signal))
    return worker
  }

  #settle(worker: Worker, answer: WorkerAnswer): void {
    const { task } = worker
    if (task === undefined) return
    clearTimers(worker)
    worker.task = undefined
    if (worker.cancelled !== undefined) task.reject(worker.cancelled)
    else if (answer.kind === 'done') task.resolve(answer.result)
    else task.reject(errorFrom(answer))
    this.#assign()
    if (worker.task === undefined) this.#after(worker, IDLE_MS, () => this.#retire(worker))
  }

  /** Out of the set first: a worker on its way out must get no more work. */
  #retire(worker: Worker): void {
    this.#workers.delete(worker)
    worker.child.kill('SIGKILL')
  }

  /** A worker that ended at work ran out of memory, was cancelled the hard way, or has a bug. */
  #ended(worker: Worker, how: number | string | null): void {
    clearTimers(worker)
    this.#workers.delete(worker)
    const { task } = worker
    worker.task = undefined
    task?.reject(
      worker.cancelled ?? new WeirError('WEIR_QUERY_LIMIT', `${tooMuch()} (the worker ended with ${how})`),
    )
    if (!this.#stopped) this.#assign()
  }

  #after(worker: Worker, delayMs: number, then: () => void): void {
    const timer = setTimeout(then, delayMs)
    timer.unref()
    worker.timers.push(timer)
  }
}

function clearTimers(worker: Worker): void {
  for (const timer of worker.timers.splice(0)) clearTimeout(timer)
}

function errorFrom({ message, code }: Extract<WorkerAnswer, { kind: 'failed' }>): Error {
  return code === undefined ? new Error(message) : new WeirError(code, message)
}

function tooMuch(): string {
  return 'the question needs more memory than it may take; narrow the time range or the filter'
}

function tooLong(limitMs: number): WeirError {
  return new WeirError(
    'WEIR_QUERY_LIMIT',
    `the question took longer than ${Math.round(limitMs / 1000)} s; narrow the time range or the filter`,
  )
}

function stopped(): WeirError {
  return new WeirError('WEIR_QUERY_BUSY', 'the server is stopping')
}
