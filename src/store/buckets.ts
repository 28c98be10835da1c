import { WeirError } from '../model/errors.ts'
import { type Change, type Db, isUniqueViolation } from './store.ts'

export interface BucketRegistration {
  name: string
  contractNumber: number
  createdAtMs: number
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
    throw new WeirError('WEIR_INVALID', `bucket '${name}' exists already`, { cause })
  }
}

export async function findRegistration(db: Db, name: string): Promise<BucketRegistration | undefined> {
  const row = await db.selectFrom('buckets').selectAll().where('name', '=', name).executeTakeFirst()
  if (row === undefined) return undefined
  return { name: row.name, contractNumber: row.contract_number, createdAtMs: row.created_at }
}

export async function listRegistrations(db: Db): Promise<BucketRegistration[]> {
  const rows = await db.selectFrom('buckets').selectAll().orderBy('name').execute()
  return rows.map((it) => ({
    name: it.name,
    contractNumber: it.contract_number,
    createdAtMs: it.created_at,
  }))
}
