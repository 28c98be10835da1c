import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ROW, ROW_REJECT, ROW_SIZE, ROW_SKIPPED } from '../../model/flow-rows.ts'
import { FLOW, FLOW_SIZE, KEY4_SIZE, NO_TICK, SKIPPED, SKIPPED_SIZE } from './layout.ts'
import { RowWriter } from './row-writer.ts'
import type { SlotHeader } from './state.ts'

const TICK_NS = 4_000_000n // 250 Hz
const OPENED = 10_000n
const START_S = 1_800_000_000
const SLOT: SlotHeader = {
  slot: 0,
  isOpen: false,
  generation: 1n,
  opened: OPENED,
  endNs: 0n,
  startS: START_S,
  endS: START_S + 60,
  wallBaseNs: BigInt(START_S) * 1_000_000_000n - OPENED * TICK_NS,
  flows: 1,
  extensions: 0n,
}

/** The tick that is so many seconds into the window. */
const tick = (seconds: number) => Number(OPENED) + seconds * 250

function key(): Buffer {
  const buffer = Buffer.alloc(KEY4_SIZE)
  buffer.set([192, 0, 2, 1, 198, 51, 100, 7])
  buffer.writeUInt16BE(40_000, 8)
  buffer.writeUInt16BE(443, 10)
  buffer.writeUInt32LE(7 | (1 << 16) | (6 << 24), 12)
  return buffer
}

function flow(fields: Partial<Record<keyof typeof FLOW, number | bigint>>): Buffer {
  const buffer = Buffer.alloc(FLOW_SIZE)
  for (const [name, value] of Object.entries(fields)) {
    const at = FLOW[name as keyof typeof FLOW]
    if (typeof value === 'bigint') buffer.writeBigUInt64LE(value, at)
    else buffer.writeUInt32LE(value, at)
  }
  return buffer
}

interface Row {
  attributes: number
  packets: bigint
  octets: bigint
  seconds: [number, number]
}

function write(values: Buffer[], rowsMax = 10): { rows: Row[]; batches: number[] } {
  const rows: Row[] = []
  const batches: number[] = []
  const writer = new RowWriter(SLOT, TICK_NS, rowsMax, (buffer, points, count) => {
    batches.push(count)
    for (let i = 0; i < count; i++) {
      const at = i * ROW_SIZE
      assert.equal(points[i], 7)
      rows.push({
        attributes: buffer[at + ROW.attributes]!,
        packets: buffer.readBigUInt64LE(at + ROW.packets),
        octets: buffer.readBigUInt64LE(at + ROW.octets),
        seconds: [
          buffer.readUInt32LE(at + ROW.startS) - START_S,
          buffer.readUInt32LE(at + ROW.endS) - START_S,
        ],
      })
    }
  })
  const keys = Buffer.concat(values.map(() => key()))
  writer.flows(keys, KEY4_SIZE, Buffer.concat(values), values.length)
  writer.deliver()
  return { rows, batches }
}

const EGRESS = 4

test('a flow that was accepted is one row, with counters beyond 32 bits', () => {
  const { rows } = write([flow({ packets: 5n << 32n, octets: 7n << 33n, first: tick(1), last: tick(9) })])

  assert.deepEqual(rows, [{ attributes: EGRESS, packets: 5n << 32n, octets: 7n << 33n, seconds: [1, 9] }])
})

test('what several CPUs counted is one flow', () => {
  const shared = { packetsShared: 0xffff_ffffn, octetsShared: 60n }
  const { rows } = write([flow({ packets: 1n, octets: 40n, ...shared, first: tick(1), last: tick(2) })])

  assert.deepEqual(rows, [{ attributes: EGRESS, packets: 1n << 32n, octets: 100n, seconds: [1, 2] }])
})

test('a flow of both verdicts is two rows, each with its own times', () => {
  const refused = { packetsRefused: 3n, octetsRefused: 120n, refusedFirst: tick(4), refusedLast: tick(8) }
  const times = { first: tick(2), last: tick(8), acceptedLast: tick(6), packetsAtRefusal: 10 }
  const { rows } = write([flow({ packets: 10n, octets: 400n, ...refused, ...times })])

  assert.deepEqual(rows, [
    { attributes: EGRESS, packets: 7n, octets: 280n, seconds: [2, 6] },
    { attributes: EGRESS | ROW_REJECT, packets: 3n, octets: 120n, seconds: [4, 8] },
  ])
})

test('packets accepted after the last refused one end the accepted row', () => {
  const refused = { packetsRefused: 3n, octetsRefused: 120n, refusedFirst: tick(1), refusedLast: tick(2) }
  const times = { first: tick(5), last: tick(8), packetsAtRefusal: 3 }
  const { rows } = write([flow({ packets: 10n, octets: 400n, ...refused, ...times })])

  assert.deepEqual(
    rows.map((it) => it.seconds),
    [
      [5, 8],
      [1, 2],
    ],
  )
})

test('a flow of which all was refused is one row, and its octets are whole', () => {
  const refused = { packetsRefused: 2n, octetsRefused: 70n, refusedFirst: tick(1), refusedLast: tick(2) }
  const { rows } = write([flow({ packets: 2n, octets: 80n, ...refused, first: NO_TICK, last: tick(2) })])

  assert.deepEqual(rows, [{ attributes: EGRESS | ROW_REJECT, packets: 2n, octets: 80n, seconds: [1, 2] }])
})

test('times outside the window are moved to its edge', () => {
  const { rows } = write([flow({ packets: 1n, octets: 40n, first: tick(-3), last: tick(99) })])

  assert.deepEqual(rows[0]?.seconds, [0, 59])
})

test('ticks that wrap around within the window are still in order', () => {
  const opened = 0xffff_ff00n
  const slot = { ...SLOT, opened, wallBaseNs: BigInt(START_S) * 1_000_000_000n - opened * TICK_NS }
  let seconds = -1
  const writer = new RowWriter(slot, TICK_NS, 2, (rows) => {
    seconds = rows.readUInt32LE(ROW.endS) - START_S
  })

  const last = Number((opened + 2500n) & 0xffff_ffffn)
  writer.flows(key(), KEY4_SIZE, flow({ packets: 1n, octets: 40n, first: 0xffff_ff00, last }), 1)
  writer.deliver()

  assert.equal(seconds, 10)
})

test('batches are of the size that was asked for, and nothing is left behind', () => {
  const one = flow({ packets: 1n, octets: 40n, first: tick(0), last: tick(0) })

  assert.deepEqual(write(Array(7).fill(one), 3).batches, [3, 3, 1])
})

test('skipped packets are a row without a flow, and no row when there are none', () => {
  const rows: number[] = []
  const writer = new RowWriter(SLOT, TICK_NS, 4, (buffer, points, count) => {
    assert.equal(count, 1)
    rows.push(
      points[0]!,
      buffer[ROW.attributes]!,
      buffer.readUInt32LE(ROW.packets),
      buffer.readUInt32LE(ROW.octets),
    )
  })
  const counters = Buffer.alloc(2 * SKIPPED_SIZE)
  counters.writeBigUInt64LE(9n, SKIPPED.packets)
  counters.writeBigUInt64LE(900n, SKIPPED.octets)

  writer.skipped(3, 0, counters, 0)
  writer.skipped(3, 1, counters, SKIPPED_SIZE)
  writer.deliver()

  assert.deepEqual(rows, [3, ROW_SKIPPED, 9, 900])
})
