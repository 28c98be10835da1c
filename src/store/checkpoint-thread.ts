import { DatabaseSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'
import type { CheckpointAnswer, CheckpointMode } from './sqlite-log.ts'

// The thread behind SqliteLog: it copies pages while the main thread answers requests.

// Impatient: what others are reading is copied the next time.
const database = new DatabaseSync(workerData as string, { timeout: 20 })
const statements = {
  passive: database.prepare('pragma wal_checkpoint(passive)'),
  restart: database.prepare('pragma wal_checkpoint(restart)'),
}

parentPort!.on('message', (mode: CheckpointMode) => {
  const { log } = statements[mode].get() as { log: number }
  parentPort!.postMessage({ pages: log } satisfies CheckpointAnswer)
})
