import type { Compilable, CompiledQuery, Insertable } from 'kysely'
import { assert } from '../stdx/assert.ts'
import type { Tables } from './schema.ts'
import type { Db } from './store.ts'

/** Stands for a value that comes later. */
class Placeholder {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}

const PLACEHOLDERS = new Proxy({}, { get: (_, name) => new Placeholder(String(name)) })

/**
 * A statement that is built and compiled once for each database, and then only gets its values: for what every
 * request asks, Kysely's part costs more than SQLite's. No value may be a list, or null where `is` matters.
 */
export function prepared<Values extends object, Row>(
  build: (db: Db, values: Values) => Compilable<Row>,
): (db: Db, values: Values) => Promise<Row[]> {
  const compiled = new WeakMap<object, CompiledQuery>()
  return async (db, values) => {
    const { adapter } = db.getExecutor() // A transaction's is that of its database.
    let query = compiled.get(adapter)
    if (query === undefined) {
      query = build(db, PLACEHOLDERS as Values).compile()
      compiled.set(adapter, query)
    }
    const parameters = query.parameters.map((it) => {
      if (!(it instanceof Placeholder)) return it
      const value = values[it.name as keyof Values]
      assert(value !== undefined, `no value for ${it.name}`)
      return value
    })
    return (await db.executeQuery<Row>({ ...query, parameters })).rows
  }
}

/** Inserts a row with a statement that is `prepared`: every row has the columns of the first. */
export function preparedInsert<Table extends keyof Tables>(
  table: Table,
): (db: Db, row: Insertable<Tables[Table]>) => Promise<unknown> {
  type Row = Insertable<Tables[Table]>
  let columns: (keyof Row)[] = []
  const insert = prepared((db, row: Row) =>
    db.insertInto(table).values(Object.fromEntries(columns.map((it) => [it, row[it]])) as Row),
  )
  return (db, row) => {
    const given = Object.keys(row) as (keyof Row)[]
    if (columns.length === 0) columns = given
    assert(given.length === columns.length, `${table}: ${given} instead of ${columns}`)
    return insert(db, row)
  }
}
