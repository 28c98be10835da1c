import assert from 'node:assert/strict'
import { test } from 'node:test'
import { timeOrderedUuid } from './uuid.ts'

test('UUIDs sort by the time they were made, and no two are the same', () => {
  const nowMs = 1_764_000_000_000
  const made = Array.from({ length: 1000 }, (_, i) => timeOrderedUuid(nowMs + Math.floor(i / 10)))
  const times = made.map((it) => Number.parseInt(it.replaceAll('-', '').slice(0, 12), 16))

  assert.deepEqual(
    times,
    Array.from({ length: 1000 }, (_, i) => nowMs + Math.floor(i / 10)),
  )
  assert.equal(new Set(made).size, 1000)
  for (const it of [...made, timeOrderedUuid(0)]) {
    assert.match(it, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  }
})
