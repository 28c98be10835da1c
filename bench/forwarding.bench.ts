import { execFileSync } from 'node:child_process'
import { setTimeout } from 'node:timers/promises'
import { ensureObject } from '../test/support/bpf-object.ts'
import { KernelWorld } from '../test/support/kernel-world.ts'
import { said, TestNetwork } from '../test/support/network.ts'
import { median, parameter, report } from './bench.ts'

// Question: how much of its throughput does a forwarding namespace keep when flow logs are on, at the device where
// packets come in and at the one where they leave? Flow logs are switched on and off under the same stream, so that a
// pair differs in nothing else: two streams without flow logs differ by a tenth, by where the scheduler puts the ends
// and which queues their ports hash to. Several streams, pairs in the order A B, B A. Budget: 0.98 for TCP bulk, 0.93
// for UDP in 64-byte frames (medians). Needs iperf3.
const streams = parameter('streams', { smoke: 1, full: 5 })
const pairs = parameter('pairs', { smoke: 1, full: 10 })
const sliceMs = parameter('slice-ms', { smoke: 200, full: 700 })

const SETTLE_MS = 50 // After each switch, before the measured slice: the kernel's grace periods, the first packet of a flow.
const UDP_PAYLOAD = 18 // 64 bytes of Ethernet with its checksum.
const OFFLOADS = ['tx', 'sg', 'tso', 'gso', 'gro'].flatMap((it) => [it, 'on'])

function topology(network: TestNetwork): { router: string; sender: string; receiver: string } {
  const [router, sender, receiver] = ['r', 's', 'd'].map((it) => network.namespace(it)) as [
    string,
    string,
    string,
  ]
  network.run(router, 'sysctl', '-qw', 'net.ipv4.ip_forward=1')
  for (const [name, end, net] of [['in', sender, 1] as const, ['out', receiver, 2] as const]) {
    network.veth({ namespace: router, device: name }, { namespace: end, device: 'eth0' })
    network.address(router, name, `10.0.${net}.1/24`)
    network.address(end, 'eth0', `10.0.${net}.2/24`)
    network.run(end, 'ip', 'route', 'add', 'default', 'via', `10.0.${net}.1`)
    network.run(end, 'ethtool', '-K', 'eth0', ...OFFLOADS)
    network.run(router, 'ethtool', '-K', name, ...OFFLOADS)
  }
  return { router, sender, receiver }
}

const hasIperf = (() => {
  try {
    execFileSync('iperf3', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})()
if (!hasIperf) {
  process.stderr.write('forwarding.bench: iperf3 is missing: apt-get install iperf3\n')
  process.exit(0)
}

ensureObject()
await using network = new TestNetwork()
using world = new KernelWorld({ flowsMax: 1_000_000, flowsPerPointMax: 65_536 })
const { router, sender, receiver } = topology(network)
let port = 5201

type Kind = 'tcp' | 'udp'

/** Sends until it is ended. A server for each stream: none remembers the last one. */
async function startStream(kind: Kind): Promise<{ stop(): void }> {
  const server = network.start(receiver, 'iperf3', '--server', '--forceflush', '--port', `${++port}`)
  await said(server, /listening/i)
  const udp = kind === 'udp' ? ['--udp', '--bitrate', '0', '--length', `${UDP_PAYLOAD}`] : []
  const client = ['--client', '10.0.2.2', '--port', `${port}`, '--time', '600', ...udp]
  const sending = network.start(sender, 'iperf3', ...client)
  const before = received(kind)
  while (received(kind) - before < 10_000) await setTimeout(10)
  await setTimeout(SETTLE_MS)
  return {
    stop: () => {
      sending.kill('SIGKILL')
      server.kill('SIGKILL')
    },
  }
}

/** Packets or bytes that the receiver's device has got. */
function received(kind: Kind): number {
  const statistic = kind === 'tcp' ? 'rx_bytes' : 'rx_packets'
  return Number(network.run(receiver, 'cat', `/sys/class/net/eth0/statistics/${statistic}`))
}

async function ratePerS(kind: Kind): Promise<number> {
  await setTimeout(SETTLE_MS)
  const before = received(kind)
  const begin = performance.now()
  await setTimeout(sliceMs)
  const count = received(kind) - before
  return count / ((performance.now() - begin) / 1000)
}

async function observed<T>(action: () => Promise<T>): Promise<T> {
  world.attach(1, 'in', router, { mirrored: true })
  world.attach(2, 'out', router, { mirrored: true })
  try {
    return await action()
  } finally {
    for (const point of [1, 2]) world.meter.detach(point)
  }
}

/** The hooks' share of one CPU and their time per run, by the kernel's own account: other load does not blur it. */
async function hookCost(kind: Kind): Promise<{ hookShare: number; hookNs: number }> {
  execFileSync('sysctl', ['-qw', 'kernel.bpf_stats_enabled=1'])
  try {
    return await observed(async () => {
      const before = world.meter.stats()
      const begin = performance.now()
      await ratePerS(kind)
      const wallNs = (performance.now() - begin) * 1e6
      const after = world.meter.stats()
      const ns = Number(after.hookNs - before.hookNs)
      const runs = Number(after.hookRuns - before.hookRuns)
      return { hookShare: Math.round((ns / wallNs) * 1e4) / 1e4, hookNs: Math.round(ns / runs) }
    })
  } finally {
    execFileSync('sysctl', ['-qw', 'kernel.bpf_stats_enabled=0'])
  }
}

for (const kind of ['tcp', 'udp'] as const) {
  const ratios: number[] = []
  const without: number[] = []
  const costs: Awaited<ReturnType<typeof hookCost>>[] = []
  for (let i = 0; i < streams; i++) {
    const stream = await startStream(kind)
    for (let pair = 0; pair < pairs; pair++) {
      const isOnFirst = pair % 2 === 0
      const early = isOnFirst ? await observed(() => ratePerS(kind)) : await ratePerS(kind)
      const late = isOnFirst ? await ratePerS(kind) : await observed(() => ratePerS(kind))
      const [on, off] = isOnFirst ? [early, late] : [late, early]
      ratios.push(Math.round((on / off) * 1000) / 1000)
      without.push(off)
    }
    costs.push(await hookCost(kind))
    stream.stop()
  }
  const counted = world.rows().reduce((sum, it) => sum + it.packets, 0)
  const unit =
    kind === 'tcp'
      ? { gbitPerS: Math.round((median(without) * 8) / 1e8) / 10 }
      : { packetsPerS: Math.round(median(without)) }
  report(`forwarding, ${kind}`, {
    pairs: ratios.length,
    ratio: median(ratios),
    ratios,
    hookShare: median(costs.map((it) => it.hookShare)),
    hookNs: median(costs.map((it) => it.hookNs)),
    ...unit,
    counted,
  })
}
