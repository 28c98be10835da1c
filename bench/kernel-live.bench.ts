import { execFileSync } from 'node:child_process'
import { assert } from '../src/stdx/assert.ts'
import { ensureObject } from '../test/support/bpf-object.ts'
import { KernelWorld } from '../test/support/kernel-world.ts'
import { TestNetwork } from '../test/support/network.ts'
import { ethernet, ipv4, tcp } from '../test/support/packet-corpus.ts'
import { PacketSocket } from '../test/support/packet-socket.ts'
import { parameter, random, report } from './bench.ts'

// Question: what does a packet cost on a live device, by number of live flows in random order, that is, with caches as
// cold as they get? The kernel's own statistics are on: their two clock reads are in the figure, and so is the first
// packet's creation of an entry only where the row says "new".
const counts = [
  1,
  parameter('flows-few', { smoke: 100, full: 10_000 }),
  parameter('flows-many', { smoke: 1_000, full: 1_000_000 }),
]
const packets = parameter('packets', { smoke: 1_000, full: 1_000_000 })

ensureObject()
execFileSync('sysctl', ['-qw', 'kernel.bpf_stats_enabled=1'])
try {
  for (const flows of counts) {
    await using network = new TestNetwork()
    using world = new KernelWorld({ flowsMax: 1_200_000, flowsPerPointMax: 1_200_000 })
    const netns = network.namespace('k')
    network.veth({ namespace: netns, device: 'port' }, { namespace: netns, device: 'peer' })
    world.attach(1, 'port', netns)
    using wire = new PacketSocket(netns, 'peer')
    const frame = ethernet(0x0800, ipv4(tcp(1, 2, 0x10, 24), { protocol: 6 }))
    const next = random(flows)
    const send = (flow: number): void => {
      frame.writeUInt32BE(0x0a000000 + flow, 26)
      wire.send(frame)
    }
    const measured = (action: () => void): number => {
      const before = world.meter.stats()
      action()
      const after = world.meter.stats()
      return Math.round(Number(after.hookNs - before.hookNs) / Number(after.hookRuns - before.hookRuns))
    }

    const nsNew = measured(() => {
      for (let flow = 0; flow < flows; flow++) send(flow)
    })
    const ns = measured(() => {
      for (let i = 0; i < packets; i++) send(next() % flows)
    })
    const counted = world.rows().reduce((sum, it) => sum + it.packets, 0)
    assert(counted >= flows + packets)
    report('live hit', { flows, packets, ns, nsNew, counted, entries: world.meter.stats().flows })
  }
} finally {
  execFileSync('sysctl', ['-qw', 'kernel.bpf_stats_enabled=0'])
}
