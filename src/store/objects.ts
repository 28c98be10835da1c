import { sql } from 'kysely'
import type { UploadRequest } from '../model/agent-protocol.ts'
import { objectName } from '../model/flow-log.ts'
import { someAtATime } from './batches.ts'
import type { ObjectRow } from './schema.ts'
import { type Change, type Db, isUniqueViolation, type Store } from './store.ts'

interface Named {
  bucket: string
  /** What the object's name begins with: the prefix, or the interface's UUID. */
  stem: string
}

export interface Reservation extends Named {
  contractNumber: number
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
  while (open.length > 0) {
    const rows = open.map(({ it, startS }) => rowOf(change, host, it, startS))
    const inserted = new Set(await insertNew(change, rows))
    // In the order of the request, so that of two that want one name the first gets it.
    for (const object of rows) {
      const { segment_id: id } = object
      if (inserted.has(id) && !reserved.has(id)) reserved.set(id, { object, isNew: true })
    }
    open = open.filter(({ it }) => !reserved.has(it.upload.segmentId))
    const ids = open.map(({ it }) => it.upload.segmentId)
    for (const object of await findObjects(change.tx, host, ids)) {
      reserved.set(object.segment_id, { object, isNew: false })
    }
    open = open.filter(({ it }) => !reserved.has(it.upload.segmentId))
    await raise(change, open)
  }
  return reserved
}

/** Its name turned out to be taken in the store by something that is not in this database: the next free one. */
export async function renameObject(store: Store, object: ObjectRow, stem: string): Promise<ObjectRow> {
  const { bucket, host, segment_id: id } = object
  const wanted = { it: { bucket, stem }, startS: Number(/-(\d+)\.log\.gz$/.exec(object.object_name)?.[1]) }
  for (;;) {
    try {
      return await store.change(async (change) => {
        await raise(change, [wanted])
        const name = objectName(stem, wanted.startS)
        await change.tx
          .updateTable('objects')
          .set({ object_name: name })
          .where('host', '=', host)
          .where('segment_id', '=', id)
          .execute()
        return { ...object, object_name: name }
      })
    } catch (error) {
      if (!isUniqueViolation(error)) throw error // Taken as well, or another replica was faster: further on.
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

const NAMES_AT_ONCE = 16

/** To the next second whose name is free, as far as one look shows. */
async function raise(change: Change, wanted: { it: Named; startS: number }[]): Promise<void> {
  const taken = new Set<string>()
  for (const [bucket, some] of Map.groupBy(wanted, ({ it }) => it.bucket)) {
    const names = new Set(some.flatMap(({ it, startS }) => nextNames(it.stem, startS)))
    for (const few of someAtATime([...names])) {
      const rows = await change.tx
        .selectFrom('objects')
        .select('object_name')
        .where('bucket', '=', bucket)
        .where('object_name', 'in', few)
        .execute()
      for (const row of rows) taken.add(`${bucket}/${row.object_name}`)
    }
  }
  for (const each of wanted) {
    const { bucket, stem } = each.it
    const free = nextNames(stem, each.startS).findIndex((it) => !taken.has(`${bucket}/${it}`))
    each.startS += free < 0 ? NAMES_AT_ONCE : free + 1
  }
}

function nextNames(stem: string, startS: number): string[] {
  return Array.from({ length: NAMES_AT_ONCE }, (_, i) => objectName(stem, startS + 1 + i))
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
