import { gunzipSync } from 'node:zlib'
import { FusedCodec } from '../src/encode/fused-codec.ts'
import { type GzipCodec, ZlibCodec } from '../src/encode/gzip-codec.ts'
import { encodeText, RECORD_SIZE_MAX, RecordContext } from '../src/encode/record-text.ts'
import { ROW, ROW_SIZE } from '../src/model/flow-rows.ts'
import { interleave, median, parameter, random, report } from './bench.ts'

// Question: how many records does one core write per second, as text and as gzip, and how large are they? Rows as the
// agent's drain has them: 8192 at a time, of one interface, 500 hosts. Budget of the drain: 1 M records per second.
const count = 8192
const batches = parameter('batches', { smoke: 2, full: 200 })
const rounds = parameter('rounds', { smoke: 1, full: 5 })
const rows = makeRows(random(42))
const context = new RecordContext({
  accountId: 12345678,
  interfaceId: '7ffd6527-ce80-4e57-a949-f9a45824ebe2',
})
const text = Buffer.alloc(count * RECORD_SIZE_MAX)
const textSize = encodeText(context, rows, 0, count, text, 0)
const codecs: Record<string, GzipCodec> = {
  fused: new FusedCodec(),
  ...Object.fromEntries([1, 2, 3, 6].map((level) => [`zlib ${level}`, new ZlibCodec({ level })])),
}
const out = Buffer.alloc(Math.max(...Object.values(codecs).map((it) => it.sizeMax(count))))
const sizes: Record<string, number> = { text: textSize }

const times = interleave(rounds, {
  text: () => measured(() => encodeText(context, rows, 0, count, text, 0)),
  ...Object.fromEntries(
    Object.entries(codecs).map(([name, codec]) => [
      name,
      () => measured(() => (sizes[name] = codec.encode(context, rows, 0, count, out, 0))),
    ]),
  ),
})
for (const [name, codec] of Object.entries(codecs)) {
  const size = codec.encode(context, rows, 0, count, out, 0)
  if (gunzipSync(out.subarray(0, size)).compare(text.subarray(0, textSize)) !== 0)
    throw new Error(`${name} is wrong`)
}
for (const [name, seconds] of Object.entries(times) as [string, number[]][]) {
  const rates = seconds.map((it) => Number(((count * batches) / it / 1e6).toFixed(2)))
  const bytesPerRecord = Number((sizes[name]! / count).toFixed(1))
  report(`records ${name}`, {
    records: count * batches,
    bytesPerRecord,
    mrecMedian: median(rates),
    mrec: rates,
  })
}

function measured(run: () => void): number {
  const begin = process.cpuUsage() // CPU time: a busy machine does not change it much.
  for (let i = 0; i < batches; i++) run()
  const { user, system } = process.cpuUsage(begin)
  return (user + system) / 1e6
}

function makeRows(next: () => number): Buffer {
  const all = Buffer.alloc(count * ROW_SIZE)
  for (let at = 0; at < all.length; at += ROW_SIZE) {
    all.writeUInt32BE(0x0a00_0000 + (next() % 500), at + ROW.source)
    all.writeUInt32BE(0xc633_6400 + (next() % 200), at + ROW.destination)
    all.writeUInt16LE(32_768 + (next() % 28_000), at + ROW.sourcePort)
    all.writeUInt16LE([443, 80, 53, 22][next() & 3]!, at + ROW.destinationPort)
    all[at + ROW.protocol] = next() % 4 === 0 ? 17 : 6
    all[at + ROW.attributes] = next() % 20 === 0 ? 2 : 0
    const packets = 1 + (next() >>> (20 + (next() % 12)))
    all.writeBigUInt64LE(BigInt(packets), at + ROW.packets)
    all.writeBigUInt64LE(BigInt(packets * (40 + (next() % 1400))), at + ROW.octets)
    const startS = 1_700_000_400 + (next() % 600)
    all.writeUInt32LE(startS, at + ROW.startS)
    all.writeUInt32LE(Math.min(1_700_000_999, startS + (next() % 30)), at + ROW.endS)
  }
  return all
}
