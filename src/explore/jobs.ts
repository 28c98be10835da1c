import type { DuckDBInstance } from '@duckdb/node-api'
import { ask, type ExportFormat, writeExport } from './ask.ts'
import { Session } from './duckdb.ts'
import type { PackSizes } from './flows-view.ts'
import type { Inquest } from './inquiry.ts'
import { PackThreads } from './pack-threads.ts'
import { mergePacks, type PackInput, PackWriter, type WrittenPack } from './pack-writer.ts'
import type { Finding } from './question.ts'

/** What a database is asked to do, in this process or in a worker. Plain data both ways. */
export type Job =
  | { kind: 'pack'; packPath: string; inputs: PackInput[] }
  | { kind: 'merge'; packPath: string; from: string[] }
  | { kind: 'ask'; inquest: Inquest }
  | { kind: 'export'; inquest: Inquest; format: ExportFormat; path: string }

export interface JobResults {
  pack: WrittenPack
  merge: PackSizes
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

/** Made when it is needed: it has memory of its own. */
let packWriter: PackWriter | undefined

/** Does a job in this process, which is a worker's: a pack takes all of its time. */
export async function runJob(
  database: DuckDBInstance,
  job: Job,
  signal?: AbortSignal,
): Promise<JobResults[Job['kind']]> {
  if (job.kind === 'pack') {
    packWriter ??= new PackWriter()
    return packWriter.write(job.packPath, job.inputs)
  }
  using session = await Session.open(database, signal)
  switch (job.kind) {
    case 'merge':
      return await mergePacks(session, job.packPath, job.from)
    case 'ask':
      return await ask(session, job.inquest)
    case 'export':
      return await writeExport(session, job.inquest, job)
  }
}

/** Does jobs in this process: packs in threads, all else in DuckDB's. */
export class LocalExecutor implements Executor {
  readonly #database: DuckDBInstance
  readonly #packThreads = new PackThreads()

  constructor(database: DuckDBInstance) {
    this.#database = database
  }

  async run<Kind extends Job['kind']>(
    job: Extract<Job, { kind: Kind }>,
    signal?: AbortSignal,
  ): Promise<JobResults[Kind]> {
    const it: Job = job
    const done = it.kind === 'pack' ? this.#packThreads.write(it, signal) : runJob(this.#database, it, signal)
    return (await done) as JobResults[Kind]
  }

  async stop(): Promise<void> {
    await this.#packThreads.stop()
    this.#database.closeSync()
  }
}
