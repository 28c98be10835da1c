import type { AgentHealth, PendingDelivery } from '../model/agent-protocol.ts'
import type { FlowLogRow } from '../store/schema.ts'

/** What hosts say to have in their spools, by flow log. */
export type PendingDeliveries = Map<string, PendingDelivery[]>

export interface DeliveryError {
  message: string
  /** ISO time. */
  at: string
}

/** All flow logs of one bucket, seen together. */
export interface BucketStatus {
  bucket: string
  lastDeliveredAtMs: number | null
  oldestPendingWindowS: number | null
  /** Undefined when delivery works. */
  lastError: DeliveryError | undefined
}

export function healthOf({ health }: { health: string | null }): Partial<AgentHealth> | null {
  return health === null ? null : (JSON.parse(health) as Partial<AgentHealth>)
}

export function pendingDeliveries(agents: { health: string | null }[]): PendingDeliveries {
  const said = agents.flatMap((it) => healthOf(it)?.deliveries ?? [])
  return Map.groupBy(said, ({ flowLogId }) => flowLogId)
}

/** Of the control plane and of the hosts, the newest. */
export function lastErrorOf(it: FlowLogRow, waiting: PendingDelivery[]): DeliveryError | undefined {
  const told = waiting.flatMap(({ lastError }) => lastError ?? [])
  const at = it.last_error_at === null ? '' : new Date(it.last_error_at).toISOString()
  const noted = it.last_error === null ? [] : [{ message: it.last_error, at }]
  return newest([...noted, ...told])
}

export function oldestWindowS(waiting: PendingDelivery[]): number | null {
  return waiting.length === 0 ? null : Math.min(...waiting.map((it) => it.oldestWindowStartS))
}

/** By name. */
export function bucketStatuses(flowLogs: FlowLogRow[], pending: PendingDeliveries): BucketStatus[] {
  const groups = [...Map.groupBy(flowLogs, ({ bucket }) => bucket)].sort(([a], [b]) => (a < b ? -1 : 1))
  return groups.map(([bucket, rows]) => {
    const delivered = rows.flatMap((it) => it.last_delivered_at ?? [])
    return {
      bucket,
      lastDeliveredAtMs: delivered.length === 0 ? null : Math.max(...delivered),
      oldestPendingWindowS: oldestWindowS(rows.flatMap((it) => pending.get(it.id) ?? [])),
      lastError: newest(rows.flatMap((it) => lastErrorOf(it, pending.get(it.id) ?? []) ?? [])),
    }
  })
}

function newest(errors: DeliveryError[]): DeliveryError | undefined {
  return errors.toSorted((a, b) => (a.at < b.at ? -1 : 1)).at(-1)
}
