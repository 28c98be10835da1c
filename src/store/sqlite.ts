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
      const statement = adapt(database.prepare(text), BARS_NOBODY.test(text) ? undefined : onAccessWrite)
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

function adapt(statement: StatementSync, onRun: (() => void) | undefined): SqliteStatement {
  return {
    reader: statement.columns().length > 0,
    all: (parameters) => {
      onRun?.()
      return statement.all(...(parameters as SQLInputValue[]))
    },
    run: (parameters) => {
      onRun?.()
      return statement.run(...(parameters as SQLInputValue[]))
    },
    iterate: (parameters) => {
      onRun?.()
      return statement.iterate(...(parameters as SQLInputValue[]))
    },
  }
}
