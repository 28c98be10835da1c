import type { DuckDBInstance } from '@duckdb/node-api'
import { ERRORS, type ErrorCode } from '../model/errors.ts'
import { type DatabaseOptions, openDatabase } from './duckdb.ts'
import { runJob } from './jobs.ts'
import type { WorkerAnswer, WorkerRequest } from './worker-pool.ts'

// A process of its own behind WorkerPool: one job at a time, and DuckDB's memory goes when it goes.

let database: DuckDBInstance | undefined
let options: DatabaseOptions | undefined
let current: AbortController | undefined

async function work(request: Extract<WorkerRequest, { kind: 'job' }>): Promise<WorkerAnswer> {
  current = new AbortController()
  try {
    database ??= await openDatabase(options!)
    return { kind: 'done', result: await runJob(database, request.job, current.signal) }
  } catch (error) {
    const { message, code } = error as Error & { code?: string }
    const known = code !== undefined && code in ERRORS ? (code as ErrorCode) : undefined
    return { kind: 'failed', message, code: known }
  } finally {
    current = undefined
  }
}

process.on('message', (request: WorkerRequest) => {
  switch (request.kind) {
    case 'open':
      options = request.options
      break
    case 'job':
      work(request).then((answer) => process.send?.(answer))
      break
    case 'cancel':
      current?.abort()
      break
  }
})
// The server is gone: nobody waits for an answer.
process.on('disconnect', () => process.exit(0))
