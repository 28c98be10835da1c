import { Worker } from 'node:worker_threads'
import type { CodecName } from '../encode/codecs.ts'
import { type ErrorCode, WeirError } from '../model/errors.ts'
import { assert } from '../stdx/assert.ts'
import type { Sealer, SealResult, SealTask } from './agent.ts'

/** What goes to the thread: plain values only. */
export interface SealRequest extends SealTask, SealWorkerOptions {}

export interface SealWorkerOptions {
  pinPath: string
  spoolDirectory: string
  /** How records become gzip (docs/benchmarks.md); `fused` where none is named. */
  codec?: CodecName
}

/** Errors lose their code on the way between threads, so it travels beside the message. */
export type SealAnswer =
  | ({ kind: 'sealed' } & SealResult)
  | { kind: 'failed'; message: string; code: ErrorCode | undefined }

interface Waiting {
  resolve(result: SealResult): void
  reject(error: Error): void
}

// The neighbour in src/ as in the compiled dist/, whose names end in .js.
const THREAD = import.meta.url.replace(/seal-worker(?=\.[jt]s$)/, 'seal-thread')

/**
 * Seals windows in a thread of its own: reading, encoding and compressing a million flows takes a second of one core,
 * and the agent's event loop must not wait for it. One window at a time.
 */
export class SealWorker implements Sealer {
  readonly #options: SealWorkerOptions
  #worker: Worker | undefined
  #waiting: Waiting | undefined

  constructor(options: SealWorkerOptions) {
    this.#options = options
  }

  seal(task: SealTask): Promise<SealResult> {
    assert(this.#waiting === undefined, 'one window is sealed at a time')
    this.#worker ??= this.#start()
    const worker = this.#worker
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
      worker.postMessage({ ...task, ...this.#options } satisfies SealRequest)
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
      if (answer.kind === 'sealed') this.#settle((it) => it.resolve(answer))
      else this.#settle((it) => it.reject(errorFrom(answer)))
    })
    // A bug in the thread, or no memory for it: the rows are still in the kernel, the next try has a new thread.
    worker.on('error', (error: Error) => this.#end(worker, error))
    worker.on('exit', (code) => this.#end(worker, new Error(`the seal thread ended with ${code}`)))
    return worker
  }

  #end(worker: Worker, error: Error): void {
    if (this.#worker === worker) this.#worker = undefined
    this.#settle((it) => it.reject(error))
  }

  #settle(how: (waiting: Waiting) => void): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting !== undefined) how(waiting)
  }
}

function errorFrom({ message, code }: Extract<SealAnswer, { kind: 'failed' }>): Error {
  return code === undefined ? new Error(message) : new WeirError(code, message)
}
