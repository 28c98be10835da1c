import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Segment } from '../spool/segment-index.ts'
import { DeliveryFault } from './delivery-fault.ts'
import { Lane } from './lane.ts'

const OPTIONS = {
  retryDelayMsMin: 100,
  retryDelayMsMax: 1_000,
  refusedDelayMsMin: 10_000,
  refusedDelayMsMax: 100_000,
  random: () => 0.99,
}

function segment(stem: string, windowStartS: number, part = 0): Segment {
  return {
    segmentId: `${stem}-${windowStartS}-${part}`,
    windowKey: `boot-${windowStartS}`,
    contractNumber: 1,
    bucket: 'bucket',
    stem,
    part,
    windowStartS,
    windowSizeS: 60,
    flowLogIds: [],
    file: '',
    path: '',
    size: 1,
    sha256: '',
    records: 1,
    expiresAtMs: 0,
    state: 'sealed',
  }
}

function laneOf(...segments: Segment[]): Lane {
  const lane = new Lane({ contractNumber: 1, bucket: 'bucket' }, OPTIONS)
  lane.add(segments.map((it) => ({ segment: it, dueMs: 0 })))
  return lane
}

const fault = (kind: 'retry' | 'refused') => new DeliveryFault('bucket', kind, { reason: 'x', message: 'x' })

test('a destination’s next segment waits until the one before has its name, other destinations do not', () => {
  const lane = laneOf(segment('web', 120), segment('web', 60, 1), segment('web', 60), segment('db', 60))

  const first = lane.take()
  const second = lane.take()
  const whileNaming = lane.readyAtMs(false)
  lane.named(first)
  const third = lane.take()
  lane.named(first) // Its end, long after it had its name, lets nobody else go.

  assert.deepEqual([first.segmentId, second.segmentId, third.segmentId], ['web-60-0', 'db-60-0', 'web-60-1'])
  assert.equal(whileNaming, Number.POSITIVE_INFINITY)
  assert.equal(lane.readyAtMs(false), Number.POSITIVE_INFINITY)
  lane.named(third)
  assert.equal(lane.take().segmentId, 'web-120-0')
})

test('a fault closes the lane for a while, then one goes first, and the others follow its success', () => {
  const lane = laneOf(segment('a', 60), segment('b', 60), segment('c', 60))
  lane.take()

  lane.uploads--
  lane.failed(fault('retry'), { monotonicMs: 1_000, wallMs: 0 })
  const retryAtMs = lane.readyAtMs(false)
  lane.take()
  const whileProbing = lane.readyAtMs(false)
  lane.succeeded()
  const afterwards = lane.readyAtMs(false)

  assert.equal(lane.state, 'ok')
  assert.ok(retryAtMs >= 1_050 && retryAtMs <= 1_100, `${retryAtMs}`)
  assert.equal(whileProbing, Number.POSITIVE_INFINITY)
  assert.equal(afterwards, 0)
})

test('uploads that fail together are one failure, and a refusal waits longer than a failure', () => {
  const lane = laneOf(segment('a', 60))
  lane.failed(fault('retry'), { monotonicMs: 1_000, wallMs: 0 })
  lane.failed(fault('retry'), { monotonicMs: 1_001, wallMs: 0 })
  const { failures } = lane
  lane.failed(fault('refused'), { monotonicMs: 5_000, wallMs: 0 })

  assert.equal(failures, 1)
  assert.equal(lane.state, 'refused')
  assert.ok(lane.retryAtMs > 10_000)
})
