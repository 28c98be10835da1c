import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Assignment } from '../model/agent-protocol.ts'
import type { Action, Direction } from '../model/flow-log.ts'
import { ROW, ROW_EGRESS, ROW_IPV6, ROW_REJECT, ROW_SIZE, ROW_SKIPPED } from '../model/flow-rows.ts'
import { random } from '../stdx/prng.ts'
import { LiveTally } from './live-tally.ts'

interface Row {
  point: number
  bits?: number
  octets: number
}

test('the largest accepted and the largest refused flows are told, and the sum of all others', () => {
  const next = random(7)
  const rows: Row[] = Array.from({ length: 5_000 }, () => ({
    point: 1,
    bits: next() % 4 === 0 ? ROW_REJECT : 0,
    octets: 40 + (next() % 1_000_000),
  }))
  const tally = new LiveTally({ points: new Map([[1, assignment('a')]]), rowsMax: 200 })

  for (let from = 0; from < rows.length; from += 999) take(tally, rows.slice(from, from + 999))
  const window = tally.windows(600).get('a')!

  for (const kind of ['ACCEPT', 'REJECT'] as const) {
    const all = rows.filter(({ bits }) => (bits === ROW_REJECT) === (kind === 'REJECT'))
    const largest = all.map(({ octets }) => octets).toSorted((a, b) => b - a)
    const told = window.rows.filter((it) => it[0] === kind).map((it) => it[7])
    assert.deepEqual(told, largest.slice(0, 100))
  }
  const toldOctets = window.rows.reduce((sum, it) => sum + it[7], 0)
  assert.equal(window.startS, 600)
  assert.equal(window.left.flows, 4_800)
  assert.equal(window.left.packets, 4_800)
  assert.equal(
    window.left.octets,
    rows.reduce((sum, it) => sum + it.octets, -toldOctets),
  )
})

test('a flow log is told what its records will say: by action and direction, of all its points, and nobody else', () => {
  const points = new Map([
    [1, assignment('refused-in', { action: 'REJECTED', direction: 'INGRESS' })],
    [2, assignment('refused-in', { action: 'REJECTED', direction: 'INGRESS' })],
    [3, assignment('quiet')],
  ])
  const tally = new LiveTally({ points, rowsMax: 10 })

  take(tally, [
    { point: 1, bits: ROW_REJECT, octets: 1 },
    { point: 1, bits: ROW_REJECT | ROW_EGRESS, octets: 2 },
    { point: 1, octets: 4 },
    { point: 2, bits: ROW_REJECT, octets: 8 },
    { point: 2, bits: ROW_SKIPPED, octets: 16 },
    { point: 2, bits: ROW_SKIPPED | ROW_EGRESS, octets: 32 },
    { point: 9, bits: ROW_REJECT, octets: 64 },
  ])
  const windows = tally.windows(0)

  assert.deepEqual([...windows.keys()], ['refused-in', 'quiet'])
  assert.deepEqual(
    windows.get('refused-in')!.rows.map((it) => [it[0], it[7]]),
    [
      ['REJECT', 8],
      ['REJECT', 1],
      ['SKIPDATA', 16],
    ],
  )
  assert.deepEqual(windows.get('quiet'), { startS: 0, rows: [], left: { flows: 0, packets: 0, octets: 0 } })
})

test('addresses of both families, ports and times are as in records', () => {
  const tally = new LiveTally({ points: new Map([[1, assignment('a')]]), rowsMax: 10 })
  const rows = Buffer.alloc(2 * ROW_SIZE)
  rows.set([192, 0, 2, 1], ROW.source)
  rows.set([10, 0, 0, 7], ROW.destination)
  rows.writeUInt16LE(50_000, ROW.sourcePort)
  rows.writeUInt16LE(443, ROW.destinationPort)
  rows[ROW.protocol] = 6
  rows.writeUInt32LE(3, ROW.packets)
  rows.writeBigUInt64LE(2n ** 40n, ROW.octets)
  rows.writeUInt32LE(1_000, ROW.startS)
  rows.writeUInt32LE(1_005, ROW.endS)
  rows.set([0x20, 0x01, 0x0d, 0xb8], ROW_SIZE + ROW.source)
  rows[ROW_SIZE + ROW.attributes] = ROW_IPV6

  tally.take(rows, Uint16Array.of(1, 1), 2)

  assert.deepEqual(tally.windows(0).get('a')!.rows, [
    ['ACCEPT', 6, '192.0.2.1', 50_000, '10.0.0.7', 443, 3, 2 ** 40, 1_000, 1_005],
    ['ACCEPT', 0, '2001:db8::', 0, '::', 0, 0, 0, 0, 0],
  ])
})

function take(tally: LiveTally, wanted: Row[]): void {
  const rows = Buffer.alloc(wanted.length * ROW_SIZE)
  wanted.forEach(({ bits = 0, octets }, at) => {
    rows[at * ROW_SIZE + ROW.attributes] = bits
    rows.writeUInt32LE(1, at * ROW_SIZE + ROW.packets)
    rows.writeUInt32LE(octets, at * ROW_SIZE + ROW.octets)
  })
  tally.take(
    rows,
    Uint16Array.from(wanted, (it) => it.point),
    wanted.length,
  )
}

function assignment(flowLogId: string, what: { action?: Action; direction?: Direction } = {}): Assignment {
  return {
    flowLogId,
    interfaceId: `nic-of-${flowLogId}`,
    contractNumber: 12_345_678,
    action: what.action ?? 'ALL',
    direction: what.direction ?? 'BIDIRECTIONAL',
    bucket: 'flowlogs',
    prefix: flowLogId,
    binding: { device: 'eth0', side: 'own' },
  }
}
