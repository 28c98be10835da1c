import { testRun } from '../src/capture/ebpf/ffi/libbpf.ts'
import { inNetns } from '../src/capture/ebpf/ffi/libc.ts'
import { readWindow } from '../src/capture/ebpf/kernel-meter.ts'
import { layoutPath, Pins } from '../src/capture/ebpf/pins.ts'
import { assert } from '../src/stdx/assert.ts'
import { ensureObject } from '../test/support/bpf-object.ts'
import { KernelWorld, skContext } from '../test/support/kernel-world.ts'
import { TestNetwork } from '../test/support/network.ts'
import { ethernet, ipv4, tcp } from '../test/support/packet-corpus.ts'
import { parameter, report } from './bench.ts'

// Question: how fast does a window leave the kernel, as rows, on one core, and what does clearing it cost the agent's
// event loop? Budget: 50 ms for clearing; reading has its own thread. Excludes encoding and compression.
const flows = parameter('flows', { smoke: 5_000, full: 1_000_000 })
const runs = parameter('runs', { smoke: 1, full: 5 })

ensureObject()
await using network = new TestNetwork()
using world = new KernelWorld({ windowSizeS: 3600, flowsMax: 1_200_000, flowsPerPointMax: 1_200_000 })
const netns = network.namespace('k')
network.veth({ namespace: netns, device: 'port' }, { namespace: netns, device: 'peer' })
const context = skContext(Number(network.run(netns, 'cat', '/sys/class/net/port/ifindex')))
world.attach(1, 'port', netns)
{
  using pins = new Pins(layoutPath(world.options.pinPath))
  const frame = ethernet(0x0800, ipv4(tcp(1, 2, 2, 24), { protocol: 6 }))
  inNetns(netns, () => {
    for (let i = 0; i < flows; i++) {
      frame.writeUInt32BE(0x0a000000 + i, 26)
      testRun(pins.program('tc_ingress'), { frame, context })
    }
  })
}
const [window] = world.meter.windows()
assert(window !== undefined)
for (let run = 0; run < runs; run++) {
  let rows = 0
  let packets = 0
  const rssBefore = process.memoryUsage.rss()
  const begin = performance.now()
  readWindow(world.options.pinPath, window.generation, { rowsMax: 65_536 }, (buffer, _points, count) => {
    rows += count
    for (let i = 0; i < count; i++) packets += buffer.readUInt32LE(i * 64 + 40)
  })
  const ms = performance.now() - begin
  const rssMib = Math.round((process.memoryUsage.rss() - rssBefore) / 2 ** 20)
  report('read a window', {
    rows,
    packets,
    rowsPerS: Math.round((rows / ms) * 1000),
    ms: Math.round(ms),
    rssMib,
  })
}
await new Promise((resolve) => setTimeout(resolve, 500)) // As between two windows: the spare maps are made aside.
world.clock.stepMs += 3_600_000
world.meter.syncClock()
const begin = performance.now()
world.meter.clearWindow(window.generation)
report('clear a window', { flows, ms: Math.round((performance.now() - begin) * 10) / 10 })
