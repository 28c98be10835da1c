import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { readTotals } from '../support/capture.ts'
import { eventually } from '../support/eventually.ts'
import { TestNetwork, withoutRoot } from '../support/network.ts'
import { runWeir, ServerProcess } from '../support/server-process.ts'
import { WeirChild } from '../support/weir-child.ts'

// What operators do to agents, on purpose or not. Every packet is in the bucket once in the end.

const HOST = 'hv-1'

/** A server, a host with one guest whose flow log is made, and agents of that host. */
class World implements AsyncDisposable {
  readonly network: TestNetwork
  readonly server: ServerProcess
  readonly host: string
  readonly guest: string
  pings = 0
  #flowLog = ''
  readonly #place = mkdtempSync(path.join(tmpdir(), 'weir-life-'))
  readonly #started = new AsyncDisposableStack()

  private constructor(network: TestNetwork, server: ServerProcess) {
    this.network = network
    this.server = server
    this.host = network.namespace('h')
    this.guest = network.namespace('g')
    this.#started.defer(() => rmSync(this.#place, { recursive: true, force: true }))
    this.#started.use(server)
    this.#started.use(network)
  }

  static async start(windowS = 2): Promise<World> {
    await using guard = new AsyncDisposableStack()
    const world = guard.use(new World(new TestNetwork(), new ServerProcess()))
    await world.server.start('--window', String(windowS))
    world.server.cli('bucket', 'create', 'life')
    world.connect()
    const binding = [
      '--device',
      'tap0',
      '--netns',
      world.host,
      '--host',
      HOST,
      '--new-host',
      '--side',
      'guest',
    ]
    world.server.cli('nic', 'add', '--name', 'vm', ...binding)
    world.#flowLog = world.server.cli('flowlog', 'create', '--nic', 'vm', '--bucket', 'life')
    guard.move()
    return world
  }

  connect(): void {
    this.network.connect(this.host, 'tap0', this.guest, '10.6.5')
  }

  /** Let in, not started. */
  agent(): TestedAgent {
    const agent = this.#started.use(new TestedAgent(path.join(this.#place, 'agent')))
    this.enrol(agent)
    return agent
  }

  enrol(agent: TestedAgent): void {
    const code = this.server.cli('agent', 'invite', HOST)
    const args = ['agent', 'enroll', '--server', this.server.origin, '--data-dir', agent.dataDir, code]
    const { status, stderr } = runWeir(args)
    assert.equal(status, 0, stderr)
  }

  untilAttached(): Promise<true> {
    return eventually('the guest is observed', () =>
      /status +capturing/.test(this.server.cli('flowlog', 'get', this.#flowLog)),
    )
  }

  ping(count = 3): void {
    this.network.run(this.guest, 'ping', '-qc', String(count), '-i', '0.02', '10.6.5.1')
    this.pings += count
  }

  delivered(): number {
    return (
      readTotals(path.join(this.server.dataDir, 'buckets/life')).get('10.6.5.2 10.6.5.1 0 0 1 ACCEPT')
        ?.packets ?? 0
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#started.disposeAsync()
  }
}

class TestedAgent implements AsyncDisposable {
  dataDir: string
  readonly #child = new WeirChild()

  constructor(dataDir: string) {
    this.dataDir = dataDir
  }

  get output(): string {
    return this.#child.output
  }

  start(): Promise<void> {
    const args = ['agent', '--finish', '--data-dir', this.dataDir]
    return this.#child.start(args, { until: /metering started/ })
  }

  kill(): Promise<number | null> {
    return this.#child.end('SIGKILL')
  }

  finish(): Promise<number | null> {
    return this.#child.end('SIGTERM')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    runWeir(['agent', '--detach-all', '--data-dir', this.dataDir])
  }
}

test('an agent syncs as many files side by side as its commits ask for', { skip: withoutRoot }, async () => {
  await using world = await World.start()
  const agent = world.agent()

  await agent.start()
  await world.untilAttached()
  world.ping()
  const pid = readFileSync(path.join(agent.dataDir, 'agent.pid'), 'utf8').split(' ')[0]!
  const threads = (): string[] =>
    readdirSync(`/proc/${pid}/task`)
      .map((it) => readFileSync(`/proc/${pid}/task/${it}/comm`, 'utf8'))
      .filter((name) => name.startsWith('libuv-worker'))
  await eventually(
    () => `32 threads, there are ${threads().length}`,
    () => threads().length === 32,
  )
})

test('an agent killed at any moment of its start loses and doubles nothing', {
  skip: withoutRoot,
}, async () => {
  await using world = await World.start()
  const agent = world.agent()
  await agent.start()
  await world.untilAttached()

  for (let afterMs = 100; afterMs <= 900; afterMs += 160) {
    world.ping()
    await agent.kill()
    const started = agent.start().catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, afterMs))
    await agent.kill()
    await started
    world.ping()
    await agent.start()
  }
  world.ping()
  assert.equal(await agent.finish(), 0)

  assert.equal(world.delivered(), world.pings)
})

test('an agent whose token was ended says so, and has lost nothing when it is let in again', {
  skip: withoutRoot,
}, async () => {
  await using world = await World.start()
  const agent = world.agent()
  await agent.start()
  await world.untilAttached()
  world.ping()

  world.server.cli('agent', 'expel', HOST)
  world.ping()
  await eventually('a report is refused', () => /control plane refuses the token/.test(agent.output))
  world.ping()
  await agent.kill()
  world.enrol(agent)
  await agent.start()
  world.ping()
  assert.equal(await agent.finish(), 0)

  assert.equal(world.delivered(), world.pings)
})

test('a data directory that is moved keeps what the kernel has counted for it', {
  skip: withoutRoot,
}, async () => {
  await using world = await World.start(3600)
  const agent = world.agent()
  await agent.start()
  await world.untilAttached()
  world.ping()
  await agent.kill()

  const before = agent.dataDir
  agent.dataDir = `${before}-moved`
  renameSync(before, agent.dataDir)
  world.ping()
  await agent.start()
  world.ping()
  assert.equal(await agent.finish(), 0)

  assert.equal(world.delivered(), world.pings)
})
