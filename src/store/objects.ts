import type { UploadRequest } from '../model/agent-protocol.ts'
import { objectName } from '../model/flow-log.ts'
import type { ObjectRow } from './schema.ts'
import { type Change, type Db, isUniqueViolation, type Store } from './store.ts'

export interface Reservation {
  host: string
  contractNumber: number
  bucket: string
  /** What the object's name begins with: the prefix, or the interface's UUID. */
  stem: string
  upload: UploadRequest
}

export interface Reserved {
  object: ObjectRow
  /** False when the segment had a name before. */
  isNew: boolean
}

export function findObject(db: Db, host: string, segmentId: string): Promise<ObjectRow | undefined> {
  return db
    .selectFrom('objects')
    .selectAll()
    .where('host', '=', host)
    .where('segment_id', '=', segmentId)
    .executeTakeFirst()
}

/**
 * Gives a segment a name that no other segment ever had. `afterS` is the second of a name that turned out
 * to be taken in the store by something that is not in this database.
 */
export async function reserveObject(
  store: Store,
  reservation: Reservation,
  afterS?: number,
): Promise<Reserved> {
  for (;;) {
    try {
      return await store.change((change) => reserve(change, reservation, afterS))
    } catch (error) {
      if (!isUniqueViolation(error)) throw error // Another replica was faster: look again.
    }
  }
}

async function reserve(change: Change, it: Reservation, afterS: number | undefined): Promise<Reserved> {
  const { host, bucket, stem, upload } = it
  const known = await findObject(change.tx, host, upload.segmentId)
  if (known !== undefined && afterS === undefined) return { object: known, isNew: false }
  const firstS = afterS === undefined ? upload.windowStartS : afterS + 1
  const name = await firstFreeName(change, bucket, stem, firstS)
  const row: ObjectRow = {
    host,
    segment_id: upload.segmentId,
    bucket,
    object_name: name,
    contract_number: it.contractNumber,
    flow_log_ids: JSON.stringify(upload.flowLogIds),
    window_start_s: upload.windowStartS,
    size: upload.size,
    sha256: upload.sha256,
    records: upload.records,
    reserved_at: change.nowMs,
    delivered_at: null,
  }
  await change.tx
    .insertInto('objects')
    .values(row)
    .onConflict((on) => on.columns(['host', 'segment_id']).doUpdateSet({ object_name: name }))
    .execute()
  return { object: row, isNew: known === undefined }
}

const NAMES_AT_ONCE = 64

async function firstFreeName(change: Change, bucket: string, stem: string, firstS: number): Promise<string> {
  let count = 1 // The first is free nearly always, and a query for many costs more than all the rest.
  for (let startS = firstS; ; startS += count) {
    if (startS > firstS) count = NAMES_AT_ONCE
    const names = Array.from({ length: count }, (_, i) => objectName(stem, startS + i))
    const rows = await change.tx
      .selectFrom('objects')
      .select('object_name')
      .where('bucket', '=', bucket)
      .where('object_name', 'in', names)
      .execute()
    const taken = new Set(rows.map((it) => it.object_name))
    const free = names.find((it) => !taken.has(it))
    if (free !== undefined) return free
  }
}

/** Notes that the object is in the bucket. Returns false when that was known. */
export async function recordDelivery(change: Change, object: ObjectRow): Promise<boolean> {
  const updated = await change.tx
    .updateTable('objects')
    .set({ delivered_at: change.nowMs })
    .where('host', '=', object.host)
    .where('segment_id', '=', object.segment_id)
    .where('delivered_at', 'is', null)
    .returning('segment_id')
    .executeTakeFirst()
  if (updated === undefined) return false
  const ids = JSON.parse(object.flow_log_ids) as string[]
  await change.tx
    .updateTable('flow_logs')
    .set((it) => ({
      objects: it('objects', '+', 1),
      octets: it('octets', '+', object.size),
      records: it('records', '+', object.records),
      last_object: object.object_name,
      last_delivered_at: change.nowMs,
      last_error: null,
      last_error_at: null,
    }))
    .where('id', 'in', ids)
    .execute()
  return true
}
