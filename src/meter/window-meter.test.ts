import assert from 'node:assert/strict'
import { test } from 'node:test'
import { packetCorpus } from '../../test/support/packet-corpus.ts'
import { ROW, ROW_EGRESS, ROW_SIZE, ROW_SKIPPED } from '../model/flow-rows.ts'
import { random } from '../stdx/prng.ts'
import { PACKET_EGRESS, PACKET_WORDS } from './kernel.ts'
import { WasmKernel } from './wasm-kernel.ts'
import { WindowMeter } from './window-meter.ts'

const FRAME = packetCorpus().find((it) => it.name === 'IPv4 UDP')!.frames[0]!.bytes

interface Sealed {
  startS: number
  packets: bigint
  rows: number
  skipped: bigint
  firstS: number
  lastS: number
}

test('packets are cut into aligned windows by their own time', () => {
  const { sealed } = run([600, 601, 1199, 1200, 1200, 1800, 2399])

  assert.deepEqual(brief(sealed), [
    [600, 3n],
    [1200, 2n],
    [1800, 2n],
  ])
  assert.deepEqual([sealed[0]?.firstS, sealed[0]?.lastS], [600, 1199])
})

test('packets that come a little late stay in their window', () => {
  const { sealed } = run([1199, 1200, 1199, 1201, 1199, 1200])

  assert.deepEqual(brief(sealed), [
    [600, 3n],
    [1200, 3n],
  ])
})

test('packets that come far too late open their window again and are not lost', () => {
  const { sealed } = run([601, 1300, 1301, 650, 651, 1302, 1900, 700])

  assert.deepEqual(
    brief(sealed).sort((a, b) => Number(a[0]) - Number(b[0]) || Number(a[1]) - Number(b[1])),
    [
      [600, 1n],
      [600, 1n],
      [600, 2n],
      [1200, 3n],
      [1800, 1n],
    ],
  )
})

test('clock jumps lose nothing: every packet is in a row of the window of its time', () => {
  for (let seed = 0; seed < 50; seed++) {
    const next = random(seed)
    const times = Array.from({ length: 500 }, () => {
      const kind = next() % 10
      if (kind === 0) return 0 // 1970
      if (kind === 1) return 0xffff_ffff // 2106
      return kind < 4 ? 1_700_000_400 + (next() % 5000) : 1_700_000_400 + (next() % 700)
    })
    const { sealed, meter } = run(times)
    const packets = (startS: number): bigint =>
      sealed.filter((it) => it.startS === startS).reduce((sum, it) => sum + it.packets, 0n)
    for (const startS of new Set(times.map((it) => it - (it % 600)))) {
      assert.equal(packets(startS), BigInt(times.filter((it) => it - (it % 600) === startS).length))
    }
    for (const it of sealed) assert.ok(it.firstS >= it.startS && it.lastS < it.startS + 600)
    assert.equal(meter.counters.packets, times.length)
  }
})

test('skipped packets become a SKIPDATA row for each direction', () => {
  const rows: Buffer[] = []
  const kernel = newKernel()
  const meter = new WindowMeter(
    { windowSizeS: 60 },
    {
      kernel,
      onSeal: (window) =>
        window.readRows((batch, count) => {
          for (let i = 0; i < count; i++)
            rows.push(Buffer.from(batch.subarray(i * ROW_SIZE, (i + 1) * ROW_SIZE)))
        }),
    },
  )
  kernel.input.set(FRAME.subarray(0, 20), 0)
  kernel.packets.set([0, 20, 100, 61, 0, (20 | PACKET_EGRESS) >>> 0, 100, 65, 0, 20, 100, 70])

  meter.observe(3, 1)
  meter.end()

  const read = rows.map((row) => [
    row[ROW.attributes],
    row.readBigUInt64LE(ROW.packets),
    row.readBigUInt64LE(ROW.octets),
    row.readUInt32LE(ROW.startS),
    row.readUInt32LE(ROW.endS),
  ])
  assert.deepEqual(read, [
    [ROW_SKIPPED, 2n, 172n, 61, 70],
    [ROW_SKIPPED | ROW_EGRESS, 1n, 86n, 65, 65],
  ])
  assert.equal(meter.counters.skippedPackets, 3n)
})

test('no packets, no window', () => {
  assert.deepEqual(run([]).sealed, [])
})
test('where no packet tells, windows end by the clock, and what comes for them later is not lost', () => {
  const { sealed } = run([
    1199,
    1200,
    'expire 1201',
    'expire 1202',
    'expire 1801',
    1199,
    1200,
    'expire 1802',
    1200,
  ])

  assert.deepEqual(brief(sealed), [
    [600, 1n], // At 1202: a window waits for packets that are a little late.
    [600, 1n],
    [1200, 2n],
    [1200, 1n],
  ])
})

function newKernel(): WasmKernel {
  return new WasmKernel({ flowsMax: 1000, inputSize: 4096, seeds: new Uint32Array(10).fill(7) })
}

/** Meters one packet per time, each in a batch of its own, as the slowest of captures would. */
function run(times: (number | `expire ${number}`)[]): { sealed: Sealed[]; meter: WindowMeter } {
  const sealed: Sealed[] = []
  const kernel = newKernel()
  kernel.input.set(FRAME, 0)
  const meter = new WindowMeter(
    { windowSizeS: 600 },
    {
      kernel,
      onSeal: (window) => {
        const it = { startS: window.startS, packets: 0n, rows: 0, skipped: 0n, firstS: Infinity, lastS: 0 }
        window.readRows((rows, count) => {
          const view = new DataView(rows.buffer, rows.byteOffset, rows.length)
          for (let at = 0; at < count * ROW_SIZE; at += ROW_SIZE) {
            it.packets += view.getBigUint64(at + ROW.packets, true)
            it.rows++
            it.firstS = Math.min(it.firstS, view.getUint32(at + ROW.startS, true))
            it.lastS = Math.max(it.lastS, view.getUint32(at + ROW.endS, true))
          }
        })
        sealed.push(it)
      },
    },
  )
  for (const time of times) {
    if (typeof time === 'string') {
      meter.expire(Number(time.slice('expire '.length)))
      continue
    }
    kernel.packets.set([0, FRAME.length, FRAME.length, time], 0 * PACKET_WORDS)
    meter.observe(1, 1)
  }
  meter.end()
  return { sealed, meter }
}

function brief(sealed: Sealed[]): [number, bigint][] {
  return sealed.map((it) => [it.startS, it.packets])
}
