import { insertAudit } from './audit.ts'
import { someAtATime } from './batches.ts'
import { prepared } from './prepared.ts'
import type { FlowLogRow, PointRow } from './schema.ts'
import type { Change, Db, Store } from './store.ts'

// A flow log of no host is offered to all, and whose agent says first that it has the interface gets it: a claim.

/** A host that was not heard of for this long may lose what it claimed to another one that has the interface, too. */
const CLAIM_KEPT_MS = 60_000

/**
 * Gives the host those of these flow logs that are of no host and that no other host holds. Who gets one may deliver for
 * it from then on. The contract's owner reads in the audit log who got what and, with `refusals`, who did not.
 */
export async function claim(
  change: Change,
  host: string,
  ids: readonly string[],
  { refusals }: { refusals: boolean },
): Promise<void> {
  for (const some of someAtATime(ids)) {
    const offered = await offeredOf(change, some)
    if (offered.length === 0) continue
    const held = await heldByOthers(change, host, some)
    const free = offered.filter((it) => !held.has(it.id))
    const news = free.filter((it) => it.claimed_by !== host)
    if (news.length > 0) {
      await change.tx
        .updateTable('flow_logs')
        .set({ claimed_by: host })
        .where(
          'id',
          'in',
          news.map((it) => it.id),
        )
        .execute()
    }
    await recordCarriers(
      change,
      host,
      free.map((it) => it.id),
    )
    const refused = refusals ? offered.filter((it) => held.has(it.id)) : []
    const audit = [
      ...news.map((it) => auditOf(change, host, it, 200)),
      ...refused.map((it) => auditOf(change, host, it, 409)),
    ]
    await insertAudit(change, audit)
  }
}

/** The same for what the host had asked for before, and another one may have left since. Returns whether it had any. */
export async function claimAgain(store: Store, host: string, ids: readonly string[]): Promise<boolean> {
  const attached: string[] = []
  for (const some of someAtATime(ids)) {
    const rows = await store.db
      .selectFrom('points')
      .innerJoin('flow_logs', 'flow_logs.id', 'points.flow_log_id')
      .select('flow_logs.id')
      .where('flow_logs.id', 'in', some)
      .where('flow_logs.host', 'is', null)
      .where('points.host', '=', host)
      .where('points.state', '=', 'attached')
      .execute()
    attached.push(...rows.map((it) => it.id))
  }
  if (attached.length > 0) await store.change((change) => claim(change, host, attached, { refusals: false }))
  return attached.length > 0
}

export async function recordCarriers(change: Change, host: string, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return
  await insertCarriers(change.tx, { rows: ids.map((id) => ({ flow_log_id: id, host })) })
}

const insertCarriers = prepared((db, { rows }: { rows: { flow_log_id: string; host: string }[] }) =>
  db
    .insertInto('carriers')
    .values(rows)
    .onConflict((on) => on.doNothing()),
)

type Offered = Pick<FlowLogRow, 'id' | 'contract_number' | 'claimed_by'>

async function offeredOf(change: Change, ids: readonly string[]): Promise<Offered[]> {
  // Of two that claim at once, one must see that it is late. SQLite has one writer anyway.
  return (change.dialect === 'sqlite' ? selectOffered : lockOffered)(change.tx, { ids })
}

type Ids = { ids: readonly string[] }
const selectOffered = prepared((db, { ids }: Ids) => offeredAmong(db, ids))
const lockOffered = prepared((db, { ids }: Ids) => offeredAmong(db, ids).forUpdate())

function offeredAmong(db: Db, ids: readonly string[]) {
  return db
    .selectFrom('flow_logs')
    .select(['id', 'contract_number', 'claimed_by'])
    .where('id', 'in', ids)
    .where('host', 'is', null)
    .orderBy('id')
}

/** Claimed by a host that is let in, was heard of lately, and has not said since that the interface has left it. */
async function heldByOthers(change: Change, host: string, ids: readonly string[]): Promise<Set<string>> {
  const rows = await change.tx
    .selectFrom('flow_logs')
    .innerJoin('points', (join) =>
      join
        .onRef('points.flow_log_id', '=', 'flow_logs.id')
        .onRef('points.host', '=', 'flow_logs.claimed_by')
        .on('points.state', '=', 'attached'),
    )
    .innerJoin('agents', 'agents.host', 'points.host')
    .select('flow_logs.id')
    .where('flow_logs.id', 'in', ids)
    .where('flow_logs.claimed_by', '!=', host)
    .where('agents.last_seen_at', '>=', change.nowMs - CLAIM_KEPT_MS)
    .where((it) =>
      it.exists(
        it
          .selectFrom('agent_tokens')
          .select('agent_tokens.id')
          .whereRef('agent_tokens.host', '=', 'agents.host')
          .where('agent_tokens.revoked_at', 'is', null),
      ),
    )
    .execute()
  return new Set(rows.map((it) => it.id))
}

/** Whether the host says that it has what another one has claimed and says so, too: `points` are those of the flow log. */
export function isContested(
  flowLog: Pick<FlowLogRow, 'host' | 'claimed_by'>,
  point: PointRow,
  points: readonly PointRow[],
): boolean {
  const { host, claimed_by: holder } = flowLog
  if (host !== null || holder === null || point.host === holder || point.state !== 'attached') return false
  return points.some((it) => it.host === holder && it.state === 'attached')
}

/** Flow logs of no host that a host says it has, though another one claimed them and says so, too. */
export async function contestedFlowLogs(db: Db): Promise<number> {
  const row = await db
    .selectFrom('flow_logs')
    .innerJoin('points as holder', (join) =>
      join
        .onRef('holder.flow_log_id', '=', 'flow_logs.id')
        .onRef('holder.host', '=', 'flow_logs.claimed_by')
        .on('holder.state', '=', 'attached'),
    )
    .innerJoin('points as other', (join) =>
      join
        .onRef('other.flow_log_id', '=', 'flow_logs.id')
        .onRef('other.host', '!=', 'flow_logs.claimed_by')
        .on('other.state', '=', 'attached'),
    )
    .select((it) => it.fn.count('flow_logs.id').distinct().as('count'))
    .where('flow_logs.host', 'is', null)
    .where('flow_logs.deleted_at', 'is', null)
    .executeTakeFirstOrThrow()
  return Number(row.count)
}

function auditOf(change: Change, host: string, it: Offered, status: number) {
  return {
    contractNumber: it.contract_number,
    atMs: change.nowMs,
    userId: '',
    email: `agent of ${host}`,
    address: host,
    method: 'CLAIM',
    path: `/weir/v1/flowlogs/${it.id}`,
    status,
    requestId: null,
  }
}
