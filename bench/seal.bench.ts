import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { WindowSealer } from '../src/agent/seal-window.ts'
import { SealWorker } from '../src/agent/seal-worker.ts'
import { testRun } from '../src/capture/ebpf/ffi/libbpf.ts'
import { inNetns } from '../src/capture/ebpf/ffi/libc.ts'
import { readWindow } from '../src/capture/ebpf/kernel-meter.ts'
import { layoutPath, Pins } from '../src/capture/ebpf/pins.ts'
import { createCodec } from '../src/encode/codecs.ts'
import { type Assignment, LIVE_WINDOW_ROWS_MAX } from '../src/model/agent-protocol.ts'
import { assert } from '../src/stdx/assert.ts'
import { random } from '../src/stdx/prng.ts'
import { ensureObject } from '../test/support/bpf-object.ts'
import { KernelWorld, skContext } from '../test/support/kernel-world.ts'
import { TestNetwork } from '../test/support/network.ts'
import { ethernet, ipv4, tcp } from '../test/support/packet-corpus.ts'
import { parameter, report } from './bench.ts'

// Question: how fast does a closed window become a committed window of the spool, on one core: read from the kernel,
// encoded, compressed, synced? And what do the codecs make of the same rows? Budget: 1 M records/s, memory that does
// not grow with the window, 50 ms of the agent's event loop. Excludes delivery. And what does it cost to look at an open
// window of that size, as the live view does? Budget: the same 50 ms; the agent looks so often that it is a tenth of a core.
const flows = parameter('flows', { smoke: 5_000, full: 1_000_000 })
const runs = parameter('runs', { smoke: 1, full: 5 })

const assignment: Assignment = {
  flowLogId: '6b376384-277b-4224-ac99-bb7411309e86',
  interfaceId: '72c45958-f416-4540-9745-260a97d243aa',
  contractNumber: 96_146_314,
  action: 'ALL',
  direction: 'BIDIRECTIONAL',
  bucket: 'flowlogs',
  prefix: 'bench',
  binding: { side: 'own' },
}
const points = new Map([[1, assignment]])

ensureObject()
await using network = new TestNetwork()
using world = new KernelWorld({ windowSizeS: 3600, flowsMax: 1_200_000, flowsPerPointMax: 1_200_000 })
const netns = network.namespace('k')
network.veth({ namespace: netns, device: 'port' }, { namespace: netns, device: 'peer' })
const context = skContext(Number(network.run(netns, 'cat', '/sys/class/net/port/ifindex')))
world.attach(1, 'port', netns)
{
  // Clients of a /12 and their ports, to 200 servers: what the addresses of a gateway look like.
  using pins = new Pins(layoutPath(world.options.pinPath))
  const frame = ethernet(0x0800, ipv4(tcp(1, 443, 2, 24), { protocol: 6 }))
  const next = random(42)
  inNetns(netns, () => {
    for (let i = 0; i < flows; i++) {
      frame.writeUInt32BE(0x0a000000 + (next() & 0xfffff), 26)
      frame.writeUInt32BE(0xc0000200 + (next() % 200), 30)
      frame.writeUInt16BE(1024 + (i & 0xbfff), 34)
      testRun(pins.program('tc_ingress'), { frame, context })
    }
  })
}
const [window] = world.meter.windows()
assert(window !== undefined)
const { pinPath } = world.options

for (const [name, level] of [
  ['fused', 1] as const,
  ['zlib', 1] as const,
  ['zlib', 3] as const,
  ['zlib', 6] as const,
]) {
  const codec = createCodec(name, level)
  for (let run = 0; run < runs; run++) {
    let bytes = 0
    let records = 0
    const writer = {
      append(_to: object, chunk: Uint8Array, counts: { records: number }): void {
        bytes += chunk.length
        records += counts.records
      },
    }
    const sealer = new WindowSealer({ points }, { codec, writer })
    const before = process.cpuUsage()
    readWindow(pinPath, window.generation, { rowsMax: 65_536 }, (rows, of, count) =>
      sealer.take(rows, of, count),
    )
    const cpuMs = cpuMsSince(before)
    const recordsPerCpuS = Math.round((records / cpuMs) * 1000)
    const bytesPerRecord = Math.round((bytes / records) * 100) / 100
    report('read, encode and compress', { codec: name, level, records, recordsPerCpuS, bytesPerRecord })
  }
}

const spoolDirectory = mkdtempSync(path.join(tmpdir(), 'weir-bench-seal-'))
network.onEnd(() => rmSync(spoolDirectory, { recursive: true }))
const worker = new SealWorker({ pinPath, spoolDirectory })
for (let run = 0; run < runs; run++) {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const before = process.cpuUsage()
  const begin = performance.now()
  const { rowsUnassigned } = await worker.seal({ window, windowKey: `bench-${run}`, points, givenUp: [] })
  const ms = performance.now() - begin
  delay.disable()
  assert(rowsUnassigned === 0)
  report('seal a window', {
    flows,
    ms: Math.round(ms),
    cpuMs: Math.round(cpuMsSince(before)),
    recordsPerS: Math.round((flows / ms) * 1000),
    eventLoopDelayMsMax: Math.round(delay.max / 1e5) / 10,
    rssMib: Math.round(process.memoryUsage.rss() / 2 ** 20),
  })
}
for (let run = 0; run < runs; run++) {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const before = process.cpuUsage()
  const { windows, tookMs } = await worker.look({ windows: [window], points, rowsMax: LIVE_WINDOW_ROWS_MAX })
  const cpuMs = Math.round(cpuMsSince(before))
  delay.disable()
  const told = windows[0]?.flowLogs.get(assignment.flowLogId)
  assert(told !== undefined && told.rows.length + told.left.flows >= flows)
  const eventLoopDelayMsMax = Math.round(delay.max / 1e5) / 10
  report('look at a window', {
    flows,
    ms: Math.round(tookMs),
    cpuMs,
    rows: told.rows.length,
    eventLoopDelayMsMax,
  })
}
await worker.stop()

function cpuMsSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}
