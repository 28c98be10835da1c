import { parentPort } from 'node:worker_threads'
import { readWindow } from '../capture/ebpf/kernel-meter.ts'
import { type CodecName, createCodec } from '../encode/codecs.ts'
import type { GzipCodec } from '../encode/gzip-codec.ts'
import { ERRORS, type ErrorCode, WeirError } from '../model/errors.ts'
import { WindowWriter } from '../spool/window-writer.ts'
import { assert } from '../stdx/assert.ts'
import { systemClock } from '../stdx/clock.ts'
import type { LookResult, LookTask } from './live-flows.ts'
import { LiveTally } from './live-tally.ts'
import type { SealResult, SealTask } from './ports.ts'
import { WindowSealer } from './seal-window.ts'
import type { SealAnswer, SealRequest, SealWorkerOptions } from './seal-worker.ts'

// The thread behind SealWorker: one request, one answer, and its memory is kept for the next window.

const BATCH_ROWS_MAX = 65_536
const LOOK_ROWS_MAX = 8_192 // Nothing is compressed: what stays in the CPU's cache is read fastest.

const codecs = new Map<CodecName, GzipCodec>() // Kept: they own their memory.

async function seal(task: SealTask & SealWorkerOptions): Promise<SealResult> {
  const { window, windowKey, points, givenUp, live, pinPath, spoolDirectory } = task
  const writer = new WindowWriter({ directory: spoolDirectory })
  const sealer = new WindowSealer({ points }, { codec: codecNamed(task.codec ?? 'fused'), writer })
  const tally = live === undefined ? undefined : new LiveTally(live)
  const windowSizeS = window.endS - window.startS
  writer.begin({ windowKey, windowStartS: window.startS, windowSizeS })
  try {
    readWindow(pinPath, window.generation, { rowsMax: BATCH_ROWS_MAX }, (rows, pointOf, count) => {
      sealer.take(rows, pointOf, count)
      tally?.take(rows, pointOf, count)
    })
    writer.tell(sealer.tell(givenUp))
    await writer.commit()
    const { rowsUnassigned, packetsSkipped } = sealer
    return { rowsUnassigned, packetsSkipped, live: tally?.windows(window.startS) ?? new Map() }
  } catch (error) {
    writer.abort()
    throw error
  }
}

/** What is in windows so far. Changes nothing in them. */
function look({ windows, points, rowsMax, pinPath }: LookTask & SealWorkerOptions): LookResult {
  const beganNs = systemClock.monotonicNs()
  const found: LookResult['windows'] = []
  for (const { generation, startS } of windows) {
    const tally = new LiveTally({ points, rowsMax })
    try {
      readWindow(pinPath, generation, { rowsMax: LOOK_ROWS_MAX }, (rows, pointOf, count) =>
        tally.take(rows, pointOf, count),
      )
    } catch (error) {
      if (error instanceof WeirError && error.code === 'WEIR_NOT_FOUND') continue // Cleared meanwhile.
      throw error
    }
    found.push({ generation, flowLogs: tally.windows(startS) })
  }
  return { windows: found, tookMs: Number(systemClock.monotonicNs() - beganNs) / 1e6 }
}

function codecNamed(name: CodecName): GzipCodec {
  const codec = codecs.get(name) ?? createCodec(name)
  codecs.set(name, codec)
  return codec
}

assert(parentPort !== null, 'seal-thread runs as a worker')
const port = parentPort
port.on('message', (request: SealRequest) => {
  const { id } = request
  answer(request).then(
    (result) => port.postMessage({ id, kind: 'done', result } satisfies SealAnswer),
    (error: Error & { code?: string }) => {
      const code = error.code !== undefined && error.code in ERRORS ? (error.code as ErrorCode) : undefined
      port.postMessage({ id, kind: 'failed', message: error.message, code } satisfies SealAnswer)
    },
  )
})

async function answer(request: SealRequest): Promise<SealResult | LookResult> {
  return request.kind === 'seal' ? seal(request) : look(request)
}
