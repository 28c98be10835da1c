import type { AgentHealth } from '../model/agent-protocol.ts'
import { listAgents } from '../store/agents.ts'
import { LIVE_MS } from '../store/settle.ts'
import type { Store } from '../store/store.ts'
import type { MetricName, Metrics } from '../telemetry/metrics.ts'

/** What each gauge of a host takes from its agent's last report. */
const FROM_HEALTH = {
  weir_meter_flows: (it) => it.flows,
  weir_meter_flows_max: (it) => it.flowsMax,
  weir_meter_skipped_packets: (it) => it.skippedPackets,
  weir_meter_lost_packets: (it) => it.lostPackets,
  weir_meter_late_verdicts: (it) => it.lateVerdicts,
  weir_meter_hook_runs: (it) => it.hookRuns,
  weir_meter_hook_ns: (it) => it.hookNs,
  weir_spool_segments: (it) => it.spool?.segments,
  weir_spool_bytes: (it) => it.spool?.bytes,
} as const satisfies Partial<Record<MetricName, (health: Partial<AgentHealth>) => number | undefined>>

/** Brings the gauges of all hosts up to date: called when metrics are read, so nothing is kept between. */
export async function collectAgentMetrics(store: Store, metrics: Metrics): Promise<void> {
  const nowMs = store.clock.nowMs()
  for (const { host, last_seen_at, health } of await listAgents(store.db)) {
    const isLive = last_seen_at !== null && nowMs - last_seen_at < LIVE_MS
    metrics.set('weir_agent_live', isLive ? 1 : 0, { host })
    if (health === null) continue
    const said = JSON.parse(health) as Partial<AgentHealth>
    for (const [name, read] of Object.entries(FROM_HEALTH)) {
      const value = read(said)
      if (typeof value !== 'number') continue // An agent of another version need not say it.
      metrics.set(name as keyof typeof FROM_HEALTH, value, { host })
    }
  }
}
