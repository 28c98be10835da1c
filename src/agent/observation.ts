import type { AttachedPoint } from '../capture/ebpf/kernel-meter.ts'
import type { Assignment, Binding } from '../model/agent-protocol.ts'
import { WeirError } from '../model/errors.ts'
import { type Device, findDevice } from './find-device.ts'
import type { AgentDependencies } from './ports.ts'
import type { PointStatus } from './reported-points.ts'

/** A flow log and the device at which it is to be captured from now on. */
interface Placement {
  assignment: Assignment
  device: Device
}

/** The observation points of one host: in the kernel, in the table that says whose they are, and as they are told. */
export class Observation {
  readonly #dependencies: Pick<AgentDependencies, 'meter' | 'devices' | 'points' | 'clock' | 'log'>
  readonly #statuses = new Map<string, PointStatus>()
  #hooksRemoved = 0

  constructor(dependencies: Pick<AgentDependencies, 'meter' | 'devices' | 'points' | 'clock' | 'log'>) {
    this.#dependencies = dependencies
  }

  /** By flow log. */
  get statuses(): ReadonlyMap<string, PointStatus> {
    return this.#statuses
  }

  /** Hooks that somebody else has removed. */
  get hooksRemoved(): number {
    return this.#hooksRemoved
  }

  get hasFailed(): boolean {
    return [...this.#statuses.values()].some((it) => it.state === 'failed')
  }

  /** Whether the kernel has other points than were told. */
  get hasChanged(): boolean {
    const attached = [...this.#statuses.values()].filter((it) => it.state === 'attached').length
    return this.#dependencies.meter.points().length !== attached
  }

  /** Of what somebody's tool has removed no event tells. */
  mend(): void {
    const { meter, log } = this.#dependencies
    try {
      meter.mend()
    } catch (error) {
      log.error({ err: error }, 'what somebody has removed from bpffs cannot be put back')
    }
  }

  /** The devices whose hooks somebody has removed, of which this tells in the log. */
  robbed(): string[] {
    const { meter, log } = this.#dependencies
    return meter.robbed().map(({ flowLogId, device, netns }) => {
      this.#hooksRemoved++
      log.warn({ flowLogId, device, netns }, 'somebody has removed hooks, nothing was counted since')
      return device
    })
  }

  /** Makes the kernel's points match the assignments and the devices that are there; says whether a status changed. */
  reconcile(assignments: readonly Assignment[]): boolean {
    const { meter, points, devices } = this.#dependencies
    const before = JSON.stringify([...this.#statuses])
    const wanted = new Map(assignments.map((it) => [it.flowLogId, it]))
    const leaving = points
      .all()
      .filter((it) => it.retiredAtS === undefined && !wanted.has(it.assignment.flowLogId))
      .map((it) => it.point)
    const joining: Placement[] = []
    this.#statuses.clear()
    const attached = new Map(meter.points().map((it) => [it.point, it]))
    const found = devices.list()
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
    return JSON.stringify([...this.#statuses]) !== before
  }

  /** After a start: kernel points that the table does not know, and live ones that the kernel has lost. */
  retireStrangers(): void {
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

  /** Ends all; their windows are still to be moved to the spool. */
  end(): void {
    this.#detach(this.#dependencies.meter.points().map((it) => it.point))
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

  /** Not before the start of a window that may mention it: where the wall clock was set back, windows are ahead of it. */
  #retiredAtS(): number {
    const { meter, clock } = this.#dependencies
    const nowS = Math.floor(clock.nowMs() / 1000)
    return Math.max(nowS, ...meter.windows().map((it) => it.startS))
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
