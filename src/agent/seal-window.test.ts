import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { MEMBER_ROWS_MAX, ZlibCodec } from '../encode/gzip-codec.ts'
import type { Assignment } from '../model/agent-protocol.ts'
import type { Action, Direction } from '../model/flow-log.ts'
import { ROW, ROW_EGRESS, ROW_REJECT, ROW_SIZE, ROW_SKIPPED } from '../model/flow-rows.ts'
import { random } from '../stdx/prng.ts'
import { WindowSealer } from './seal-window.ts'

const CONTRACT = 12_345_678

/** Collects what is appended, by destination. */
class Collected {
  readonly chunks = new Map<string, Uint8Array[]>()
  records = 0
  packets = 0

  append(
    { contractNumber, bucket, stem }: { contractNumber: number; bucket: string; stem: string },
    bytes: Uint8Array,
    counts: { records: number; packets: number },
  ): void {
    const owner = contractNumber === CONTRACT ? '' : `${contractNumber}: `
    const key = `${owner}${bucket}/${stem}`
    this.chunks.set(key, [...(this.chunks.get(key) ?? []), bytes])
    this.records += counts.records
    this.packets += counts.packets
  }

  lines(key: string): string[] {
    const text = gunzipSync(Buffer.concat(this.chunks.get(key) ?? [Buffer.alloc(0)])).toString()
    return text.split('\n').filter((line) => line !== '')
  }
}

test('each flow log gets the actions and directions that it wants, and SKIPDATA by direction', () => {
  const all = [0, ROW_REJECT, ROW_EGRESS, ROW_EGRESS | ROW_REJECT, ROW_SKIPPED, ROW_SKIPPED | ROW_EGRESS]
  const cases: [Action, Direction, number[]][] = [
    ['ALL', 'BIDIRECTIONAL', [0, 1, 2, 3, 4, 5]],
    ['ACCEPTED', 'BIDIRECTIONAL', [0, 2, 4, 5]],
    ['REJECTED', 'BIDIRECTIONAL', [1, 3, 4, 5]],
    ['ALL', 'INGRESS', [0, 1, 4]],
    ['ALL', 'EGRESS', [2, 3, 5]],
    ['REJECTED', 'INGRESS', [1, 4]],
    ['ACCEPTED', 'EGRESS', [2, 5]],
  ]
  for (const [action, direction, wanted] of cases) {
    const collected = seal(
      new Map([[7, assignment('a', { action, direction })]]),
      all.map((bits) => ({ point: 7, bits })),
    )

    const packets = collected.lines('flowlogs/a').map((line) => Number(line.split(' ')[8]))
    assert.deepEqual(
      packets.sort(),
      wanted.map((it) => it + 1),
      `${action} ${direction}`,
    )
  }
})

test('rows of many points in any order all reach the destination of their own flow log', () => {
  const next = random(42)
  const points = new Map(
    Array.from({ length: 300 }, (_, at) => [at * 218, assignment(`p${at % 100}`, {})] as const),
  )
  const numbers = [...points.keys()]
  const rows = Array.from({ length: 20_000 }, () => ({ point: numbers[next() % numbers.length]!, bits: 0 }))

  const collected = seal(points, rows)

  assert.equal(collected.records, rows.length)
  for (const [point, { prefix }] of points) {
    const mine = rows.filter((it) => points.get(it.point)!.prefix === prefix).length
    assert.equal(collected.lines(`flowlogs/${prefix}`).length, mine, `point ${point}`)
  }
})

test('a flow log with more rows than one gzip member holds loses none of them', () => {
  const rows = Array.from({ length: MEMBER_ROWS_MAX * 2 + 1 }, () => ({ point: 1, bits: 0 }))

  const collected = seal(new Map([[1, assignment('a', {})]]), rows)

  assert.equal(collected.lines('flowlogs/a').length, rows.length)
  assert.equal(
    collected.packets,
    rows.reduce((sum, _, at) => sum + at + 1, 0),
  )
})

test('without a prefix the interface UUID names the destination', () => {
  const collected = seal(new Map([[1, assignment('', {})]]), [{ point: 1, bits: 0 }])

  assert.deepEqual([...collected.chunks.keys()], ['flowlogs/nic-of-'])
})

test('contracts share no object, not even where one names a bucket that is another’s by now', () => {
  const points = new Map([
    [1, assignment('a', {})],
    [2, { ...assignment('a', {}), contractNumber: 5 }],
  ])

  const collected = seal(points, [
    { point: 1, bits: 0 },
    { point: 2, bits: 0 },
  ])

  assert.deepEqual([...collected.chunks.keys()], ['flowlogs/a', '5: flowlogs/a'])
})

test('rows of an unknown point are counted, and what the spool gave up is told as SKIPDATA', () => {
  const collected = new Collected()
  const sealer = new WindowSealer(
    { points: new Map([[1, assignment('a', {})]]) },
    { codec: new ZlibCodec(), writer: collected },
  )
  const { rows, points } = batch([{ point: 9, bits: 0 }])

  sealer.take(rows, points, 1)
  const told = sealer.tell([
    { id: 'x', flowLogId: 'a', records: 3, packets: 12, octets: 3456, startS: 1000, endS: 1010 },
    { id: 'y', flowLogId: 'gone', records: 1, packets: 1, octets: 1, startS: 1, endS: 1 },
  ])

  assert.equal(sealer.rowsUnassigned, 1)
  assert.deepEqual(told, ['x'])
  assert.deepEqual(collected.lines('flowlogs/a'), [
    '2 12345678 nic-of-a - - - - - 12 3456 1000 1010 - SKIPDATA',
  ])
})

interface Row {
  point: number
  bits: number
}

function seal(assignments: Map<number, Assignment>, wanted: Row[]): Collected {
  const collected = new Collected()
  const sealer = new WindowSealer({ points: assignments }, { codec: new ZlibCodec(), writer: collected })
  const { rows, points } = batch(wanted)
  sealer.take(rows, points, wanted.length)
  assert.equal(sealer.rowsUnassigned, 0)
  return collected
}

/** Row n has n + 1 packets, so that it can be told from the others. */
function batch(wanted: Row[]): { rows: Buffer; points: Uint16Array } {
  const rows = Buffer.alloc(wanted.length * ROW_SIZE)
  wanted.forEach(({ bits }, at) => {
    rows[at * ROW_SIZE + ROW.attributes] = bits
    rows.writeUInt32LE(at + 1, at * ROW_SIZE + ROW.packets)
  })
  return { rows, points: Uint16Array.from(wanted, (it) => it.point) }
}

function assignment(prefix: string, what: { action?: Action; direction?: Direction }): Assignment {
  return {
    flowLogId: prefix,
    interfaceId: `nic-of-${prefix}`,
    contractNumber: CONTRACT,
    action: what.action ?? 'ALL',
    direction: what.direction ?? 'BIDIRECTIONAL',
    bucket: 'flowlogs',
    prefix,
    binding: { device: 'eth0', side: 'own' },
  }
}
