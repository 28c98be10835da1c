import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { Kysely, SqliteDialect } from 'kysely'
import { MIGRATIONS, migrate } from './migrations.ts'
import { findByPath } from './resources.ts'
import { openSqlite } from './sqlite.ts'
import { openStore } from './store.ts'

const DATACENTER = '/datacenters/11111111-1111-4111-8111-111111111111'
const CONTRACT = 31720000

/** A database as the release before had it, with a data center, a LAN and a request for them. */
async function makeOld(file: string): Promise<void> {
  const db = new Kysely<unknown>({ dialect: new SqliteDialect({ database: openSqlite(file, () => {}) }) })
  await migrate(
    db,
    'sqlite',
    MIGRATIONS.filter((it) => it.name < '0008'),
  )
  await db.destroy()
  const database = new DatabaseSync(file)
  database.exec(`insert into contracts values (${CONTRACT}, 'x', 0)`)
  const insert = database.prepare(
    `insert into resources (ordinal, id, type, contract_number, parent_id, path, properties, state, pending, deleting,
      version, etag, created_at, created_by, created_by_id, modified_at, modified_by, modified_by_id)
      values (?, ?, ?, ${CONTRACT}, ?, ?, '{}', 'AVAILABLE', 0, 0, 1, 'e', 0, '', '', 0, '', '')`,
  )
  const id = DATACENTER.slice(-36)
  insert.run(7, id, 'datacenter', '', DATACENTER)
  insert.run(8, 'b', 'lan', id, `${DATACENTER}/lans/1`)
  database.exec(`insert into request_targets values ('r', 'b', 'lan', 'p', 'target', 'none', 0, 'DONE', 5)`)
  database.exec(`insert into points values ('f', 'h', 'attached', 'tap0', null, 3, null)`)
  database.exec(`insert into carriers values ('f', 'h', 4)`)
  database.close()
}

test('a database of an older release is brought up to date with all that it holds', async () => {
  const directory = await mkdtemp(path.join(tmpdir(), 'weir-migrations-'))
  const file = path.join(directory, 'weir.db')
  try {
    await makeOld(file)

    const store = await openStore({ sqlitePath: file })
    const datacenter = await findByPath(store.db, DATACENTER)
    const lan = await findByPath(store.db, `${DATACENTER}/lans/1`)
    const [target] = await store.db.selectFrom('request_targets').selectAll().execute()
    const [point] = await store.db.selectFrom('points').selectAll().execute()
    const carriers = await store.db.selectFrom('carriers').selectAll().execute()
    await store.close()
    const database = new DatabaseSync(file)
    const ordinals = database.prepare('select ordinal from resources order by ordinal').all()
    const last = database.prepare(`select seq from sqlite_sequence where name = 'resources'`).get()
    const faults = database.prepare('pragma integrity_check').all()
    database.close()

    assert.equal(datacenter?.type, 'datacenter')
    assert.equal(lan?.id, 'b')
    assert.deepEqual({ ...target }, TARGET)
    assert.equal(point?.device, 'tap0')
    assert.deepEqual(
      carriers.map((it) => ({ ...it })),
      [{ flow_log_id: 'f', host: 'h', retry_version: 4 }],
    )
    assert.deepEqual(
      ordinals.map((it) => it['ordinal']),
      [7, 8],
    )
    assert.equal(last?.['seq'], 8)
    assert.deepEqual(
      faults.map((it) => it['integrity_check']),
      ['ok'],
    )
  } finally {
    await rm(directory, { recursive: true })
  }
})

const TARGET = {
  request_id: 'r',
  resource_id: 'b',
  type: 'lan',
  path: 'p',
  role: 'target',
  wait: 'none',
  deletes: 0,
  due_at: 5,
}
