import type { AgentReport } from '../model/agent-protocol.ts'
import { someAtATime } from './batches.ts'
import { claim } from './claims.ts'
import { type HostVersion, wasCarriedBy } from './flow-logs.ts'
import { prepared } from './prepared.ts'
import { lockDatacentersOf } from './resources.ts'
import type { PointRow } from './schema.ts'
import type { Change, Db } from './store.ts'

// What agents say about the devices of their flow logs.

/**
 * Takes over what an agent says about its flow logs. Returns those whose state changed: requests may be
 * waiting for them.
 */
export async function recordPoints(
  change: Change,
  host: string,
  report: Report,
  { offered }: { offered: boolean },
): Promise<string[]> {
  const { news, gone } = await differences(change.tx, host, report)
  // Before anything is written, like everybody who finishes requests.
  await lockDatacentersOf(change, [...news.keys(), ...gone])
  const changed = await concerning(change.tx, host, [...news.keys()], { offered })
  for (const some of someAtATime(changed)) {
    const points = some.map((id) => news.get(id)!)
    await recordStates(change, host, points)
    const attached = points.filter((it) => it.state === 'attached').map((it) => it.flowLogId)
    if (attached.length > 0) await recordAttached(change, host, attached)
  }
  for (const some of someAtATime(gone)) {
    await change.tx.deleteFrom('points').where('host', '=', host).where('flow_log_id', 'in', some).execute()
  }
  return [...changed, ...gone]
}

async function recordStates(change: Change, host: string, points: AgentReport['points']): Promise<void> {
  const rows = points.map((it) => ({
    flow_log_id: it.flowLogId,
    host,
    state: it.state,
    device: it.device ?? null,
    message: it.message ?? null,
    reported_at: change.nowMs,
    removed_version: null,
  }))
  await upsertPoints(change.tx, { rows })
}

const upsertPoints = prepared((db, { rows }: { rows: PointRow[] }) =>
  db
    .insertInto('points')
    .values(rows)
    .onConflict((on) =>
      on.columns(['flow_log_id', 'host']).doUpdateSet((it) => ({
        state: it.ref('excluded.state'),
        device: it.ref('excluded.device'),
        message: it.ref('excluded.message'),
        reported_at: it.ref('excluded.reported_at'),
      })),
    ),
)

async function recordAttached(change: Change, host: string, ids: readonly string[]): Promise<void> {
  await claim(change, host, ids, { refusals: true })
  await makeAvailable(change.tx, { ids }) // What could not be attached at first is attached after all.
}

const makeAvailable = prepared((db, { ids }: { ids: readonly string[] }) =>
  db
    .updateTable('resources')
    .set({ state: 'AVAILABLE' })
    .where('id', 'in', ids)
    .where('state', '=', 'INACTIVE'),
)

type Report = { version: number; points: AgentReport['points'] }

/** Whether `recordPoints` might write anything: most reports say nothing. */
export async function saysNews(db: Db, host: string, { version, points }: Report): Promise<boolean> {
  return points.length > 0 || (await selectWithdrawnUntil(db, { host, version })).length > 0
}

/** A report need not repeat what was said before: only of a withdrawn flow log does silence say something. */
async function differences(
  db: Db,
  host: string,
  report: Report,
): Promise<{ news: Map<string, AgentReport['points'][number]>; gone: string[] }> {
  const said = new Map(report.points.map((it) => [it.flowLogId, it]))
  const news = new Map(said)
  for (const some of someAtATime([...said.keys()])) {
    const before = await selectSaid(db, { host, ids: some })
    for (const { flow_log_id: id, state, device, message } of before) {
      const it = said.get(id)!
      const isSame = state === it.state && device === (it.device ?? null) && message === (it.message ?? null)
      if (isSame) news.delete(id)
    }
  }
  // Silence of an agent that does not know of a withdrawal yet says nothing.
  const withdrawn = await selectWithdrawnUntil(db, { host, version: report.version })
  return { news, gone: withdrawn.map((it) => it.flow_log_id).filter((id) => !said.has(id)) }
}

interface HostIds {
  host: string
  ids: readonly string[]
}

const selectSaid = prepared((db, { host, ids }: HostIds) =>
  db
    .selectFrom('points')
    .select(['flow_log_id', 'state', 'device', 'message'])
    .where('host', '=', host)
    .where('flow_log_id', 'in', ids),
)

const selectWithdrawnUntil = prepared((db, { host, version }: HostVersion) =>
  db
    .selectFrom('points')
    .select('flow_log_id')
    .where('host', '=', host)
    .where('removed_version', '<=', version),
)

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
    const select = offered ? selectOfferedOrCarried : selectCarried
    const rows = await select(db, { host, ids: some })
    found.push(...rows.map((it) => it.id))
  }
  return found
}

const selectOfferedOrCarried = prepared((db, { host, ids }: HostIds) =>
  db
    .selectFrom('flow_logs')
    .select('id')
    .where('id', 'in', ids)
    .where((it) => it.or([it('host', '=', host), it('host', 'is', null), wasCarriedBy(it, host)])),
)

const selectCarried = prepared((db, { host, ids }: HostIds) =>
  db
    .selectFrom('flow_logs')
    .select('id')
    .where('id', 'in', ids)
    .where((it) => it.or([it('host', '=', host), wasCarriedBy(it, host)])),
)

/** The hosts that say something of these flow logs, or carried them: they may still deliver. */
export async function hostsOf(db: Db, flowLogIds: readonly string[]): Promise<string[]> {
  const hosts: string[] = []
  for (const some of someAtATime(flowLogIds)) {
    const rows = await db
      .selectFrom('points')
      .select('host')
      .where('flow_log_id', 'in', some)
      .union(db.selectFrom('carriers').select('host').where('flow_log_id', 'in', some))
      .execute()
    for (const { host } of rows) hosts.push(host)
  }
  return hosts
}

export function pointsOf(db: Db, flowLogIds: readonly string[]): Promise<PointRow[]> {
  if (flowLogIds.length === 0) return Promise.resolve([])
  return db.selectFrom('points').selectAll().where('flow_log_id', 'in', flowLogIds).execute()
}

/** What agents say about a flow log that is not deleted; undefined when it is. */
export async function attachmentOf(
  db: Db,
  flowLogId: string,
): Promise<Pick<PointRow, 'host' | 'state' | 'message'>[] | undefined> {
  const rows = await selectAttachment(db, { flowLogId })
  if (rows.length === 0) return undefined
  return rows.flatMap(({ host, state, message }) =>
    host === null || state === null ? [] : [{ host, state, message }],
  )
}

const selectAttachment = prepared((db, { flowLogId }: { flowLogId: string }) =>
  db
    .selectFrom('flow_logs')
    .leftJoin('points', 'points.flow_log_id', 'flow_logs.id')
    .select(['points.host', 'points.state', 'points.message'])
    .where('flow_logs.id', '=', flowLogId)
    .where('flow_logs.deleted_at', 'is', null),
)

/** Whether a host from which the flow log was withdrawn, and which was heard of since, still has it. */
export async function isBeingDetached(db: Db, flowLogId: string, liveSinceMs: number): Promise<boolean> {
  const row = await db
    .selectFrom('points')
    .innerJoin('agents', 'agents.host', 'points.host')
    .select('points.host')
    .where('points.flow_log_id', '=', flowLogId)
    .where('points.removed_version', 'is not', null)
    .where('agents.last_seen_at', '>=', liveSinceMs)
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
}
