import { randomUUID } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { Kysely, SqliteDialect, type Transaction } from 'kysely'
import { WeirError } from '../model/errors.ts'
import { type Clock, systemClock } from '../stdx/clock.ts'
import { GroupCommit } from './group-commit.ts'
import { type DialectName, migrate } from './migrations.ts'
import { openPostgres } from './postgres.ts'
import type { Tables } from './schema.ts'
import { openSqlite } from './sqlite.ts'
import { type CommitLog, SqliteLog } from './sqlite-log.ts'

export type Db = Kysely<Tables>

/** A transaction with what must be told to waiting clients once it is committed. */
export interface Change {
  tx: Transaction<Tables>
  nowMs: number
  dialect: DialectName
  /** Hosts whose assignments this change touches. */
  hosts: Set<string>
  /** The versions that it gave them: by host, and for all hosts by null. */
  versions: Map<string | null, ReadonlyMap<string, number>>
}

const ATTEMPTS_MAX = 10

interface Signals {
  assignments: [host: string]
}

/** The control plane's memory. All SQL is in this folder, one module per aggregate. */
export class Store {
  /** To read from; it sees what is committed. */
  readonly db: Db
  readonly dialect: DialectName
  readonly clock: Clock
  readonly #writer: Db
  readonly #groupCommit: GroupCommit | undefined
  readonly #log: CommitLog | undefined
  /**
   * Changes when anything is committed that may say who may ask for what, and before anybody hears of it. Undefined
   * where other replicas commit, too, of which nobody tells.
   */
  accessVersion: number | undefined
  /** Says what has changed in this process; other replicas find out by asking the database. */
  readonly signals = new EventEmitter<Signals>().setMaxListeners(0)

  constructor(options: {
    db: Db
    writer: Db
    dialect: DialectName
    clock: Clock
    log?: CommitLog | undefined
    /** How many statements may have changed who may ask for what, if that is known. */
    accessWrites?: () => number
  }) {
    this.db = options.db
    this.dialect = options.dialect
    this.clock = options.clock
    this.#writer = options.writer
    this.#log = options.log
    const { log, accessWrites } = options
    const onCommit = () => {
      this.accessVersion = accessWrites?.()
    }
    if (this.dialect === 'sqlite') {
      onCommit()
      this.#groupCommit = new GroupCommit(this.#writer, { log, onCommit })
    }
  }

  /**
   * Changes that can be read but are not on the disk yet, where there are any. An answer must wait for them, or it
   * would tell what a power cut may take back.
   */
  get underway(): Promise<void> | undefined {
    return this.#groupCommit?.underway
  }

  /**
   * Runs `work` in one transaction; signals what it touched when that is committed. It may run several
   * times, when another replica's transaction came in its way, so it must touch nothing but the database.
   * With `patienceMs` it may wait that long for others to share its commit.
   */
  async change<T>(work: (change: Change) => Promise<T>, { patienceMs = 0 } = {}): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const hosts = new Set<string>()
      const change = { nowMs: this.clock.nowMs(), hosts, versions: new Map(), dialect: this.dialect }
      try {
        const result = await this.#transaction((tx) => work({ ...change, tx }), patienceMs)
        for (const host of hosts) this.signals.emit('assignments', host)
        return result
      } catch (error) {
        if (attempt === ATTEMPTS_MAX || !isConflict(error)) throw error
      }
    }
  }

  #transaction<T>(work: (tx: Transaction<Tables>) => Promise<T>, patienceMs: number): Promise<T> {
    return this.#groupCommit?.run(work, patienceMs) ?? this.#writer.transaction().execute(work)
  }

  async close(): Promise<void> {
    await this.#log?.close()
    await this.db.destroy()
    if (this.#writer !== this.db) await this.#writer.destroy()
  }
}

/** Opens the database, brings its schema up to date. `:memory:` is a path of SQLite's too. */
export async function openStore(
  options: { sqlitePath: string } | { postgresUrl: string },
  dependencies: { clock?: Clock } = {},
): Promise<Store> {
  const dialect = 'sqlitePath' in options ? 'sqlite' : 'postgres'
  let writes = 0
  const accessWrites = () => writes
  const writer = connect(options, () => writes++)
  try {
    await migrate(writer, dialect)
  } catch (error) {
    await writer.destroy()
    if (!isStoreAway(error)) throw error
    throw new WeirError('WEIR_STORE_UNAVAILABLE', `the database cannot be reached: ${String(error)}`, {
      cause: error,
    })
  }
  // Connections of their own let readers pass by changes that are under way, or wait for each other. A database in
  // memory has but one.
  const path = 'sqlitePath' in options ? options.sqlitePath : undefined
  const file = path === ':memory:' ? undefined : path
  const db = path === ':memory:' ? writer : connect(options, () => writes++)
  const log = file === undefined ? undefined : new SqliteLog(file)
  return new Store({ db, writer, dialect, clock: dependencies.clock ?? systemClock, log, accessWrites })
}

function connect(options: { sqlitePath: string } | { postgresUrl: string }, onAccessWrite: () => void): Db {
  const dialect =
    'sqlitePath' in options
      ? new SqliteDialect({ database: openSqlite(options.sqlitePath, onAccessWrite) })
      : openPostgres(options.postgresUrl)
  return new Kysely<Tables>({ dialect })
}

/** A setting that is made up once and then kept. */
export async function settingOnce({ tx }: Change, name: string, make: () => string): Promise<string> {
  await tx
    .insertInto('settings')
    .values({ name, value: make() })
    .onConflict((it) => it.doNothing())
    .execute()
  const row = await tx
    .selectFrom('settings')
    .select('value')
    .where('name', '=', name)
    .executeTakeFirstOrThrow()
  return row.value
}

export function newEtag(): string {
  return randomUUID().replaceAll('-', '')
}

/** Deadlock or failed serialisation: PostgreSQL ended our transaction so that another one could go on. */
function isConflict(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === '40P01' || error.code === '40001')
}

/** The database does not answer, or is shutting down or starting up: trying again may help. */
export function isStoreAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const code = 'code' in error ? String(error.code) : ''
  if (/^(ECONN\w+|EPIPE|ENOENT|ETIMEDOUT|57P0[123]|53300|08\w{3})$/.test(code)) return true
  return /^Connection terminated|timeout exceeded when trying to connect/.test(error.message)
}

/** What a row refers to is not there, or not any more. */
export function isForeignKeyViolation(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return (
    ('code' in error && error.code === '23503') || error.message.includes('FOREIGN KEY constraint failed')
  )
}

/** Both databases say in their own words that a unique index refused a row. */
export function isUniqueViolation(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return ('code' in error && error.code === '23505') || error.message.includes('UNIQUE constraint failed')
}
