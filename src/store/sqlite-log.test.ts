import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { SqliteLog } from './sqlite-log.ts'

/** A database in WAL mode that never copies its log by itself. */
function open(directory: string): { database: DatabaseSync; file: string } {
  const file = path.join(directory, 'a.db')
  const database = new DatabaseSync(file, { timeout: 5_000 })
  database.exec('pragma journal_mode = wal; pragma synchronous = normal; pragma wal_autocheckpoint = 0')
  database.exec('create table rows (id integer primary key, content blob)')
  return { database, file }
}

test('the log is copied beside the changes and begun anew when it is long', { timeout: 60_000 }, async () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'weir-log-'))
  const { database, file } = open(directory)
  const log = new SqliteLog(file, { pagesMax: 100 })
  const insert = database.prepare('insert into rows (content) values (zeroblob(20000))')

  let sizeMax = 0
  for (let i = 0; i < 2_000; i++) {
    insert.run()
    await log.sync()
    await log.tend()
    sizeMax = Math.max(sizeMax, statSync(`${file}-wal`).size)
  }

  const written = 2_000 * 20_000
  assert.ok(sizeMax < written / 2, `${sizeMax} of ${written}`)
  assert.deepEqual({ ...database.prepare('select count(*) as n from rows').get() }, { n: 2_000 })
  await log.close()
  database.close()
  rmSync(directory, { recursive: true })
})

test('a log that cannot be synced says so from then on', async () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'weir-log-'))
  const log = new SqliteLog(path.join(directory, 'a.db'))

  await assert.rejects(log.sync(), { code: 'WEIR_STORE_UNAVAILABLE' })
  const { database, file } = open(directory)
  assert.ok(statSync(`${file}-wal`).size > 0)
  await assert.rejects(log.sync(), { code: 'WEIR_STORE_UNAVAILABLE' })

  await log.close()
  database.close()
  rmSync(directory, { recursive: true })
})
