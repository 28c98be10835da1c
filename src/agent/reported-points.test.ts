import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type PointStatus, ReportedPoints } from './reported-points.ts'

const ATTACHED: PointStatus = { state: 'attached', device: 'eth0' }
const WAITING: PointStatus = { state: 'waiting', message: 'waiting for an interface: tap0' }

/** Reports it, and has it taken; returns whose flow logs were told. */
function told(reported: ReportedPoints, statuses: Record<string, PointStatus>, nowMs = 1_000_000): string[] {
  const { points, taken } = reported.begin(new Map(Object.entries(statuses)), nowMs)
  taken()
  return points.map((it) => it.flowLogId)
}

test('a report tells what the last one that was taken did not', () => {
  const reported = new ReportedPoints()

  assert.deepEqual(told(reported, { a: ATTACHED, b: WAITING }), ['a', 'b'])
  assert.deepEqual(told(reported, { a: ATTACHED, b: WAITING }), [])
  assert.deepEqual(told(reported, { a: ATTACHED, b: ATTACHED, c: WAITING }), ['b', 'c'])
  assert.deepEqual(told(reported, { a: { ...ATTACHED, device: 'eth1' }, b: ATTACHED, c: WAITING }), ['a'])
})

test('what went away and came back is told, whatever was said of it before', () => {
  const reported = new ReportedPoints()
  told(reported, { a: ATTACHED, b: ATTACHED })

  assert.deepEqual(told(reported, { b: ATTACHED }), [])
  assert.deepEqual(told(reported, { a: ATTACHED, b: ATTACHED }), ['a'])
})

test('after a report with an unknown outcome, and every ten minutes, all points are told', () => {
  const reported = new ReportedPoints()
  told(reported, { a: ATTACHED, b: ATTACHED })

  reported.begin(new Map([['b', ATTACHED]]), 1_000_000) // Never taken.
  reported.forget()
  assert.deepEqual(told(reported, { a: ATTACHED, b: ATTACHED }), ['a', 'b'])
  assert.deepEqual(told(reported, { a: ATTACHED, b: ATTACHED }, 1_599_999), [])
  assert.deepEqual(told(reported, { a: ATTACHED, b: ATTACHED }, 1_600_000), ['a', 'b'])
})

test('a report that was under way when all was forgotten counts for nothing', () => {
  const reported = new ReportedPoints()
  const underway = reported.begin(new Map([['a', ATTACHED]]), 1_000_000)

  reported.forget()
  underway.taken()

  assert.deepEqual(told(reported, { a: ATTACHED }), ['a'])
})
