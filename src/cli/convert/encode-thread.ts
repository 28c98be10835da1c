import { parentPort, workerData } from 'node:worker_threads'
import { WeirError } from '../../model/errors.ts'
import { createSink } from './create-sink.ts'
import {
  CONTROL,
  type EncodeThreadAnswer,
  type EncodeThreadData,
  SLOT_SIZE,
  SLOTS,
  STEP,
  STEP_WORDS,
} from './threaded-sink.ts'

/** The thread of ThreadedSink: takes steps out of the ring and gives them to the sink that writes. */
const { control: controlMemory, slots: slotMemory, options, env } = workerData as EncodeThreadData
const control = new Int32Array(controlMemory)
const slots = new Uint8Array(slotMemory)

let answer: EncodeThreadAnswer = { kind: 'done' }
try {
  run()
} catch (error) {
  const code = error instanceof WeirError ? error.code : undefined
  answer = { kind: 'failed', code, message: error instanceof Error ? error.message : String(error) }
  Atomics.store(control, CONTROL.failed, 1)
  Atomics.notify(control, CONTROL.consumed)
}
tell(answer)

function tell(it: EncodeThreadAnswer): void {
  parentPort?.postMessage(it)
}

function run(): void {
  const sink = createSink(options, { env, stdout: undefined })
  let told = 0
  try {
    for (let consumed = 0; ; consumed++) {
      while (Atomics.load(control, CONTROL.produced) === consumed)
        Atomics.wait(control, CONTROL.produced, consumed)
      const slot = consumed % SLOTS
      const step = control[CONTROL.steps + slot * STEP_WORDS]!
      const value = control[CONTROL.steps + slot * STEP_WORDS + 1]! >>> 0
      if (step === STEP.beginWindow) sink.beginWindow(value)
      else if (step === STEP.write)
        sink.write(slots.subarray(slot * SLOT_SIZE, (slot + 1) * SLOT_SIZE), value)
      else if (step === STEP.endWindow) sink.endWindow()
      const written = sink.outputs.slice(told)
      told = sink.outputs.length
      if (written.length > 0) tell({ kind: 'written', outputs: written })
      Atomics.store(control, CONTROL.consumed, consumed + 1)
      Atomics.notify(control, CONTROL.consumed)
      if (step === STEP.end) return
    }
  } finally {
    sink.end()
  }
}
