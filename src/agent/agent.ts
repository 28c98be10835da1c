import type { AttachedPoint, KernelWindow, PointConfig } from '../capture/ebpf/kernel-meter.ts'
import type {
  AgentHealth,
  AgentReport,
  Assignment,
  Assignments,
  Binding,
  DeliveryPlace,
  LiveReport,
  LiveWanted,
  LiveWindow,
  PendingDelivery,
  SpoolHealth,
} from '../model/agent-protocol.ts'
import { AGENT_PROTOCOL_VERSION } from '../model/agent-protocol.ts'
import { changedBy } from '../model/assignment-changes.ts'
import { WeirError } from '../model/errors.ts'
import type { GivenUp } from '../spool/loss-ledger.ts'
import { Backoff } from '../stdx/backoff.ts'
import type { Clock } from '../stdx/clock.ts'
import { pause } from '../stdx/wait.ts'
import { type Device, findDevice } from './find-device.ts'
import { LiveFlows, type LookResult, type LookTask } from './live-flows.ts'
import type { PointTable } from './point-table.ts'
import { type PointStatus, ReportedPoints } from './reported-points.ts'

/** The kernel's side, as the agent needs it (`capture/ebpf` has it). */
export interface Meter {
  readonly bootId: string
  start(): void
  stop(): void
  detachAll(): void
  attach(point: PointConfig): AttachedPoint
  detach(point: number): void
  points(): AttachedPoint[]
  /** Puts back what somebody has removed of the pins. */
  mend(): void
  /** Those that have lost their hooks, but not their device. */
  robbed(): AttachedPoint[]
  syncClock(): void
  windows(): KernelWindow[]
  closeWindows(): void
  clearWindow(generation: bigint): void
  setWindowSize(windowSizeS: number): void
  stats(): {
    flows: number
    flowsMax: number
    points: { skippedPackets: bigint }[]
    hookRuns: bigint
    hookNs: bigint
    lateVerdicts: bigint
    lostPackets: bigint
  }
}

export interface Devices {
  start(): void
  stop(): void
  list(): Device[]
  onChange(callback: () => void): void
}

/** The control plane's side of the agent protocol. */
export interface ControlPlane {
  assignments(options: {
    version?: string
    changes: boolean
    live: string
    waitS: number
    signal: AbortSignal
  }): Promise<Assignments>
  report(report: AgentReport, options: { signal: AbortSignal }): Promise<void>
  live(report: LiveReport, options: { signal: AbortSignal }): Promise<LiveWanted>
}

/** Writes a closed window into the spool, committed when the promise resolves (a worker thread does it). */
export interface Sealer {
  seal(task: SealTask): Promise<SealResult>
  /** Reads windows without changing them. */
  look(task: LookTask): Promise<LookResult>
  stop(): Promise<void>
}

export interface SealResult {
  /** Rows that belonged to no flow log: a bug to be told. */
  rowsUnassigned: number
  /** Packets in SKIPDATA rows. */
  packetsSkipped: number
  /** Of the flow logs that the task wanted to see live. */
  live: ReadonlyMap<string, LiveWindow>
}

export interface SealTask {
  window: KernelWindow
  /** Names the window in the spool; no two windows of this host ever share one. */
  windowKey: string
  points: ReadonlyMap<number, Assignment>
  /** What the spool had to give up earlier and this window's objects will tell. */
  givenUp: GivenUp[]
  /** Whose flows somebody looks at: points, and rows of each flow log. */
  live?: { points: ReadonlyMap<number, Assignment>; rowsMax: number }
}

export interface SpoolSide {
  start(): void
  stop(): void
  /** Keys of windows that are in the spool. */
  committedWindows(): string[]
  addWindow(windowKey: string): void
  /** Gives up what is too old or too much. */
  enforceLimits(): void
  /** Gives up the oldest segments until so many bytes are free; returns how many that are. */
  makeRoom(bytes: number): number
  flowLogsGivenUp(): string[]
  /** Of flow logs that are not kept any more, as far as it was before `beforeS`. */
  forgetGivenUp(kept: ReadonlySet<string>, beforeS: number): void
  takeGivenUp(flowLogId: string): GivenUp[]
  stats(): SpoolHealth
}

export interface Delivery {
  start(): void
  /** New segments are in the spool. */
  wake(): void
  /** What waits for these is tried at once. */
  retry(places: readonly DeliveryPlace[]): void
  /** Tries to deliver everything; returns what is left when the deadline has passed. */
  drain(options: { deadlineMs: number }): Promise<{ left: number }>
  stop(): Promise<void>
  status(): {
    lastDelivery?:
      | { bucket: string; objectName: string; records: number; bytes: number; at: string }
      | undefined
    lastError?: { message: string; at: string } | undefined
    flowLogs: PendingDelivery[]
  }
}

export interface AgentDependencies {
  meter: Meter
  devices: Devices
  points: PointTable
  controlPlane: ControlPlane
  sealer: Sealer
  spool: SpoolSide
  delivery: Delivery
  /** The last assignments, kept over restarts; `undefined` when there are none. */
  savedAssignments(): Assignments | undefined
  saveAssignments(assignments: Assignments): void
  clock: Clock
  log: Logger
}

export interface Logger {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

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

/** A flow log and the device at which it is to be captured from now on. */
interface Placement {
  assignment: Assignment
  device: Device
}

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
  readonly #statuses = new Map<string, PointStatus>()
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
  #hooksRemoved = 0
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
    this.#retireStrangers()
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
    this.#detach(meter.points().map((it) => it.point))
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
      this.#mend()
      const attached = [...this.#statuses.values()].filter((it) => it.state === 'attached').length
      if (meter.points().length !== attached) this.#reconcile()
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

  /** Of what somebody's tool has removed no event tells. */
  #mend(): void {
    const { meter, log } = this.#dependencies
    try {
      meter.mend()
    } catch (error) {
      log.error({ err: error }, 'what somebody has removed from bpffs cannot be put back')
    }
  }

  #tellRobbed(): void {
    const { meter, log } = this.#dependencies
    for (const { flowLogId, device, netns } of meter.robbed()) {
      this.#hooksRemoved++
      this.#lastFault = { message: `somebody had removed the hooks of ${device}`, at: this.#now() }
      log.warn({ flowLogId, device, netns }, 'somebody has removed hooks, nothing was counted since')
    }
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
    if ([...this.#statuses.values()].some((it) => it.state === 'failed')) this.#reconcile()
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

  /** Makes the kernel's points match the assignments and the devices that are there. */
  #reconcile(): void {
    if (this.#assignments.version === '') return
    this.#mend()
    this.#tellRobbed()
    const { meter, points } = this.#dependencies
    const before = JSON.stringify([...this.#statuses])
    const wanted = new Map(this.#assignments.assignments.map((it) => [it.flowLogId, it]))
    const leaving = points
      .all()
      .filter((it) => it.retiredAtS === undefined && !wanted.has(it.assignment.flowLogId))
      .map((it) => it.point)
    const joining: Placement[] = []
    this.#statuses.clear()
    const attached = new Map(meter.points().map((it) => [it.point, it]))
    const found = this.#dependencies.devices.list()
    for (const assignment of wanted.values()) {
      const device = findDevice(assignment.binding, found)
      const live = points.live(assignment.flowLogId)
      const now = live === undefined ? undefined : attached.get(live.point)
      const status = statusOf(assignment, device, now, found)
      this.#statuses.set(assignment.flowLogId, status)
      if (status.state === 'attached') continue
      if (live !== undefined) leaving.push(live.point)
      if (!('waitingFor' in device)) joining.push({ assignment, device })
    }
    this.#detach(leaving)
    this.#attach(joining)
    if (JSON.stringify([...this.#statuses]) !== before) this.#report()
  }

  #attach(placements: Placement[]): void {
    const { meter, points, log } = this.#dependencies
    const failed: number[] = []
    const numbers = this.#numbersFor(placements)
    for (const [i, { assignment, device }] of placements.entries()) {
      const { flowLogId, interfaceId, binding } = assignment
      const point = numbers[i]
      if (point === undefined) return
      const { name, netns } = device
      try {
        meter.attach({
          point,
          flowLogId,
          interfaceId,
          device: name,
          ...(netns === undefined ? {} : { netns }),
          mirrored: isMirrored(binding),
        })
        log.info({ flowLogId, device: name, netns }, 'flow log attached')
        this.#statuses.set(flowLogId, { state: 'attached', device: name })
      } catch (error) {
        if (!(error instanceof WeirError)) throw error
        failed.push(point)
        log.warn({ err: error, device: name }, 'attaching failed')
        this.#statuses.set(flowLogId, { state: 'failed', device: name, message: error.message })
      }
    }
    points.retire(failed, this.#retiredAtS())
  }

  /** None where they cannot be written down: then nobody would know whose flows the kernel has. */
  #numbersFor(placements: Placement[]): number[] {
    const { points, log } = this.#dependencies
    try {
      return points.take(placements.map((it) => it.assignment)).map((it) => it.point)
    } catch (error) {
      if (!(error instanceof WeirError)) throw error
      log.error({ err: error }, 'no observation points can be taken')
      for (const { assignment, device } of placements) {
        const { message } = error
        this.#statuses.set(assignment.flowLogId, { state: 'failed', device: device.name, message })
      }
      return []
    }
  }

  #detach(leaving: number[]): void {
    for (const point of leaving) this.#dependencies.meter.detach(point)
    this.#dependencies.points.retire(leaving, this.#retiredAtS())
  }

  /** After a start: kernel points that the table does not know, and live ones that the kernel has lost. */
  #retireStrangers(): void {
    const { meter, points, log } = this.#dependencies
    const inKernel = new Set(meter.points().map((it) => it.point))
    const inTable = new Map(points.all().map((it) => [it.point, it]))
    for (const point of inKernel) {
      const record = inTable.get(point)
      if (record === undefined || record.retiredAtS !== undefined) meter.detach(point)
    }
    const lost = [...inTable.keys()].filter((point) => !inKernel.has(point))
    const isLive = (point: number): boolean => inTable.get(point)!.retiredAtS === undefined
    if (lost.some(isLive))
      log.warn({}, 'the kernel has forgotten what was observed: a reboot, or removed pins')
    points.retire(lost, this.#retiredAtS())
  }

  /** Not before the start of a window that may mention it: where the wall clock was set back, windows are ahead of it. */
  #retiredAtS(): number {
    return Math.max(this.#nowS(), ...this.#dependencies.meter.windows().map((it) => it.startS))
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
      const told = this.#reported.begin(this.#statuses, clock.nowMs())
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
        hooksRemoved: this.#hooksRemoved,
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

/** Of a flow log before anything is done about it: `now` is where it is captured, if it is. */
function statusOf(
  assignment: Assignment,
  device: ReturnType<typeof findDevice>,
  now: AttachedPoint | undefined,
  found: Device[],
): PointStatus {
  if ('waitingFor' in device) {
    // The kernel knows better than a list that has just been lost and is being read anew.
    const isListed = found.some((it) => it.ifindex === now?.ifindex && it.netns === now.netns)
    if (now !== undefined && !isListed) return { state: 'attached', device: now.device }
    return { state: 'waiting', message: `waiting for an interface: ${device.waitingFor}` }
  }
  const isSameDevice = now !== undefined && now.ifindex === device.ifindex && now.netns === device.netns
  const isInPlace = isSameDevice && now.mirrored === isMirrored(assignment.binding)
  return { state: isInPlace ? 'attached' : 'waiting', device: device.name }
}

function isMirrored({ side }: Binding): boolean {
  return side === 'guest'
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
