import { randomFillSync } from 'node:crypto'
import { openFile } from '../src/capture/pcap/byte-source.ts'
import { CaptureReader, READER_SIZE_MIN } from '../src/capture/pcap/capture-reader.ts'
import type { PacketBatch } from '../src/capture/pcap/packet-batch.ts'
import { FLOWS_MAX_LIMIT, type KernelOptions, type MeterKernel, PACKETS_MAX } from '../src/meter/kernel.ts'
import { PlainKernel } from '../src/meter/plain-kernel.ts'
import { WasmKernel } from '../src/meter/wasm-kernel.ts'
import { WindowMeter } from '../src/meter/window-meter.ts'
import { median, parameter, report } from './bench.ts'
import { capture } from './capture-generator.ts'

// Question: how many packets of a capture file does one CPU second meter? Reading the file is included, starting Node
// and writing records are not. Budget: 13 M packets per CPU second on IMIX, all of the process included.
const packets = {
  imix: parameter('imix', { smoke: 20_000, full: 10_000_000 }),
  scan: parameter('scan', { smoke: 10_000, full: 5_000_000 }),
}
const rounds = parameter('rounds', { smoke: 1, full: 5 })
const seeds = randomFillSync(new Uint32Array(10))
const options: KernelOptions = { flowsMax: FLOWS_MAX_LIMIT, inputSize: READER_SIZE_MIN, seeds }
const kernels: Record<string, () => MeterKernel> = {
  wasm: () => new WasmKernel(options),
  plain: () => new PlainKernel(options),
}

for (const kind of ['imix', 'scan'] as const) {
  const { file, truth } = capture(kind, packets[kind])
  const times: Record<string, number[]> = {}
  for (let round = 0; round < rounds; round++) {
    for (const [name, create] of Object.entries(kernels)) {
      const begin = process.cpuUsage()
      const counters = await meterFile(file, create())
      const { user, system } = process.cpuUsage(begin)
      if (counters.packets - counters.notIpPackets !== truth.ipPackets)
        throw new Error(`${name}: wrong packets`)
      const flows = truth.windows.reduce((sum, it) => sum + it.flows, 0)
      if (counters.flows !== flows) throw new Error(`${name}: ${counters.flows} flows, not ${flows}`)
      times[name] = [...(times[name] ?? []), (user + system) / 1e6]
    }
  }
  for (const [name, cpuS] of Object.entries(times)) {
    const rates = cpuS.map((it) => Number((truth.packets / it / 1e6).toFixed(2)))
    report(`metering ${kind} ${name}`, { packets: truth.packets, mppsMedian: median(rates), mpps: rates })
  }
}

async function meterFile(file: string, kernel: MeterKernel): Promise<WindowMeter['counters']> {
  const meter = new WindowMeter({ windowSizeS: 600 }, { kernel, onSeal: () => {} })
  const place = { name: file, memory: kernel.input, from: 0, limit: READER_SIZE_MIN }
  const reader = new CaptureReader(place, { source: openFile(file) })
  await reader.open()
  const batch: PacketBatch = { words: kernel.packets, count: 0, countMax: PACKETS_MAX, link: 0 }
  while (await reader.next(batch)) meter.observe(batch.count, batch.link)
  meter.end()
  reader.close()
  return meter.counters
}
