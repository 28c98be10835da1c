import type { Change, Db } from './store.ts'

export interface AuditEntry {
  contractNumber: number
  atMs: number
  userId: string
  email: string
  address: string
  method: string
  path: string
  status: number
  requestId: string | null
}

const ROWS_MAX = 500

export async function insertAudit(change: Change, entries: readonly AuditEntry[]): Promise<void> {
  for (let at = 0; at < entries.length; at += ROWS_MAX) {
    const rows = entries.slice(at, at + ROWS_MAX).map((it) => ({
      contract_number: it.contractNumber,
      at: it.atMs,
      user_id: it.userId,
      email: it.email,
      address: it.address,
      method: it.method,
      path: it.path,
      status: it.status,
      request_id: it.requestId,
    }))
    await change.tx.insertInto('audit').values(rows).execute()
  }
}

/** Newest first. */
export async function listAudit(
  db: Db,
  contractNumber: number,
  page: { offset: number; limit: number },
): Promise<AuditEntry[]> {
  const rows = await db
    .selectFrom('audit')
    .selectAll()
    .where('contract_number', '=', contractNumber)
    .orderBy('ordinal', 'desc')
    .limit(page.limit)
    .offset(page.offset)
    .execute()
  return rows.map((it) => ({
    contractNumber: it.contract_number,
    atMs: it.at,
    userId: it.user_id,
    email: it.email,
    address: it.address,
    method: it.method,
    path: it.path,
    status: it.status,
    requestId: it.request_id,
  }))
}
