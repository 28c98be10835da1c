import { sql } from 'kysely'
import type { Change, Db } from './store.ts'

// What replicas tell each other through PostgreSQL of the flows that somebody looks at.

export interface LivePoint {
  host: string
  flowLogId: string
}

/** The database's clock: replicas need not agree on theirs. */
const NOW_MS = sql<number>`(extract(epoch from clock_timestamp()) * 1000)::bigint`

export async function wantLive(change: Change, points: LivePoint[], forMs: number): Promise<void> {
  const until = sql<number>`${NOW_MS} + ${forMs}`
  await change.tx
    .insertInto('live_wanted')
    .values(points.map((it) => ({ host: it.host, flow_log_id: it.flowLogId, until_ms: until })))
    .onConflict((it) => it.columns(['host', 'flow_log_id']).doUpdateSet({ until_ms: until }))
    .execute()
}

/** What is wanted of these hosts: flow logs in order of their ids, and until when at least. */
export async function liveWanted(
  db: Db,
  hosts: string[],
): Promise<{ host: string; flowLogId: string; forMs: number }[]> {
  if (hosts.length === 0) return []
  return db
    .selectFrom('live_wanted')
    .select(['host', 'flow_log_id as flowLogId', sql<number>`until_ms - ${NOW_MS}`.as('forMs')])
    .where('host', 'in', hosts)
    .where('until_ms', '>', NOW_MS)
    .orderBy('flow_log_id')
    .execute()
}

export async function tellLive(
  change: Change,
  host: string,
  it: { told: { flowLogId: string; text: string }[]; forMs: number },
): Promise<void> {
  const until_ms = sql<number>`${NOW_MS} + ${it.forMs}`
  const rows = it.told.map(({ flowLogId, text }) => ({
    host,
    flow_log_id: flowLogId,
    told: text,
    told_ms: NOW_MS,
    until_ms,
  }))
  await change.tx
    .insertInto('live_told')
    .values(rows)
    .onConflict((on) =>
      on.columns(['host', 'flow_log_id']).doUpdateSet((row) => ({
        told: row.ref('excluded.told'),
        told_ms: row.ref('excluded.told_ms'),
        until_ms: row.ref('excluded.until_ms'),
      })),
    )
    .execute()
}

/** The newest of each, as far as it is not out of date. */
export async function liveTold(
  db: Db,
  points: LivePoint[],
): Promise<(LivePoint & { text: string; ageMs: number })[]> {
  if (points.length === 0) return []
  return db
    .selectFrom('live_told')
    .select([
      'host',
      'flow_log_id as flowLogId',
      'told as text',
      sql<number>`${NOW_MS} - told_ms`.as('ageMs'),
    ])
    .where('flow_log_id', 'in', [...new Set(points.map((it) => it.flowLogId))])
    .where('until_ms', '>', NOW_MS)
    .execute()
}

export async function forgetLive(change: Change): Promise<void> {
  await change.tx.deleteFrom('live_wanted').where('until_ms', '<=', NOW_MS).execute()
  await change.tx.deleteFrom('live_told').where('until_ms', '<=', NOW_MS).execute()
}
