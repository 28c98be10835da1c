import type { AttachedPoint, KernelWindow, PointConfig } from '../capture/ebpf/kernel-meter.ts'
import type {
  AgentReport,
  Assignment,
  Assignments,
  DeliveryPlace,
  LiveReport,
  LiveWanted,
  LiveWindow,
  PendingDelivery,
  SpoolHealth,
} from '../model/agent-protocol.ts'
import type { GivenUp } from '../spool/loss-ledger.ts'
import type { Clock } from '../stdx/clock.ts'
import type { Device } from './find-device.ts'
import type { LookResult, LookTask } from './live-flows.ts'
import type { PointTable } from './point-table.ts'

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
