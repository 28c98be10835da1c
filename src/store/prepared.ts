import type { Compilable, CompiledQuery, Insertable } from 'kysely'
import { assert } from '../stdx/assert.ts'
import type { Tables } from './schema.ts'
import type { Db } from './store.ts'

const LIST_MAX = 16 // Longer lists are rare, and each length is a statement of its own.

type Path = readonly (string | number)[]

/** Stands for a value that comes later: where in the values it will be. */
class Placeholder {
  readonly path: Path
  constructor(path: Path) {
    this.path = path
  }
}

/**
 * A statement that is built and compiled once for each database (and each length of its lists), and then only gets its
 * values: for what every request asks, Kysely's part costs more than SQLite's. Values may be lists, also of rows
 * that all have the same columns; none may be null where `is` matters.
 */
export function prepared<Values extends object, Row>(
  build: (db: Db, values: Values) => Compilable<Row>,
): (db: Db, values: Values) => Promise<Row[]> {
  const known = new WeakMap<object, Map<string, CompiledQuery>>()
  return async (db, values) => {
    const lists = Object.values(values).filter((it) => Array.isArray(it))
    const lengths = lists.map((it) => it.length)
    if (lengths.some((it) => it > LIST_MAX))
      return (await db.executeQuery<Row>(build(db, values).compile())).rows
    const { adapter } = db.getExecutor() // A transaction's is that of its database.
    const compiled = known.get(adapter) ?? new Map<string, CompiledQuery>()
    known.set(adapter, compiled)
    const key = lengths.join()
    let query = compiled.get(key)
    if (query === undefined) {
      query = build(db, placeholders(values, []) as Values).compile()
      compiled.set(key, query)
    }
    const parameters = query.parameters.map((it) =>
      it instanceof Placeholder ? valueAt(values, it.path) : it,
    )
    return (await db.executeQuery<Row>({ ...query, parameters })).rows
  }
}

/** The same lists and rows, with a placeholder for each value. */
function placeholders(value: unknown, path: Path): unknown {
  if (Array.isArray(value)) return value.map((it, i) => placeholders(it, [...path, i]))
  if (typeof value !== 'object' || value === null) return new Placeholder(path)
  return Object.fromEntries(
    Object.entries(value).map(([name, it]) => [name, placeholders(it, [...path, name])]),
  )
}

function valueAt(values: object, path: Path): unknown {
  let value: unknown = values
  for (const name of path) value = (value as Record<string | number, unknown>)[name]
  assert(value !== undefined, `no value for ${path.join('.')}`)
  return value
}

/** Inserts rows with a statement that is `prepared`: all of them have the columns of the first. */
export function preparedInsert<Table extends keyof Tables>(
  table: Table,
): (db: Db, ...rows: Insertable<Tables[Table]>[]) => Promise<unknown> {
  type Row = Insertable<Tables[Table]>
  let columns = 0
  const insert = prepared((db, { rows }: { rows: Row[] }) => db.insertInto(table).values(rows))
  return (db, ...rows) => {
    for (const row of rows) {
      const given = Object.keys(row)
      if (columns === 0) columns = given.length
      assert(given.length === columns, `${table}: ${given}`)
    }
    return insert(db, { rows })
  }
}
