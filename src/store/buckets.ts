import { WeirError } from '../model/errors.ts'
import { prepared } from './prepared.ts'
import type { Tables } from './schema.ts'
import { type Change, type Db, isUniqueViolation } from './store.ts'

export interface BucketRegistration {
  name: string
  contractNumber: number
  createdAtMs: number
  createdBy: string
}

/** Says that a bucket belongs to a contract, for stores that do not know it themselves. */
export async function registerBucket(
  change: Change,
  options: { name: string; contractNumber: number; createdBy: string },
): Promise<void> {
  const { name, contractNumber, createdBy } = options
  try {
    await change.tx
      .insertInto('buckets')
      .values({ name, contract_number: contractNumber, created_at: change.nowMs, created_by: createdBy })
      .execute()
  } catch (cause) {
    if (!isUniqueViolation(cause)) throw cause
    throw new WeirError('WEIR_RESOURCE_EXISTS', `bucket '${name}' is registered already`, { cause })
  }
}

export async function findRegistration(db: Db, name: string): Promise<BucketRegistration | undefined> {
  const [row] = await selectByName(db, { name })
  return row && registrationOf(row)
}

const selectByName = prepared((db, { name }: { name: string }) =>
  db.selectFrom('buckets').selectAll().where('name', '=', name),
)

export async function listRegistrations(db: Db): Promise<BucketRegistration[]> {
  const rows = await db.selectFrom('buckets').selectAll().orderBy('name').execute()
  return rows.map(registrationOf)
}

/** Returns false when there was none. */
export async function unregisterBucket(change: Change, name: string): Promise<boolean> {
  const row = await change.tx
    .deleteFrom('buckets')
    .where('name', '=', name)
    .returning('name')
    .executeTakeFirst()
  return row !== undefined
}

/**
 * What belonged to a contract because it was the only one is registered for it, before there is a second: else
 * its delivery would stop.
 */
export async function registerUsedBuckets(
  change: Change,
  options: { contractNumber: number; createdBy: string },
): Promise<void> {
  const { contractNumber, createdBy } = options
  const used = await change.tx
    .selectFrom('flow_logs')
    .select('bucket as name')
    .distinct()
    .where('contract_number', '=', contractNumber)
    .execute()
  if (used.length === 0) return
  const rest = { contract_number: contractNumber, created_at: change.nowMs, created_by: createdBy }
  const rows = used.map(({ name }) => ({ name, ...rest }))
  await change.tx
    .insertInto('buckets')
    .values(rows)
    .onConflict((it) => it.doNothing())
    .execute()
}

function registrationOf(row: Tables['buckets']): BucketRegistration {
  const { name, contract_number: contractNumber, created_at: createdAtMs, created_by: createdBy } = row
  return { name, contractNumber, createdAtMs, createdBy }
}
