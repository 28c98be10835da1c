import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { random } from '../../src/stdx/prng.ts'
import { DeliveryWorld } from '../support/delivery-world.ts'
import { type ProxyFault, seededFaults } from '../support/tcp-proxy.ts'

const WEB = { flowLogId: 'flow-log-web', bucket: 'alpha', stem: 'web' }
const DB = { flowLogId: 'flow-log-db', bucket: 'beta', stem: 'db' }

function assertEachLineOnce(world: DeliveryWorld, hint = ''): void {
  const lines = [...world.stored().values()].flat()
  assert.equal(new Set(lines).size, lines.length, `duplicates ${hint}`)
  assert.equal(lines.length, world.linesMade, hint)
}

/** In each bucket and for each stem: an older window has the lower name. */
function assertNamesInOrder(world: DeliveryWorld, hint = ''): void {
  for (const { segment, objectName } of world.deliveries) {
    const second = Number(/-(\d+)\.log\.gz$/.exec(objectName)![1])
    assert.ok(second >= segment.windowStartS && second < segment.windowStartS + 60, `${objectName} ${hint}`)
  }
}

const ONE_FAULT: ProxyFault[] = [
  { kind: 'resetAtOnce' },
  { kind: 'resetInRequest', afterBytes: 250 },
  { kind: 'resetBeforeAnswer' },
  { kind: 'truncateAnswer', afterBytes: 30 },
  { kind: 'slowAnswer', byteMs: 50 },
  { kind: 'blackHole' },
  { kind: 'answer', status: 500 },
  { kind: 'answer', status: 503 },
  { kind: 'answer', status: 503, retryAfterS: 0 },
]

for (const side of ['storeProxy', 'controlProxy'] as const) {
  for (const fault of ONE_FAULT) {
    test(`a fault between agent and ${side} (${JSON.stringify(fault)}) neither loses nor doubles an object`, async () => {
      await using world = await DeliveryWorld.start([WEB])
      const faults = [fault, fault]
      world[side].faults = () => faults.shift() ?? { kind: 'pass' }

      await world.addWindow(1)
      await world.addWindow(2)
      await world.untilEmpty()

      assert.deepEqual([...world.stored().keys()].sort(), ['alpha/web-120.log.gz', 'alpha/web-60.log.gz'])
      assertEachLineOnce(world)
      assert.ok(world.deliveries.every(({ segment }) => world.server.acknowledged(segment.segmentId)))
    })
  }
}

test('a store that refuses connections is tried again until it is back', async () => {
  await using world = await DeliveryWorld.start([WEB])
  await world.storeProxy.stop()
  await world.addWindow(1)
  await world.until(() => world.deliverer.buckets()[0]?.state === 'failing')

  await world.storeProxy.start()
  await world.untilEmpty()

  assertEachLineOnce(world)
})

test('a bucket that answers nothing does not delay another', async () => {
  await using world = await DeliveryWorld.start([WEB, DB], { concurrency: 4, idleMsMax: 60_000 })
  world.storeProxy.faults = (head) => ({ kind: head.includes('/alpha/') ? 'blackHole' : 'pass' })
  for (let i = 1; i <= 8; i++) await world.addWindow(i, { only: WEB.flowLogId })
  await world.until(() => world.storeProxy.requests >= 1)

  for (let i = 11; i <= 18; i++) await world.addWindow(i, { only: DB.flowLogId })
  await world.until(() => world.deliveries.filter(({ bucket }) => bucket === 'beta').length === 8)

  assert.equal(world.deliveries.filter(({ bucket }) => bucket === 'alpha').length, 0)
})

test('a bucket that answers nothing to many uploads at once does not delay another', async () => {
  const many = Array.from({ length: 60 }, (_, i) => ({ ...WEB, flowLogId: `many-${i}`, stem: `many-${i}` }))
  const options = { concurrency: 2, slowMs: 400, idleMsMax: 60_000 }
  await using world = await DeliveryWorld.start([...many, DB], options)
  world.storeProxy.faults = (head) => ({ kind: head.includes('/alpha/') ? 'blackHole' : 'pass' })
  await world.addWindow(1)
  await world.until(() => world.deliveries.length === 1)

  await world.addWindow(2, { only: DB.flowLogId })
  await world.until(() => world.deliveries.length === 2, 10_000) // One after another they would take 12 s.

  assert.ok(world.deliveries.every(({ bucket }) => bucket === 'beta'))
})

test('names that a bucket refuses keep none of its other names waiting', async () => {
  const refused = { flowLogId: 'flow-log-refused', bucket: 'alpha', stem: 'refused' }
  const options = { refusedDelayMsMin: 20, refusedDelayMsMax: 40 }
  await using world = await DeliveryWorld.start([refused, WEB], options)
  world.server.faults = {
    bucket: (_, name) => (name.startsWith('refused') ? { status: 403, code: 'AccessDenied' } : undefined),
  }
  for (let i = 1; i <= 3; i++) await world.addWindow(i, { only: refused.flowLogId })
  await world.until(() => world.deliverer.buckets()[0]?.state === 'refused')

  for (let i = 1; i <= 3; i++) await world.addWindow(10 + i, { only: WEB.flowLogId })
  await world.until(() => world.deliveries.length === 3)
  world.server.faults = {}
  await world.untilEmpty()

  assertEachLineOnce(world)
  assertNamesInOrder(world)
})

test('a bucket that is one contract’s by now stops what another contract has for it, and nothing else', async () => {
  const former = { ...WEB, flowLogId: 'flow-log-former', contractNumber: 2 }
  const options = { refusedDelayMsMin: 30_000, refusedDelayMsMax: 30_000 }
  await using world = await DeliveryWorld.start([former, WEB], options)
  const foreign = { status: 422, code: 'WEIR_BUCKET_FOREIGN', message: 'not yours' }
  world.server.faults = {
    grant: ({ flowLogIds }) => (flowLogIds.includes(former.flowLogId) ? foreign : undefined),
  }
  await world.addWindow(1)
  await world.addWindow(2)
  await world.until(() => world.deliveries.length === 2)

  assert.deepEqual([...world.stored().keys()], ['alpha/web-60.log.gz', 'alpha/web-120.log.gz'])
  assert.deepEqual(
    world.deliverer.status().flowLogs.map(({ flowLogId, segments }) => [flowLogId, segments]),
    [[former.flowLogId, 2]],
  )
})

test('a bucket without grant is tried slowly, says why, and gets everything once the grant is back', async () => {
  await using world = await DeliveryWorld.start([WEB, DB], { refusedDelayMsMin: 300, refusedDelayMsMax: 600 })
  world.server.faults = {
    bucket: (bucket) => (bucket === 'alpha' ? { status: 403, code: 'AccessDenied' } : undefined),
  }
  const beginMs = performance.now()
  for (let i = 1; i <= 20; i++) await world.addWindow(i)
  await world.until(() => world.deliveries.length === 20)
  const [refused] = world.deliverer.buckets()
  const [flowLog] = world.deliverer.status().flowLogs
  const tries = world.server.puts.filter(({ bucket }) => bucket === 'alpha').length
  const slowTriesMax = (performance.now() - beginMs) / 150 // The shortest pause is half of the least.
  world.server.faults = {}
  await world.untilEmpty()

  assert.equal(refused?.state, 'refused')
  assert.equal(refused?.lastError?.reason, 'AccessDenied')
  assert.equal(refused?.pendingSegments, 20)
  assert.equal(flowLog?.flowLogId, WEB.flowLogId)
  assert.equal(flowLog?.segments, 20)
  assert.equal(flowLog?.oldestWindowStartS, 60)
  assert.equal(flowLog?.lastError?.reason, 'AccessDenied')
  assert.deepEqual(world.deliverer.status().flowLogs, [])
  // Those on their way at first, each of which asks again once; then one by one.
  assert.ok(tries <= 40 + slowTriesMax, `${tries} tries`)
  assertEachLineOnce(world)
  assertNamesInOrder(world)
})

test('what waits for a bucket that somebody has mended is tried at once, and nothing else is', async () => {
  await using world = await DeliveryWorld.start([WEB, DB], {
    refusedDelayMsMin: 600_000,
    refusedDelayMsMax: 600_000,
  })
  const mended = [{ contractNumber: 1, bucket: WEB.bucket }]
  const putsTo = (bucket: string) => world.server.puts.filter((it) => it.bucket === bucket).length
  const isRefused = () => world.deliverer.buckets().every(({ state }) => state === 'refused')
  world.server.faults = { grant: () => ({ status: 422, code: 'WEIR_INVALID', message: 'no' }) }
  await world.addWindow(1, { only: WEB.flowLogId })
  await world.until(() => world.spool.stats().parkedSegments === 1)
  world.server.faults = { bucket: () => ({ status: 403, code: 'AccessDenied' }) }
  await world.addWindow(2)
  await world.until(() => world.deliverer.buckets().length === 2 && isRefused())
  const before = [putsTo(WEB.bucket), putsTo(DB.bucket)]

  world.deliverer.retry(mended) // It is not mended after all.
  await world.until(() => putsTo(WEB.bucket) > before[0]! && isRefused())
  world.server.faults = {}
  world.deliverer.retry(mended)
  await world.until(() => world.deliveries.length === 2)

  assert.deepEqual([...world.stored().keys()].sort(), ['alpha/web-120.log.gz', 'alpha/web-60.log.gz'])
  assert.equal(putsTo(DB.bucket), before[1])
  assert.deepEqual(
    world.deliverer.buckets().map(({ bucket, state }) => [bucket, state]),
    [[DB.bucket, 'refused']],
  )
})

test('Retry-After is honoured', async () => {
  await using world = await DeliveryWorld.start([WEB])
  let refusedMs = 0
  world.server.faults = {
    bucket() {
      refusedMs = performance.now()
      return { status: 503, code: 'SlowDown', retryAfterS: 1 }
    },
  }
  await world.addWindow(1)
  await world.until(() => world.server.puts.length === 1)
  world.server.faults = {}
  await world.untilEmpty()

  assert.ok(performance.now() - refusedMs > 900)
})

test('a segment that the control plane refuses is parked, and the others go on', async () => {
  await using world = await DeliveryWorld.start([WEB], { refusedDelayMsMin: 300, refusedDelayMsMax: 600 })
  const refusal = { status: 422, code: 'WEIR_INVALID', message: 'no' }
  world.server.faults = { grant: ({ windowStartS }) => (windowStartS === 60 ? refusal : undefined) }
  await world.addWindow(1)
  await world.addWindow(2)
  await world.until(() => world.deliveries.length === 1)
  const { parkedSegments } = world.spool.stats()
  world.server.faults = {}
  await world.untilEmpty()

  assert.equal(parkedSegments, 1)
  assertEachLineOnce(world)
})

test('an agent that starts anew delivers what was left, once', async () => {
  await using world = await DeliveryWorld.start([WEB])
  world.storeProxy.faults = () => ({ kind: 'resetBeforeAnswer' })
  for (let i = 1; i <= 4; i++) await world.addWindow(i)
  await world.until(() => world.server.objects.size > 0)

  await world.stopAgent()
  world.storeProxy.faults = () => ({ kind: 'pass' })
  world.startAgent()
  await world.untilEmpty()

  assert.equal(world.server.objects.size, 4)
  assertEachLineOnce(world)
})

test('a drain delivers at once what is spread, and gives up on what fails again and again', async () => {
  await using world = await DeliveryWorld.start([WEB, DB], { spreadMs: 3_600_000 })
  world.server.faults = {
    bucket: (bucket) => (bucket === 'beta' ? { status: 500, code: 'InternalError' } : undefined),
  }
  for (let i = 1; i <= 3; i++) await world.addWindow(i)

  const result = await world.deliverer.drain({ deadlineMs: 10_000 })

  assert.deepEqual(result, { delivered: 3, left: 3 })
})

test('parts of one window follow the collision rule in order, whatever fails on the way', async () => {
  await using world = await DeliveryWorld.start([WEB])
  world.storeProxy.faults = seededFaults(random(7), { faultsMax: 6, percent: 50 })
  await world.addWindow(1, { linesEach: 10, segmentSizeMax: 100 })
  await world.untilEmpty()

  const order = world.deliveries.map(({ segment, objectName }) => [segment.part, objectName] as const)
  assert.ok(order.length >= 4)
  for (const [part, name] of order) assert.equal(name, `web-${60 + part}.log.gz`)
  assertEachLineOnce(world)
})

test('a segment that is damaged on disk is delivered as far as it is whole, and whole if it had arrived before', async () => {
  await using world = await DeliveryWorld.start([WEB, DB])
  world.storeProxy.faults = () => ({ kind: 'resetBeforeAnswer' })
  await world.addWindow(1, { only: WEB.flowLogId, linesEach: 3 })
  await world.until(() => world.server.objects.size === 1)
  world.storeProxy.faults = () => ({ kind: 'resetAtOnce' })
  await world.addWindow(2, { only: DB.flowLogId, linesEach: 3 })
  await world.stopAgent()
  for (const { path, size } of world.spool.segments()) fs.truncateSync(path, size - 1)
  world.storeProxy.faults = () => ({ kind: 'pass' })
  world.startAgent()
  await world.untilEmpty()

  const stored = world.stored()
  const [first, second] = [...stored.values()].map((lines) => lines.length)
  assert.deepEqual([stored.size, first, second], [2, 3, 2])
  assert.deepEqual(world.spool.takeGivenUp(WEB.flowLogId), [])
  assert.equal(world.spool.takeGivenUp(DB.flowLogId)[0]?.packets, 1)
})

const SCHEDULES = Number(process.env['WEIR_FAULT_SCHEDULES'] ?? 200)

test(`${SCHEDULES} seeded schedules of faults: every record once, order of names right`, async () => {
  const run = async (seed: number) => {
    const next = random(seed)
    await using world = await DeliveryWorld.start([
      WEB,
      DB,
      { ...WEB, flowLogId: 'flow-log-web-2', stem: 'web2' },
    ])
    world.storeProxy.faults = seededFaults(next, { faultsMax: 6, percent: 30 })
    world.controlProxy.faults = seededFaults(next, { faultsMax: 6, percent: 30 })
    for (let i = 1; i <= 3; i++) {
      await world.addWindow(i, { linesEach: 1 + (next() % 4), segmentSizeMax: 120 })
      if (next() % 4 === 0) {
        await world.stopAgent()
        world.startAgent()
      }
    }
    await world.untilEmpty(30_000).catch((error: unknown) => assert.fail(`seed ${seed}: ${error}`))

    assertEachLineOnce(world, `seed ${seed}`)
    assertNamesInOrder(world, `seed ${seed}`)
  }
  const width = 8 // They wait more than they work.
  for (let seed = 1; seed <= SCHEDULES; seed += width) {
    await Promise.all(Array.from({ length: Math.min(width, SCHEDULES - seed + 1) }, (_, i) => run(seed + i)))
  }
})
