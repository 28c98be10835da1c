import { sql } from 'kysely'
import type { UploadRequest } from '../model/agent-protocol.ts'
import { objectName } from '../model/flow-log.ts'
import { someAtATime } from './batches.ts'
import type { ObjectRow } from './schema.ts'
import { type Change, type Db, isUniqueViolation, type Store } from './store.ts'

export interface Reservation {
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

export function findObjects(db: Db, host: string, segmentIds: readonly string[]): Promise<ObjectRow[]> {
  if (segmentIds.length === 0) return Promise.resolve([])
  return db
    .selectFrom('objects')
    .selectAll()
    .where('host', '=', host)
    .where('segment_id', 'in', segmentIds)
    .execute()
}

/** What is known of objects by their names. */
export async function findObjectsNamed(
  db: Db,
  bucket: string,
  names: string[],
): Promise<{ host: string; windowStartS: number; flowLogIds: string[] }[]> {
  if (names.length === 0) return []
  const rows = await db
    .selectFrom('objects')
    .select(['host', 'window_start_s', 'flow_log_ids'])
    .where('bucket', '=', bucket)
    .where('object_name', 'in', names)
    .execute()
  return rows.map((it) => ({
    host: it.host,
    windowStartS: it.window_start_s,
    flowLogIds: JSON.parse(it.flow_log_ids) as string[],
  }))
}

/** Gives each segment a name that no other segment ever had, and the one it had before if it had one. */
export async function reserveObjects(
  change: Change,
  host: string,
  reservations: readonly Reservation[],
): Promise<Map<string, Reserved>> {
  const reserved = new Map<string, Reserved>()
  let open = reservations.map((it) => ({ it, startS: it.upload.windowStartS }))
  const noteKnown = async () => {
    const ids = open.map(({ it }) => it.upload.segmentId)
    for (const object of await findObjects(change.tx, host, ids)) {
      if (!reserved.has(object.segment_id)) reserved.set(object.segment_id, { object, isNew: false })
    }
    open = open.filter(({ it }) => !reserved.has(it.upload.segmentId))
  }
  await noteKnown()
  while (open.length > 0) {
    const rows = open.map(({ it, startS }) => rowOf(change, host, it, startS))
    const inserted = new Set(await insertNew(change, rows))
    // In the order of the request, so that of two that want one name the first gets it.
    for (const object of rows) {
      const { segment_id: id } = object
      if (inserted.has(id) && !reserved.has(id)) reserved.set(id, { object, isNew: true })
    }
    await noteKnown() // Another request for the same segment may have been faster.
    for (const late of open) late.startS = await firstFreeS(change, late.it, late.startS + 1)
  }
  return reserved
}

/** Its name turned out to be taken in the store by something that is not in this database: the next free one. */
export async function renameObject(store: Store, object: ObjectRow, stem: string): Promise<ObjectRow> {
  const takenS = Number(/-(\d+)\.log\.gz$/.exec(object.object_name)?.[1])
  for (;;) {
    try {
      return await store.change(async (change) => {
        const startS = await firstFreeS(change, { bucket: object.bucket, stem }, takenS + 1)
        const name = objectName(stem, startS)
        await change.tx
          .updateTable('objects')
          .set({ object_name: name })
          .where('host', '=', object.host)
          .where('segment_id', '=', object.segment_id)
          .execute()
        return { ...object, object_name: name }
      })
    } catch (error) {
      if (!isUniqueViolation(error)) throw error // Another replica was faster: look again.
    }
  }
}

function rowOf(change: Change, host: string, it: Reservation, startS: number): ObjectRow {
  const { upload, bucket, stem } = it
  return {
    host,
    segment_id: upload.segmentId,
    bucket,
    object_name: objectName(stem, startS),
    contract_number: it.contractNumber,
    flow_log_ids: JSON.stringify(upload.flowLogIds),
    window_start_s: upload.windowStartS,
    size: upload.size,
    sha256: upload.sha256,
    records: upload.records,
    reserved_at: change.nowMs,
    delivered_at: null,
  }
}

/** The ids of those whose segment and name were both new. */
async function insertNew(change: Change, rows: ObjectRow[]): Promise<string[]> {
  const inserted = await change.tx
    .insertInto('objects')
    .values(rows)
    .onConflict((on) => on.doNothing())
    .returning('segment_id')
    .execute()
  return inserted.map((it) => it.segment_id)
}

const NAMES_AT_ONCE = 64

async function firstFreeS(
  change: Change,
  { bucket, stem }: { bucket: string; stem: string },
  firstS: number,
): Promise<number> {
  for (let startS = firstS; ; startS += NAMES_AT_ONCE) {
    const names = Array.from({ length: NAMES_AT_ONCE }, (_, i) => objectName(stem, startS + i))
    const rows = await change.tx
      .selectFrom('objects')
      .select('object_name')
      .where('bucket', '=', bucket)
      .where('object_name', 'in', names)
      .execute()
    const taken = new Set(rows.map((it) => it.object_name))
    const free = names.findIndex((it) => !taken.has(it))
    if (free >= 0) return startS + free
  }
}

/** Notes that objects of a host are in their buckets. Returns those of which that was not known. */
export async function recordDeliveries(change: Change, objects: readonly ObjectRow[]): Promise<ObjectRow[]> {
  const host = objects[0]?.host
  if (host === undefined) return []
  const updated = await change.tx
    .updateTable('objects')
    .set({ delivered_at: change.nowMs })
    .where('host', '=', host)
    .where(
      'segment_id',
      'in',
      objects.map((it) => it.segment_id),
    )
    .where('delivered_at', 'is', null)
    .returning('segment_id')
    .execute()
  const ids = new Set(updated.map((it) => it.segment_id))
  const delivered = objects.filter((it) => ids.has(it.segment_id))
  for (const some of someAtATime(sumsOf(delivered))) await addToFlowLogs(change, some)
  return delivered
}

interface Sum {
  flowLogId: string
  objects: number
  octets: number
  records: number
  lastObject: string
}

/** What arrived for each flow log; in one order everywhere, so that two replicas do not wait for each other. */
function sumsOf(objects: readonly ObjectRow[]): Sum[] {
  const sums = new Map<string, Sum>()
  for (const object of objects) {
    for (const flowLogId of JSON.parse(object.flow_log_ids) as string[]) {
      const sum = sums.get(flowLogId) ?? { flowLogId, objects: 0, octets: 0, records: 0, lastObject: '' }
      sums.set(flowLogId, sum)
      sum.objects++
      sum.octets += object.size
      sum.records += object.records
      sum.lastObject = object.object_name
    }
  }
  return [...sums.values()].sort((a, b) => (a.flowLogId < b.flowLogId ? -1 : 1))
}

/** One statement for all of them: a statement for each costs more than everything else here. */
async function addToFlowLogs(change: Change, sums: readonly Sum[]): Promise<void> {
  const rows = sums.map(
    (it) => sql`(${it.flowLogId}, cast(${it.objects} as bigint), cast(${it.octets} as bigint),
      cast(${it.records} as bigint), ${it.lastObject})`,
  )
  await sql`with arrived (id, objects, octets, records, last_object) as (values ${sql.join(rows)})
    update flow_logs set objects = flow_logs.objects + arrived.objects, octets = flow_logs.octets + arrived.octets,
      records = flow_logs.records + arrived.records, last_object = arrived.last_object,
      last_delivered_at = ${change.nowMs}, last_error = null, last_error_at = null
    from arrived where flow_logs.id = arrived.id`.execute(change.tx)
}
