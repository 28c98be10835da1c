import { Counter, Gauge, Histogram, Registry } from 'prom-client'

/** Every metric there is: docs/reference/metrics.md lists the same. Labels come from closed sets, hosts, and buckets. */
export const METRICS = {
  weir_api_requests_total: { help: 'HTTP requests answered', kind: 'counter', labels: ['method', 'status'] },
  weir_api_request_seconds: { help: 'Time to answer an HTTP request', kind: 'histogram', labels: ['method'] },
  weir_api_unauthorized_total: { help: 'Requests without valid credentials', kind: 'counter', labels: [] },
  weir_api_rate_limited_total: { help: 'Requests refused by a rate limit', kind: 'counter', labels: [] },
  weir_api_long_polls: { help: 'Agents waiting for a change', kind: 'gauge', labels: [] },
  weir_api_settle_errors_total: { help: 'Failed attempts to finish requests', kind: 'counter', labels: [] },
  weir_delivery_objects_total: { help: 'Objects acknowledged', kind: 'counter', labels: [] },
  weir_delivery_bytes_total: { help: 'Bytes of objects acknowledged', kind: 'counter', labels: [] },
  weir_delivery_records_total: { help: 'Records in objects acknowledged', kind: 'counter', labels: [] },
  weir_delivery_refusals_total: {
    help: 'Segments of agents that were refused an upload or an acknowledgement',
    kind: 'counter',
    labels: ['code'],
  },
  weir_agent_live: { help: '1 while the agent of a host reports', kind: 'gauge', labels: ['host'] },
  weir_agent_twin: {
    help: '1 while two agents report with the token of a host',
    kind: 'gauge',
    labels: ['host'],
  },
  weir_flow_logs_contested: {
    help: 'Flow logs of no host that several hosts say they have',
    kind: 'gauge',
    labels: [],
  },
  weir_agent_live_failures: {
    help: 'Reports of live flows that failed, since the agent started',
    kind: 'gauge',
    labels: ['host'],
  },
  weir_meter_flows: { help: 'Flows of the open window', kind: 'gauge', labels: ['host'] },
  weir_meter_flows_max: { help: 'Flows that a window may have', kind: 'gauge', labels: ['host'] },
  weir_meter_skipped_packets: {
    help: 'Packets in SKIPDATA records since the agent started',
    kind: 'gauge',
    labels: ['host'],
  },
  weir_meter_lost_packets: {
    help: 'Packets counted nowhere, for want of kernel memory',
    kind: 'gauge',
    labels: ['host'],
  },
  weir_meter_late_verdicts: {
    help: 'Packets refused after their window was closed',
    kind: 'gauge',
    labels: ['host'],
  },
  weir_meter_removed_hooks: {
    help: 'Times that somebody removed the hooks of a device, which ends counting until they are back a second later',
    kind: 'gauge',
    labels: ['host'],
  },
  weir_meter_hook_runs: {
    help: 'Runs of the hooks (with kernel.bpf_stats_enabled)',
    kind: 'gauge',
    labels: ['host'],
  },
  weir_meter_hook_ns: { help: 'Nanoseconds of these runs', kind: 'gauge', labels: ['host'] },
  weir_spool_segments: { help: 'Segments that wait for delivery', kind: 'gauge', labels: ['host'] },
  weir_spool_bytes: { help: 'Bytes that wait for delivery', kind: 'gauge', labels: ['host'] },
  weir_spool_bytes_max: { help: 'Bytes that may wait', kind: 'gauge', labels: ['host'] },
  weir_spool_parked_segments: {
    help: 'Segments that the control plane refused, tried again slowly',
    kind: 'gauge',
    labels: ['host'],
  },
  weir_spool_damaged_segments: {
    help: 'Segments that were not what had been written, since the agent started',
    kind: 'gauge',
    labels: ['host'],
  },
  weir_spool_damaged_manifest_lines: {
    help: 'Lines of manifests and of the ledger of losses that were not, likewise',
    kind: 'gauge',
    labels: ['host'],
  },
  weir_spool_set_aside_files: {
    help: 'Files set aside for a person to look at, since the agent started',
    kind: 'gauge',
    labels: ['host'],
  },
  weir_spool_given_up_segments: {
    help: 'Segments given up for want of room or for age, since the agent started',
    kind: 'gauge',
    labels: ['host'],
  },
  weir_spool_given_up_packets: {
    help: 'Packets in them, which SKIPDATA records tell',
    kind: 'gauge',
    labels: ['host'],
  },
  weir_bucket_last_delivery_seconds: {
    help: 'When the last object arrived, in Unix seconds',
    kind: 'gauge',
    labels: ['bucket'],
  },
  weir_bucket_oldest_pending_seconds: {
    help: 'Start of the oldest window that waits, in Unix seconds; 0 when none does',
    kind: 'gauge',
    labels: ['bucket'],
  },
  weir_bucket_failing: { help: '1 while delivery fails', kind: 'gauge', labels: ['bucket'] },
} as const satisfies Record<
  string,
  { help: string; kind: 'counter' | 'gauge' | 'histogram'; labels: readonly string[] }
>

export type MetricName = keyof typeof METRICS
type Labels = Record<string, string | number>

/** The metrics of one process or, in tests, of one part of it. */
export class Metrics {
  readonly registry = new Registry()
  readonly #metrics = new Map<string, Counter | Gauge | Histogram>()

  constructor() {
    for (const [name, { help, kind, labels }] of Object.entries(METRICS)) {
      const options = { name, help, labelNames: [...labels], registers: [this.registry] }
      this.#metrics.set(
        name,
        kind === 'counter'
          ? new Counter(options)
          : kind === 'gauge'
            ? new Gauge(options)
            : new Histogram(options),
      )
    }
  }

  /** Adds to a counter or a gauge. */
  add(name: MetricName, value = 1, labels: Labels = {}): void {
    const metric = this.#metrics.get(name)
    if (metric instanceof Counter || metric instanceof Gauge) metric.inc(labels, value)
  }

  set(name: MetricName, value: number, labels: Labels = {}): void {
    const metric = this.#metrics.get(name)
    if (metric instanceof Gauge) metric.set(labels, value)
  }

  /** Forgets what a gauge said: of hosts and buckets that are no more, nothing is left. */
  reset(name: MetricName): void {
    const metric = this.#metrics.get(name)
    if (metric instanceof Gauge) metric.reset()
  }

  observe(name: MetricName, value: number, labels: Labels = {}): void {
    const metric = this.#metrics.get(name)
    if (metric instanceof Histogram) metric.observe(labels, value)
  }

  text(): Promise<string> {
    return this.registry.metrics()
  }
}
