import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseDestination } from './flow-log.ts'

test('a prefix may hold what an object’s name may, unless a URL or a folder would take it for something else', () => {
  const taken = [
    'web',
    'a b',
    ' a ',
    'tenants/7/web',
    'ünï/日本',
    '😀',
    '.a/b.',
    'a%20b',
    "a'b+c?d#e",
    'a\\b',
  ]
  const refused = [
    '',
    '/a',
    'a/',
    'a//b',
    'a/./b',
    './a',
    'a/.',
    '.',
    '..',
    'a..b',
    'a%2fb',
    'a\nb',
    '\ud800',
    'é'.repeat(257),
  ]
  const isTaken = (prefix: string) => !('reason' in parseDestination(`flowlogs/${prefix}`))

  assert.deepEqual(taken.filter(isTaken), taken)
  assert.deepEqual(refused.filter(isTaken), [])
})
