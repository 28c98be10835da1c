import { execFileSync } from 'node:child_process'
import { ensureObject } from '../test/support/bpf-object.ts'
import { KernelWorld } from '../test/support/kernel-world.ts'
import { said, TestNetwork } from '../test/support/network.ts'
import { median, parameter, report } from './bench.ts'

// Question: how much of its throughput does a forwarding namespace keep when flow logs are on, at the device where
// packets come in and at the one where they leave? Pairs of runs, with and without, one after the other. Budget: 0.98
// for TCP bulk, 0.93 for UDP in 64-byte frames (medians). Needs iperf3.
const pairs = parameter('pairs', { smoke: 1, full: 12 })
const runS = parameter('run-s', { smoke: 1, full: 3 })

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

/** Packets or bytes that the receiver's device got per second. A server for each run: none remembers the last one. */
async function run(kind: 'tcp' | 'udp'): Promise<number> {
  const server = network.start(receiver, 'iperf3', '--server', '--forceflush', '--port', `${++port}`)
  await said(server, /listening/i)
  const statistic = `/sys/class/net/eth0/statistics/rx_${kind === 'tcp' ? 'bytes' : 'packets'}`
  const received = () => Number(network.run(receiver, 'cat', statistic))
  const udp = ['--udp', '--bitrate', '0', '--length', `${UDP_PAYLOAD}`]
  const options = [
    '--client',
    '10.0.2.2',
    '--port',
    `${port}`,
    '--time',
    '60',
    ...(kind === 'udp' ? udp : []),
  ]
  const before = received()
  const begin = performance.now()
  // Cut off instead of ended: what the two ends would still have to say to each other takes its time on a busy machine.
  network.attempt(sender, 'timeout', '--signal=KILL', `${runS}`, 'iperf3', ...options)
  const perS = (received() - before) / ((performance.now() - begin) / 1000)
  server.kill('SIGKILL')
  return perS
}

async function observed(action: () => Promise<number>): Promise<number> {
  world.attach(1, 'in', router, { mirrored: true })
  world.attach(2, 'out', router, { mirrored: true })
  try {
    return await action()
  } finally {
    for (const point of [1, 2]) world.meter.detach(point)
  }
}

/** Of each second on one CPU, the part that goes to the hooks, by the kernel's own account: other load does not blur it. */
async function hookShare(kind: 'tcp' | 'udp'): Promise<number> {
  execFileSync('sysctl', ['-qw', 'kernel.bpf_stats_enabled=1'])
  try {
    const before = world.meter.stats()
    const begin = performance.now()
    await observed(() => run(kind))
    const wallNs = (performance.now() - begin) * 1e6
    return Math.round((Number(world.meter.stats().hookNs - before.hookNs) / wallNs) * 1e4) / 1e4
  } finally {
    execFileSync('sysctl', ['-qw', 'kernel.bpf_stats_enabled=0'])
  }
}

for (const kind of ['tcp', 'udp'] as const) {
  const ratios: number[] = []
  const without: number[] = []
  for (let pair = 0; pair < pairs; pair++) {
    // In turn first and second: a machine that slows down or warms up favours neither.
    const plain = () => run(kind)
    const isFirst = pair % 2 === 0
    const early = isFirst ? await observed(plain) : await plain()
    const late = isFirst ? await plain() : await observed(plain)
    const [on, off] = isFirst ? [early, late] : [late, early]
    ratios.push(Math.round((on / off) * 1000) / 1000)
    without.push(off)
  }
  const counted = world.rows().reduce((sum, it) => sum + it.packets, 0)
  const unit =
    kind === 'tcp'
      ? { gbitPerS: Math.round((median(without) * 8) / 1e8) / 10 }
      : { packetsPerS: Math.round(median(without)) }
  report(`forwarding, ${kind}`, {
    pairs,
    ratio: median(ratios),
    ratios,
    hookShare: await hookShare(kind),
    ...unit,
    counted,
  })
}
