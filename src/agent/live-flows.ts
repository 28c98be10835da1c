import type { KernelWindow } from '../capture/ebpf/kernel-meter.ts'
import {
  type Assignment,
  LIVE_REPORT_ROWS_MAX,
  LIVE_WINDOW_ROWS_MAX,
  LIVE_WINDOWS_MAX,
  type LiveFlowLog,
  type LiveReport,
  type LiveWanted,
  type LiveWindow,
} from '../model/agent-protocol.ts'
import { pause } from '../stdx/wait.ts'
import type { AgentDependencies } from './ports.ts'

export interface LookTask {
  windows: KernelWindow[]
  points: ReadonlyMap<number, Assignment>
  /** Of each flow log in each window. */
  rowsMax: number
}

export interface LookResult {
  windows: { generation: bigint; flowLogs: ReadonlyMap<string, LiveWindow> }[]
  tookMs: number
}

const EVERY_MS_MIN = 2_000
const EVERY_MS_MAX = 10_000
/** Reading a window costs as much as it has flows: with many of them it is read less often. */
const BUSY_SHARE_MAX = 0.1
const KEPT_WINDOWS_MAX = 4

/**
 * Tells the control plane, while somebody wants to see them, the flows that are not delivered yet: those in the kernel's
 * windows, and those of windows that were sealed meanwhile and wait for their delivery. Does nothing else of the time.
 */
export class LiveFlows {
  /** Reports that failed, since the start. */
  failures = 0
  readonly #signal: AbortSignal
  readonly #dependencies: AgentDependencies
  /** Of windows that are in the spool, the oldest first. */
  readonly #kept: { startS: number; flowLogs: ReadonlyMap<string, LiveWindow> }[] = []
  #wanted: LiveWanted | undefined
  #untilMs = 0
  #running: Promise<void> | undefined

  constructor(options: { signal: AbortSignal }, dependencies: AgentDependencies) {
    this.#signal = options.signal
    this.#dependencies = dependencies
  }

  /** Names what is wanted at the moment. */
  get key(): string {
    return this.#wanted?.key ?? ''
  }

  get ended(): Promise<void> | undefined {
    return this.#running
  }

  want(wanted: LiveWanted): void {
    if (wanted.flowLogIds.length === 0) return
    this.#wanted = wanted
    this.#untilMs = this.#monotonicMs() + wanted.forS * 1000
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
      this.#wanted = undefined
      this.#kept.length = 0
    })
  }

  /** The points of the wanted flow logs, those that were detached too: their last window is still to come. */
  selection(): Omit<LookTask, 'windows'> | undefined {
    if (this.#wanted === undefined) return undefined
    const flowLogIds = new Set(this.#wanted.flowLogIds)
    const points = new Map<number, Assignment>()
    for (const { point, assignment } of this.#dependencies.points.all()) {
      if (flowLogIds.has(assignment.flowLogId)) points.set(point, assignment)
    }
    const rowsMax = Math.floor(LIVE_REPORT_ROWS_MAX / flowLogIds.size / LIVE_WINDOWS_MAX)
    return { points, rowsMax: Math.min(Math.max(rowsMax, 2), LIVE_WINDOW_ROWS_MAX) }
  }

  /** Call it when a window has left the kernel for the spool, at once. */
  keep(startS: number, flowLogs: ReadonlyMap<string, LiveWindow>): void {
    if (this.#wanted === undefined || flowLogs.size === 0) return
    this.#kept.push({ startS, flowLogs })
    if (this.#kept.length > KEPT_WINDOWS_MAX) this.#kept.shift()
  }

  async #run(): Promise<void> {
    const { controlPlane, log } = this.#dependencies
    let faults = 0
    while (!this.#signal.aborted && this.#monotonicMs() < this.#untilMs) {
      let delayMs = EVERY_MS_MIN
      try {
        const report = await this.#report()
        delayMs = report.everyS * 1000
        const wanted = await controlPlane.live(report, { signal: this.#signal })
        faults = 0
        if (wanted.flowLogIds.length === 0) return
        this.want(wanted)
      } catch (error) {
        if (this.#signal.aborted) return
        this.failures++
        // Whatever it is, metering and delivery must not suffer from it.
        if (faults++ === 0) log.warn({ err: error }, 'live flows were not told')
      }
      await pause(delayMs, this.#signal)
    }
  }

  async #report(): Promise<LiveReport> {
    const { meter, sealer, delivery } = this.#dependencies
    const looked = await sealer.look({ windows: meter.windows(), ...this.selection()! })
    const everyMs = Math.min(Math.max(looked.tookMs / BUSY_SHARE_MAX, EVERY_MS_MIN), EVERY_MS_MAX)
    // What was sealed while the thread looked is among the kept windows, and must not be told twice.
    const present = new Set(meter.windows().map(({ generation }) => generation))
    const inKernel = looked.windows.filter(({ generation }) => present.has(generation))
    const pending = new Map(delivery.status().flowLogs.map((it) => [it.flowLogId, it]))
    const flowLogs = this.#wanted!.flowLogIds.map((flowLogId): LiveFlowLog => {
      const { segments = 0, oldestWindowStartS = Number.POSITIVE_INFINITY } = pending.get(flowLogId) ?? {}
      const kept = this.#kept
        .filter(({ startS }) => startS >= oldestWindowStartS)
        .flatMap((it) => it.flowLogs.get(flowLogId) ?? [])
        .filter(({ rows }) => rows.length > 0) // Without flows there is no object to wait for.
      const open = inKernel.flatMap((it) => it.flowLogs.get(flowLogId) ?? [])
      const unseen = Math.max(0, segments - kept.length)
      const oldest = unseen > 0 && Number.isFinite(oldestWindowStartS) ? { oldestWindowStartS } : {}
      return {
        flowLogId,
        windows: [...kept, ...open].slice(-LIVE_WINDOWS_MAX),
        underway: { windows: unseen, ...oldest },
      }
    })
    return { everyS: Math.ceil(everyMs / 1000), flowLogs }
  }

  #monotonicMs(): number {
    return Number(this.#dependencies.clock.monotonicNs() / 1_000_000n)
  }
}
