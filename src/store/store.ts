import { randomBytes } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { Kysely, SqliteDialect, type Transaction } from 'kysely'
import { type Clock, systemClock } from '../stdx/clock.ts'
import { type DialectName, migrate } from './migrations.ts'
import type { Tables } from './schema.ts'
import { openSqlite } from './sqlite.ts'

export type Db = Kysely<Tables>

/** A transaction with what must be told to waiting clients once it is committed. */
export interface Change {
  tx: Transaction<Tables>
  nowMs: number
  /** Hosts whose assignments this change touches. */
  hosts: Set<string>
}

interface Signals {
  assignments: [host: string]
}

/** The control plane's memory. All SQL is in this folder, one module per aggregate. */
export class Store {
  readonly db: Db
  readonly dialect: DialectName
  readonly clock: Clock
  /** Says what has changed in this process; other replicas find out by asking the database. */
  readonly signals = new EventEmitter<Signals>().setMaxListeners(0)

  constructor(options: { db: Db; dialect: DialectName; clock: Clock }) {
    this.db = options.db
    this.dialect = options.dialect
    this.clock = options.clock
  }

  /** Runs `work` in one transaction; signals what it touched when that is committed. */
  async change<T>(work: (change: Change) => Promise<T>): Promise<T> {
    const hosts = new Set<string>()
    const nowMs = this.clock.nowMs()
    const result = await this.db.transaction().execute((tx) => work({ tx, nowMs, hosts }))
    for (const host of hosts) this.signals.emit('assignments', host)
    return result
  }

  async close(): Promise<void> {
    await this.db.destroy()
  }
}

/** Opens the database, brings its schema up to date. `:memory:` is a path too. */
export async function openStore(
  options: { sqlitePath: string },
  dependencies: { clock?: Clock } = {},
): Promise<Store> {
  const db = new Kysely<Tables>({ dialect: new SqliteDialect({ database: openSqlite(options.sqlitePath) }) })
  await migrate(db, 'sqlite')
  return new Store({ db, dialect: 'sqlite', clock: dependencies.clock ?? systemClock })
}

/** A setting that is made up once and then kept. */
export async function settingOnce(db: Db, name: string, make: () => string): Promise<string> {
  await db
    .insertInto('settings')
    .values({ name, value: make() })
    .onConflict((it) => it.doNothing())
    .execute()
  const row = await db
    .selectFrom('settings')
    .select('value')
    .where('name', '=', name)
    .executeTakeFirstOrThrow()
  return row.value
}

export function newEtag(): string {
  return randomBytes(16).toString('hex')
}

/** Both databases say in their own words that a unique index refused a row. */
export function isUniqueViolation(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return ('code' in error && error.code === '23505') || error.message.includes('UNIQUE constraint failed')
}
