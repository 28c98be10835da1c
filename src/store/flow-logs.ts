import type { ExpressionBuilder } from 'kysely'
import type { AgentReport, Assignment, Binding } from '../model/agent-protocol.ts'
import { WeirError } from '../model/errors.ts'
import type { Action, Direction } from '../model/flow-log.ts'
import { touchAssignments } from './agents.ts'
import { someAtATime } from './batches.ts'
import type { FlowLogRow, PointRow, Tables } from './schema.ts'
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
  const row: FlowLogRow = {
    id: it.id,
    interface_id: it.interfaceId,
    contract_number: it.contractNumber,
    action: it.action,
    direction: it.direction,
    bucket: it.bucket,
    prefix: it.prefix,
    host: it.host ?? null,
    binding: JSON.stringify(it.binding),
    created_at: change.nowMs,
    deleted_at: null,
    objects: 0,
    octets: 0,
    records: 0,
    last_object: null,
    last_delivered_at: null,
    last_error: null,
    last_error_at: null,
  }
  try {
    await change.tx.insertInto('flow_logs').values(row).execute()
  } catch (cause) {
    if (!isUniqueViolation(cause)) throw cause
    throw new WeirError('WEIR_FLOW_LOG_EXISTS', `${it.interfaceId} already has a flow log`, { cause })
  }
  await touchAssignments(change, row.host)
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
  await change.tx.updateTable('flow_logs').set({ host, binding }).where('id', '=', id).execute()
  if (row.host !== host) await withdraw(change, id, row.host)
  let returning = change.tx.updateTable('points').set({ removed_version: null }).where('flow_log_id', '=', id)
  if (host !== null) returning = returning.where('host', '=', host)
  await returning.execute()
  await touchAssignments(change, host)
}

/**
 * Remembers from which version on a host's silence about the flow log means that nothing is captured any
 * more.
 */
async function withdraw(change: Change, id: string, host: string | null): Promise<void> {
  const versions = new Map((await touchAssignments(change, host)).map((it) => [it.host, it.version]))
  if (host !== null && versions.has(host)) {
    const row = { flow_log_id: id, host }
    await change.tx
      .insertInto('carriers')
      .values(row)
      .onConflict((it) => it.doNothing())
      .execute()
    const point = { state: 'assigned', device: null, message: null, reported_at: null } as const
    await change.tx
      .insertInto('points')
      .values({ ...row, ...point, removed_version: null })
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

export async function assignmentsOf(db: Db, host: string): Promise<Assignment[]> {
  const all = db.selectFrom('flow_logs').select(ASSIGNED).where('deleted_at', 'is', null)
  // Two questions, because SQLite answers one with an `or` by walking through everybody's.
  const bound = await all.where('host', '=', host).execute()
  const offered = await all.where('host', 'is', null).execute()
  const rows = [...bound, ...offered].sort((a, b) => a.created_at - b.created_at)
  return rows.map((it) => ({
    flowLogId: it.id,
    interfaceId: it.interface_id,
    contractNumber: it.contract_number,
    action: it.action,
    direction: it.direction,
    bucket: it.bucket,
    prefix: it.prefix,
    binding: JSON.parse(it.binding) as Binding,
  }))
}

/**
 * Takes over what an agent says about its flow logs. Returns those whose state changed: requests may be
 * waiting for them.
 */
export async function recordPoints(change: Change, host: string, report: Report): Promise<string[]> {
  const known = new Map((await pointsOfHost(change.tx, host)).map((it) => [it.flow_log_id, it]))
  const { news, gone } = differences(known, report)
  const changed: string[] = []
  for (const point of await concerning(change.tx, host, [...news.keys()], { offered: true })) {
    const it = news.get(point)!
    const before = known.get(point)
    const device = it.device ?? null
    const message = it.message ?? null
    await change.tx
      .insertInto('points')
      .values({
        flow_log_id: point,
        host,
        state: it.state,
        device,
        message,
        reported_at: change.nowMs,
        removed_version: before?.removed_version ?? null,
      })
      .onConflict((on) =>
        on
          .columns(['flow_log_id', 'host'])
          .doUpdateSet({ state: it.state, device, message, reported_at: change.nowMs }),
      )
      .execute()
    if (it.state === 'attached') {
      await change.tx
        .insertInto('carriers')
        .values({ flow_log_id: point, host })
        .onConflict((on) => on.doNothing())
        .execute()
      await revive(change, point)
    }
    changed.push(point)
  }
  for (const id of gone) {
    await change.tx.deleteFrom('points').where('flow_log_id', '=', id).where('host', '=', host).execute()
    changed.push(id)
  }
  return changed
}

type Report = { version: number; points: AgentReport['points'] }

/** Whether `recordPoints` would write anything: most reports say what the last one said. */
export async function saysNews(db: Db, host: string, report: Report): Promise<boolean> {
  const known = new Map((await pointsOfHost(db, host)).map((it) => [it.flow_log_id, it]))
  const { news, gone } = differences(known, report)
  return news.size > 0 || gone.length > 0
}

function differences(
  known: Map<string, KnownPoint>,
  report: Report,
): { news: Map<string, AgentReport['points'][number]>; gone: string[] } {
  const news: AgentReport['points'] = []
  const silent = new Set(known.keys())
  for (const it of report.points) {
    silent.delete(it.flowLogId)
    const before = known.get(it.flowLogId)
    const isSame =
      before !== undefined &&
      before.state === it.state &&
      before.device === (it.device ?? null) &&
      before.message === (it.message ?? null)
    if (!isSame) news.push(it)
  }
  const gone = [...silent].filter((id) => isGone(known.get(id)!, report.version))
  return { news: new Map(news.map((it) => [it.flowLogId, it])), gone }
}

/** What could not be attached at first is attached after all. */
async function revive(change: Change, id: string): Promise<void> {
  await change.tx
    .updateTable('resources')
    .set({ state: 'AVAILABLE' })
    .where('id', '=', id)
    .where('state', '=', 'INACTIVE')
    .execute()
}

/** Silence of an agent that does not know of a withdrawal yet says nothing. */
function isGone(point: KnownPoint, reportedVersion: number): boolean {
  return point.removed_version !== null && reportedVersion >= point.removed_version
}

/** Of these flow logs, those that the host carries or carried. */
export function carriedIds(db: Db, host: string, ids: readonly string[]): Promise<string[]> {
  return concerning(db, host, ids, { offered: false })
}

/** Of these flow logs, the ones that this host may speak about; `offered` ones are those of no host yet. */
async function concerning(
  db: Db,
  host: string,
  ids: readonly string[],
  { offered }: { offered: boolean },
): Promise<string[]> {
  const found: string[] = []
  for (const some of someAtATime(ids)) {
    const rows = await db
      .selectFrom('flow_logs')
      .select('id')
      .where('id', 'in', some)
      .where((it) =>
        it.or([it('host', '=', host), ...(offered ? [it('host', 'is', null)] : []), wasCarriedBy(it, host)]),
      )
      .execute()
    found.push(...rows.map((it) => it.id))
  }
  return found
}

type KnownPoint = Omit<PointRow, 'host' | 'reported_at'>

function pointsOfHost(db: Db, host: string): Promise<KnownPoint[]> {
  const columns = ['flow_log_id', 'state', 'device', 'message', 'removed_version'] as const
  return db.selectFrom('points').select(columns).where('host', '=', host).execute()
}

export function pointsOf(db: Db, flowLogIds: readonly string[]): Promise<PointRow[]> {
  if (flowLogIds.length === 0) return Promise.resolve([])
  return db.selectFrom('points').selectAll().where('flow_log_id', 'in', flowLogIds).execute()
}

/** What must be known to tell whether a flow log is attached, or gone. */
export async function attachment(
  db: Db,
  flowLogId: string,
  liveSinceMs: number,
): Promise<{ deleted: boolean; points: PointRow[]; withdrawnFromLiveHosts: number }> {
  const row = await db
    .selectFrom('flow_logs')
    .select('deleted_at')
    .where('id', '=', flowLogId)
    .executeTakeFirst()
  const points = await pointsOf(db, [flowLogId])
  const withdrawn = points.filter((it) => it.removed_version !== null).map((it) => it.host)
  let live = 0
  if (withdrawn.length > 0) {
    const rows = await db
      .selectFrom('agents')
      .select('host')
      .where('host', 'in', withdrawn)
      .where('last_seen_at', '>=', liveSinceMs)
      .execute()
    live = rows.length
  }
  return { deleted: row === undefined || row.deleted_at !== null, points, withdrawnFromLiveHosts: live }
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
function wasCarriedBy(it: ExpressionBuilder<Tables, 'flow_logs'>, host: string) {
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
