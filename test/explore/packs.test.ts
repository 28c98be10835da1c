import assert from 'node:assert/strict'
import { readdir, readFile, rm, stat, truncate } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { generateRecords, NOW_S, type TestRecord, World } from './world.ts'

// What stands between a bucket and an answer: which objects are read, which are not, and what is kept of them.

const records = generateRecords(3)
const SUMMARY = { kind: 'summary', since: '3h' } as const

async function flowsOf(world: World, since = '3h'): Promise<number> {
  return (await world.explorer.ask({ ...SUMMARY, since }, world.access)).totals.flows
}

function countOf(some: readonly TestRecord[]): number {
  return some.filter((it) => it.logStatus === 'OK').length
}

test('damaged and foreign objects are named and skipped, and the rest is answered', async () => {
  await using world = await World.make()
  await world.deliver(records)
  const name = (stem: string): string => `flowlogs/${stem}-${NOW_S - 1200}.log.gz`
  const line =
    '2 1 7ffd6527-ce80-4e57-a949-f9a45824ebe2 10.0.0.1 10.0.0.2 1 2 6 1 60 1795371000 1795371001 ACCEPT OK\n'
  const good = gzipSync(line.repeat(2_000), { level: 0 })
  const flipped = Buffer.from(good)
  flipped[1_000]! ^= 0xff
  await world.put(name('cut'), good.subarray(0, good.length - 100))
  await world.put(name('flipped'), flipped)
  await world.put(name('plain'), Buffer.from(line))
  await world.put(name('empty'), Buffer.alloc(0))
  await world.put(name('other'), gzipSync('{"json": true}\n'.repeat(50)))
  const bad = [
    line.replace('60', '6O'),
    line.replace('10.0.0.1', '10.0.0.256'),
    line.replace(' 6 1 60', ' 256 1 60'),
    line.replace('ACCEPT', 'ALLOW'),
    line.replace('1795371001', '1795370000'),
    line.replace('OK', 'OK extra'),
    `3${line.slice(1)}`,
    line.replace('10.0.0.2', "10.0.0.2'"),
    'half a line',
  ]
  await world.put(name('mixed'), gzipSync(line + bad.join('')))
  await world.put('flowlogs/notes.txt', Buffer.from('not an object of ours'))

  const answer = await world.explorer.ask(SUMMARY, world.access)

  const reasons = Object.fromEntries(
    answer.coverage.faults.map(({ object, reason }) => [
      object.replace(/^flowlogs\/|-\d+\.log\.gz$/g, ''),
      reason,
    ]),
  )
  assert.equal(answer.totals.flows, countOf(records) + 1)
  assert.deepEqual(reasons, {
    cut: 'damaged: the gzip data ends too early',
    flipped: 'damaged: the gzip data does not add up',
    plain: 'is not gzip',
    empty: 'damaged: the gzip data ends too early',
    other: 'holds no flow log records',
    mixed: `${bad.length} lines are no records`,
  })
  assert.equal(answer.coverage.objectsFailed, 5)
  assert.equal(answer.coverage.linesFailed, bad.length + 50)
})

test('an object is read once: later questions need the pack alone', async () => {
  await using world = await World.make()
  await world.deliver(records)
  const before = await flowsOf(world)
  const progress: string[] = []
  const files = await readdir(path.join(world.directory, 'cache'))

  const answer = await world.explorer.ask(SUMMARY, world.access, {
    onProgress: ({ stage }) => progress.push(stage),
  })

  assert.equal(answer.totals.flows, before)
  assert.deepEqual(await readdir(path.join(world.directory, 'cache')), files)
  assert.equal(files.filter((it) => /^[^.]*\.parquet$/.test(it)).length, 2)
})

test('a bucket that may not be listed is named, and the others are answered', async () => {
  await using world = await World.make()
  await world.deliver(records)
  const places = [...world.access.places, { bucket: 'locked', prefix: '' }]

  const { totals, coverage } = await world.explorer.ask(SUMMARY, { ...world.access, places })

  assert.equal(totals.flows, countOf(records))
  assert.deepEqual(coverage.faults, [{ object: 'locked/', reason: 'not yours' }])
})

test('objects of other times are not opened', async () => {
  await using world = await World.make()
  await world.deliver(records)
  const windows = records.map(({ object }) => Number(/-(\d+)\.log\.gz$/.exec(object)![1]))
  const all = await world.explorer.ask({ ...SUMMARY, since: '24h' }, world.access)
  const old = `flowlogs/web-${NOW_S - 9_000}.log.gz`
  await world.put(old, Buffer.from('if this were opened it would be named'))

  const { coverage, totals } = await world.explorer.ask({ ...SUMMARY, since: '20m' }, world.access)

  const inRange = records.filter((it) => it.start >= NOW_S - 1200)
  assert.equal(totals.flows, countOf(inRange))
  assert.deepEqual(coverage.faults, [])
  assert.ok(coverage.objectsOutside > 10)
  assert.equal(all.coverage.oldestWindowS, Math.min(...windows))
  assert.equal(all.coverage.newestWindowS, Math.max(...windows))
})

test('a flow of a long window is found by an object that began an hour before', async () => {
  await using world = await World.make()
  const start = NOW_S - 100
  await world.deliver(
    records
      .slice(0, 1)
      .map((it) => ({ ...it, start, end: start, object: `flowlogs/web-${NOW_S - 3600}.log.gz` })),
  )

  assert.equal(await flowsOf(world, '5m'), 1)
})

test('what is delivered between two questions is in the second answer, and what was deleted is not', async () => {
  await using world = await World.make()
  const [first, ...others] = [...Map.groupBy(records, (it) => it.object).values()]
  await world.deliver(first!)
  assert.equal(await flowsOf(world), countOf(first!))

  await world.deliver(others.flat())
  assert.equal(await flowsOf(world), countOf(records))

  const gone = others[3]!
  await rm(path.join(world.buckets, gone[0]!.object))
  assert.equal(await flowsOf(world), countOf(records) - countOf(gone))
})

test('an object that was replaced counts as what it is now, and its neighbours as before', async () => {
  await using world = await World.make()
  await world.deliver(records)
  await flowsOf(world)

  const one = records.filter((it) => it.object === records[0]!.object)
  await world.deliver(one.slice(0, 10))

  assert.equal(await flowsOf(world), countOf(records) - countOf(one) + 10)
})

test('many small packs become one, and the answer stays', async () => {
  await using world = await World.make()
  let delivered = 0
  for (const [, some] of Map.groupBy(
    records.filter((it) => it.object.includes('/web-')),
    (it) => it.object,
  )) {
    await world.deliver(some)
    delivered += countOf(some)
    assert.equal(await flowsOf(world), delivered)
  }

  const files = await readdir(path.join(world.directory, 'cache'))
  const packs = files.filter((it) => /^[^.]*\.parquet$/.test(it))
  assert.ok(packs.length <= 9, `${packs.length} packs`)
})

test('the cache keeps its bound, and answers stay right without it', async () => {
  await using world = await World.make({ cacheSizeMax: 40_000 })
  await world.deliver(records)

  for (let i = 0; i < 3; i++) assert.equal(await flowsOf(world), countOf(records))

  const directory = path.join(world.directory, 'cache')
  const packs = (await readdir(directory)).filter((it) => it.endsWith('.parquet'))
  let size = 0
  for (const name of packs) size += (await stat(path.join(directory, name))).size
  assert.ok(size <= 40_000, `${size} bytes`)
})

test('a pack that another process removed is made again', async () => {
  await using world = await World.make()
  await world.deliver(records)
  await flowsOf(world)
  const directory = path.join(world.directory, 'cache')
  for (const name of await readdir(directory)) await rm(path.join(directory, name), { recursive: true })

  assert.equal(await flowsOf(world), countOf(records))
})

test('packs that were cut short by a loss of power are made again', async () => {
  await using world = await World.make()
  await world.deliver(records)
  await flowsOf(world)
  const directory = path.join(world.directory, 'cache')
  const [empty, half] = (await readdir(directory)).filter((it) => it.endsWith('.parquet'))
  await truncate(path.join(directory, empty!), 0)
  await truncate(path.join(directory, half!), 5_000)

  assert.equal(await flowsOf(world), countOf(records))
})

test('an export is all rows, whatever the page was', async () => {
  await using world = await World.make()
  await world.deliver(records)

  const question = { kind: 'flows', since: '3h', filter: 'udp', limit: 1 } as const
  const { content, rows } = await world.explorer.export(question, world.access, { format: 'csv' })

  const text = Buffer.concat(await content.toArray()).toString()
  const expected = records.filter((it) => it.protocol === 17).length
  assert.equal(rows, expected)
  assert.equal(text.trim().split('\n').length, expected + 1)
  assert.match(text, /^startS,endS,action,/)
  assert.deepEqual(
    (await readdir(path.join(world.directory, 'cache'))).filter((it) => it.endsWith('.export')),
    [],
  )
})

test('two questions at once read each object once', async () => {
  await using world = await World.make()
  await world.deliver(records)

  const counts = await Promise.all([flowsOf(world), flowsOf(world), flowsOf(world)])

  assert.deepEqual(counts, Array(3).fill(countOf(records)))
  const directory = path.join(world.directory, 'cache')
  const indexes = (await readdir(directory)).filter((it) => it.endsWith('.json'))
  const packed = await Promise.all(
    indexes.map(
      async (it) => JSON.parse(await readFile(path.join(directory, it), 'utf8')).pack.objects.length,
    ),
  )
  assert.equal(
    packed.reduce((sum, it) => sum + it, 0),
    new Set(records.map((it) => it.object)).size,
  )
})
