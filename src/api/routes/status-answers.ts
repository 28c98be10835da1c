import type { AgentHealth } from '../../model/agent-protocol.ts'
import type { Account } from '../../store/accounts.ts'
import { hasTwin, listAgents } from '../../store/agents.ts'
import { isContested } from '../../store/claims.ts'
import { hostsOf, pointsOf } from '../../store/points.ts'
import type { AgentRow, FlowLogRow, PointRow } from '../../store/schema.ts'
import { isLive } from '../../store/settle.ts'
import type { Db } from '../../store/store.ts'
import type { Services } from '../app.ts'
import {
  type BucketStatus,
  healthOf,
  lastErrorOf,
  oldestWindowS,
  type PendingDeliveries,
  pendingDeliveries,
} from '../delivery-status.ts'

/** What an agent said of a flow log, and whether it would still say so. */
interface ToldPoint extends PointRow {
  live: boolean
}

export interface Told {
  agents: AgentRow[]
  points: ToldPoint[]
  byHost: Map<string, ToldPoint[]>
  pending: PendingDeliveries
  nowMs: number
}

/**
 * What agents said of flow logs; one of a host to which another host does not leave the flow log has failed. Without
 * `allAgents` only of agents that these flow logs concern: what a fleet says is long.
 */
export async function whatIsTold(
  { store }: Services,
  flowLogs: FlowLogRow[],
  { allAgents }: { allAgents: boolean } = { allAgents: false },
): Promise<Told> {
  const agents = await listAgents(store.db, allAgents ? undefined : await hostsOfAll(store.db, flowLogs))
  const nowMs = store.clock.nowMs()
  const agentOf = new Map(agents.map((it) => [it.host, it]))
  const points: ToldPoint[] = []
  for (let at = 0; at < flowLogs.length; at += 500) {
    const some = flowLogs.slice(at, at + 500)
    const rows = await pointsOf(
      store.db,
      some.map((it) => it.id),
    )
    const told = Map.groupBy(rows, (it) => it.flow_log_id)
    for (const flowLog of some) {
      const own = told.get(flowLog.id) ?? []
      for (const it of own) {
        const agent = agentOf.get(it.host)
        const live = isLive(agent?.last_seen_at, nowMs)
        if (isContested(flowLog, it, own)) points.push({ ...contested(it, flowLog), live })
        else points.push({ ...(live || it.state !== 'attached' ? it : silent(it, agent)), live })
      }
    }
  }
  const byHost = Map.groupBy(points, (it) => it.host)
  return { agents, points, byHost, pending: pendingDeliveries(agents), nowMs }
}

async function hostsOfAll(db: Db, flowLogs: FlowLogRow[]): Promise<string[]> {
  const bound = flowLogs.flatMap(({ host }) => host ?? [])
  const others = await hostsOf(
    db,
    flowLogs.map(({ id }) => id),
  )
  return [...new Set([...bound, ...others])].sort()
}

function contested(point: PointRow, { claimed_by: holder }: FlowLogRow): PointRow {
  const message = `host ${holder} has it: what this host captures is not delivered until ${holder} lets go of it`
  return { ...point, state: 'failed', message }
}

/** Its kernel may go on counting, but nobody can tell. */
function silent(point: PointRow, agent: AgentRow | undefined): PointRow {
  const since = timeText(agent?.last_seen_at ?? null)
  const message =
    agent === undefined
      ? `host ${point.host} is no longer let in`
      : `the agent of host ${point.host} has not reported since ${since}`
  return { ...point, message }
}

export function renderAgent(agent: AgentRow, account: Account, told: Told): Record<string, unknown> {
  return {
    host: agent.host,
    live: isLive(agent.last_seen_at, told.nowMs),
    twin: hasTwin(agent, told.nowMs),
    lastSeenAt: timeText(agent.last_seen_at),
    agentVersion: agent.agent_version,
    startedAt: agent.started_at,
    points: (told.byHost.get(agent.host) ?? []).map(renderPoint),
    health: renderHealth(agent, account),
  }
}

function renderPoint(it: ToldPoint): Record<string, unknown> {
  return { flowLogId: it.flow_log_id, state: it.state, device: it.device, message: it.message, live: it.live }
}

/** What names no bucket, object or fault of other tenants of the same host. */
const HEALTH_OF_ALL: readonly (keyof AgentHealth)[] = [
  'windowStartS',
  'windowSizeS',
  'flows',
  'flowsMax',
  'skippedPackets',
  'hookRuns',
  'hookNs',
  'lateVerdicts',
  'lostPackets',
  'hooksRemoved',
  'liveFailures',
  'spool',
]

/** Deliveries stand with their flow logs. */
function renderHealth(it: { health: string | null }, account: Account): Partial<AgentHealth> | null {
  const health = healthOf(it)
  if (health === null) return null
  const { deliveries: _, ...all } = health
  if (account.operator) return all
  return Object.fromEntries(HEALTH_OF_ALL.map((name) => [name, all[name as keyof typeof all]]))
}

export function renderFlowLogs(flowLogs: FlowLogRow[], told: Told): Record<string, unknown>[] {
  const points = Map.groupBy(told.points, (it) => it.flow_log_id)
  return flowLogs.map((it) => renderFlowLog(it, { ...told, points: points.get(it.id) ?? [] }))
}

/** A flow log's delivery status, with its own points: Weir's own sub-resource. */
function renderFlowLog(it: FlowLogRow, { points, pending, nowMs }: Told): Record<string, unknown> {
  const waiting = pending.get(it.id) ?? []
  const error = lastErrorOf(it, waiting)
  return {
    id: it.id,
    interfaceId: it.interface_id,
    contractNumber: it.contract_number,
    bucket: it.bucket,
    prefix: it.prefix,
    host: it.host,
    delivery: {
      status: error !== undefined ? 'delivery fails' : captureStatus(points),
      points: points.map((point) => ({ host: point.host, ...renderPoint(point) })),
      objects: it.objects,
      bytes: it.octets,
      records: it.records,
      lastObject: it.last_object,
      lastDeliveredAt: timeText(it.last_delivered_at),
      pendingSegments: waiting.reduce((sum, { segments }) => sum + segments, 0),
      pendingBytes: waiting.reduce((sum, { bytes }) => sum + bytes, 0),
      oldestPendingWindow: windowText(oldestWindowS(waiting)),
      lastError: error?.message ?? null,
      lastErrorAt: error?.at ?? null,
    },
    checkedAt: timeText(nowMs),
  }
}

export function renderBucket(it: BucketStatus): Record<string, unknown> {
  return {
    bucket: it.bucket,
    lastDeliveredAt: timeText(it.lastDeliveredAtMs),
    oldestPendingWindow: windowText(it.oldestPendingWindowS),
    lastError: it.lastError?.message ?? null,
    lastErrorAt: it.lastError?.at ?? null,
  }
}

/** One sentence for people; `points` say more. */
function captureStatus(points: readonly ToldPoint[]): string {
  const attached = points.filter(({ state }) => state === 'attached')
  if (attached.some(({ live }) => live)) return 'capturing'
  if (attached.length > 0) return 'host does not report'
  if (points.some(({ state }) => state === 'failed')) return 'cannot be attached'
  return 'waiting for an interface'
}

function windowText(startS: number | null): string | null {
  return timeText(startS === null ? null : startS * 1000)
}

export function timeText(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString()
}
