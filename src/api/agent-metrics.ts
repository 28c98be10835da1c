import type { AgentHealth } from '../model/agent-protocol.ts'
import { hasTwin, listAgents } from '../store/agents.ts'
import { contestedFlowLogs } from '../store/claims.ts'
import { listFlowLogs } from '../store/flow-logs.ts'
import { isLive } from '../store/settle.ts'
import type { Store } from '../store/store.ts'
import type { MetricName, Metrics } from '../telemetry/metrics.ts'
import { bucketStatuses, healthOf, pendingDeliveries } from './delivery-status.ts'

/** What each gauge of a host takes from its agent's last report. */
const FROM_HEALTH = {
  weir_agent_live_failures: (it) => it.liveFailures,
  weir_meter_flows: (it) => it.flows,
  weir_meter_flows_max: (it) => it.flowsMax,
  weir_meter_skipped_packets: (it) => it.skippedPackets,
  weir_meter_lost_packets: (it) => it.lostPackets,
  weir_meter_late_verdicts: (it) => it.lateVerdicts,
  weir_meter_removed_hooks: (it) => it.hooksRemoved,
  weir_meter_hook_runs: (it) => it.hookRuns,
  weir_meter_hook_ns: (it) => it.hookNs,
  weir_spool_segments: (it) => it.spool?.segments,
  weir_spool_bytes: (it) => it.spool?.bytes,
  weir_spool_bytes_max: (it) => it.spool?.bytesMax,
  weir_spool_parked_segments: (it) => it.spool?.parkedSegments,
  weir_spool_damaged_segments: (it) => it.spool?.damagedSegments,
  weir_spool_damaged_manifest_lines: (it) => it.spool?.damagedManifestLines,
  weir_spool_set_aside_files: (it) => it.spool?.setAsideFiles,
  weir_spool_given_up_segments: (it) => it.spool?.givenUpSegments,
  weir_spool_given_up_packets: (it) => it.spool?.givenUpPackets,
} as const satisfies Partial<Record<MetricName, (health: Partial<AgentHealth>) => number | undefined>>

const OF_BUCKETS = [
  'weir_bucket_last_delivery_seconds',
  'weir_bucket_oldest_pending_seconds',
  'weir_bucket_failing',
] as const

/** Brings the gauges of all hosts and buckets up to date: called when metrics are read, so nothing is kept between. */
export async function collectAgentMetrics(store: Store, metrics: Metrics): Promise<void> {
  const nowMs = store.clock.nowMs()
  const agents = await listAgents(store.db)
  const flowLogs = await listFlowLogs(store.db, undefined)
  for (const name of ['weir_agent_live', 'weir_agent_twin', ...Object.keys(FROM_HEALTH), ...OF_BUCKETS]) {
    metrics.reset(name as MetricName)
  }
  metrics.set('weir_flow_logs_contested', await contestedFlowLogs(store.db))
  for (const agent of agents) {
    const { host, last_seen_at, health } = agent
    metrics.set('weir_agent_live', isLive(last_seen_at, nowMs) ? 1 : 0, { host })
    metrics.set('weir_agent_twin', hasTwin(agent, nowMs) ? 1 : 0, { host })
    const said = healthOf({ health })
    if (said === null) continue
    for (const [name, read] of Object.entries(FROM_HEALTH)) {
      const value = read(said)
      if (typeof value !== 'number') continue // An agent of another version need not say it.
      metrics.set(name as keyof typeof FROM_HEALTH, value, { host })
    }
  }
  for (const it of bucketStatuses(flowLogs, pendingDeliveries(agents))) {
    const { bucket } = it
    if (it.lastDeliveredAtMs !== null) {
      metrics.set('weir_bucket_last_delivery_seconds', it.lastDeliveredAtMs / 1000, { bucket })
    }
    metrics.set('weir_bucket_oldest_pending_seconds', it.oldestPendingWindowS ?? 0, { bucket })
    metrics.set('weir_bucket_failing', it.lastError === undefined ? 0 : 1, { bucket })
  }
}
