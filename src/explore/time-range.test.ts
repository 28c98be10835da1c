import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseTime, parseTimeRange } from './time-range.ts'

const NOW_MS = Date.parse('2026-11-22T12:34:56.789Z') // A Sunday.

const shown = (text: string): string => new Date(parseTime(text, NOW_MS) * 1000).toISOString().slice(0, 19)

test('times are understood as people say them, in UTC', () => {
  const terms: [string, string][] = [
    ['now', '2026-11-22T12:34:56'],
    ['2h', '2026-11-22T10:34:56'],
    ['1d12h', '2026-11-21T00:34:56'],
    ['now-90m', '2026-11-22T11:04:56'],
    ['30 minutes ago', '2026-11-22T12:04:56'],
    ['2 weeks', '2026-11-08T12:34:56'],
    ['45s', '2026-11-22T12:34:11'],
    ['today', '2026-11-22T00:00:00'],
    ['Yesterday', '2026-11-21T00:00:00'],
    ['monday', '2026-11-16T00:00:00'],
    ['sunday', '2026-11-15T00:00:00'],
    ['this week', '2026-11-16T00:00:00'],
    ['last week', '2026-11-09T00:00:00'],
    ['last hour', '2026-11-22T11:34:56'],
    ['2026-11-20', '2026-11-20T00:00:00'],
    ['2026-11-20 10:00', '2026-11-20T10:00:00'],
    ['2026-11-20T10:00:05+02:00', '2026-11-20T08:00:05'],
    ['2026-11-20T10:00:05.5Z', '2026-11-20T10:00:05'],
    ['1795348800', '2026-11-22T12:00:00'],
  ]
  for (const [text, expected] of terms) assert.equal(shown(text), expected, text)
})

test('what is no time is refused with the terms that are', () => {
  for (const text of [
    '',
    'soon',
    '2 fortnights',
    '2026-13-01',
    '2026-11-20 25:00',
    '12',
    '-2h',
    '2h garbage',
    '5x',
  ]) {
    assert.throws(() => parseTime(text, NOW_MS), { code: 'WEIR_INVALID' }, text)
  }
})

test('a range ends now unless it says otherwise, and is never empty', () => {
  assert.deepEqual(parseTimeRange('1h', undefined, NOW_MS), { sinceS: 1795347296, untilS: 1795350897 })
  assert.throws(() => parseTimeRange('1h', '2h', NOW_MS), /empty/)
})
