import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FilterError, formatFilter, parseFilter } from './filter.ts'
import { checkFilter } from './filter-suggest.ts'

const NOW_MS = Date.parse('2026-11-22T12:00:00Z')

const normalised = (text: string): string => formatFilter(parseFilter(text, NOW_MS)!)

test('a filter has one way to be written, and reads back as itself', () => {
  const lines: [string, string][] = [
    [
      'src in 10.0.0.0/8 and dstport = 443 and action = reject',
      'src in 10.0.0.0/8 and dstport = 443 and action = reject',
    ],
    ['SRCADDR=10.1.2.3/8', 'src = 10.0.0.0/8'],
    ['dport in (https, 22,8000-8100)', 'dstport in (443, 22, 8000-8100)'],
    ['not (src = ::1 or dst = 2001:DB8::0) tcp', 'not (src = ::1 or dst = 2001:db8::) and protocol = tcp'],
    ['tcp/443', 'protocol = tcp and port = 443'],
    ['10.0.0.1 reject', 'addr = 10.0.0.1 and action = reject'],
    [
      'bytes > 10MB and packets <= 5k and bytes >= 1KiB',
      'bytes > 10000000 and packets <= 5000 and bytes >= 1024',
    ],
    ['duration > 5m', 'duration > 300'],
    ['interface = "web server"', 'interface = "web server"'],
    ['srcport != none', 'srcport != none'],
    ['protocol not in (tcp, 17)', 'protocol not in (tcp, udp)'],
    ['service = tcp/https or service = icmp', 'service = tcp/443 or service = icmp'],
    [
      'src = 10.0.0.1 or src = 10.0.0.2 and dstport = 1',
      'src = 10.0.0.1 or (src = 10.0.0.2 and dstport = 1)',
    ],
  ]
  for (const [line, expected] of lines) {
    assert.equal(normalised(line), expected)
    assert.equal(normalised(expected), expected)
  }
})

test('a filter that cannot be read says where and why', () => {
  const lines: [string, number, RegExp][] = [
    ['src = 10.0.0.300', 6, /not an address/],
    ['src in 10.0.0.0/33', 7, /not an address/],
    ['dstport = 70000', 10, /not a port/],
    ['dstport = 90-80', 10, /not a port/],
    ['action = maybe', 9, /not one of accept, reject/],
    ['src > 10.0.0.1', 0, /'>' is not for src/],
    ['colour = red', 0, /not a field/],
    ['src', 0, /operator is missing/],
    ['src =', 5, /value is missing/],
    ['(src = 10.0.0.1', 15, /'\)' is missing/],
    ['src = 10.0.0.1)', 14, /not expected/],
    ['and', 0, /neither a field nor a value/],
    ['dstport > (1, 2)', 0, /takes one value/],
    ['bytes > lots', 8, /not a number/],
    ["src = 10.0.0.1'; DROP TABLE flows", 14, /not expected/],
    ['('.repeat(40), 32, /nested deeper/],
  ]
  for (const [line, at, reason] of lines) {
    assert.throws(
      () => parseFilter(line, NOW_MS),
      (error) => error instanceof FilterError && error.at === at && reason.test(error.reason),
      line,
    )
  }
})

test('an empty filter is no filter', () => {
  assert.equal(parseFilter('  ', NOW_MS), undefined)
})

test('the line is completed where the cursor stands', () => {
  const texts = (line: string): string[] =>
    checkFilter(line, line.length, NOW_MS).suggestions.map(({ text }) => text)

  assert.deepEqual(texts('dst'), ['dst', 'dstnet', 'dstport'])
  assert.deepEqual(texts('action '), ['=', '!=', 'in', 'not in'])
  assert.deepEqual(texts('action = r'), ['reject'])
  assert.deepEqual(texts('action in (accept, '), ['accept', 'reject'])
  assert.deepEqual(texts('src = 10.0.0.1 '), ['and', 'or'])
  assert.deepEqual(texts('protocol = tc'), ['tcp'])
  assert.deepEqual(checkFilter('src = 10.', 9, NOW_MS).values, { field: 'src', text: '10.', from: 6, to: 9 })
})
