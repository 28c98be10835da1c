import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, rmdirSync } from 'node:fs'
import path from 'node:path'
import { WeirError } from '../../model/errors.ts'
import { assert } from '../../stdx/assert.ts'
import type { Clock } from '../../stdx/clock.ts'
import { ensureBpffs } from './bpffs.ts'
import { cutWindow, freeSlot, openWindows, readClock, setLimits, syncWindows } from './control.ts'
import { attachTracepoint, BpfObject, pin, programRuns, readAll } from './ffi/libbpf.ts'
import { COUNTERS, COUNTERS_SIZE, DRAIN_GRACE_NS, SKIPPED, SKIPPED_SIZE } from './layout.ts'
import {
  foreignLayouts,
  layoutPath,
  missingPins,
  Pins,
  publishPins,
  refreshPrograms,
  removePin,
  removeTree,
  writePins,
} from './pins.ts'
import type { AttachedPoint, PointConfig } from './point-record.ts'
import { type Attachment, PointRegistry } from './point-registry.ts'
import { expedited, restoreGracePeriods } from './rcu.ts'
import { type KernelState, readState } from './state.ts'
import { WindowMaps } from './window-maps.ts'

export type { AttachedPoint, PointConfig } from './point-record.ts'
export { readWindow } from './read-window.ts'
export { missingForMetering } from './requirements.ts'

export interface KernelMeterOptions {
  /** The compiled programs: build/bpf/flow.bpf.o. */
  objectPath: string
  /** A folder in bpffs that is this meter's own. */
  pinPath: string
  /** A divisor of an hour, 2 at least. */
  windowSizeS: number
  flowsMax: number
  flowsPerPointMax: number
  /** tcx links where the kernel has them (6.6), otherwise clsact filters. Set to force one. */
  attachment?: Attachment
}

export interface Log {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

export interface KernelWindow {
  generation: bigint
  slot: number
  startS: number
  endS: number
  /** closed: ended, and the time in which verdicts may still come is over. */
  state: 'open' | 'closed'
}

/** One point in the open window. */
export interface PointCounters {
  point: number
  flows: number
  skippedPackets: bigint
  skippedOctets: bigint
}

export interface KernelMeterStats {
  /** In the open window. */
  flows: number
  flowsMax: number
  points: PointCounters[]
  /** Zeros unless the sysctl kernel.bpf_stats_enabled is on. */
  hookRuns: bigint
  hookNs: bigint
  verdictRuns: bigint
  verdictNs: bigint
  /** Refused after their window was closed for good (a queue held them): these stay ACCEPT. */
  lateVerdicts: bigint
  /** Refused at a device that is observed, but in no flow: skipped, or an address translation that hides it. */
  unmatchedVerdicts: bigint
  /** The kernel had no memory even for a skipped counter. */
  lostPackets: bigint
  lostOctets: bigint
}

const TICK_RATES_HZ = [100, 250, 300, 1000] // kernel/Kconfig.hz
const TICK_MEASUREMENT_MS = 100
const LINK_RELEASE_MS = 20
const WALL_STEP_NS_MIN = 2_000_000n // The wall clock is read in milliseconds; less than this is its rounding.

/**
 * The metering process of this machine: BPF programs on devices and on the kernel's drops, flows counted in windows
 * that the kernel cuts. All of it is pinned in bpffs and counts on without us; `start` adopts what it finds.
 */
export class KernelMeter {
  readonly #options: KernelMeterOptions
  readonly #clock: Clock
  readonly #log: Log
  #windowSizeS: number
  #wallOffsetNs = 0n
  #pins: Pins | undefined
  #points: PointRegistry | undefined
  #maps: WindowMaps | undefined
  #instance = 0n
  /** After closeWindows(): windows up to this generation are closed, younger ones are nobody's. */
  #closedThrough: bigint | undefined

  constructor(options: KernelMeterOptions, dependencies: { clock: Clock; log: Log }) {
    checkWindowSize(options.windowSizeS)
    assert(options.flowsPerPointMax > 0 && options.flowsMax >= options.flowsPerPointMax)
    this.#options = Object.freeze({ ...options })
    this.#clock = dependencies.clock
    this.#log = dependencies.log
    this.#windowSizeS = options.windowSizeS
  }

  /** Loads and pins the programs, or adopts those of an earlier agent with everything they have counted. */
  start(): void {
    assert(this.#pins === undefined, 'KernelMeter started twice')
    ensureBpffs()
    const { pinPath } = this.#options
    mkdirSync(pinPath, { recursive: true, mode: 0o700 })
    removeTree(this.#unpublishedPath()) // An agent died here before its programs counted anything.
    restoreGracePeriods(pinPath)
    this.#refuseForeignLayouts()
    this.#removeIncomplete()
    const isAdopted = existsSync(layoutPath(pinPath))
    if (!isAdopted) expedited(this.#options.pinPath, () => this.#load())
    this.#open()
    const isRefreshed = isAdopted && this.#refresh()
    if (isRefreshed) {
      this.stop()
      this.#open()
    }
    const state = this.#state()
    this.#instance = state.instance
    this.#wallOffsetNs = state.wallOffsetNs
    setLimits(this.#pins!.program('control'), this.#options)
    this.#maps!.prepare(this.#points!.size)
    this.syncClock()
    const windows = state.slots.length
    this.#log.info(
      { isAdopted, isRefreshed, windows, points: this.#points!.size, bootId: this.bootId },
      'metering started',
    )
  }

  /** Names what the kernel holds: new with every load, kept by adoption. With a generation, it names a window forever. */
  get bootId(): string {
    assert(this.#pins !== undefined, 'KernelMeter not started')
    return this.#instance.toString(16).padStart(16, '0')
  }

  /** Begins to observe a device. Other programs on it go on working. */
  attach(point: PointConfig): AttachedPoint {
    this.#closedThrough = undefined
    return expedited(this.#options.pinPath, () => {
      this.#maps!.reserve(this.#points!.size + 1, this.#state())
      return this.#points!.attach(point)
    })
  }

  /** Stops at once. What was counted stays in its windows. Unknown points are ignored. */
  detach(point: number): void {
    assert(this.#points !== undefined, 'KernelMeter not started')
    const points = this.#points
    expedited(this.#options.pinPath, () => points.detach(point))
  }

  /** The points that are in place on their devices: neither has the device gone nor has anyone removed our hooks. */
  points(): AttachedPoint[] {
    assert(this.#points !== undefined, 'KernelMeter not started')
    return this.#points.inPlace()
  }

  /** The points whose hooks somebody has removed from a device that is there. */
  robbed(): AttachedPoint[] {
    assert(this.#points !== undefined, 'KernelMeter not started')
    const robbed = this.#points.robbed()
    if (robbed.length > 0) sleepMs(LINK_RELEASE_MS) // Else the old hooks might count beside those that follow.
    return robbed
  }

  /** Call it every second: pins again what somebody has removed, so that the next agent finds it. */
  mend(): void {
    assert(this.#pins !== undefined, 'KernelMeter not started')
    ensureBpffs()
    const directory = layoutPath(this.#options.pinPath)
    this.#pins.restore(directory)
    const verdictLink = path.join(directory, 'links', 'verdict')
    if (!existsSync(verdictLink)) {
      sleepMs(LINK_RELEASE_MS) // The kernel lets go of the old one from a queue of its own.
      mkdirSync(path.dirname(verdictLink), { recursive: true, mode: 0o700 })
      attachVerdict(this.#pins.program('verdict'), verdictLink)
    }
  }

  /** Call it every second: tells the kernel what the wall clock says, and ends a window that no packet has ended. */
  syncClock(): void {
    const now = BigInt(Math.round(this.#clock.nowMs() * 1000)) * 1000n + 500_000n // The middle of its millisecond.
    const offset = now - this.#clock.monotonicNs()
    const step = offset - this.#wallOffsetNs
    if (step > WALL_STEP_NS_MIN || step < -WALL_STEP_NS_MIN) this.#wallOffsetNs = offset
    syncWindows(this.#pins!.program('control'), {
      wallOffsetNs: this.#wallOffsetNs,
      windowSizeS: this.#windowSizeS,
    })
  }

  /** Windows that the kernel holds, oldest first. */
  windows(): KernelWindow[] {
    const now = this.#clock.monotonicNs()
    return this.#state()
      .slots.filter((it) => this.#closedThrough === undefined || it.generation <= this.#closedThrough)
      .map(({ generation, slot, startS, endS, isOpen, endNs }) => {
        const isDrainable = !isOpen && now >= endNs + DRAIN_GRACE_NS
        const isClosed = isDrainable || this.#closedThrough !== undefined
        return { generation, slot, startS, endS, state: isClosed ? 'closed' : 'open' }
      })
  }

  /** For an orderly exit, when all points are detached: what was counted so far is closed now. */
  closeWindows(): void {
    const open = this.#state().slots.find((it) => it.isOpen)
    assert(open !== undefined)
    cutWindow(this.#pins!.program('control'))
    this.#closedThrough = open.generation
  }

  /** Forgets a window whose rows are safe elsewhere. Clearing what is not there is fine. */
  clearWindow(generation: bigint): void {
    const control = this.#pins!.program('control')
    const find = () => this.#state().slots.find((it) => it.generation === generation)
    if (find()?.isOpen) cutWindow(control)
    const slot = find()
    if (slot === undefined) return
    assert(!slot.isOpen, 'windows are cleared oldest first')
    expedited(this.#options.pinPath, () => this.#maps!.replace(slot.slot, this.#points!.size))
    freeSlot(control, slot.slot, generation)
    this.#maps!.prepare(this.#points!.size)
  }

  /** Takes effect with the next window; a smaller size at its next edge. */
  setWindowSize(windowSizeS: number): void {
    checkWindowSize(windowSizeS)
    this.#windowSizeS = windowSizeS
    this.syncClock()
  }

  stats(): KernelMeterStats {
    const state = this.#state()
    const open = state.slots.find((it) => it.isOpen)
    const runs = (['tc_ingress', 'tc_egress'] as const).map((it) => programRuns(this.#pins!.program(it)))
    const verdict = programRuns(this.#pins!.program('verdict'))
    return {
      flows: open?.flows ?? 0,
      flowsMax: state.flowsMax,
      points: open === undefined ? [] : readCounters(this.#pins!.map('counters'), open.slot),
      hookRuns: runs.reduce((sum, it) => sum + it.runs, 0n),
      hookNs: runs.reduce((sum, it) => sum + it.ns, 0n),
      verdictRuns: verdict.runs,
      verdictNs: verdict.ns,
      lateVerdicts: state.verdictsLate,
      unmatchedVerdicts: state.verdictsUnmatched,
      lostPackets: state.lostPackets,
      lostOctets: state.lostOctets,
    }
  }

  /** Lets go without touching anything: the kernel goes on counting for the next agent. */
  stop(): void {
    this.#maps?.stop()
    this.#pins?.[Symbol.dispose]()
    this.#pins = undefined
    this.#points = undefined
    this.#maps = undefined
  }

  /** Removes every trace from devices and from bpffs, counted flows included. Works without `start`, too. */
  detachAll(): void {
    const { pinPath } = this.#options
    if (this.#pins === undefined) this.#removeIncomplete()
    if (this.#pins === undefined && existsSync(layoutPath(pinPath))) {
      this.#open()
    }
    expedited(this.#options.pinPath, () => this.#points?.detachAll())
    this.stop()
    restoreGracePeriods(pinPath)
    removeTree(pinPath)
    removeIfEmpty(path.dirname(pinPath))
  }

  /**
   * Flows in a layout that this version cannot read are not ours to drop, and two versions must not count at once. The
   * version that made them drains them: an orderly exit (`finish` of the agent) leaves no pins behind.
   */
  #refuseForeignLayouts(): void {
    const { pinPath } = this.#options
    const [foreign] = foreignLayouts(pinPath)
    if (foreign === undefined) return
    throw new WeirError(
      'WEIR_UNSUPPORTED',
      `${pinPath} holds flows in layout ${foreign}, which this version cannot read: ` +
        'let the version that made them deliver them and exit, or give them up with --detach-all',
    )
  }

  /** Of what somebody has removed a part while no agent ran, the rest is of no use. */
  #removeIncomplete(): void {
    const directory = layoutPath(this.#options.pinPath)
    if (!existsSync(directory)) return
    const missing = missingPins(directory)
    if (missing.length === 0) return
    this.#log.warn({ directory, missing }, 'somebody has removed pins: what was counted there is lost')
    removeTree(directory)
  }

  #unpublishedPath(): string {
    return path.join(this.#options.pinPath, 'unpublished')
  }

  #state(): KernelState {
    assert(this.#pins !== undefined, 'KernelMeter not started')
    return readState(this.#pins.map('state'))
  }

  #open(): void {
    const directory = layoutPath(this.#options.pinPath)
    this.#pins = new Pins(directory)
    this.#maps = new WindowMaps(this.#pins, this.#options)
    this.#points = new PointRegistry(
      { directory, attachment: this.#options.attachment },
      { pins: this.#pins, log: this.#log },
    )
    this.#points.load()
  }

  /**
   * Another version of the programs over the same maps. The traffic hooks change without missing a packet. Of the
   * verdict there must never be two, they would refuse twice: for some milliseconds there is none, and what is refused
   * then stays ACCEPT.
   */
  #refresh(): boolean {
    const directory = layoutPath(this.#options.pinPath)
    const verdictLink = path.join(directory, 'links', 'verdict')
    const isRefreshed = refreshPrograms(this.#options.objectPath, directory, (programFd) => {
      expedited(this.#options.pinPath, () => this.#points!.refresh(programFd))
      removePin(verdictLink)
      sleepMs(LINK_RELEASE_MS) // The kernel lets go of a link from a queue of its own.
      attachVerdict(programFd('verdict'), verdictLink)
    })
    // Someone died just there, after the old one had gone.
    if (!existsSync(verdictLink)) attachVerdict(this.#pins!.program('verdict'), verdictLink)
    return isRefreshed
  }

  /** Everything is made and pinned under a name that nobody adopts, then renamed: whole, or not there. */
  #load(): void {
    const directory = this.#unpublishedPath()
    try {
      using object = new BpfObject(this.#options.objectPath)
      writePins(object, directory)
      attachVerdict(object.programFd('verdict'), path.join(directory, 'links', 'verdict'))
      using pins = new Pins(directory)
      const maps = new WindowMaps(pins, this.#options)
      for (let slot = 0; slot < 4; slot++) maps.replace(slot, 0)
      openWindows(pins.program('control'), {
        generation: 1n,
        wallOffsetNs: BigInt(Math.round(this.#clock.nowMs() * 1000)) * 1000n - this.#clock.monotonicNs(),
        windowSizeS: this.#windowSizeS,
        instance: randomBytes(8).readBigUInt64LE(),
        tickNs: measureTickNs(pins.program('control')),
      })
      publishPins(directory, this.#options.pinPath)
    } catch (error) {
      removeTree(directory)
      throw error
    }
  }
}

function checkWindowSize(windowSizeS: number): void {
  if (Number.isInteger(windowSizeS) && windowSizeS >= 2 && 3600 % windowSizeS === 0) return
  throw new WeirError(
    'WEIR_CONFIG_INVALID',
    `a window of ${windowSizeS} s does not divide an hour, or is under 2 s`,
  )
}

/** The length of the kernel's tick (CONFIG_HZ), measured: there is no one place that tells it. */
function measureTickNs(control: number): bigint {
  const before = readClock(control)
  sleepMs(TICK_MEASUREMENT_MS)
  const after = readClock(control)
  const ticks = after.ticks - before.ticks
  assert(ticks > 0n, 'the clock stands still')
  const measuredHz = Number(ticks * 1_000_000_000n) / Number(after.monotonicNs - before.monotonicNs)
  const distance = (hz: number) => Math.abs(Math.log(hz / measuredHz))
  const hz = TICK_RATES_HZ.reduce((best, it) => (distance(it) < distance(best) ? it : best))
  return BigInt(Math.floor((1e9 + hz / 2) / hz)) // TICK_NSEC of include/linux/jiffies.h
}

function attachVerdict(program: number, file: string): void {
  using link = attachTracepoint(program)
  pin(link.fd, file)
}

/** Blocks: only while metering starts. */
function sleepMs(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

function readCounters(fd: number, slot: number): PointCounters[] {
  const found: PointCounters[] = []
  readAll({ fd, keySize: 4, valueSize: COUNTERS_SIZE, batchSize: 4096 }, (keys, values, count) => {
    for (let i = 0; i < count; i++) {
      const key = keys.readUInt32LE(i * 4)
      if (key >>> 16 !== slot) continue
      const at = i * COUNTERS_SIZE
      const ingress = at + COUNTERS.skipped
      const egress = ingress + SKIPPED_SIZE
      found.push({
        point: key & 0xffff,
        flows: values.readUInt32LE(at + COUNTERS.flows),
        skippedPackets:
          values.readBigUInt64LE(ingress + SKIPPED.packets) +
          values.readBigUInt64LE(egress + SKIPPED.packets),
        skippedOctets:
          values.readBigUInt64LE(ingress + SKIPPED.octets) + values.readBigUInt64LE(egress + SKIPPED.octets),
      })
    }
  })
  return found
}

function removeIfEmpty(directory: string): void {
  if (existsSync(directory) && readdirSync(directory).length === 0) rmdirSync(directory)
}
