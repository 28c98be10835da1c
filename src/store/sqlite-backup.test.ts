import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { contractNumbers, createContract } from './accounts.ts'
import { backupSqlite } from './sqlite-backup.ts'
import { openStore } from './store.ts'

test('a backup taken while changes go on opens as a whole database', async () => {
  const directory = await mkdtemp(path.join(tmpdir(), 'weir-backup-'))
  const source = path.join(directory, 'weir.db')
  const target = path.join(directory, 'copy.db')
  const store = await openStore({ sqlitePath: source })
  const make = (contractNumber: number) =>
    store.change((change) => createContract(change, { contractNumber, name: 'x'.repeat(1_000) }))
  for (let i = 1; i <= 50; i++) await make(i)

  const during = Promise.all(Array.from({ length: 50 }, (_, i) => make(100 + i)))
  await backupSqlite(source, target)
  await during
  const copy = await openStore({ sqlitePath: target })
  const numbers = await contractNumbers(copy.db)

  assert.deepEqual(
    numbers.slice(0, 50),
    Array.from({ length: 50 }, (_, i) => i + 1),
  )
  assert.equal((await stat(target)).mode & 0o777, 0o600)
  await copy.close()
  await store.close()
  assert.ok(!(await readdir(directory)).includes('copy.db.part'))
  await assert.rejects(backupSqlite(path.join(directory, 'none.db'), target), { code: 'WEIR_CONFIG_INVALID' })
  await rm(directory, { recursive: true })
})
