import { randomUUID } from 'node:crypto'
import type { AgentHealth } from '../model/agent-protocol.ts'
import { someAtATime } from './batches.ts'
import { prepared } from './prepared.ts'
import type { AgentRow } from './schema.ts'
import { hashToken, newToken } from './secrets.ts'
import type { Change, Db } from './store.ts'

/** Makes the host known, if it is not; who gives it tokens at the same time waits. */
async function ensureAgent(change: Change, host: string): Promise<void> {
  const unheard = {
    last_seen_at: null,
    agent_version: null,
    started_at: null,
    health: null,
    twin_seen_at: null,
  }
  await change.tx
    .insertInto('agents')
    .values({ host, version: 1, whole_version: 0, told_version: 1, ...unheard })
    .onConflict((it) => it.column('host').doUpdateSet({ host }))
    .execute()
}

/** A token that opens the agent protocol for this host and nothing else. */
export async function issueAgentToken(
  change: Change,
  options: { host: string; purpose: string },
): Promise<string> {
  await ensureAgent(change, options.host)
  return insertToken(change, options)
}

/** The same in the place of those that the host had for this purpose: with two, two agents would meter, and deliver, all twice. */
export async function renewAgentToken(
  change: Change,
  options: { host: string; purpose: string },
): Promise<string> {
  await ensureAgent(change, options.host)
  await change.tx
    .updateTable('agent_tokens')
    .set({ revoked_at: change.nowMs })
    .where('host', '=', options.host)
    .where('purpose', '=', options.purpose)
    .where('revoked_at', 'is', null)
    .execute()
  return insertToken(change, options)
}

async function insertToken(change: Change, options: { host: string; purpose: string }): Promise<string> {
  const token = newToken('agent')
  const row = {
    id: randomUUID(),
    hash: hashToken(token),
    host: options.host,
    purpose: options.purpose,
    created_at: change.nowMs,
    revoked_at: null,
  }
  await change.tx.insertInto('agent_tokens').values(row).execute()
  return token
}

/** Shuts a host out: none of its tokens opens anything any more. */
export async function revokeAgent(change: Change, host: string): Promise<void> {
  await change.tx
    .updateTable('agent_tokens')
    .set({ revoked_at: change.nowMs })
    .where('host', '=', host)
    .where('revoked_at', 'is', null)
    .execute()
}

export async function findAgentToken(db: Db, token: string): Promise<string | undefined> {
  return (await selectToken(db, { hash: hashToken(token) }))[0]?.host
}

const selectToken = prepared((db, { hash }: { hash: string }) =>
  db.selectFrom('agent_tokens').select('host').where('hash', '=', hash).where('revoked_at', 'is', null),
)

/** The version of a host's assignments, and the oldest one since which changes can be told one by one. */
export async function assignmentsVersion(
  db: Db,
  host: string,
): Promise<{ version: number; wholeVersion: number }> {
  const [row] = await selectVersion(db, { host })
  if (row === undefined) return { version: 0, wholeVersion: 0 }
  const { version, whole_version, told_version } = row
  return { version, wholeVersion: told_version < version ? version : whole_version }
}

const selectVersion = prepared((db, { host }: { host: string }) =>
  db.selectFrom('agents').select(['version', 'whole_version', 'told_version']).where('host', '=', host),
)

export async function assignmentsVersions(db: Db, hosts: string[]): Promise<Map<string, number>> {
  const rows = await db.selectFrom('agents').select(['host', 'version']).where('host', 'in', hosts).execute()
  return new Map(rows.map((it) => [it.host, it.version]))
}

/**
 * Marks the assignments of a host, or of all hosts, as changed. Returns the hosts with their new versions. What one change
 * does is seen all at once, so it has one version.
 */
export async function touchAssignments(
  change: Change,
  host: string | null,
): Promise<ReadonlyMap<string, number>> {
  const known = change.versions.get(host)
  if (known !== undefined) return known
  const touched = await (host === null ? raiseAll(change.tx, {}) : raise(change.tx, { host }))
  for (const it of touched) change.hosts.add(it.host)
  const versions = new Map(touched.map((it) => [it.host, it.version]))
  change.versions.set(host, versions)
  return versions
}

const raise = prepared((db, { host }: { host: string }) =>
  db
    .updateTable('agents')
    .set((it) => ({
      version: it('version', '+', 1),
      told_version: it('version', '+', 1),
      // An older replica has left its last changes without a version: they are told with everything.
      whole_version: it
        .case()
        .when('told_version', '<', it.ref('version'))
        .then(it('version', '+', 1))
        .else(it.ref('whole_version'))
        .end(),
    }))
    .where('host', '=', host)
    .returning(['host', 'version']),
)

const raiseAll = prepared((db) =>
  db
    .updateTable('agents')
    .set((it) => {
      const next = it('version', '+', 1)
      return { version: next, told_version: next, whole_version: next }
    })
    .returning(['host', 'version']),
)

export interface Heartbeat {
  host: string
  agentVersion: string
  startedAt: string
  health: AgentHealth
}

export async function recordHeartbeat(change: Change, heartbeat: Heartbeat): Promise<void> {
  const { host, agentVersion, startedAt } = heartbeat
  const health = JSON.stringify(heartbeat.health)
  await updateSeen(change.tx, { host, agentVersion, startedAt, health, nowMs: change.nowMs })
}

const updateSeen = prepared((db, it: Omit<Heartbeat, 'health'> & { health: string; nowMs: number }) =>
  db
    .updateTable('agents')
    .set((column) => ({
      last_seen_at: it.nowMs,
      agent_version: it.agentVersion,
      started_at: it.startedAt,
      health: it.health,
      // One that starts again starts later; a clock that was set back is such a one only once.
      twin_seen_at: column
        .case()
        .when('started_at', '>', it.startedAt)
        .then(it.nowMs)
        .else(column.ref('twin_seen_at'))
        .end(),
    }))
    .where('host', '=', it.host),
)

const TWIN_SHOWN_MS = 60_000

/** Whether two agents report with this host's token. What both meter, and a machine that was copied meters it all, counts twice. */
export function hasTwin({ twin_seen_at: seenAtMs }: AgentRow, nowMs: number): boolean {
  return seenAtMs !== null && nowMs - Number(seenAtMs) < TWIN_SHOWN_MS
}

/** When these hosts' agents were heard of last, in milliseconds; those that never were are missing. */
export async function agentsSeen(db: Db, hosts: string[]): Promise<Map<string, number>> {
  if (hosts.length === 0) return new Map()
  const rows = await db
    .selectFrom('agents')
    .select(['host', 'last_seen_at'])
    .where('host', 'in', hosts)
    .execute()
  return new Map(rows.flatMap((it) => (it.last_seen_at === null ? [] : [[it.host, it.last_seen_at]])))
}

/** The hosts that are let in, or those of them that are named; one that was shut out is none of ours any more. */
export async function listAgents(db: Db, hosts?: readonly string[]): Promise<AgentRow[]> {
  const admitted = db.selectFrom('agent_tokens').select('host').where('revoked_at', 'is', null)
  const all = db.selectFrom('agents').selectAll().where('host', 'in', admitted).orderBy('host')
  if (hosts === undefined) return all.execute()
  const found: AgentRow[] = []
  for (const some of someAtATime(hosts)) found.push(...(await all.where('host', 'in', some).execute()))
  return found
}

/** A one-time code for `weir agent enroll`. */
export async function issueEnrolment(
  change: Change,
  options: { host: string; expiresAtMs: number },
): Promise<string> {
  const code = newToken('enrol')
  const row = { hash: hashToken(code), host: options.host, expires_at: options.expiresAtMs, used_at: null }
  await change.tx.insertInto('enrolments').values(row).execute()
  return code
}

/** Turns a code into the host that it was made for: once, and only before it expires. */
export async function redeemEnrolment(change: Change, code: string): Promise<string | undefined> {
  const row = await change.tx
    .updateTable('enrolments')
    .set({ used_at: change.nowMs })
    .where('hash', '=', hashToken(code))
    .where('used_at', 'is', null)
    .where('expires_at', '>', change.nowMs)
    .returning('host')
    .executeTakeFirst()
  return row?.host
}
