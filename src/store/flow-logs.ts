import type { ExpressionBuilder } from 'kysely'
import type { Assignment, Binding, DeliveryPlace } from '../model/agent-protocol.ts'
import { WeirError } from '../model/errors.ts'
import type { Action, Direction } from '../model/flow-log.ts'
import { touchAssignments } from './agents.ts'
import { someAtATime } from './batches.ts'
import { recordCarriers } from './claims.ts'
import { prepared, preparedInsert } from './prepared.ts'
import type { FlowLogRow, Tables } from './schema.ts'
import { type Change, type Db, isUniqueViolation } from './store.ts'

export interface NewFlowLog {
  id: string
  interfaceId: string
  contractNumber: number
  action: Action
  direction: Direction
  bucket: string
  prefix: string
  /** Undefined when every agent is to look for the MAC address. */
  host: string | undefined
  binding: Binding
}

export async function insertFlowLog(change: Change, it: NewFlowLog): Promise<void> {
  const host = it.host ?? null
  const versions = await touchAssignments(change, host)
  const row = {
    id: it.id,
    interface_id: it.interfaceId,
    contract_number: it.contractNumber,
    action: it.action,
    direction: it.direction,
    bucket: it.bucket,
    prefix: it.prefix,
    host,
    assigned_version: versionOf(versions, host),
    binding: JSON.stringify(it.binding),
    created_at: change.nowMs,
    objects: 0,
    octets: 0,
    records: 0,
  }
  try {
    await insertRow(change.tx, row)
  } catch (cause) {
    if (!isUniqueViolation(cause)) throw cause
    throw new WeirError('WEIR_FLOW_LOG_EXISTS', `${it.interfaceId} already has a flow log`, { cause })
  }
}

const insertRow = preparedInsert('flow_logs')

/** 0 for what is offered to all hosts: such a change is told with all their assignments. */
function versionOf(versions: ReadonlyMap<string, number>, host: string | null): number {
  return host === null ? 0 : (versions.get(host) ?? 0)
}

/** Withdraws the assignments. The rows stay: what was captured is still to be delivered. */
export async function removeFlowLogs(change: Change, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const row = await change.tx
      .updateTable('flow_logs')
      .set({ deleted_at: change.nowMs })
      .where('id', '=', id)
      .where('deleted_at', 'is', null)
      .returning('host')
      .executeTakeFirst()
    if (row !== undefined) await withdraw(change, id, row.host)
  }
}

/** The interface of a flow log is now another device, perhaps of another host. */
export async function rebindFlowLog(
  change: Change,
  id: string,
  bound: { host: string | undefined; binding: Binding },
): Promise<void> {
  const row = await change.tx
    .selectFrom('flow_logs')
    .select(['host', 'binding'])
    .where('id', '=', id)
    .where('deleted_at', 'is', null)
    .executeTakeFirst()
  const binding = JSON.stringify(bound.binding)
  const host = bound.host ?? null
  if (row === undefined || (row.host === host && row.binding === binding)) return
  if (row.host !== host) await withdraw(change, id, row.host)
  const assigned_version = versionOf(await touchAssignments(change, host), host)
  await change.tx
    .updateTable('flow_logs')
    .set({ host, binding, assigned_version, claimed_by: null })
    .where('id', '=', id)
    .execute()
  let returning = change.tx.updateTable('points').set({ removed_version: null }).where('flow_log_id', '=', id)
  if (host !== null) returning = returning.where('host', '=', host)
  await returning.execute()
}

/**
 * Remembers from which version on a host's silence about the flow log means that nothing is captured any
 * more.
 */
async function withdraw(change: Change, id: string, host: string | null): Promise<void> {
  const versions = await touchAssignments(change, host)
  if (host !== null && versions.has(host)) {
    await recordCarriers(change, host, [id])
    const point = { state: 'assigned', device: null, message: null, reported_at: null } as const
    await change.tx
      .insertInto('points')
      .values({ flow_log_id: id, host, ...point, removed_version: null })
      .onConflict((it) => it.doNothing())
      .execute()
  }
  const points = await change.tx.selectFrom('points').select('host').where('flow_log_id', '=', id).execute()
  for (const point of points) {
    if (host !== null && point.host !== host) continue
    const version = versions.get(point.host) ?? 0
    await change.tx
      .updateTable('points')
      .set({ removed_version: version })
      .where('flow_log_id', '=', id)
      .where('host', '=', point.host)
      .execute()
  }
}

/** Nobody is offered anything any more: the next silence of an agent about such a flow log means that it is gone. */
export async function withdrawOffered(change: Change): Promise<void> {
  const offered = change.tx.selectFrom('flow_logs').select('id').where('host', 'is', null)
  await change.tx
    .updateTable('points')
    .set({ removed_version: 0 })
    .where('flow_log_id', 'in', offered)
    .where('removed_version', 'is', null)
    .execute()
}

const ASSIGNED = [
  'id',
  'interface_id',
  'contract_number',
  'action',
  'direction',
  'bucket',
  'prefix',
  'binding',
  'created_at',
] as const

/** Those of the host; with `offered` also those of no host, which it may claim. */
export async function assignmentsOf(
  db: Db,
  host: string,
  { offered }: { offered: boolean },
): Promise<Assignment[]> {
  const all = db.selectFrom('flow_logs').select(ASSIGNED).where('deleted_at', 'is', null)
  // Two questions, because SQLite answers one with an `or` by walking through everybody's.
  const bound = await all.where('host', '=', host).execute()
  const unbound = offered ? await all.where('host', 'is', null).execute() : []
  return [...bound, ...unbound].sort((a, b) => a.created_at - b.created_at).map(assignmentOf)
}

/** What has become of a host's assignments since a version that is not before its `wholeVersion`. */
export async function assignmentChanges(
  db: Db,
  host: string,
  sinceVersion: number,
): Promise<{ assignments: Assignment[]; withdrawn: string[] }> {
  // Asked first: what is withdrawn and comes back in between must be in both, and then it stays.
  const withdrawn = await selectWithdrawnSince(db, { host, version: sinceVersion })
  const assigned = await selectAssignedSince(db, { host, version: sinceVersion })
  return { assignments: assigned.map(assignmentOf), withdrawn: withdrawn.map((it) => it.flow_log_id) }
}

export interface HostVersion {
  host: string
  version: number
}

const selectWithdrawnSince = prepared((db, { host, version }: HostVersion) =>
  db
    .selectFrom('points')
    .select('flow_log_id')
    .where('host', '=', host)
    .where('removed_version', '>', version),
)

const selectAssignedSince = prepared((db, { host, version }: HostVersion) =>
  db
    .selectFrom('flow_logs')
    .select(ASSIGNED)
    .where('deleted_at', 'is', null)
    .where('host', '=', host)
    .where('assigned_version', '>', version)
    .orderBy('assigned_version'),
)

/**
 * Lets the hosts that carry or carried flow logs of a bucket know that what waits there is to be tried at once.
 * Returns these hosts; undefined when no flow log of the contract, deleted or not, names the bucket.
 */
export async function retryDelivery(change: Change, place: DeliveryPlace): Promise<string[] | undefined> {
  const named = change.tx
    .selectFrom('flow_logs')
    .where('contract_number', '=', place.contractNumber)
    .where('bucket', '=', place.bucket)
  if ((await named.select('id').limit(1).executeTakeFirst()) === undefined) return undefined
  const bound = named.select((it) => ['host', it.fn.min('id').as('flow_log_id')]).groupBy('host')
  const carried = change.tx
    .selectFrom('carriers')
    .select((it) => ['host', it.fn.min('flow_log_id').as('flow_log_id')])
    .where('flow_log_id', 'in', named.select('id'))
    .groupBy('host')
  const found = [...(await bound.execute()), ...(await carried.execute())]
  // One flow log stands for the bucket.
  const hosts = new Map(found.flatMap((it) => (it.host === null ? [] : [[it.host, it.flow_log_id]])))
  const names = [...hosts.keys()].sort()
  for (const host of names) {
    const retry_version = versionOf(await touchAssignments(change, host), host)
    await change.tx
      .insertInto('carriers')
      .values({ flow_log_id: hosts.get(host)!, host, retry_version })
      .onConflict((on) => on.columns(['flow_log_id', 'host']).doUpdateSet({ retry_version }))
      .execute()
  }
  return names
}

/** What is to be tried at once since a version. */
export async function retriesSince(db: Db, host: string, sinceVersion: number): Promise<DeliveryPlace[]> {
  const rows = await selectRetriesSince(db, { host, version: sinceVersion })
  return rows.map((it) => ({ contractNumber: it.contract_number, bucket: it.bucket }))
}

const selectRetriesSince = prepared((db, { host, version }: HostVersion) =>
  db
    .selectFrom('carriers')
    .innerJoin('flow_logs', 'flow_logs.id', 'carriers.flow_log_id')
    .select(['flow_logs.contract_number', 'flow_logs.bucket'])
    .distinct()
    .where('carriers.host', '=', host)
    .where('carriers.retry_version', '>', 0) // As the index says it.
    .where('carriers.retry_version', '>', version),
)

function assignmentOf(it: Pick<FlowLogRow, (typeof ASSIGNED)[number]>): Assignment {
  return {
    flowLogId: it.id,
    interfaceId: it.interface_id,
    contractNumber: it.contract_number,
    action: it.action,
    direction: it.direction,
    bucket: it.bucket,
    prefix: it.prefix,
    binding: JSON.parse(it.binding) as Binding,
  }
}

export function findFlowLogs(db: Db, ids: readonly string[]): Promise<FlowLogRow[]> {
  if (ids.length === 0) return Promise.resolve([])
  return db.selectFrom('flow_logs').selectAll().where('id', 'in', ids).execute()
}

export function listFlowLogs(db: Db, contractNumber: number | undefined): Promise<FlowLogRow[]> {
  let query = db.selectFrom('flow_logs').selectAll().where('deleted_at', 'is', null).orderBy('created_at')
  if (contractNumber !== undefined) query = query.where('contract_number', '=', contractNumber)
  return query.execute()
}

/** Of these flow logs, those that the host carries or carried, and may therefore deliver for. */
export async function carriedBy(db: Db, host: string, ids: readonly string[]): Promise<FlowLogRow[]> {
  const found: FlowLogRow[] = []
  for (const some of someAtATime(ids)) {
    const rows = await db
      .selectFrom('flow_logs')
      .selectAll()
      .where('id', 'in', some)
      .where((it) => it.or([it('host', '=', host), wasCarriedBy(it, host)]))
      .execute()
    found.push(...rows)
  }
  return found
}

/** Looked up for each row: a host may have carried thousands of flow logs. */
export function wasCarriedBy(it: ExpressionBuilder<Tables, 'flow_logs'>, host: string) {
  return it.exists(
    it
      .selectFrom('carriers')
      .select('carriers.host')
      .whereRef('carriers.flow_log_id', '=', 'flow_logs.id')
      .where('carriers.host', '=', host),
  )
}

export interface DeliveryError {
  flowLogIds: readonly string[]
  message: string
}

export async function recordDeliveryErrors(change: Change, errors: readonly DeliveryError[]): Promise<void> {
  const byMessage = Map.groupBy(errors, (it) => it.message)
  for (const [message, same] of byMessage) {
    const ids = [...new Set(same.flatMap((it) => it.flowLogIds))].sort()
    for (const some of someAtATime(ids)) {
      await change.tx
        .updateTable('flow_logs')
        .set({ last_error: message, last_error_at: change.nowMs })
        .where('id', 'in', some)
        .execute()
    }
  }
}
