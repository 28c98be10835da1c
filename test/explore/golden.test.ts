import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Answer, Dimension, Question } from '../../src/explore/question.ts'
import { accepted, directionOf, isIn, networkOf, refused, sum, tally } from './model.ts'
import { GATEWAY, generateRecords, NOW_S, type TestRecord, WEB, WEB_ADDRESSES, World } from './world.ts'

// Every answer is computed a second time here, from the same records, with loops and maps and none of explore's code.

const SINCE_S = NOW_S - 2 * 3600 - 77 // Not at a window's edge.
const UNTIL_S = NOW_S - 601
const SCOPE = { since: String(SINCE_S), until: String(UNTIL_S) }

const records = generateRecords(20_261_122)
const inRange = records.filter((it) => it.start >= SINCE_S && it.start < UNTIL_S)
const flows = inRange.filter((it) => it.logStatus === 'OK')

const world = await World.make()
after(() => world[Symbol.asyncDispose]())
await world.deliver(records)

async function ask<Q extends Question>(question: Q): Promise<Answer<Q['kind']>> {
  return world.explorer.ask(question, world.access)
}

test('totals are exact, and what was skipped is told beside them', async () => {
  const answer = await ask({ ...SCOPE, kind: 'summary' })

  const skipped = inRange.filter((it) => it.logStatus === 'SKIPDATA')
  const { flows: skippedRecords, packets, bytes } = sum(skipped)
  assert.ok(skippedRecords > 0)
  assert.deepEqual(answer.totals, {
    ...sum(flows),
    accepted: sum(flows.filter(accepted)),
    rejected: sum(flows.filter(refused)),
  })
  assert.deepEqual(answer.skipped, { records: skippedRecords, packets, bytes })
  assert.deepEqual(answer.range, { sinceS: SINCE_S, untilS: UNTIL_S })
})

test('filters choose the flows that they say', async () => {
  const filters: [string, (it: TestRecord) => boolean][] = [
    [
      'src in 10.0.0.0/8 and dstport = 443 and action = reject',
      (it) => isIn(it.srcaddr, '10.0.0.0/8') && it.dstport === 443 && refused(it),
    ],
    ['src in 10.1.2.0/23', (it) => isIn(it.srcaddr, '10.1.2.0/23')],
    [
      'addr in 2001:db8:1::/48',
      (it) => isIn(it.srcaddr, '2001:db8:1::/48') || isIn(it.dstaddr, '2001:db8:1::/48'),
    ],
    ['dst in (10.0.0.7, 2001:db8::7)', (it) => WEB_ADDRESSES.includes(it.dstaddr!)],
    ['addr = 10.0.0.7', (it) => it.srcaddr === '10.0.0.7' || it.dstaddr === '10.0.0.7'],
    ['src = 2001:0DB8:0::7', (it) => it.srcaddr === '2001:db8::7'],
    ['not src = 10.0.0.7', (it) => it.srcaddr !== '10.0.0.7'],
    [
      'port in (ssh, 50-60)',
      (it) => [it.srcport!, it.dstport!].some((port) => port === 22 || (port >= 50 && port <= 60)),
    ],
    ['port != 443', (it) => it.srcport !== 443 && it.dstport !== 443],
    ['protocol not in (tcp, udp)', (it) => it.protocol !== 6 && it.protocol !== 17],
    [
      'udp/53 or icmp',
      (it) => (it.protocol === 17 && (it.srcport === 53 || it.dstport === 53)) || it.protocol === 1,
    ],
    ['service = tcp/443', (it) => it.protocol === 6 && Math.min(it.srcport!, it.dstport!) === 443],
    ['interface = uplink', (it) => it.interfaceId === GATEWAY],
    [`interface != ${GATEWAY}`, (it) => it.interfaceId === WEB],
    ['bytes > 500k and packets <= 300', (it) => it.bytes! > 500_000n && it.packets! <= 300n],
    ['duration >= 2m', (it) => it.end - it.start >= 120],
    [
      'direction = ingress and interface = eth0',
      (it) => it.interfaceId === WEB && directionOf(it) === 'INGRESS',
    ],
    [
      `start >= ${SINCE_S + 1000} end < ${UNTIL_S - 1000}`,
      (it) => it.start >= SINCE_S + 1000 && it.end < UNTIL_S - 1000,
    ],
    [
      'srcport > 30000 and (dstport < 60 or not accept)',
      (it) => it.srcport! > 30_000 && (it.dstport! < 60 || !accepted(it)),
    ],
  ]
  for (const [filter, passes] of filters) {
    const chosen = flows.filter(passes)
    const { totals } = await ask({ ...SCOPE, filter, kind: 'summary' })

    assert.ok(chosen.length > 0 && chosen.length < flows.length, filter)
    assert.deepEqual(
      { flows: totals.flows, packets: totals.packets, bytes: totals.bytes },
      sum(chosen),
      filter,
    )
  }
})

test('top talkers, ports, pairs and directions are ranked by their sums', async () => {
  const keys: [Parameters<typeof ask>[0] & { kind: 'top' }, (it: TestRecord) => string][] = [
    [
      { ...SCOPE, kind: 'top', by: ['srcaddr'], metric: 'bytes' },
      (it) => JSON.stringify({ srcaddr: it.srcaddr }),
    ],
    [
      { ...SCOPE, kind: 'top', by: ['protocol', 'dstport'], metric: 'flows', limit: 7, offset: 2 },
      (it) => JSON.stringify({ protocol: it.protocol, dstport: it.dstport }),
    ],
    [
      { ...SCOPE, kind: 'top', by: ['srcaddr', 'dstaddr'], metric: 'packets', limit: 1000 },
      (it) => JSON.stringify({ srcaddr: it.srcaddr, dstaddr: it.dstaddr }),
    ],
    [
      { ...SCOPE, kind: 'top', by: ['srcnet', 'action'], metric: 'bytes' },
      (it) => JSON.stringify({ srcnet: networkOf(it.srcaddr!), action: it.action }),
    ],
    [
      { ...SCOPE, kind: 'top', by: ['interface', 'direction'], metric: 'bytes' },
      (it) => JSON.stringify({ interface: it.interfaceId, direction: directionOf(it) }),
    ],
  ]
  for (const [question, keyOf] of keys) {
    const { limit = 20, offset = 0, metric } = question
    const { result, totals } = await ask(question)

    const groups = [...Map.groupBy(flows, keyOf)].map(([key, some]) => ({
      key,
      ...tally(some),
      rejectedFlows: some.filter(refused).length,
    }))
    const ranked = groups.sort((a, b) => b[metric] - a[metric])
    const expected = ranked.slice(offset, offset + limit)
    assert.equal(result.count, groups.length)
    // Where sums are equal the order is a matter of taste: the sums must be those, and each group its own.
    assert.deepEqual(
      result.rows.map((row) => row[metric]),
      expected.map((row) => row[metric]),
    )
    for (const { key, labels, share, ...row } of result.rows) {
      const group = groups.find((it) => it.key === JSON.stringify(key))
      assert.deepEqual({ key: JSON.stringify(key), ...row }, group)
      if (key.protocol === 6 && key.dstport === 443) {
        assert.deepEqual(labels, { protocol: 'TCP', dstport: 'https (443)' })
      }
      assert.ok(Math.abs(share - row[metric] / totals[metric]) < 1e-12)
    }
    const rest = result.rows.reduce((left, row) => left - row.bytes, totals.bytes)
    assert.equal(result.rest.bytes, rest)
  }
})

test('directions are told by few addresses of the inventory, by many, and by the flows themselves', async () => {
  const others = Array.from({ length: 60 }, (_, at) => `198.51.100.${at}`)
  const [web, gateway] = world.access.interfaces as [Interface, Interface]
  const many = [web, { ...gateway, addresses: [...others, ...gateway.addresses] }]
  type Interface = (typeof world.access.interfaces)[number]
  const by: Dimension[] = ['interface', 'direction']
  const question = { ...SCOPE, kind: 'top' as const, by, metric: 'flows' as const }

  for (const interfaces of [[web, gateway], many, [web], []]) {
    const { result } = await world.explorer.ask(question, { ...world.access, interfaces })

    const expected = Map.groupBy(flows, (it) => `${it.interfaceId} ${directionOf(it)}`)
    assert.equal(result.rows.length, expected.size)
    for (const { key, flows: count } of result.rows) {
      assert.equal(count, expected.get(`${key.interface} ${key.direction}`)!.length)
    }
  }
})

/** Bytes per second of each step, second by second. */
function rates(some: readonly TestRecord[], stepS: number): number[] {
  const seconds = new Float64Array(UNTIL_S - SINCE_S)
  for (const it of some) {
    const perSecond = Number(it.bytes) / (it.end - it.start + 1)
    for (let second = it.start; second <= it.end && second < UNTIL_S; second++)
      seconds[second - SINCE_S]! += perSecond
  }
  const values: number[] = []
  for (let stepBegin = SINCE_S - (SINCE_S % stepS); stepBegin < UNTIL_S; stepBegin += stepS) {
    const inside = seconds.slice(Math.max(0, stepBegin - SINCE_S), stepBegin + stepS - SINCE_S)
    values.push(inside.reduce((total, it) => total + it, 0) / inside.length)
  }
  return values
}

function assertClose(actual: readonly number[], expected: readonly number[]): void {
  assert.equal(actual.length, expected.length)
  actual.forEach((value, at) => {
    const difference = Math.abs(value - expected[at]!)
    assert.ok(difference <= 1e-6 * Math.max(1, expected[at]!), `${at}: ${value} is not ${expected[at]}`)
  })
}

test('a series spreads long flows over their seconds and splits into the largest and the rest', async () => {
  const { result } = await ask({
    ...SCOPE,
    kind: 'series',
    metric: 'bytes',
    splitBy: 'dstport',
    top: 4,
    stepS: 120,
  })

  const groups = [...Map.groupBy(flows, (it) => it.dstport!)].sort(
    ([, a], [, b]) => sum(b).bytes - sum(a).bytes,
  )
  const largest = groups.slice(0, 4)
  const others = groups.slice(4).flatMap(([, some]) => some)
  assert.deepEqual(
    result.series.map(({ key }) => key),
    [...largest.map(([port]) => port), null],
  )
  assert.deepEqual(
    result.series.map(({ total }) => total),
    [...largest.map(([, some]) => sum(some).bytes), sum(others).bytes],
  )
  for (const [at, [, some]] of largest.entries()) assertClose(result.series[at]!.values, rates(some, 120))
  assertClose(result.series[4]!.values, rates(others, 120))
  assertClose(result.total.values, rates(flows, 120))
  assert.equal(result.timesS.length, result.total.values.length)
  const sorted = rates(flows, 120).sort((a, b) => a - b)
  assertClose(
    [result.total.p95, result.total.max],
    [sorted[Math.ceil(sorted.length * 0.95) - 1]!, sorted.at(-1)!],
  )
})

test('a series of flows counts them where they start, and can be laid over the range before', async () => {
  const { result } = await ask({
    ...SCOPE,
    kind: 'series',
    metric: 'flows',
    stepS: 600,
    previous: true,
    since: String(UNTIL_S - 3600),
  })

  const lengthS = 3600
  const steps = (some: TestRecord[], shiftS: number): number[] =>
    result.timesS.map((timeS) => {
      const beginS = Math.max(timeS, UNTIL_S - lengthS)
      const endS = Math.min(timeS + 600, UNTIL_S)
      return (
        some.filter((it) => it.start + shiftS >= beginS && it.start + shiftS < endS).length / (endS - beginS)
      )
    })
  const all = records.filter((it) => it.logStatus === 'OK')
  assertClose(result.total.values, steps(all, 0))
  assertClose(result.previous!.values, steps(all, lengthS))
})

test('the table of flows is the records, sorted and paged', async () => {
  const question = { ...SCOPE, kind: 'flows', filter: 'tcp', sort: { by: 'bytes', order: 'desc' } } as const
  const first = await ask({ ...question, limit: 50 })
  const second = await ask({ ...question, limit: 50, offset: 50 })

  const expected = flows.filter((it) => it.protocol === 6).sort((a, b) => Number(b.bytes! - a.bytes!))
  const rows = [...first.result.rows, ...second.result.rows]
  assert.equal(first.result.count, expected.length)
  assert.deepEqual(
    rows.map((row) => row.bytes),
    expected.slice(0, 100).map((it) => Number(it.bytes)),
  )
  const top = expected[0]!
  assert.deepEqual(rows[0], {
    startS: top.start,
    endS: top.end,
    action: top.action,
    protocol: 6,
    srcaddr: top.srcaddr,
    srcport: top.srcport,
    dstaddr: top.dstaddr,
    dstport: top.dstport,
    packets: Number(top.packets),
    bytes: Number(top.bytes),
    interface: top.interfaceId,
    status: 'OK',
  })
  assert.equal(new Set(rows.map((row) => JSON.stringify(row))).size, 100)
})

test('a sankey conserves what flows through it', async () => {
  const { result, totals } = await ask({ ...SCOPE, kind: 'sankey', metric: 'bytes', top: 5 })

  const bySource = [...Map.groupBy(flows, (it) => it.srcaddr!)].map(
    ([key, some]) => [key, sum(some).bytes] as const,
  )
  const largest = bySource.sort(([, a], [, b]) => b - a).slice(0, 5)
  const sources = result.nodes.filter((it) => it.column === 0 && !it.other)
  assert.deepEqual(
    sources.map(({ key, value }) => [key, value]),
    largest,
  )
  for (const column of [0, 1, 2]) {
    const ofColumn = result.nodes.filter((it) => it.column === column)
    assert.equal(
      ofColumn.reduce((total, it) => total + it.value, 0),
      totals.bytes,
    )
  }
  for (const node of result.nodes.filter((it) => it.column === 1)) {
    const into = result.links.filter((it) => it.target === node.id).reduce((total, it) => total + it.value, 0)
    const out = result.links.filter((it) => it.source === node.id).reduce((total, it) => total + it.value, 0)
    assert.deepEqual([into, out], [node.value, node.value])
  }
})

test('a heat map has the rates of its rows', async () => {
  const { result } = await ask({ ...SCOPE, kind: 'heat', metric: 'bytes', top: 3, stepS: 300 })

  const groups = [...Map.groupBy(flows, (it) => it.dstport!)].sort(
    ([, a], [, b]) => sum(b).bytes - sum(a).bytes,
  )
  groups.slice(0, 3).forEach(([port, some], row) => {
    assert.equal(result.rows[row]!.key, port)
    const values = result.timesS.map(
      (_, time) => result.cells.find(([t, r]) => t === time && r === row)?.[2] ?? 0,
    )
    assertClose(values, rates(some, 300))
  })
})

test('refused flows are told by source, port, interface and target', async () => {
  const { result } = await ask({ ...SCOPE, kind: 'rejects', limit: 5 })

  const some = flows.filter(refused)
  assert.deepEqual(result.refused, tally(some))
  assert.ok(Math.abs(result.share - some.length / flows.length) < 1e-12)
  const ranked = (keyOf: (it: TestRecord) => string): number[] =>
    [...Map.groupBy(some, keyOf).values()]
      .map((group) => group.length)
      .sort((a, b) => b - a)
      .slice(0, 5)
  assert.deepEqual(
    result.sources.map((row) => row.flows),
    ranked((it) => it.srcaddr!),
  )
  assert.deepEqual(
    result.targets.map((row) => row.flows),
    ranked((it) => it.dstaddr!),
  )
  assert.deepEqual(
    result.interfaces.map((row) => row.flows),
    ranked((it) => it.interfaceId),
  )
  assert.deepEqual(
    result.ports.map((row) => row.flows),
    ranked((it) => `${it.protocol} ${it.dstport}`),
  )
  for (const row of result.sources) {
    const group = some.filter((it) => it.srcaddr === row.key)
    const { flows: count, packets, bytes, firstS, lastS } = row
    assert.deepEqual({ flows: count, packets, bytes, firstS, lastS }, tally(group))
    assert.equal(row.targets, new Set(group.map((it) => it.dstaddr)).size)
  }
})

test('pairs that were allowed and refused are found, with the order in which it happened', async () => {
  const { result } = await ask({ ...SCOPE, kind: 'changed', limit: 1000 })

  const pairs = Map.groupBy(flows, (it) =>
    [it.interfaceId, it.srcaddr, it.dstaddr, it.protocol, it.dstport].join(' '),
  )
  const expected = [...pairs].filter(([, some]) => some.some(accepted) && some.some(refused))
  assert.ok(expected.length > 10)
  assert.equal(result.rows.length, expected.length)
  for (const row of result.rows) {
    const some = pairs.get([row.interface, row.srcaddr, row.dstaddr, row.protocol, row.dstport].join(' '))!
    const [yes, no] = [tally(some.filter(accepted)), tally(some.filter(refused))]
    assert.deepEqual([row.accepted, row.refused], [yes, no])
    const verdict =
      yes.lastS! < no.firstS! ? 'now refused' : no.lastS! < yes.firstS! ? 'now allowed' : 'mixed'
    assert.equal(row.verdict, verdict)
    if (row.protocol === 6 && row.dstport === 443) assert.equal(row.label, 'TCP https (443)')
  }
})

test('services that nobody uses are those that fell silent, and those that never answer', async () => {
  const { result } = await ask({
    ...SCOPE,
    kind: 'unused',
    since: String(UNTIL_S - 1800),
    lookback: '2h',
    limit: 1000,
  })

  const sinceS = UNTIL_S - 1800
  const seen = records.filter(
    (it) => it.logStatus === 'OK' && it.start >= sinceS - 7200 && it.start < UNTIL_S,
  )
  const talk = seen.filter((it) => accepted(it) && [6, 17].includes(it.protocol!))
  const key = (it: TestRecord, address: string | undefined, port: number | undefined): string =>
    [it.interfaceId, address, it.protocol, port].join(' ')
  const answered = new Set(
    talk.filter((it) => it.srcport! <= it.dstport!).map((it) => key(it, it.srcaddr, it.srcport)),
  )
  const asked = Map.groupBy(
    talk.filter((it) => it.dstport! <= it.srcport! && it.dstport! > 0),
    (it) => key(it, it.dstaddr, it.dstport),
  )
  const expected = [...asked].flatMap(([name, some]) => {
    const isRecent = some.some((it) => it.start >= sinceS)
    if (isRecent === answered.has(name)) return []
    return [`${name} ${isRecent ? 'unanswered' : 'silent'} ${some.length}`]
  })
  assert.ok(expected.some((it) => it.includes('silent')) && expected.some((it) => it.includes('unanswered')))
  const found = result.rows.map((it) =>
    [it.interface, it.address, it.protocol, it.port, it.state, it.flows].join(' '),
  )
  assert.deepEqual(found.sort(), expected.sort())
})

test('can A reach B: both verdicts, the way back and when it turned', async () => {
  const isEnd = (address: string | undefined, end: string): boolean =>
    end === 'any' || isIn(address, end.includes('/') ? end : `${end}/${end.includes(':') ? 128 : 32}`)
  const both = Map.groupBy(
    flows.filter((it) => it.srcaddr !== undefined && it.dstaddr !== undefined),
    (it) => `${it.srcaddr} ${it.dstaddr}`,
  )
  const busiest = (family: string): [string, string] => {
    const [ends] = [...both]
      .filter(([key]) => key.includes(family))
      .reduce((most, it) => (it[1].length > most[1].length ? it : most))
    const [src, dst] = ends.split(' ')
    return [src!, dst!]
  }
  const asked: { src: string; dst: string; port?: number; protocol?: number }[] = [
    { src: '10.0.0.0/14', dst: '10.0.0.7', port: 443, protocol: 6 },
    ...['.', ':'].map((family) => {
      const [src, dst] = busiest(family)
      return { src, dst }
    }),
    { src: '10.0.0.7', dst: '10.0.0.7' },
    { src: 'any', dst: '10.0.0.7', port: 443 },
    { src: 'any', dst: 'any', protocol: 17 },
  ]
  for (const ends of asked) {
    const { result } = await ask({ ...SCOPE, kind: 'reach', ...ends })

    const { src, dst, port, protocol } = ends
    const between = (it: TestRecord, from: string, to: string, itsPort: number | undefined): boolean =>
      isEnd(it.srcaddr, from) &&
      isEnd(it.dstaddr, to) &&
      (port === undefined || itsPort === port) &&
      (protocol === undefined || it.protocol === protocol)
    const way = flows.filter((it) => between(it, src, dst, it.dstport))
    const back = flows.filter((it) => between(it, dst, src, it.srcport) && accepted(it))
    assert.deepEqual(result.accepted, tally(way.filter(accepted)), JSON.stringify(ends))
    assert.deepEqual(result.refused, tally(way.filter(refused)))
    assert.deepEqual(result.answered, tally(back))
    const turns = way
      .toSorted((a, b) => a.start - b.start || (a.action! < b.action! ? -1 : 1))
      .filter((it, at, all) => all[at - 1]?.action !== it.action)
      .map((it) => ({ atS: it.start, action: it.action }))
    assert.deepEqual(result.changes, turns.slice(-50))
  }
  const { result } = await ask({ ...SCOPE, kind: 'reach', ...asked[0]! })
  assert.equal(result.answer, 'both')
  assert.match(
    result.sentence,
    /^10\.0\.0\.0\/14 → 10\.0\.0\.7 on TCP https \(443\): allowed .* and refused at eth0/,
  )
})

test('what nobody tried cannot be told', async () => {
  const { result } = await ask({ ...SCOPE, kind: 'reach', src: '203.0.113.1', dst: '10.0.0.7' })

  assert.equal(result.answer, 'unseen')
})

test('throughput has percentiles over all steps, per interface and direction', async () => {
  const { result } = await ask({ ...SCOPE, kind: 'throughput', stepS: 60 })

  assert.equal(result.rows.length, 4)
  for (const row of result.rows) {
    const some = flows.filter((it) => it.interfaceId === row.interface && directionOf(it) === row.direction)
    const values = rates(some, 60)
    const sorted = values.toSorted((a, b) => a - b)
    const rank = (share: number): number => sorted[Math.ceil(share * sorted.length) - 1]!
    assert.equal(row.bytes, sum(some).bytes)
    assertClose([row.p50, row.p95, row.max], [rank(0.5), rank(0.95), sorted.at(-1)!])
    assert.equal(row.maxAtS, SINCE_S - (SINCE_S % 60) + 60 * values.indexOf(sorted.at(-1)!))
  }
})

test('values complete what is typed, the most frequent first', async () => {
  const { result } = await ask({ ...SCOPE, kind: 'values', field: 'src', text: '10.1.', limit: 5 })

  const counts = [...Map.groupBy(flows, (it) => it.srcaddr!)].filter(([address]) =>
    address.startsWith('10.1.'),
  )
  const expected = counts.map(([, some]) => some.length).sort((a, b) => b - a)
  assert.deepEqual(
    result.values.map((it) => it.flows),
    expected.slice(0, 5),
  )
})
