import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Expected, mutatedFrames, packetCorpus } from '../../test/support/packet-corpus.ts'
import { ROW, ROW_IPV6, ROW_SIZE } from '../model/flow-rows.ts'
import { formatAddress } from '../model/ip-address.ts'
import { random } from '../stdx/prng.ts'
import {
  type MeterKernel,
  PACKET_EGRESS,
  PACKET_REJECT,
  PACKET_WORDS,
  PACKETS_MAX,
  ROWS_MAX,
} from './kernel.ts'
import { PlainKernel } from './plain-kernel.ts'
import { WasmKernel } from './wasm-kernel.ts'

// One suite for every kernel.
const SEEDS = Uint32Array.from({ length: 10 }, random(99))
const OPTIONS = { inputSize: 1 << 20, flowsMax: 100_000, seeds: SEEDS }
const KERNELS: Record<string, (options?: Partial<typeof OPTIONS>) => MeterKernel> = {
  plain: (options) => new PlainKernel({ ...OPTIONS, ...options }),
  wasm: (options) => new WasmKernel({ ...OPTIONS, ...options }),
}
const WINDOW = { startS: 1_700_000_400, sizeS: 600 }
const ETHERNET = 1

interface Packet {
  bytes: Uint8Array
  wireLength?: number
  /** After the window's start. */
  second?: number
  flags?: number
}

for (const [name, create] of Object.entries(KERNELS)) {
  test(`${name}: every packet of the corpus becomes what the corpus says`, () => {
    const kernel = create()
    for (const { name: caseName, frames } of packetCorpus()) {
      const found = frames.map((frame) => meterOne(kernel, frame))
      assert.deepEqual(
        found,
        frames.map(({ expected }) => expected),
        caseName,
      )
    }
  })

  test(`${name}: packets of one key are one row with their counts, times and flags`, () => {
    const kernel = create()
    const [syn, ack] = [tcpFrame(1, 0x02), tcpFrame(1, 0x10)]

    observeAll(kernel, [
      { bytes: syn, second: 30 },
      { bytes: ack, second: 10 },
      { bytes: ack, second: 599 },
      { bytes: ack, second: 40, flags: PACKET_EGRESS },
      { bytes: syn, second: 50, flags: PACKET_REJECT },
    ])

    const rows = rowsOf(kernel)
    assert.equal(rows.length, 3)
    const [first] = rows
    assert.equal(first?.readBigUInt64LE(ROW.packets), 3n)
    assert.equal(first?.readBigUInt64LE(ROW.octets), 120n)
    assert.equal(first?.readUInt32LE(ROW.startS), WINDOW.startS + 10)
    assert.equal(first?.readUInt32LE(ROW.endS), WINDOW.startS + 599)
    assert.equal(first?.[ROW.tcpFlags], 0x12)
    assert.deepEqual(
      rows.map((row) => row[ROW.attributes]),
      [0, 4, 2],
    )
  })

  test(`${name}: octets do not overflow, whatever lengths a capture claims`, () => {
    const kernel = create()
    const bytes = packetCorpus().find((it) => it.name === 'total length 0 (offload)')!.frames[0]!.bytes
    const wireLength = 0xffff_ffff
    const count = 40_000 // 1.7e14 octets: more than the 45 bits of a row in the fast kernel.
    for (let done = 0; done < count; done += 1000) {
      observeAll(kernel, Array<Packet>(1000).fill({ bytes, wireLength }))
    }

    const rows = rowsOf(kernel)
    assert.equal(sum(rows, ROW.packets), BigInt(count))
    assert.equal(sum(rows, ROW.octets), BigInt(count) * BigInt(wireLength - 14))
  })

  test(`${name}: a retired row does not hide its flow when the index grows`, () => {
    const kernel = create()
    const bytes = packetCorpus().find((it) => it.name === 'total length 0 (offload)')!.frames[0]!.bytes
    for (let done = 0; done < 12_000; done += 1000) {
      observeAll(kernel, Array<Packet>(1000).fill({ bytes, wireLength: 0xffff_ffff }))
    }
    observeAll(kernel, manyFlows(30_000))
    observeAll(kernel, Array<Packet>(10).fill({ bytes }))

    const rows = rowsOf(kernel)
    assert.equal(sum(rows, ROW.packets), 42_010n)
    assert.ok(rows.length <= 30_000 + 2)
  })

  test(`${name}: the table grows to its limit, and what is beyond counts as skipped`, () => {
    const kernel = create({ flowsMax: 50_000 })

    observeAll(kernel, manyFlows(70_000))
    observeAll(kernel, manyFlows(70_000)) // Known flows go on counting in a full table.

    const rows = rowsOf(kernel)
    assert.equal(rows.length, 50_000)
    assert.equal(sum(rows, ROW.packets), 100_000n)
    const skipped = kernel.skipped('main', false)
    assert.equal(skipped.packets, 40_000n)
    assert.equal(skipped.octets, 40n * 40_000n)
    assert.deepEqual(kernel.skipped('main', true).packets, 0n)
  })

  test(`${name}: a cleared table is empty, however much it held`, () => {
    const kernel = create()
    for (const count of [1, 3, 1000, 60_000, 5, 20_000, 2]) {
      observeAll(kernel, manyFlows(count))
      assert.equal(kernel.flows('main'), count)
      kernel.clear('main')
      assert.equal(kernel.flows('main'), 0)
    }
  })

  test(`${name}: promoting moves the side table's flows, which go on counting`, () => {
    const kernel = create()
    observeAll(kernel, manyFlows(40_000))
    observeAll(kernel, manyFlows(3000), 'side')
    kernel.clear('main')

    kernel.promote()
    observeAll(kernel, manyFlows(5000))

    assert.equal(kernel.flows('main'), 5000)
    assert.equal(kernel.flows('side'), 0)
    assert.equal(sum(rowsOf(kernel), ROW.packets), 8000n)
    observeAll(kernel, manyFlows(10), 'side')
    assert.equal(kernel.flows('side'), 10)
  })

  test(`${name}: stops at the first packet of another window`, () => {
    const kernel = create()
    const bytes = tcpFrame(1, 2)
    for (const second of [-1, 600, 4_000_000]) {
      const count = place(kernel, [{ bytes }, { bytes, second: 599 }, { bytes, second }, { bytes }])
      assert.equal(kernel.observe('main', 0, count, ETHERNET, WINDOW), 2)
      assert.equal(kernel.observe('main', 3, count, ETHERNET, WINDOW), 4)
    }
  })
}

test('both kernels make the same rows of a million damaged packets', () => {
  for (let seed = 0; seed < 200; seed++) {
    const next = random(seed)
    const packets = mutatedFrames(seed, 5000).map((bytes) => ({
      bytes,
      wireLength: next() % 3 === 0 ? next() >>> (next() % 32) : bytes.length,
      second: next() % 600,
      flags: ((next() & 3) << 30) >>> 0,
    }))
    const [plain, wasm] = [KERNELS['plain']!(), KERNELS['wasm']!()].map((kernel) => {
      const { notIp, octets } = observeAll(kernel, packets)
      const skipped = [false, true].map((isEgress) => kernel.skipped('main', isEgress))
      const rows = rowsOf(kernel)
      const skippedOctets = skipped.reduce((total, it) => total + it.octets, 0n)
      assert.equal(BigInt(octets), sum(rows, ROW.octets) + skippedOctets, `seed ${seed}`)
      return { notIp, skipped, rows: rows.map((row) => row.toString('hex')).sort() }
    })
    assert.deepEqual(wasm, plain, `seed ${seed}`)
  }
})

/** Puts packets behind one another into the kernel's input. Returns how many. */
function place(kernel: MeterKernel, packets: Packet[]): number {
  let at = 0
  for (const [i, { bytes, wireLength, second, flags }] of packets.entries()) {
    kernel.input.set(bytes, at)
    const words = [
      at,
      (bytes.length | (flags ?? 0)) >>> 0,
      wireLength ?? bytes.length,
      WINDOW.startS + (second ?? 0),
    ]
    kernel.packets.set(words, i * PACKET_WORDS)
    at += bytes.length
  }
  return packets.length
}

/** Meters packets in batches; returns how many were no IP, and the octets of the others. */
function observeAll(
  kernel: MeterKernel,
  packets: Packet[],
  table: 'main' | 'side' = 'main',
): { notIp: number; octets: number } {
  let [notIp, octets] = [0, 0]
  for (let from = 0; from < packets.length; from += PACKETS_MAX) {
    const count = place(kernel, packets.slice(from, from + PACKETS_MAX))
    assert.equal(kernel.observe(table, 0, count, ETHERNET, WINDOW), count)
    notIp += kernel.notIpPackets
    octets += kernel.octets
  }
  return { notIp, octets }
}

function rowsOf(kernel: MeterKernel): Buffer[] {
  const count = kernel.flows('main')
  const rows: Buffer[] = []
  for (let from = 0; from < count; from += ROWS_MAX) {
    const batch = Buffer.from(kernel.readRows('main', from, Math.min(ROWS_MAX, count - from), WINDOW.startS))
    for (let at = 0; at < batch.length; at += ROW_SIZE) rows.push(batch.subarray(at, at + ROW_SIZE))
  }
  return rows
}

function sum(rows: Buffer[], field: number): bigint {
  return rows.reduce((total, row) => total + row.readBigUInt64LE(field), 0n)
}

function meterOne(kernel: MeterKernel, packet: Packet): Expected {
  const { notIp } = observeAll(kernel, [packet])
  const [row] = rowsOf(kernel)
  const skipped = kernel.skipped('main', false)
  const octets = Number(skipped.octets)
  const isSkipped = skipped.packets === 1n
  kernel.clear('main')
  if (notIp === 1) return { kind: 'not-ip' }
  if (isSkipped) return { kind: 'skipped', octets }
  assert.ok(row)
  const size = (row[ROW.attributes]! & ROW_IPV6) !== 0 ? 16 : 4
  return {
    kind: 'flow',
    source: formatAddress(row.subarray(ROW.source, ROW.source + size)),
    destination: formatAddress(row.subarray(ROW.destination, ROW.destination + size)),
    ports: [row.readUInt16LE(ROW.sourcePort), row.readUInt16LE(ROW.destinationPort)],
    protocol: row[ROW.protocol]!,
    octets: Number(row.readBigUInt64LE(ROW.octets)),
    tcpFlags: row[ROW.tcpFlags]!,
  }
}

function tcpFrame(source: number, flags: number): Buffer {
  const frame = Buffer.from(packetCorpus().find((it) => it.name === 'TCP flags 2')!.frames[0]!.bytes)
  frame.writeUInt32BE(source, 26)
  frame[47] = flags
  return frame
}

/** Packets of as many flows, a third of them IPv6. */
function manyFlows(count: number): Packet[] {
  const v4 = tcpFrame(1, 2)
  const v6 = packetCorpus().find((it) => it.name === 'IPv6 payload length 0')!.frames[0]!.bytes
  return Array.from({ length: count }, (_, i) => {
    const isIpv6 = i % 3 === 2
    const bytes = Buffer.from(isIpv6 ? v6 : v4)
    bytes.writeUInt32BE(i, isIpv6 ? 34 : 26)
    return { bytes }
  })
}
