import { Worker } from 'node:worker_threads'
import { WeirError } from '../../model/errors.ts'
import { ROW_SIZE } from '../../model/flow-rows.ts'
import type { ConvertOptions } from './options.ts'
import { type RecordSink, ROWS_MAX } from './record-sinks.ts'

/**
 * Encoding and writing in a thread of its own, beside metering. The two share a ring of slots in memory: a
 * step and up to ROWS_MAX rows in each. Bounded: metering waits where the ring is full. The steps are the
 * calls of a RecordSink in their order, so that the files are the same as without the thread.
 */
export const SLOTS = 32
export const SLOT_SIZE = ROWS_MAX * ROW_SIZE

/** Words of the ring's control: what was put in, what was taken out, and whether the thread has failed. */
export const CONTROL = { produced: 0, consumed: 1, failed: 2, steps: 4 } as const
/** Words of a step, one for each slot behind `CONTROL.steps`. */
export const STEP_WORDS = 2
export const STEP = { beginWindow: 1, write: 2, endWindow: 3, end: 4 } as const

export interface EncodeThreadData {
  control: SharedArrayBuffer
  slots: SharedArrayBuffer
  options: ConvertOptions
  env: Record<string, string | undefined>
}

export type EncodeThreadAnswer =
  | { kind: 'written'; outputs: string[] }
  | { kind: 'done' }
  | { kind: 'failed'; code: WeirError['code'] | undefined; message: string }

const THREAD = import.meta.url.endsWith('.ts') ? './encode-thread.ts' : './encode-thread.js'

export class ThreadedSink implements RecordSink {
  readonly outputs: string[] = []
  readonly #control: Int32Array
  readonly #slots: Uint8Array
  readonly #worker: Worker
  readonly #answer: Promise<EncodeThreadAnswer>
  #produced = 0

  constructor(options: ConvertOptions, dependencies: { env: Record<string, string | undefined> }) {
    const control = new SharedArrayBuffer((CONTROL.steps + SLOTS * STEP_WORDS) * 4)
    const slots = new SharedArrayBuffer(SLOTS * SLOT_SIZE)
    this.#control = new Int32Array(control)
    this.#slots = new Uint8Array(slots)
    const workerData: EncodeThreadData = { control, slots, options, env: dependencies.env }
    this.#worker = new Worker(new URL(THREAD, import.meta.url), { name: 'encode', workerData })
    this.#answer = new Promise((resolve) => {
      this.#worker.on('message', (it: EncodeThreadAnswer) => {
        if (it.kind === 'written') this.outputs.push(...it.outputs)
        else resolve(it)
      })
      this.#worker.on('error', (error: Error) => {
        Atomics.store(this.#control, CONTROL.failed, 1)
        resolve({ kind: 'failed', code: undefined, message: error.message })
      })
    })
  }

  beginWindow(startS: number): void {
    this.#put(STEP.beginWindow, startS)
  }

  write(rows: Uint8Array, count: number): void {
    this.#put(STEP.write, count, rows.subarray(0, count * ROW_SIZE))
  }

  endWindow(): void {
    this.#put(STEP.endWindow, 0)
  }

  end(): void {
    this.#put(STEP.end, 0)
  }

  /** At the end, waits until all is written. Throws what the thread has failed with. */
  async settle(isOver: boolean): Promise<void> {
    if (!isOver) return
    const answer = await this.#answer
    await this.#worker.terminate()
    if (answer.kind === 'failed') {
      if (answer.code === undefined) throw new Error(answer.message) // A bug in the thread.
      throw new WeirError(answer.code, answer.message)
    }
  }

  #put(step: number, value: number, rows?: Uint8Array): void {
    const control = this.#control
    for (;;) {
      if (Atomics.load(control, CONTROL.failed) !== 0) return // `settle` tells; what is metered now has no place to go.
      const consumed = Atomics.load(control, CONTROL.consumed)
      if (this.#produced - consumed < SLOTS) break
      Atomics.wait(control, CONTROL.consumed, consumed, 1000)
    }
    const slot = this.#produced % SLOTS
    if (rows !== undefined) this.#slots.set(rows, slot * SLOT_SIZE)
    control[CONTROL.steps + slot * STEP_WORDS] = step
    control[CONTROL.steps + slot * STEP_WORDS + 1] = value | 0
    this.#produced++
    Atomics.store(control, CONTROL.produced, this.#produced)
    Atomics.notify(control, CONTROL.produced)
  }
}
