import { parentPort } from 'node:worker_threads'
import { type PackInput, PackWriter, type WrittenPack } from './pack-writer.ts'

export type PackThreadAnswer = { kind: 'done'; result: WrittenPack } | { kind: 'failed'; message: string }

/** The thread of PackThreads: one pack after the other. */
const writer = new PackWriter()

parentPort?.on('message', ({ packPath, inputs }: { packPath: string; inputs: PackInput[] }) => {
  parentPort?.postMessage(answer(packPath, inputs))
})

function answer(packPath: string, inputs: PackInput[]): PackThreadAnswer {
  try {
    return { kind: 'done', result: writer.write(packPath, inputs) }
  } catch (error) {
    return { kind: 'failed', message: error instanceof Error ? error.message : String(error) }
  }
}
