import type { KernelWindow } from '../capture/ebpf/kernel-meter.ts'
import type { AgentHealth, AgentReport, Assignments } from '../model/agent-protocol.ts'
import { AGENT_PROTOCOL_VERSION } from '../model/agent-protocol.ts'
import { changedBy } from '../model/assignment-changes.ts'
import { WeirError } from '../model/errors.ts'
import { Backoff } from '../stdx/backoff.ts'
import { pause } from '../stdx/wait.ts'
import { LiveFlows } from './live-flows.ts'
import { Observation } from './observation.ts'
import type { AgentDependencies, Delivery } from './ports.ts'
import { ReportedPoints } from './reported-points.ts'

export interface AgentOptions {
  version: string
  windowSizeS: number
}

const TICK_MS = 250
const CLOCK_SYNC_MS = 1_000
const HEARTBEAT_MS = 5_000
const LIMITS_CHECK_MS = 60_000
const LOSSES_KEPT_S = 24 * 3600 // Of flow logs that are gone.
const ROOM_SIZE = 64 * 2 ** 20 // When the disk is full: what one more window may need.
const POLL_WAIT_S = 30
const POLL_PAUSE_MS = 200

/**
 * The data plane of one host, wired: assignments from the control plane become observation points in the kernel;
 * closed windows become segments in the spool; the spool is delivered.
 *
 * Maintained invariant: a window's rows are in the kernel or committed in the spool, never in neither. It is cleared
 * in the kernel only after its commit, and not read again after a commit.
 */
export class Agent {
  readonly #options: AgentOptions
  readonly #dependencies: AgentDependencies
  readonly #stopping = new AbortController()
  readonly #observation: Observation
  readonly #reported = new ReportedPoints()
  readonly #live: LiveFlows
  #assignments: Assignments
  #windowSizeS: number
  #areAssignmentsSaved = true
  #timer: NodeJS.Timeout | undefined
  #polling: Promise<void> | undefined
  #reporting: Promise<void> | undefined
  #sealing: Promise<void> | undefined
  #startedAt = ''
  #reportIsDue = false
  #packetsSkipped = 0
  #clockSyncedAtMs = 0
  #limitsCheckedAtMs = 0
  #reportedAtMs = 0
  /** Why the last report was not taken. */
  #reportFault: string | undefined
  #lastFault: { message: string; at: string } | undefined

  constructor(options: AgentOptions, dependencies: AgentDependencies) {
    this.#options = options
    this.#dependencies = dependencies
    this.#windowSizeS = options.windowSizeS
    this.#assignments = { version: '', windowSizeS: options.windowSizeS, assignments: [] }
    this.#observation = new Observation(dependencies)
    this.#live = new LiveFlows({ signal: this.#stopping.signal }, dependencies)
  }

  start(): void {
    const { meter, devices, points, spool, delivery, clock } = this.#dependencies
    this.#startedAt = this.#now()
    points.load()
    meter.start()
    spool.start()
    this.#clearCommittedWindows()
    spool.enforceLimits()
    this.#observation.retireStrangers()
    delivery.start()
    devices.start()
    // Not before assignments are known: no assignments would mean that everything is to be let go.
    const saved = this.#dependencies.savedAssignments()
    if (saved !== undefined) this.#accept(saved)
    devices.onChange(() => this.#reconcile())
    this.#clockSyncedAtMs = this.#limitsCheckedAtMs = clock.nowMs()
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
    this.#polling = this.#pollAssignments()
  }

  /** Ends without touching the kernel's side: counting goes on, the next agent adopts it. */
  async stop(): Promise<void> {
    if (this.#stopping.signal.aborted) return
    this.#stopping.abort()
    clearInterval(this.#timer)
    await Promise.all([this.#polling, this.#reporting, this.#sealing, this.#live.ended])
    const { devices, delivery, sealer, spool, meter } = this.#dependencies
    devices.stop()
    await delivery.stop()
    await sealer.stop()
    spool.stop()
    meter.stop()
  }

  /**
   * Ends for good: stops capturing, seals what was captured, delivers what it can before the deadline, leaves nothing
   * on the devices. Returns how many segments stay in the spool for the next start.
   */
  async finish(options: { deadlineMs: number }): Promise<{ left: number }> {
    const { meter, devices, points, spool, delivery, sealer } = this.#dependencies
    clearInterval(this.#timer)
    this.#stopping.abort()
    await Promise.all([this.#polling, this.#reporting, this.#sealing, this.#live.ended])
    devices.stop()
    this.#observation.end()
    meter.closeWindows()
    await this.#sealClosedWindows()
    const { left } = await delivery.drain(options)
    await delivery.stop()
    await sealer.stop()
    spool.stop()
    if (meter.windows().length === 0) {
      meter.detachAll()
      points.forgetRetiredBefore(Number.POSITIVE_INFINITY)
    }
    meter.stop()
    return { left }
  }

  #tick(): void {
    const { meter, spool, clock } = this.#dependencies
    const nowMs = clock.nowMs()
    if (Math.abs(nowMs - this.#clockSyncedAtMs) >= CLOCK_SYNC_MS) {
      meter.syncClock()
      this.#clockSyncedAtMs = nowMs
      this.#observation.mend()
      if (this.#observation.hasChanged) this.#reconcile()
    }
    if (Math.abs(nowMs - this.#limitsCheckedAtMs) >= LIMITS_CHECK_MS) {
      spool.enforceLimits()
      this.#forgetLosses()
      this.#limitsCheckedAtMs = nowMs
      this.#tryAgain()
    }
    this.#sealing ??= this.#sealClosedWindows().finally(() => {
      this.#sealing = undefined
    })
    if (Math.abs(nowMs - this.#reportedAtMs) >= HEARTBEAT_MS) this.#report()
  }

  /** A flow log that leaves the host may come back, and then tells them. */
  #forgetLosses(): void {
    const { points, spool } = this.#dependencies
    if (this.#assignments.version === '') return
    const kept = [...this.#assignments.assignments, ...points.all().map(({ assignment }) => assignment)]
    spool.forgetGivenUp(new Set(kept.map(({ flowLogId }) => flowLogId)), this.#nowS() - LOSSES_KEPT_S)
  }

  /** What a full disk or a kernel without memory refused before. */
  #tryAgain(): void {
    const { points, log } = this.#dependencies
    try {
      points.saveAgain()
    } catch (error) {
      if (!(error instanceof WeirError)) throw error
      log.error({ err: error }, 'the table of observation points is not on disk')
    }
    if (this.#observation.hasFailed) this.#reconcile()
  }

  /** Oldest first, one at a time: commit to the spool, then clear in the kernel. */
  async #sealClosedWindows(): Promise<void> {
    const { meter, points, spool, delivery, log } = this.#dependencies
    for (const window of meter.windows()) {
      if (window.state !== 'closed') break
      try {
        // Committed before, if it is here again: the kernel had no memory for the maps that come after it.
        if (!spool.committedWindows().includes(this.#windowKey(window))) await this.#seal(window)
        meter.clearWindow(window.generation)
      } catch (error) {
        // The rows stay in the kernel and are tried again; the ring keeps several windows apart meanwhile.
        const message = `window ${window.startS} is not moved to the spool: ${messageOf(error)}`
        if (this.#lastFault?.message !== message)
          // Else a full disk would be told several times a second.
          log.error({ err: error, windowStartS: window.startS }, 'sealing a window failed')
        this.#lastFault = { message, at: this.#now() }
        if (error instanceof WeirError && error.code === 'WEIR_SPOOL_FULL') spool.makeRoom(ROOM_SIZE)
        return
      }
      delivery.wake()
    }
    const oldest = meter.windows()[0]
    points.forgetRetiredBefore(oldest === undefined ? this.#nowS() : oldest.startS)
  }

  async #seal(window: KernelWindow): Promise<void> {
    const { sealer, spool, points, log } = this.#dependencies
    const windowKey = this.#windowKey(window)
    const assignments = new Map(points.all().map((it) => [it.point, it.assignment]))
    const givenUp = spool.flowLogsGivenUp().flatMap((flowLogId) => spool.takeGivenUp(flowLogId))
    const live = this.#live.selection()
    const result = await sealer.seal({
      window,
      windowKey,
      points: assignments,
      givenUp,
      ...(live === undefined ? {} : { live }),
    })
    const { rowsUnassigned, packetsSkipped } = result
    this.#packetsSkipped += packetsSkipped
    if (rowsUnassigned > 0) log.error({ windowKey, rowsUnassigned }, 'rows without a flow log were left out')
    spool.addWindow(windowKey)
    this.#live.keep(window.startS, result.live)
  }

  /** What an agent committed and could not clear any more before it was killed. */
  #clearCommittedWindows(): void {
    const { meter, spool } = this.#dependencies
    const committed = new Set(spool.committedWindows())
    for (const window of meter.windows()) {
      if (committed.has(this.#windowKey(window))) meter.clearWindow(window.generation)
    }
  }

  #windowKey(window: KernelWindow): string {
    return `${this.#dependencies.meter.bootId}-${window.generation}`
  }

  async #pollAssignments(): Promise<void> {
    const { controlPlane, delivery, log } = this.#dependencies
    const { signal } = this.#stopping
    const backoff = new Backoff({ delayMsMin: 500, delayMsMax: 15_000 })
    let changes = false // What was read from the disk may be older than what the control plane was told.
    while (!signal.aborted) {
      try {
        const { version } = this.#assignments
        const known = version === '' ? {} : { version }
        const {
          live: wanted,
          retry,
          ...answer
        } = await controlPlane.assignments({
          ...known,
          changes,
          live: this.#live.key,
          waitS: POLL_WAIT_S,
          signal,
        })
        backoff.reset()
        if (wanted !== undefined) this.#live.want(wanted)
        if (retry !== undefined) delivery.retry(retry)
        changes = true
        if (answer.since === undefined) this.#reported.forget() // Perhaps of another database, or an older one.
        const isNew = answer.version !== version
        const assignments = answer.since === undefined ? answer : changedBy(this.#assignments, answer)
        if (isNew || !this.#areAssignmentsSaved) this.#save(assignments)
        if (!isNew) continue
        this.#accept(assignments)
        await pause(POLL_PAUSE_MS, signal) // One change is taken at once, a burst of them in a few handfuls.
      } catch (error) {
        if (signal.aborted) return
        if (!(error instanceof WeirError)) throw error
        if (backoff.attempts === 0) log.warn({ err: error }, 'no assignments are to be had, metering goes on')
        await pause(backoff.nextDelayMs(), signal)
      }
    }
  }

  /** They are good without it, too: an agent that starts anew asks for them. */
  #save(assignments: Assignments): void {
    const { saveAssignments, log } = this.#dependencies
    try {
      saveAssignments(assignments)
      this.#areAssignmentsSaved = true
    } catch (error) {
      if (!(error instanceof WeirError)) throw error
      this.#areAssignmentsSaved = false
      log.error({ err: error }, 'assignments are not on disk')
    }
  }

  #accept(assignments: Assignments): void {
    this.#assignments = assignments
    if (assignments.windowSizeS !== this.#windowSizeS) {
      this.#windowSizeS = assignments.windowSizeS
      this.#dependencies.meter.setWindowSize(assignments.windowSizeS)
    }
    this.#reconcile()
    this.#report()
  }

  #reconcile(): void {
    if (this.#assignments.version === '') return
    this.#observation.mend()
    for (const device of this.#observation.robbed()) {
      this.#lastFault = { message: `somebody had removed the hooks of ${device}`, at: this.#now() }
    }
    if (this.#observation.reconcile(this.#assignments.assignments)) this.#report()
  }

  /** Sends a report now; while one is on its way, once more after it. */
  #report(): void {
    this.#reportIsDue = true
    this.#reporting ??= this.#sendReports().finally(() => {
      this.#reporting = undefined
    })
  }

  async #sendReports(): Promise<void> {
    const { controlPlane, log, clock } = this.#dependencies
    while (this.#reportIsDue && !this.#stopping.signal.aborted) {
      this.#reportIsDue = false
      this.#reportedAtMs = clock.nowMs()
      const told = this.#reported.begin(this.#observation.statuses, clock.nowMs())
      try {
        await controlPlane.report(this.#currentReport(told.points), { signal: this.#stopping.signal })
        told.taken()
        this.#reportFault = undefined
      } catch (error) {
        this.#reported.forget()
        if (this.#stopping.signal.aborted) return
        if (!(error instanceof WeirError)) throw error
        // The next heartbeat says it again.
        if (error.message !== this.#reportFault) log.warn({ err: error }, 'report was not taken')
        this.#reportFault = error.message
      }
    }
  }

  #currentReport(points: AgentReport['points']): AgentReport {
    const { meter, delivery, spool } = this.#dependencies
    const stats = meter.stats()
    const status = delivery.status()
    const { lastDelivery, lastError } = status
    const fault = lastError ?? this.#lastFault
    return {
      protocol: AGENT_PROTOCOL_VERSION,
      agentVersion: this.#options.version,
      startedAt: this.#startedAt,
      assignmentsVersion: this.#assignments.version,
      points,
      health: {
        windowStartS: Math.floor(this.#nowS() / this.#windowSizeS) * this.#windowSizeS,
        windowSizeS: this.#windowSizeS,
        flows: stats.flows,
        flowsMax: stats.flowsMax,
        skippedPackets:
          this.#packetsSkipped + Number(stats.points.reduce((sum, it) => sum + it.skippedPackets, 0n)),
        hookRuns: Number(stats.hookRuns),
        hookNs: Number(stats.hookNs),
        lateVerdicts: Number(stats.lateVerdicts),
        lostPackets: Number(stats.lostPackets),
        hooksRemoved: this.#observation.hooksRemoved,
        liveFailures: this.#live.failures,
        spool: spool.stats(),
        ...(lastDelivery === undefined ? {} : { lastDelivery: deliveryOf(lastDelivery) }),
        ...(fault === undefined ? {} : { lastError: fault }),
        deliveries: status.flowLogs,
      },
    }
  }

  #nowS(): number {
    return Math.floor(this.#dependencies.clock.nowMs() / 1000)
  }

  #now(): string {
    return new Date(this.#dependencies.clock.nowMs()).toISOString()
  }
}

function deliveryOf(
  delivery: NonNullable<ReturnType<Delivery['status']>['lastDelivery']>,
): NonNullable<AgentHealth['lastDelivery']> {
  const { bucket, objectName, records, bytes, at } = delivery
  return { bucket, object: objectName, records, bytes, at }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
