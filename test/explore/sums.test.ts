import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import type { Access } from '../../src/explore/explorer.ts'
import type { Dimension, Metric } from '../../src/explore/question.ts'
import { KEYS, sum } from './model.ts'
import { GATEWAY, generateRecords, NOW_S, type TestRecord, WEB, World } from './world.ts'

// Packs bring sums along. Whether an answer is made of them, of rows or of both, it is what loops over the records find.

const records = generateRecords(29)
const SINCE_S = NOW_S - 3 * 3600
const objects = [...Map.groupBy(records, (it) => it.object).values()]

interface Case {
  by: Dimension[]
  metric: Metric
  filter?: string
  passes?: (it: TestRecord) => boolean
}

const CASES: Case[] = [
  { by: ['srcaddr'], metric: 'bytes' },
  { by: ['srcaddr', 'dstaddr'], metric: 'packets' },
  { by: ['protocol', 'dstport'], metric: 'flows' },
  { by: ['interface', 'action'], metric: 'bytes' },
  { by: ['srcport'], metric: 'bytes' },
  { by: ['dstaddr'], metric: 'flows', filter: 'reject', passes: (it) => it.action === 'REJECT' },
  { by: ['srcaddr'], metric: 'flows', filter: 'dstport != 443', passes: (it) => it.dstport !== 443 },
  { by: ['dstport'], metric: 'flows', filter: 'protocol = udp', passes: (it) => it.protocol === 17 },
  { by: ['srcaddr'], metric: 'flows', filter: 'bytes > 500k', passes: (it) => (it.bytes ?? 0n) > 500_000n },
  {
    by: ['protocol'],
    metric: 'bytes',
    filter: 'interface = uplink',
    passes: (it) => it.interfaceId === GATEWAY,
  },
]

/** Asks all cases over a range, and compares with loops over the records that should be there. */
async function check(
  world: World,
  some: readonly TestRecord[],
  [sinceS, untilS]: [number, number],
  access: Access = world.access,
): Promise<void> {
  const scope = { since: String(sinceS), until: String(untilS) }
  const inRange = some.filter((it) => it.start >= sinceS && it.start < untilS)
  const skipped = sum(inRange.filter((it) => it.logStatus === 'SKIPDATA'))
  for (const { by, metric, filter = '', passes = () => true } of CASES) {
    const flows = inRange.filter((it) => it.logStatus === 'OK' && passes(it))
    const rejected = sum(flows.filter((it) => it.action === 'REJECT'))
    const keyOf = (it: TestRecord): string => JSON.stringify(by.map((name) => KEYS[name](it)))
    const expected = new Map([...Map.groupBy(flows, keyOf)])

    const question = { kind: 'top', by, metric, filter, limit: 1_000, ...scope } as const
    const { result, totals, skipped: found } = await world.explorer.ask(question, access)

    const name = `${by} ${filter} ${sinceS}-${untilS}`
    assert.equal(result.count, expected.size, name)
    for (const { key, share: _share, labels: _labels, ...row } of result.rows) {
      const group = expected.get(JSON.stringify(by.map((it) => key[it])))!
      const firstS = Math.min(...group.map((it) => it.start))
      const lastS = Math.max(...group.map((it) => it.end))
      const rejectedFlows = group.filter((it) => it.action === 'REJECT').length
      assert.deepEqual(row, { ...sum(group), firstS, lastS, rejectedFlows }, name)
    }
    assert.deepEqual({ ...totals, accepted: 0 }, { ...sum(flows), accepted: 0, rejected }, name)
    const { flows: count, packets, bytes } = skipped
    assert.deepEqual(found, { records: count, packets, bytes }, name)
  }
}

/** Files of sums, and packs. */
async function filesIn(world: World): Promise<{ sums: string[]; packs: string[] }> {
  const names = await readdir(path.join(world.directory, 'cache'))
  return {
    sums: names.filter((it) => /\.[a-z]+\.parquet$/.test(it)),
    packs: names.filter((it) => /^[^.]*\.parquet$/.test(it)),
  }
}

test('whole packs, packs that the range cuts, and packs of objects that arrive later give one answer', async () => {
  await using world = await World.make()
  const bare = {
    srcaddr: undefined,
    srcport: undefined,
    bytes: undefined,
    protocol: undefined,
    action: undefined,
  }
  const odd = records.slice(0, 600).map((it, at) => (at % 3 === 0 ? { ...it, ...bare } : it))
  const all = [...odd, ...records.slice(600)]
  const delivered: TestRecord[] = []
  for (const part of [0, 1, 2]) {
    const some = all.filter((it) => Math.floor((it.start - SINCE_S) / 3600) === part)
    await world.deliver(some)
    delivered.push(...some)
    await world.put(`flowlogs/cut-${SINCE_S + 3600 * part}.log.gz`, Buffer.from('1f8b'))
    await check(world, delivered, [SINCE_S, NOW_S])
  }

  await check(world, delivered, [SINCE_S + 1800, NOW_S - 1000])
  await check(world, delivered, [SINCE_S + 3600, SINCE_S + 7200])
  assert.ok((await filesIn(world)).sums.length >= 6)
})

test('sums do not tell of objects that are gone', async () => {
  await using world = await World.make()
  await world.deliver(records)
  await check(world, records, [SINCE_S, NOW_S])
  assert.equal((await filesIn(world)).packs.length, 2)
  const gone = objects[4]!

  await rm(path.join(world.buckets, gone[0]!.object))

  await check(
    world,
    records.filter((it) => !gone.includes(it)),
    [SINCE_S, NOW_S],
  )
})

test('sums of a pack with several interfaces tell an asker of its own alone', async () => {
  await using world = await World.make()
  const mixed = records.map((it) => ({ ...it, object: it.object.replace(/\/.*-/, '/mixed-') }))
  await world.deliver(mixed)
  await check(world, mixed, [SINCE_S, NOW_S])
  assert.ok((await filesIn(world)).sums.length >= 1)
  const { places, interfaces } = world.access
  const access = { places, interfaces: interfaces.filter(({ id }) => id === GATEWAY), onlyThese: true }

  await check(
    world,
    mixed.filter((it) => it.interfaceId !== WEB),
    [SINCE_S, NOW_S],
    access,
  )
})

test('packs that become one have the sums of all', async () => {
  await using world = await World.make()
  const own = objects.filter(([it]) => it!.object.includes('/web-'))
  const delivered: TestRecord[] = []
  for (const some of own) {
    await world.deliver(some)
    delivered.push(...some)
    await world.explorer.ask({ kind: 'summary', since: '3h' }, world.access)
  }

  const { packs, sums } = await filesIn(world)
  assert.ok(packs.length < own.length / 2 && sums.length > 0, `${packs.length} packs, ${sums.length} sums`)
  await check(world, delivered, [SINCE_S, NOW_S])
})

test('a pack whose sums were removed is made again', async () => {
  await using world = await World.make()
  await world.deliver(records)
  await check(world, records, [SINCE_S, NOW_S])
  for (const name of (await filesIn(world)).sums) await rm(path.join(world.directory, 'cache', name))

  await check(world, records, [SINCE_S, NOW_S])
})

test('packs of another version are not read, and leave the disk', async () => {
  await using before = await World.make()
  await before.deliver(records)
  await check(before, records, [SINCE_S, NOW_S])
  await using world = await World.make()
  await world.deliver(records)
  const [from, to] = [before, world].map((it) => path.join(it.directory, 'cache')) as [string, string]
  await mkdir(to, { recursive: true })
  const names = await readdir(from)
  for (const name of names) {
    const content = await readFile(path.join(from, name))
    const isIndex = name.endsWith('.json')
    // Of the time before there were sums: an index that says nothing of them, and of flows that are not these.
    const older = { ...JSON.parse(isIndex ? content.toString() : '{}'), version: 2 }
    await writeFile(path.join(to, name), isIndex ? JSON.stringify(older) : content)
    await utimes(path.join(to, name), NOW_S - 7_200, NOW_S - 7_200)
  }

  await world.explorer.start()

  assert.deepEqual(
    (await readdir(to)).filter((it) => names.includes(it)),
    [],
  )
  await check(world, records, [SINCE_S, NOW_S])
})
