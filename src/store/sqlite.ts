import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import type { SqliteDatabase, SqliteStatement } from 'kysely'
import { WeirError } from '../model/errors.ts'

const STATEMENTS_MAX = 500

const PAGES_MAX = 32_000

// What reads, and writes to tables that say nothing of users, tokens and hosts.
const BARS_NOBODY = new RegExp(
  '^(select|begin|commit|rollback|savepoint|release|update "agents"' +
    '|(insert into|update|delete from) "(resources|flow_logs|points|carriers|requests|request_targets|objects|audit)")',
)

/**
 * Node's own SQLite in the shape that Kysely's dialect asks for. It does not wait for the disk: `SqliteLog` does,
 * and keeps the log short, too; the bound here is for the case that it cannot. `onAccessWrite` hears of each statement
 * that may change who may ask for what, before it is committed.
 */
export function openSqlite(path: string, onAccessWrite: () => void): SqliteDatabase {
  const database = open(path)
  const statements = new Map<string, SqliteStatement>()
  return {
    close: () => database.close(),
    prepare(sql) {
      // All our transactions write. Taking the lock at once avoids the upgrade that SQLite may refuse
      // half-way.
      const text = sql === 'begin' ? 'begin immediate' : sql
      const known = statements.get(text)
      if (known !== undefined) return known
      if (statements.size >= STATEMENTS_MAX) statements.clear()
      const statement =
        text === 'rollback'
          ? rollback(database)
          : adapt(database.prepare(text), BARS_NOBODY.test(text) ? undefined : onAccessWrite)
      statements.set(text, statement)
      return statement
    },
  }
}

function open(path: string): DatabaseSync {
  try {
    const database = new DatabaseSync(path, { enableForeignKeyConstraints: true, timeout: 5_000 })
    database.exec(
      'pragma journal_mode = wal; pragma synchronous = normal; pragma temp_store = memory; pragma cache_size = -8192',
    )
    database.exec(`pragma wal_autocheckpoint = ${PAGES_MAX}`)
    return database
  } catch (cause) {
    throw new WeirError('WEIR_CONFIG_INVALID', `database ${path} cannot be opened: ${String(cause)}`, {
      cause,
    })
  }
}

/** A disk that takes nothing makes SQLite roll back by itself, and then it refuses to do it again. */
function rollback(database: DatabaseSync): SqliteStatement {
  const statement = adapt(database.prepare('rollback'), undefined)
  return { ...statement, run: (none) => (database.isTransaction ? statement.run(none) : NOTHING_CHANGED) }
}

const NOTHING_CHANGED = { changes: 0, lastInsertRowid: 0 }

function adapt(statement: StatementSync, onRun: (() => void) | undefined): SqliteStatement {
  const tell = <T>(run: (...parameters: SQLInputValue[]) => T, parameters: readonly unknown[]): T => {
    onRun?.()
    try {
      return run.apply(statement, parameters as SQLInputValue[])
    } catch (cause) {
      throw diskFault(cause) ?? cause
    }
  }
  return {
    reader: statement.columns().length > 0,
    all: (parameters) => tell(statement.all, parameters),
    run: (parameters) => tell(statement.run, parameters),
    iterate: (parameters) => tell(statement.iterate, parameters),
  }
}

const DISK_FAULTS = [8, 10, 13, 14] // READONLY, IOERR, FULL, CANTOPEN of sqlite3.h, in the low byte of their extended codes.

function diskFault(cause: unknown): WeirError | undefined {
  const { errcode = 0, message } = cause as Error & { errcode?: number }
  if (!DISK_FAULTS.includes(errcode & 0xff)) return undefined
  return new WeirError('WEIR_STORE_UNAVAILABLE', `the disk does not take changes: ${message}`, { cause })
}
