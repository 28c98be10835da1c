import { rename, rm } from 'node:fs/promises'
import { backup, DatabaseSync } from 'node:sqlite'
import { WeirError } from '../model/errors.ts'

/**
 * Copies a database that may be in use, as it is at one moment. The copy appears under its name when it is
 * whole. Returns the number of pages.
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
    const pages = await backup(database, draft, { rate: 1_000 })
    await rename(draft, target)
    return pages
  } catch (cause) {
    await rm(draft, { force: true })
    throw new WeirError('WEIR_CONFIG_INVALID', `backup to ${target} failed: ${String(cause)}`, { cause })
  } finally {
    database.close()
  }
}
