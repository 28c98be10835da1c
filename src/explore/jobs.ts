import type { DuckDBInstance } from '@duckdb/node-api'
import { ask, type ExportFormat, writeExport } from './ask.ts'
import { Session } from './duckdb.ts'
import type { Inquest } from './inquiry.ts'
import { mergePacks, type PackInput, type WrittenPack, writePack } from './pack-writer.ts'
import type { Finding } from './question.ts'

/** What a database is asked to do, in this process or in a worker. Plain data both ways. */
export type Job =
  | { kind: 'pack'; packPath: string; inputs: PackInput[] }
  | { kind: 'merge'; packPath: string; from: string[] }
  | { kind: 'ask'; inquest: Inquest }
  | { kind: 'export'; inquest: Inquest; format: ExportFormat; path: string }

export interface JobResults {
  pack: WrittenPack
  /** Size of the file. */
  merge: number
  ask: Finding
  /** Rows written. */
  export: number
}

/** Who does jobs: this process (the CLI) or workers with limits (the server). */
export interface Executor {
  run<Kind extends Job['kind']>(
    job: Extract<Job, { kind: Kind }>,
    signal?: AbortSignal,
  ): Promise<JobResults[Kind]>
  stop(): Promise<void>
}

export async function runJob(
  database: DuckDBInstance,
  job: Job,
  signal?: AbortSignal,
): Promise<JobResults[Job['kind']]> {
  using session = await Session.open(database, signal)
  switch (job.kind) {
    case 'pack':
      return await writePack(session, job.packPath, job.inputs)
    case 'merge':
      return await mergePacks(session, job.packPath, job.from)
    case 'ask':
      return await ask(session, job.inquest)
    case 'export':
      return await writeExport(session, job.inquest, job)
  }
}

/** Does jobs in this process. */
export class LocalExecutor implements Executor {
  readonly #database: DuckDBInstance

  constructor(database: DuckDBInstance) {
    this.#database = database
  }

  async run<Kind extends Job['kind']>(
    job: Extract<Job, { kind: Kind }>,
    signal?: AbortSignal,
  ): Promise<JobResults[Kind]> {
    return (await runJob(this.#database, job, signal)) as JobResults[Kind]
  }

  async stop(): Promise<void> {
    this.#database.closeSync()
  }
}
