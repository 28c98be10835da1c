import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { PackThreadAnswer } from './pack-thread.ts'
import type { PackInput, WrittenPack } from './pack-writer.ts'

// The neighbour in src/ as in the compiled dist/, whose names end in .js.
const THREAD = import.meta.url.replace(/pack-threads(?=\.[jt]s$)/, 'pack-thread')

/** Writes packs beside the event loop, one in each thread; as many threads as there are processors. */
export class PackThreads {
  readonly #idle: Worker[] = []
  readonly #waiting: ((thread: Worker) => void)[] = []
  readonly #threads = new Set<Worker>()

  /** A pack that is begun is written: the work is not lost when its asker has gone. */
  async write(
    job: { packPath: string; inputs: PackInput[] },
    signal: AbortSignal | undefined,
  ): Promise<WrittenPack> {
    const thread = await this.#take()
    try {
      signal?.throwIfAborted()
      return await answerOf(thread, job)
    } finally {
      this.#giveBack(thread)
    }
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#threads].map((it) => it.terminate()))
  }

  async #take(): Promise<Worker> {
    const idle = this.#idle.pop()
    if (idle !== undefined) return idle
    if (this.#threads.size >= availableParallelism()) {
      return new Promise((resolve) => this.#waiting.push(resolve))
    }
    return this.#start()
  }

  #start(): Worker {
    const thread = new Worker(new URL(THREAD), { name: 'pack' })
    this.#threads.add(thread)
    thread.once('exit', () => this.#threads.delete(thread))
    thread.unref() // It keeps nobody who waits for nothing.
    return thread
  }

  #giveBack(thread: Worker): void {
    const next = this.#waiting.shift()
    if (!this.#threads.has(thread)) next?.(this.#start())
    else if (next === undefined) this.#idle.push(thread)
    else next(thread)
  }
}

function answerOf(thread: Worker, job: { packPath: string; inputs: PackInput[] }): Promise<WrittenPack> {
  const { promise, resolve, reject } = Promise.withResolvers<WrittenPack>()
  let reason: unknown = new Error('the thread ended at work')
  const onMessage = (answer: PackThreadAnswer): void => {
    if (answer.kind === 'done') resolve(answer.result)
    else reject(new Error(answer.message))
  }
  const onError = (error: unknown): void => {
    reason = error // Its end follows.
  }
  const onExit = (): void => reject(reason)
  thread.on('message', onMessage).on('error', onError).on('exit', onExit)
  thread.ref()
  thread.postMessage(job)
  return promise.finally(() => {
    thread.off('message', onMessage).off('error', onError).off('exit', onExit)
    thread.unref()
  })
}
