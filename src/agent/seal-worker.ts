import { Worker } from 'node:worker_threads'
import type { CodecName } from '../encode/codecs.ts'
import { type ErrorCode, WeirError } from '../model/errors.ts'
import { assert } from '../stdx/assert.ts'
import type { LookResult, LookTask } from './live-flows.ts'
import type { Sealer, SealResult, SealTask } from './ports.ts'

/** What goes to the thread: plain values only. */
export type SealRequest = { id: number } & SealWorkerOptions &
  (({ kind: 'seal' } & SealTask) | ({ kind: 'look' } & LookTask))

export interface SealWorkerOptions {
  pinPath: string
  spoolDirectory: string
  /** How records become gzip (docs/benchmarks.md); `fused` where none is named. */
  codec?: CodecName
}

/** Errors lose their code on the way between threads, so it travels beside the message. */
export type SealAnswer = { id: number } & (
  | { kind: 'done'; result: SealResult | LookResult }
  | { kind: 'failed'; message: string; code: ErrorCode | undefined }
)

interface Waiting {
  resolve(result: SealResult | LookResult): void
  reject(error: Error): void
}

// The neighbour in src/ as in the compiled dist/, whose names end in .js.
const THREAD = import.meta.url.replace(/seal-worker(?=\.[jt]s$)/, 'seal-thread')

/**
 * Seals windows in a thread of its own: reading, encoding and compressing a million flows takes a second of one core,
 * and the agent's event loop must not wait for it. One window at a time; a look at windows takes its turn with that.
 */
export class SealWorker implements Sealer {
  readonly #options: SealWorkerOptions
  readonly #waiting = new Map<number, Waiting>()
  #worker: Worker | undefined
  #isSealing = false
  #lastId = 0

  constructor(options: SealWorkerOptions) {
    this.#options = options
  }

  async seal(task: SealTask): Promise<SealResult> {
    assert(!this.#isSealing, 'one window is sealed at a time')
    this.#isSealing = true
    try {
      return (await this.#ask({ kind: 'seal', ...task })) as SealResult
    } finally {
      this.#isSealing = false
    }
  }

  async look(task: LookTask): Promise<LookResult> {
    return (await this.#ask({ kind: 'look', ...task })) as LookResult
  }

  #ask(
    task: ({ kind: 'seal' } & SealTask) | ({ kind: 'look' } & LookTask),
  ): Promise<SealResult | LookResult> {
    this.#worker ??= this.#start()
    const worker = this.#worker
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      worker.postMessage({ id, ...task, ...this.#options } satisfies SealRequest)
    })
  }

  async stop(): Promise<void> {
    await this.#worker?.terminate()
    this.#worker = undefined
  }

  #start(): Worker {
    const worker = new Worker(new URL(THREAD), { name: 'seal', trackUnmanagedFds: false })
    worker.unref()
    worker.on('message', (answer: SealAnswer) => {
      const waiting = this.#waiting.get(answer.id)
      this.#waiting.delete(answer.id)
      if (answer.kind === 'done') waiting?.resolve(answer.result)
      else waiting?.reject(errorFrom(answer))
    })
    // A bug in the thread, or no memory for it: the rows are still in the kernel, the next try has a new thread.
    worker.on('error', (error: Error) => this.#end(worker, error))
    worker.on('exit', (code) => this.#end(worker, new Error(`the seal thread ended with ${code}`)))
    return worker
  }

  #end(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return
    this.#worker = undefined
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const it of waiting) it.reject(error)
  }
}

function errorFrom({ message, code }: Extract<SealAnswer, { kind: 'failed' }>): Error {
  return code === undefined ? new Error(message) : new WeirError(code, message)
}
