import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { ApiClient, type Nic } from '../../src/cli/api-client.ts'
import { type RunningControlPlane, startControlPlane } from '../../src/cli/run-control-plane.ts'
import { random } from '../../src/stdx/prng.ts'
import { readTotals, sorted, totalsOf } from '../support/capture.ts'
import { ended, said, TestNetwork, withoutRoot } from '../support/network.ts'
import { WeirChild } from '../support/weir-child.ts'

const SEED = Number(process.env['WEIR_TEST_SEED'] ?? 20261122)
const KILLS = 50
const WINDOW_MS = 2_000
const GRACE_MS = 1_500 // From a window's end until the agent drains it.
const REFUSED_PORT = 7007

test(`an agent killed ${KILLS} times delivers every packet, once (seed ${SEED})`, {
  skip: withoutRoot,
  timeout: 400_000,
}, async () => {
  await using network = new TestNetwork()
  const dataDir = mkdtempSync(path.join(tmpdir(), 'weir-kill-'))
  network.onEnd(() => rmSync(dataDir, { recursive: true, force: true }))
  const [host, guest] = network.hostAndGuest('veth-g', '10.5.0')
  network.nft(
    host,
    `table ip f { chain input { type filter hook input priority 0; udp dport ${REFUSED_PORT} drop; }; }`,
  )
  await using controlPlane = await startControlPlane({
    dataDir,
    hostname: hostname(),
    listen: { host: '127.0.0.1', port: 0 },
    windowSizeS: WINDOW_MS / 1000,
    withMachine: true,
  })
  const agent = new AgentProcess(dataDir, controlPlane)
  network.onEnd(() => agent.kill())
  await agent.start()
  await enable(controlPlane, host)

  const capture = await network.capture(guest, 'eth0')
  const traffic = network.start(guest, process.execPath, '-e', TRAFFIC)
  await said(traffic, /sending/)
  const next = random(SEED)
  for (let kills = 0; kills < KILLS; kills++) {
    await pause(momentOfDeath(next))
    await agent.kill()
    await agent.start()
  }
  await ended(traffic, 'SIGTERM')
  const packets = await capture.stop()
  await agent.finish()

  assert.ok(packets.length > 10_000, `${packets.length} packets make no test`)
  const totals = readTotals(path.join(dataDir, 'buckets/flowlogs'))
  const expected = totalsOf(packets, (it) => (it.destinationPort === REFUSED_PORT ? 'REJECT' : 'ACCEPT'))
  assert.deepEqual(sorted(totals), sorted(expected))
})

/** Some 400 datagrams a second to ports open, closed and refused, in flows that come and go. */
const TRAFFIC = `
const dgram = require('node:dgram')
let socket
let sent = 0
const renew = () => { socket?.close(); socket = dgram.createSocket('udp4'); socket.on('error', () => {}); socket.bind() }
renew()
setInterval(renew, 700)
setInterval(() => {
  for (const port of [7001, 7002, ${REFUSED_PORT}, ${REFUSED_PORT}]) socket.send(Buffer.alloc(sent++ % 900), port, '10.5.0.1')
}, 10)
process.stdout.write('sending\\n')
`

/** Mostly while a closed window is drained, written, renamed, cleared or uploaded; sometimes at any moment. */
function momentOfDeath(next: () => number): number {
  if (next() % 10 < 3) return next() % 1_500
  const sinceWindowStartMs = Date.now() % WINDOW_MS
  const untilDrainMs = (GRACE_MS - sinceWindowStartMs + WINDOW_MS) % WINDOW_MS
  return untilDrainMs + (next() % 350)
}

class AgentProcess {
  readonly #dataDir: string
  readonly #controlPlane: RunningControlPlane
  readonly #child = new WeirChild()

  constructor(dataDir: string, controlPlane: RunningControlPlane) {
    this.#dataDir = dataDir
    this.#controlPlane = controlPlane
    writeFileSync(path.join(dataDir, 'token'), controlPlane.agentToken, { mode: 0o600 })
  }

  async start(): Promise<void> {
    const place = ['--data-dir', this.#dataDir, '--token-file', path.join(this.#dataDir, 'token')]
    const args = ['agent', '--server', this.#controlPlane.origin, '--finish', ...place]
    await this.#child.start(args, { until: /metering started/ })
  }

  async kill(): Promise<void> {
    await this.#child.end('SIGKILL')
  }

  async finish(): Promise<void> {
    assert.equal(await this.#child.end('SIGTERM'), 0)
  }
}

async function enable(controlPlane: RunningControlPlane, netns: string): Promise<void> {
  const { origin, token } = controlPlane
  const api = new ApiClient({ origin, token, signal: AbortSignal.timeout(20_000) })
  const { items } = await api.get<{
    items: { id: string; entities: { servers: { items: { id: string }[] } } }[]
  }>('/datacenters?depth=3')
  const nics = `/datacenters/${items[0]!.id}/servers/${items[0]!.entities.servers.items[0]!.id}/nics`
  const binding = { host: hostname(), device: 'veth-g', netns, side: 'guest' }
  const nic = await api.mutate<Nic>('POST', nics, { properties: { name: 'guest', lan: 1, binding } })
  const properties = { name: 'all', action: 'ALL', direction: 'BIDIRECTIONAL', bucket: 'flowlogs/guest' }
  await api.mutate('POST', `${nics}/${nic!.id}/flowlogs`, { properties })
}

function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs))
}
