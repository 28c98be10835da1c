import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { eventually } from '../../test/support/eventually.ts'
import type { AttachedPoint, KernelWindow, PointConfig } from '../capture/ebpf/kernel-meter.ts'
import type { AgentReport, Assignment, Assignments } from '../model/agent-protocol.ts'
import { WeirError } from '../model/errors.ts'
import { Agent } from './agent.ts'
import { PointTable, replaceFile } from './point-table.ts'
import type { AgentDependencies, SealTask } from './ports.ts'

const DEVICE = { name: 'eth0', ifindex: 2, mac: '' }

/** An agent's surroundings, of which a test steps the wall clock, the kernel's windows and what is assigned. */
class World implements AsyncDisposable {
  nowMs = 12 * 3_600_000
  windows: KernelWindow[] = []
  readonly sealed: SealTask[] = []
  /** Flow logs whose losses are still to be told. */
  lossesKept: string[] | undefined
  /** So many times. */
  clearingFails = 0
  readonly #committed: string[] = []
  /** The last that was told of each flow log. */
  readonly reported = new Map<string, AgentReport['points'][number]>()
  readonly agent: Agent
  readonly #directory = mkdtempSync(path.join(tmpdir(), 'weir-agent-'))
  readonly #files = ['points.json', 'assignments.json'].map((it) => path.join(this.#directory, it))
  readonly #attached = new Map<number, AttachedPoint>()
  #assigned = Promise.withResolvers<Assignments>()

  constructor(first: Assignments) {
    this.#assigned.resolve(first)
    const [pointsFile = '', assignmentsFile = ''] = this.#files
    const dependencies = {
      meter: {
        bootId: 'boot',
        start() {},
        stop() {},
        attach: (point: PointConfig) => {
          const attached = { ...point, ifindex: DEVICE.ifindex } as AttachedPoint
          this.#attached.set(point.point, attached)
          return attached
        },
        detach: (point: number) => this.#attached.delete(point),
        points: () => [...this.#attached.values()],
        mend() {},
        robbed: () => [],
        syncClock() {},
        windows: () => this.windows,
        clearWindow: (generation: bigint) => {
          if (this.clearingFails-- > 0) throw new WeirError('WEIR_NATIVE_CALL', 'no memory')
          this.windows = this.windows.filter((it) => it.generation !== generation)
        },
        stats: () => ({ flows: 0, flowsMax: 1, points: [] }),
      },
      devices: { start() {}, stop() {}, list: () => [DEVICE], onChange() {} },
      points: new PointTable({ file: pointsFile }),
      controlPlane: {
        assignments: ({ signal }: { signal: AbortSignal }) => {
          const stopped = new Promise<never>((_, reject) => {
            signal.addEventListener('abort', () => reject(signal.reason as Error))
          })
          return Promise.race([this.#next(), stopped])
        },
        report: async ({ points }: AgentReport) => {
          for (const it of points) this.reported.set(it.flowLogId, it)
        },
      },
      sealer: {
        seal: async (task: SealTask) => {
          this.sealed.push(task)
          return { rowsUnassigned: 0, packetsSkipped: 0, live: new Map() }
        },
        stop: async () => {},
      },
      spool: {
        start() {},
        stop() {},
        committedWindows: () => this.#committed,
        addWindow: (windowKey: string) => this.#committed.push(windowKey),
        enforceLimits() {},
        flowLogsGivenUp: () => [],
        forgetGivenUp: (kept: ReadonlySet<string>) => {
          this.lossesKept = [...kept]
        },
        stats: () => ({}),
      },
      delivery: { start() {}, wake() {}, stop: async () => {}, status: () => ({ flowLogs: [] }) },
      savedAssignments: () => undefined,
      saveAssignments: (it: Assignments) => replaceFile(assignmentsFile, JSON.stringify(it)),
      clock: { nowMs: () => this.nowMs, monotonicNs: () => 0n },
      log: { info() {}, warn() {}, error() {} },
    } as unknown as AgentDependencies
    this.agent = new Agent({ version: '0', windowSizeS: 600 }, dependencies)
  }

  /** Folders stand where the agent would write. */
  refuseWrites(): Disposable {
    const folders = this.#files.map((it) => `${it}.new`)
    for (const folder of folders) mkdirSync(folder)
    return { [Symbol.dispose]: () => folders.forEach((it) => void rmdirSync(it)) }
  }

  assign(assignments: Assignments): void {
    this.#assigned.resolve(assignments)
  }

  get attached(): number {
    return this.#attached.size
  }

  until(isTrue: () => boolean): Promise<true> {
    return eventually(String(isTrue), isTrue)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent.stop()
    rmSync(this.#directory, { recursive: true })
  }

  async #next(): Promise<Assignments> {
    const assignments = await this.#assigned.promise
    this.#assigned = Promise.withResolvers()
    return assignments
  }
}

test('a flow log that goes while the wall clock is set back loses nothing of the window that is open', async () => {
  const startS = 12 * 3_600
  await using world = new World(assignmentsOf('1', [assignment('a'), assignment('b')]))
  world.windows = [{ generation: 1n, slot: 0, startS, endS: startS + 600, state: 'open' }]
  world.agent.start()
  await world.until(() => world.attached === 2)

  world.nowMs = (startS - 300) * 1_000 // Less than a window: the open one goes on (docs/kernel-metering.md).
  world.assign(assignmentsOf('2', [assignment('b')]))
  await world.until(() => world.attached === 1)
  await new Promise((resolve) => setTimeout(resolve, 600)) // The agent looks for windows to seal every 250 ms.
  world.windows = [{ ...world.windows[0]!, state: 'closed' }]
  await world.until(() => world.sealed.length === 1)

  const points = [...world.sealed[0]!.points.values()]
  assert.deepEqual(
    points.map(({ flowLogId }) => flowLogId),
    ['a', 'b'],
  )
})

test('a window that cannot be cleared in the kernel is sealed once, and cleared later', async () => {
  await using world = new World(assignmentsOf('1', [assignment('a')]))
  world.clearingFails = 2
  world.windows = [1n, 2n].map((generation) => ({
    generation,
    slot: 0,
    startS: 0,
    endS: 600,
    state: 'closed',
  }))
  world.agent.start()

  await world.until(() => world.windows.length === 0)

  assert.deepEqual(
    world.sealed.map(({ window }) => window.generation),
    [1n, 2n],
  )
})

test('a disk that takes nothing stops no agent: what is captured goes on, what is new waits for the disk', async () => {
  const startS = 12 * 3_600
  await using world = new World(assignmentsOf('1', [assignment('a'), assignment('b')]))
  world.windows = [{ generation: 1n, slot: 0, startS, endS: startS + 600, state: 'open' }]
  world.agent.start()
  await world.until(() => world.attached === 2)

  {
    using _refusing = world.refuseWrites()
    world.assign(assignmentsOf('2', [assignment('b'), assignment('c')]))
    await world.until(() => world.reported.get('c')?.state === 'failed')
  }
  const refusal = world.reported.get('c')?.message ?? ''
  const refused = world.attached
  world.nowMs += 61_000
  await world.until(() => world.attached === 2)
  world.windows = [{ ...world.windows[0]!, state: 'closed' }]
  await world.until(() => world.sealed.length === 1)

  assert.match(refusal, /points\.json cannot be written: EISDIR/)
  assert.equal(refused, 1)
  const points = [...world.sealed[0]!.points.values()]
  assert.deepEqual(
    points.map(({ flowLogId }) => flowLogId),
    ['a', 'b', 'c'],
  )
})

test('losses are kept for flow logs that are assigned, and for those whose window is still in the kernel', async () => {
  const startS = 12 * 3_600
  await using world = new World(assignmentsOf('1', [assignment('a'), assignment('b')]))
  world.windows = [{ generation: 1n, slot: 0, startS, endS: startS + 600, state: 'open' }]
  world.agent.start()
  await world.until(() => world.attached === 2)
  world.assign(assignmentsOf('2', [assignment('b')]))
  await world.until(() => world.attached === 1)

  world.nowMs += 61_000
  await world.until(() => world.lossesKept !== undefined)
  const whileOpen = world.lossesKept
  world.lossesKept = undefined
  world.windows = []
  await world.until(() => {
    world.nowMs += 61_000 // They are looked at before the agent has noticed that the window is gone.
    return world.lossesKept?.length === 1
  })

  assert.deepEqual(whileOpen?.sort(), ['a', 'b'])
  assert.deepEqual(world.lossesKept, ['b'])
})

function assignmentsOf(version: string, assignments: Assignment[]): Assignments {
  return { version, windowSizeS: 600, assignments }
}

function assignment(flowLogId: string): Assignment {
  return {
    flowLogId,
    interfaceId: `nic-of-${flowLogId}`,
    contractNumber: 1,
    action: 'ALL',
    direction: 'BIDIRECTIONAL',
    bucket: 'flowlogs',
    prefix: flowLogId,
    binding: { device: DEVICE.name, side: 'own' },
  }
}
