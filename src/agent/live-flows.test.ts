import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KernelWindow } from '../capture/ebpf/kernel-meter.ts'
import type { LiveReport, LiveRow, LiveWanted, LiveWindow, PendingDelivery } from '../model/agent-protocol.ts'
import { systemClock } from '../stdx/clock.ts'
import { LiveFlows, type LookTask } from './live-flows.ts'
import type { AgentDependencies } from './ports.ts'

const NOTHING: LiveWanted = { key: '', flowLogIds: [], forS: 0 }
const WANTED: LiveWanted = { key: 'k', flowLogIds: ['a', 'elsewhere'], forS: 30 }

/** An agent's surroundings, of which a test steps what matters here: a kernel with windows, a spool, a control plane. */
class World {
  windows: KernelWindow[] = [windowOf(7n, 1_000, 'open')]
  pending: PendingDelivery[] = []
  tookMs = 1
  /** What happens while the thread looks. */
  whileLooking = (): void => {}
  readonly reports: LiveReport[] = []
  readonly stopping = new AbortController()
  /** Answers to reports; the last one ends it. */
  answers: LiveWanted[] = [NOTHING]
  readonly live: LiveFlows

  constructor() {
    const points = [
      { point: 3, assignment: { flowLogId: 'a' } },
      { point: 4, assignment: { flowLogId: 'b' } },
    ]
    const dependencies = {
      meter: { windows: () => this.windows },
      points: { all: () => points },
      sealer: { look: (task: LookTask) => this.#look(task) },
      delivery: { status: () => ({ flowLogs: this.pending }) },
      controlPlane: {
        live: async (report: LiveReport) => {
          this.reports.push(report)
          return this.answers.shift() ?? NOTHING
        },
      },
      clock: systemClock,
      log: { warn() {} },
    } as unknown as AgentDependencies
    this.live = new LiveFlows({ signal: this.stopping.signal }, dependencies)
  }

  async #look({ windows, points }: LookTask) {
    assert.deepEqual([...points.keys()], [3], 'only what is wanted is looked at')
    const found = windows.map(({ generation, startS }) => ({
      generation,
      flowLogs: new Map([['a', told(startS, Number(generation))]]),
    }))
    this.whileLooking()
    return { windows: found, tookMs: this.tookMs }
  }

  /** One report, and then nothing is wanted any more. */
  async once(): Promise<LiveReport> {
    this.live.want(WANTED)
    await this.live.ended
    assert.equal(this.live.key, '')
    return this.reports.at(-1)!
  }
}

test('what is wanted is told until nobody wants it any more, and then nothing is', async () => {
  const world = new World()
  world.live.want(NOTHING)
  assert.equal(world.live.ended, undefined)

  const { everyS, flowLogs } = await world.once()

  assert.equal(world.reports.length, 1)
  assert.equal(everyS, 2)
  assert.deepEqual(flowLogs, [
    { flowLogId: 'a', windows: [told(1_000, 7)], underway: { windows: 0 } },
    { flowLogId: 'elsewhere', windows: [], underway: { windows: 0 } },
  ])
  assert.equal(world.live.selection(), undefined)
})

test('a look that takes long comes less often: a tenth of the time, and never less than every ten seconds', async () => {
  for (const [tookMs, everyS] of [
    [150, 2],
    [400, 4],
    [3_000, 10],
  ]) {
    const world = new World()
    world.tookMs = tookMs!
    assert.equal((await world.once()).everyS, everyS)
  }
})

test('a window that is sealed while the thread looks is told once, as it was sealed', async () => {
  const world = new World()
  world.windows = [windowOf(6n, 400, 'closed'), windowOf(7n, 1_000, 'open')]
  world.whileLooking = () => {
    world.pending = [pendingOf('a', 1, 400)]
    world.windows = world.windows.slice(1)
    world.live.keep(400, new Map([['a', told(400, 66)]]))
  }

  const { flowLogs } = await world.once()

  assert.deepEqual(flowLogs[0], {
    flowLogId: 'a',
    windows: [told(400, 66), told(1_000, 7)],
    underway: { windows: 0 },
  })
})

test('a sealed window is told until it is delivered; one from before anybody looked is said to be on its way', async () => {
  const world = new World()
  const seal = () => world.live.keep(400, new Map([['a', told(400, 66)]]))
  seal() // Nobody looks: nothing is kept.
  world.pending = [pendingOf('a', 1, 400)]
  const before = await world.once()

  world.pending = [pendingOf('a', 2, 0)]
  world.whileLooking = seal
  const both = await world.once()

  world.pending = []
  const delivered = await world.once()

  assert.deepEqual(before.flowLogs[0]?.underway, { windows: 1, oldestWindowStartS: 400 })
  assert.deepEqual(both.flowLogs[0]?.windows, [told(400, 66), told(1_000, 7)])
  assert.deepEqual(both.flowLogs[0]?.underway, { windows: 1, oldestWindowStartS: 0 })
  assert.deepEqual(delivered.flowLogs[0]?.windows, [told(1_000, 7)])
})

test('whatever fails is counted, the agent goes on, and it ends at once when it is to stop', async () => {
  const world = new World()
  world.whileLooking = () => {
    throw new Error('the thread has died')
  }
  world.live.want(WANTED)
  setImmediate(() => world.stopping.abort())

  await world.live.ended

  assert.equal(world.reports.length, 0)
  assert.equal(world.live.failures, 1)
})

function windowOf(generation: bigint, startS: number, state: KernelWindow['state']): KernelWindow {
  return { generation, slot: Number(generation % 4n), startS, endS: startS + 600, state }
}

function told(startS: number, octets: number): LiveWindow {
  const row: LiveRow = ['ACCEPT', 6, '192.0.2.1', 1, '10.0.0.7', 443, 1, octets, startS, startS]
  return { startS, rows: [row], left: { flows: 0, packets: 0, octets: 0 } }
}

function pendingOf(flowLogId: string, segments: number, oldestWindowStartS: number): PendingDelivery {
  return { flowLogId, segments, bytes: 1, oldestWindowStartS }
}
