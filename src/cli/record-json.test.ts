import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isFault, parseRecord } from '../encode/record.ts'
import { recordJson } from './record-json.ts'

test('counters beyond 2^53 keep every digit in JSON', () => {
  const record = parseRecord(
    '2 7 72c45958-f416-4540-9745-260a97d243aa 192.0.2.1 192.0.2.2 1 2 6 3 18446744073709551615 10 20 ACCEPT OK',
  )
  assert.ok(!isFault(record))

  const text = recordJson({ ...record, object: 'flowlogs/a"b' })

  assert.match(text, /"bytes":18446744073709551615[,}]/)
  assert.equal((JSON.parse(text) as { object: string }).object, 'flowlogs/a"b')
})
