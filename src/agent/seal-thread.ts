import { parentPort } from 'node:worker_threads'
import { readWindow } from '../capture/ebpf/kernel-meter.ts'
import { type CodecName, createCodec } from '../encode/codecs.ts'
import type { GzipCodec } from '../encode/gzip-codec.ts'
import { ERRORS, type ErrorCode } from '../model/errors.ts'
import { WindowWriter } from '../spool/window-writer.ts'
import { assert } from '../stdx/assert.ts'
import type { SealResult } from './agent.ts'
import { WindowSealer } from './seal-window.ts'
import type { SealAnswer, SealRequest } from './seal-worker.ts'

// The thread behind SealWorker: one request, one answer, and its memory is kept for the next window.

const BATCH_ROWS_MAX = 65_536

const codecs = new Map<CodecName, GzipCodec>() // Kept: they own their memory.

async function seal({ window, windowKey, points, givenUp, ...options }: SealRequest): Promise<SealResult> {
  const { pinPath, spoolDirectory } = options
  const writer = new WindowWriter({ directory: spoolDirectory })
  const sealer = new WindowSealer({ points }, { codec: codecNamed(options.codec ?? 'fused'), writer })
  const windowSizeS = window.endS - window.startS
  writer.begin({ windowKey, windowStartS: window.startS, windowSizeS })
  try {
    readWindow(pinPath, window.generation, { rowsMax: BATCH_ROWS_MAX }, (rows, pointOf, count) =>
      sealer.take(rows, pointOf, count),
    )
    writer.tell(sealer.tell(givenUp))
    await writer.commit()
    return { rowsUnassigned: sealer.rowsUnassigned, packetsSkipped: sealer.packetsSkipped }
  } catch (error) {
    writer.abort()
    throw error
  }
}

function codecNamed(name: CodecName): GzipCodec {
  const codec = codecs.get(name) ?? createCodec(name)
  codecs.set(name, codec)
  return codec
}

assert(parentPort !== null, 'seal-thread runs as a worker')
const port = parentPort
port.on('message', (request: SealRequest) => {
  seal(request).then(
    (result) => port.postMessage({ kind: 'sealed', ...result } satisfies SealAnswer),
    (error: Error & { code?: string }) => {
      const code = error.code !== undefined && error.code in ERRORS ? (error.code as ErrorCode) : undefined
      port.postMessage({ kind: 'failed', message: error.message, code } satisfies SealAnswer)
    },
  )
})
