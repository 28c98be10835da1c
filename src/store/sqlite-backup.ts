import { open, rename, rm } from 'node:fs/promises'
import { backup, DatabaseSync } from 'node:sqlite'
import { WeirError } from '../model/errors.ts'

// All at once, beside the event loop: SQLite begins anew when somebody writes between two batches, and on a
// busy server somebody always does.
const PAGES_PER_BATCH = 2 ** 31 - 1

/**
 * Copies a database that may be in use, as it is at one moment. The copy appears under its name when it is
 * whole, for its owner alone. Returns the number of pages.
 */
export async function backupSqlite(path: string, target: string): Promise<number> {
  const draft = `${target}.part`
  let database: DatabaseSync
  try {
    database = new DatabaseSync(path, { readOnly: true, timeout: 5_000 })
  } catch (cause) {
    throw new WeirError('WEIR_CONFIG_INVALID', `database ${path} cannot be opened: ${String(cause)}`, {
      cause,
    })
  }
  try {
    await rm(draft, { force: true })
    await (await open(draft, 'wx', 0o600)).close() // It holds digests of passwords.
    const pages = await backup(database, draft, { rate: PAGES_PER_BATCH })
    const file = await open(draft, 'r+')
    await file.sync().finally(() => file.close())
    await rename(draft, target)
    return pages
  } catch (cause) {
    await rm(draft, { force: true })
    throw new WeirError('WEIR_CONFIG_INVALID', `backup to ${target} failed: ${String(cause)}`, { cause })
  } finally {
    database.close()
  }
}
