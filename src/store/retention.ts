import type { Change } from './store.ts'

const DAY_MS = 86_400_000
/** Of each kind, at a time. */
export const OUTDATED_MAX = 100

/** How long what nobody can need any more is kept. What is open, live or undelivered stays, however old. */
export const KEPT_MS = {
  requests: 30 * DAY_MS,
  audit: 365 * DAY_MS,
  /** Deleted flow logs, whose last segments may still come; far longer than an agent keeps a segment. */
  flowLogs: 30 * DAY_MS,
  /** Delivered objects: until then, a repeated upload of the segment is answered from memory. */
  objects: 30 * DAY_MS,
  tokens: 30 * DAY_MS,
} as const

/**
 * Deletes a bounded number of rows of each kind. Returns how many that were. What is written at every change has no
 * index by age: the oldest are looked at, which their ordinals tell.
 */
export async function deleteOutdated(change: Change, rowsMax = OUTDATED_MAX): Promise<number> {
  const { tx, nowMs } = change
  const requests = await tx
    .selectFrom((from) =>
      from
        .selectFrom('requests')
        .select(['id', 'finished_at'])
        .where('finished_at', 'is not', null)
        .orderBy('ordinal')
        .limit(rowsMax)
        .as('oldest'),
    )
    .select('id')
    .where('finished_at', '<', nowMs - KEPT_MS.requests)
    .execute()
  const flowLogs = await tx
    .selectFrom('flow_logs')
    .select('id')
    .where('deleted_at', '<', nowMs - KEPT_MS.flowLogs)
    .limit(rowsMax)
    .execute()
  const objects = await tx
    .selectFrom('objects')
    .select(['host', 'segment_id'])
    .where('delivered_at', '<', nowMs - KEPT_MS.objects)
    .limit(rowsMax)
    .execute()
  for (const { id } of requests) {
    await tx.deleteFrom('request_targets').where('request_id', '=', id).execute()
    await tx.deleteFrom('requests').where('id', '=', id).execute()
  }
  for (const { id } of flowLogs) {
    await tx.deleteFrom('carriers').where('flow_log_id', '=', id).execute()
    await tx.deleteFrom('points').where('flow_log_id', '=', id).execute()
    await tx.deleteFrom('flow_logs').where('id', '=', id).execute()
  }
  for (const { host, segment_id } of objects) {
    await tx.deleteFrom('objects').where('host', '=', host).where('segment_id', '=', segment_id).execute()
  }
  return requests.length + flowLogs.length + objects.length + (await deleteSmall(change, rowsMax))
}

async function deleteSmall({ tx, nowMs }: Change, rowsMax: number): Promise<number> {
  const outdated = nowMs - KEPT_MS.tokens
  const oldest = tx
    .selectFrom('audit')
    .select(['ordinal', 'at'])
    .orderBy('ordinal')
    .limit(rowsMax)
    .as('oldest')
  const lines = tx
    .selectFrom(oldest)
    .select('ordinal')
    .where('at', '<', nowMs - KEPT_MS.audit)
  const tokens = tx
    .selectFrom('tokens')
    .select('id')
    .where((it) => it.or([it('expires_at', '<', outdated), it('revoked_at', '<', outdated)]))
    .limit(rowsMax)
  const agentTokens = tx
    .selectFrom('agent_tokens')
    .select('id')
    .where('revoked_at', '<', outdated)
    .limit(rowsMax)
  const enrolments = tx
    .selectFrom('enrolments')
    .select('hash')
    .where('expires_at', '<', outdated)
    .limit(rowsMax)
  const deletions = [
    tx.deleteFrom('audit').where('ordinal', 'in', lines),
    tx.deleteFrom('tokens').where('id', 'in', tokens),
    tx.deleteFrom('agent_tokens').where('id', 'in', agentTokens),
    tx.deleteFrom('enrolments').where('hash', 'in', enrolments),
  ]
  let count = 0
  for (const it of deletions) count += Number((await it.executeTakeFirst()).numDeletedRows)
  return count
}
