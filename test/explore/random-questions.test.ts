import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Answer, Dimension, Question } from '../../src/explore/question.ts'
import { METRICS } from '../../src/explore/question.ts'
import { random } from '../../src/stdx/prng.ts'
import {
  accepted,
  directionOf,
  isIn,
  KEYS,
  networkOf,
  PROTOCOLS,
  refused,
  serviceOf,
  sum,
  tally,
} from './model.ts'
import { GATEWAY, generateRecords, NOW_S, type TestRecord, WEB, World } from './world.ts'

const SEED = Number(process.env['EXPLORE_SEED'] ?? 1_812)
const QUESTIONS = Number(process.env['EXPLORE_QUESTIONS'] ?? 60)
const WAVES = 3 // Objects that arrive together become packs of their own.

const next = random(SEED)
const pick = <T>(choices: readonly T[]): T => choices[next() % choices.length]!
const many = <T>(countMax: number, make: () => T): T[] =>
  Array.from({ length: 1 + (next() % countMax) }, make)
const records = generateRecords(SEED)
const delivered: TestRecord[] = []
const world = await World.make()
after(() => world[Symbol.asyncDispose]())

/** A filter in words, and what it says. */
type Filter = [text: string, passes: (it: TestRecord) => boolean]
type Field = 'srcport' | 'dstport' | 'packets' | 'bytes' | 'start' | 'end'

const CONDITIONS: (() => Filter)[] = [addresses, ports, comparison, duration, protocol, service, place, word]

function addresses(): Filter {
  const field = pick(['src', 'dst', 'addr'])
  const networks = many(3, network)
  const of = (it: TestRecord) => [
    ...(field === 'dst' ? [] : [it.srcaddr]),
    ...(field === 'src' ? [] : [it.dstaddr]),
  ]
  const isHit = (it: TestRecord) => of(it).some((address) => networks.some((net) => isIn(address, net)))
  return negated(`${field} in (${networks.join(', ')})`, `${field} not in (${networks.join(', ')})`, isHit)
}

function network(): string {
  const { srcaddr, dstaddr } = pick(flowsOf(records))
  const address = pick([srcaddr!, dstaddr!])
  return `${address}/${address.includes(':') ? pick([16, 47, 48, 64, 113, 128]) : pick([0, 1, 8, 15, 23, 24, 31, 32])}`
}

function ports(): Filter {
  const field = pick(['srcport', 'dstport', 'port'])
  const ranges = many(3, () => {
    const from = pick([0, 22, 50, 400, 3306, 32_768 + (next() % 500)])
    return [from, from + pick([0, 3, 60, 500])] as const
  })
  const of = (it: TestRecord) => [
    ...(field === 'dstport' ? [] : [it.srcport]),
    ...(field === 'srcport' ? [] : [it.dstport]),
  ]
  const isHit = (it: TestRecord) =>
    of(it).some((port) => ranges.some(([from, to]) => port! >= from && port! <= to))
  const list = ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(', ')
  return negated(`${field} in (${list})`, `${field} not in (${list})`, isHit)
}

function comparison(): Filter {
  const field = pick<Field>(['srcport', 'dstport', 'packets', 'bytes', 'start', 'end'])
  const value = Number(pick(flowsOf(records))[field])
  const of = (it: TestRecord) => Number(it[field])
  return pick<Filter>([
    [`${field} < ${value}`, (it) => of(it) < value],
    [`${field} <= ${value}`, (it) => of(it) <= value],
    [`${field} > ${value}`, (it) => of(it) > value],
    [`${field} >= ${value}`, (it) => of(it) >= value],
  ])
}

function duration(): Filter {
  const value = next() % 400
  return negated(`duration >= ${value}s`, `duration < ${value}s`, (it) => it.end - it.start >= value)
}

function protocol(): Filter {
  const [number, name] = pick(Object.entries(PROTOCOLS))
  return negated(`protocol = ${name}`, `protocol != ${number}`, (it) => it.protocol === Number(number))
}

function service(): Filter {
  const wanted = serviceOf(pick(flowsOf(records)))
  return negated(`service = ${wanted}`, `service != ${wanted}`, (it) => serviceOf(it) === wanted)
}

function place(): Filter {
  const isWeb = (it: TestRecord) => it.interfaceId === WEB
  const isIngress = (it: TestRecord) => directionOf(it) === 'INGRESS'
  return pick([
    negated('interface = eth0', 'interface = uplink', isWeb),
    negated(`interface != ${GATEWAY}`, `interface != ${WEB}`, isWeb),
    negated('direction = ingress', 'direction = egress', isIngress),
  ])
}

function word(): Filter {
  return pick<Filter>([
    ['accept', accepted],
    ['action != accept', refused],
    ['tcp/443', (it) => it.protocol === 6 && (it.srcport === 443 || it.dstport === 443)],
  ])
}

function negated(text: string, opposite: string, passes: Filter[1]): Filter {
  return pick<Filter>([
    [text, passes],
    [opposite, (it) => !passes(it)],
  ])
}

/** `and` binds stronger than `or`, and may be left out. */
function anyFilter(depth: number): Filter {
  if (depth === 0 || next() % 4 === 0) return pick(CONDITIONS)()
  const [[a, isA], [b, isB], [c, isC]] = [anyFilter(depth - 1), anyFilter(depth - 1), pick(CONDITIONS)()]
  return pick<Filter>([
    [`not (${a})`, (it) => !isA(it)],
    [`(${a}) or ${c} and (${b})`, (it) => isA(it) || (isC(it) && isB(it))],
    [`(${a}) (${b}) or ${c}`, (it) => (isA(it) && isB(it)) || isC(it)],
  ])
}

function flowsOf(some: readonly TestRecord[]): TestRecord[] {
  return some.filter((it) => it.logStatus === 'OK')
}

/** A range and a filter, and the flows that they choose of what was delivered. */
function anyScope(): { scope: { since: string; until: string; filter: string }; flows: TestRecord[] } {
  const sinceS = NOW_S - 11_000 + (next() % 10_900)
  const untilS = pick([NOW_S, sinceS + 1 + (next() % (NOW_S - sinceS))])
  const [filter, passes] = anyFilter(next() % 4)
  const flows = flowsOf(delivered).filter((it) => it.start >= sinceS && it.start < untilS && passes(it))
  return { scope: { since: `${sinceS}`, until: `${untilS}`, filter }, flows }
}

function ask<Q extends Question>(question: Q): Promise<Answer<Q['kind']>> {
  return world.explorer.ask(question, world.access)
}

async function checkTop(): Promise<void> {
  const { scope, flows } = anyScope()
  const by = [...new Set(many(3, () => pick(Object.keys(KEYS) as Dimension[])))]
  const metric = pick(METRICS)
  const { result, totals } = await ask({ ...scope, kind: 'top', by, metric, limit: 1000 })

  const told = JSON.stringify({ ...scope, by, metric })
  const keyOf = (it: TestRecord) => JSON.stringify(by.map((name) => KEYS[name](it)))
  const groups = [...Map.groupBy(flows, keyOf)].map(([key, some]) => ({ key, ...sum(some) }))
  const sums = groups.map((it) => it[metric]).sort((a, b) => b - a)
  assert.equal(result.count, groups.length, told)
  assert.deepEqual(
    result.rows.map((row) => row[metric]),
    sums.slice(0, 1000),
    told,
  )
  const expected = new Map(groups.map(({ key, ...rest }) => [key, rest]))
  for (const { key, flows, packets, bytes } of result.rows) {
    const text = JSON.stringify(by.map((name) => key[name]))
    assert.deepEqual({ flows, packets, bytes }, expected.get(text), `${told} ${text}`)
  }
  const { accepted: yes, rejected: no, ...all } = totals
  assert.deepEqual([all, yes, no], [flows, flows.filter(accepted), flows.filter(refused)].map(sum), told)
}

async function checkSeries(): Promise<void> {
  const { scope, flows } = anyScope()
  const splitBy = pick(Object.keys(KEYS) as Dimension[])
  const metric = pick(METRICS)
  const { result } = await ask({ ...scope, kind: 'series', metric, splitBy, top: 3 })

  const told = JSON.stringify({ ...scope, splitBy, metric })
  assert.equal(result.total.total, sum(flows)[metric], told)
  for (const { key, other, total } of result.series) {
    const of = flows.filter((it) => KEYS[splitBy](it) === key)
    if (!other) assert.equal(total, sum(of)[metric], `${told} ${key}`)
  }
  const lines = result.series.reduce((sofar, line) => sofar + line.total, 0)
  assert.equal(lines, result.total.total, told)
}

/** Two ends that a flow may have had, from addresses to everything. */
async function checkReach(): Promise<void> {
  const { scope, flows } = anyScope()
  const { srcaddr, dstaddr, dstport, protocol } = pick(flowsOf(records))
  const [src, dst] = [srcaddr!, dstaddr!].map((it) => pick([it, it, networkOf(it), 'any'])) as [
    string,
    string,
  ]
  const ends = {
    src,
    dst,
    ...pick([{}, { port: dstport! }, { port: dstport!, protocol: protocol! }, { protocol: protocol! }]),
  }
  const { result } = await ask({ ...scope, kind: 'reach', ...ends })

  const told = JSON.stringify({ ...scope, ...ends })
  const isEnd = (address: string | undefined, end: string) =>
    end === 'any' || isIn(address, wholeNetwork(end))
  const isBetween = (it: TestRecord, from: string, to: string, port: number | undefined) =>
    isEnd(it.srcaddr, from) &&
    isEnd(it.dstaddr, to) &&
    (ends.port === undefined || port === ends.port) &&
    (ends.protocol === undefined || it.protocol === ends.protocol)
  const way = flows.filter((it) => isBetween(it, src, dst, it.dstport))
  const back = flows.filter((it) => isBetween(it, dst, src, it.srcport))
  assert.deepEqual(result.accepted, tally(way.filter(accepted)), told)
  assert.deepEqual(result.refused, tally(way.filter(refused)), told)
  assert.deepEqual(result.answered, tally(back.filter(accepted)), told)
}

function wholeNetwork(end: string): string {
  if (end.includes('/')) return end
  return `${end}/${end.includes(':') ? 128 : 32}`
}

test(`random filters, ranges, groupings and ends agree with a simple model (seed ${SEED})`, async () => {
  const objects = [...Map.groupBy(records, (it) => it.object).values()]
  for (let wave = 0; wave < WAVES; wave++) {
    const some = objects.filter((_, at) => at % WAVES === wave).flat()
    await world.deliver(some)
    delivered.push(...some)
    for (let i = 0; i < QUESTIONS / WAVES; i++) await pick([checkTop, checkTop, checkSeries, checkReach])()
  }
})
