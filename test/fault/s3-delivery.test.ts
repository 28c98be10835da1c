import assert from 'node:assert/strict'
import fs from 'node:fs'
import { after, before, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { CreateBucketCommand, DeleteBucketCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { flowlog } from '../../src/cli/commands/flowlog.ts'
import { ControlPlaneClient, type ControlPlaneError } from '../../src/deliver/control-plane-client.ts'
import { random } from '../../src/stdx/prng.ts'
import { missingForRadosgw } from '../support/radosgw.ts'
import { runCommand } from '../support/run-command.ts'
import { S3Delivery } from '../support/s3-delivery.ts'
import { GRANT, S3World, TECHNICAL_USER } from '../support/s3-world.ts'
import { seededFaults } from '../support/tcp-proxy.ts'

const missing = missingForRadosgw()
if (missing !== undefined) test('delivery to radosgw', { skip: missing }, () => {})
else testDelivery()

async function assertEachLineOnce(delivery: S3Delivery, bucket: string, hint = ''): Promise<void> {
  const stored = await delivery.stored(bucket)
  const lines = [...stored.values()].flat()
  assert.equal(new Set(lines).size, lines.length, `duplicates ${hint}`)
  assert.equal(lines.length, delivery.linesMade, hint)
  for (const [name, some] of stored) {
    const second = Number(/-(\d+)\.log\.gz$/.exec(name)?.[1])
    for (const line of some) {
      const startS = Number(line.split(' ')[1]) * 60
      assert.ok(second >= startS && second < startS + 60, `${name} holds ${line} ${hint}`)
    }
  }
}

function testDelivery(): void {
  let world: S3World
  before(async () => {
    world = await S3World.start()
  })
  after(async () => {
    await world?.[Symbol.asyncDispose]()
  })

  test('a flow log is refused for a bucket that is missing, foreign or not granted, each with its own words', async () => {
    await using delivery = await S3Delivery.start(world, { nics: 1 })
    using stranger = world.tenant(delivery.owner.contractNumber === 1 ? 2 : 1)
    const foreign = await stranger.createBucket()
    const closed = await delivery.tenant.createBucket([])
    const unseen = await delivery.tenant.createBucket(['READ_ACP'])
    const good = await delivery.tenant.createBucket()

    const answers = []
    for (const bucket of ['nobody-has-this', foreign, closed, unseen, good]) {
      answers.push(await delivery.createFlowLog(0, `${bucket}/web`))
    }

    assert.deepEqual(
      answers.map(({ status }) => status),
      [422, 422, 422, 422, 202],
    )
    assert.match(answers[0]!.message, /does not exist/)
    assert.match(answers[1]!.message, /does not belong to contract/)
    assert.match(answers[2]!.message, /may not write/)
    assert.match(answers[3]!.message, /may not write/)
  })

  test('a grant that is removed stops delivery, says so, and everything arrives once it is back', async () => {
    await using delivery = await S3Delivery.start(world, { nics: 2 })
    const bucket = await delivery.tenant.createBucket()
    const other = await delivery.tenant.createBucket()
    await delivery.createFlowLog(0, `${bucket}/web`)
    await delivery.createFlowLog(1, `${other}/db`)
    delivery.startAgent()
    await delivery.addWindow(1)
    await delivery.untilEmpty()

    await delivery.tenant.grant(bucket, [])
    await delivery.addWindow(2)
    await delivery.addWindow(3)
    await delivery.until(() => delivery.deliveries.filter((it) => it.bucket === other).length === 3)
    await delivery.until(() => delivery.deliverer.buckets()[0]?.state === 'refused')
    const [refused] = delivery.deliverer.buckets()
    await delivery.tenant.grant(bucket, GRANT)
    await delivery.untilEmpty()

    assert.match(refused?.lastError?.message ?? '', /AccessDenied|may not write/)
    assert.equal(refused?.pendingSegments, 2)
    assert.deepEqual(
      [...(await delivery.stored(bucket)).keys()],
      ['web-120.log.gz', 'web-180.log.gz', 'web-60.log.gz'],
    )
  })

  /** Faults that somebody must cure: the store's word for it, what makes it so, and what cures it. */
  const technicalUser = `--uid=${TECHNICAL_USER}`
  const quota = (bucket: string) => ['--quota-scope=bucket', `--bucket=${bucket}`]
  const key = () => [technicalUser, `--access-key=${world.technicalUser.accessKeyId}`]
  const faults = [
    {
      reason: 'AccessDenied', // The technical user is removed from the bucket: the service is disabled, as promised.
      cause: (delivery: S3Delivery, bucket: string) => delivery.tenant.grant(bucket, []),
      cure: (delivery: S3Delivery, bucket: string) => delivery.tenant.grant(bucket, GRANT),
    },
    {
      reason: 'QuotaExceeded',
      cause(_: S3Delivery, bucket: string) {
        world.ceph.admin('quota', 'set', '--max-objects=1', quota(bucket))
        world.ceph.admin('quota', 'enable', quota(bucket))
      },
      cure: (_: S3Delivery, bucket: string) => world.ceph.admin('quota', 'disable', quota(bucket)),
    },
    {
      reason: 'UserSuspended',
      cause: () => world.ceph.admin('user', 'suspend', technicalUser),
      cure: () => world.ceph.admin('user', 'enable', technicalUser),
    },
    {
      reason: 'InvalidAccessKeyId',
      cause: () => world.ceph.admin('key', 'rm', key()),
      cure() {
        world.ceph.admin('key', 'create', key(), `--secret-key=${world.technicalUser.secretAccessKey}`)
      },
    },
    {
      reason: 'RequestTimeTooSkewed',
      cause(delivery: S3Delivery) {
        delivery.skewMs = 3_600_000
      },
      cure(delivery: S3Delivery) {
        delivery.skewMs = 0
      },
    },
  ]
  for (const { reason, cause, cure } of faults) {
    test(`${reason}: known by its code, shown to the tenant, and what was spooled arrives after the cure`, async () => {
      await using delivery = await S3Delivery.start(world, { nics: 1 })
      const bucket = await delivery.tenant.createBucket()
      const { id } = await delivery.createFlowLog(0, `${bucket}/web`)
      delivery.startAgent()
      await delivery.addWindow(1)
      await delivery.untilEmpty()

      await cause(delivery, bucket)
      try {
        await delivery.addWindow(2)
        await delivery.addWindow(3)
        await delivery.until(() => delivery.deliverer.buckets()[0]?.state === 'refused')
        await delivery.report()
      } finally {
        await cure(delivery, bucket)
      }
      const env = { WEIR_SERVER: delivery.origin, WEIR_TOKEN: delivery.owner.token }
      const shown = await runCommand(flowlog, ['get', id], { env })
      await delivery.untilEmpty()
      await delivery.report()
      const after = await runCommand(flowlog, ['get', id], { env })

      assert.match(shown.stdout, /status +delivery fails\n/)
      assert.match(shown.stdout, /waiting +2 segments, .*oldest window 1970-01-01T00:02:00.000Z\n/)
      assert.match(shown.stdout, new RegExp(`error +.*${reason}`))
      assert.doesNotMatch(after.stdout, /error|delivery fails/)
      assert.match(after.stdout, /delivered +3 objects/)
      await assertEachLineOnce(delivery, bucket)
    })
  }

  test('a store without conditional writes is asked before each upload, so that nothing is overwritten there either', async () => {
    await using delivery = await S3Delivery.start(world, { nics: 1 })
    const bucket = await delivery.tenant.createBucket(['WRITE', 'READ', 'READ_ACP'])
    await delivery.createFlowLog(0, `${bucket}/web`)
    const taken = { Bucket: bucket, Key: 'web-60.log.gz', Body: gzipSync('not ours\n') }
    await delivery.tenant.client.send(new PutObjectCommand({ ...taken, ACL: 'public-read' }))
    await delivery.stopControlPlane()
    delivery.conditionalWrites = false
    await delivery.startControlPlane()
    delivery.startAgent()

    await delivery.addWindow(1)
    await delivery.untilEmpty()

    const stored = await delivery.stored(bucket)
    assert.deepEqual([...stored.keys()], ['web-60.log.gz', 'web-61.log.gz'])
    assert.deepEqual(stored.get('web-60.log.gz'), ['not ours'])
  })

  test('a host gets no upload for what it does not carry', async () => {
    await using delivery = await S3Delivery.start(world, { nics: 1 })
    const bucket = await delivery.tenant.createBucket()
    const { id } = await delivery.createFlowLog(0, `${bucket}/web`)
    const serverUrl = delivery.origin
    const stranger = new ControlPlaneClient({ serverUrl, agentToken: await delivery.enrol('host-2') })
    const host = new ControlPlaneClient({ serverUrl, agentToken: delivery.owner.agentToken })
    const request = { windowStartS: 60, size: 3, sha256: '0'.repeat(64), records: 1 }

    const own = { ...request, segmentId: 'own', flowLogIds: [id] }
    const unknown = { ...request, segmentId: 'unknown', flowLogIds: [crypto.randomUUID()] }
    const granted = await host.requestUploads([own, unknown])
    const stolen = await stranger.requestUploads([{ ...own, segmentId: 'stolen' }])
    const told = await stranger.acknowledge(['own']) // Another host's segment is none of its own.
    for (const client of [stranger, host]) client.stop()

    const seen = (it: object) => ('objectName' in it ? it.objectName : (it as ControlPlaneError).status)
    assert.deepEqual(
      [granted, stolen, told].map((answers) => answers.map(seen)),
      [['web-60.log.gz', 403], [403], [404]],
    )
  })

  test('a technical user that is shut out is told from a bucket that refuses it, when a flow log is made', async () => {
    await using delivery = await S3Delivery.start(world, { nics: 1 })
    const bucket = await delivery.tenant.createBucket()

    world.ceph.admin('user', 'suspend', `--uid=${TECHNICAL_USER}`)
    const answer = await delivery.createFlowLog(0, `${bucket}/web`).finally(() => {
      world.ceph.admin('user', 'enable', `--uid=${TECHNICAL_USER}`)
    })

    assert.equal(answer.status, 422)
    assert.match(answer.message, /does not let the technical user in \(UserSuspended\)/)
  })

  test('a bucket that is deleted and made again gets what was spooled meanwhile', async () => {
    await using delivery = await S3Delivery.start(world, { nics: 1 })
    const bucket = await delivery.tenant.createBucket()
    await delivery.createFlowLog(0, `${bucket}/web`)
    await delivery.tenant.client.send(new DeleteBucketCommand({ Bucket: bucket }))
    delivery.startAgent()
    await delivery.addWindow(1)
    await delivery.until(() => delivery.deliverer.buckets()[0]?.state === 'refused')
    const message = delivery.deliverer.buckets()[0]?.lastError?.message ?? ''

    await delivery.tenant.client.send(new CreateBucketCommand({ Bucket: bucket }))
    await delivery.tenant.grant(bucket, GRANT)
    await delivery.untilEmpty()

    assert.match(message, /NoSuchBucket|does not exist/)
    await assertEachLineOnce(delivery, bucket)
  })

  test('a store, a control plane and an agent that die and come back in any order lose and double nothing', async () => {
    await using delivery = await S3Delivery.start(world, { nics: 3 })
    const bucket = await delivery.tenant.createBucket()
    for (let i = 0; i < 3; i++) await delivery.createFlowLog(i, `${bucket}/nic${i}`)
    delivery.startAgent()
    await delivery.addWindow(1)

    await world.ceph.killGateway()
    await delivery.addWindow(2)
    await world.ceph.startGateway()
    await delivery.addWindow(3)
    await delivery.stopControlPlane()
    await delivery.addWindow(4)
    await delivery.stopAgent()
    delivery.startAgent()
    await delivery.addWindow(5)
    await delivery.startControlPlane()
    await delivery.untilEmpty()

    await assertEachLineOnce(delivery, bucket)
  })

  const schedules = Number(process.env['WEIR_FAULT_SCHEDULES'] ?? 20)
  test(`${schedules} seeded schedules of faults against the real control plane and radosgw`, async () => {
    const prepared = await S3Delivery.prepare(world, { nics: 3 })
    using _directory = { [Symbol.dispose]: () => fs.rmSync(prepared.directory, { recursive: true }) }
    const width = 10 // They wait more than they work.
    for (let first = 1; first <= schedules; first += width) {
      const seeds = Array.from({ length: Math.min(width, schedules - first + 1) }, (_, i) => first + i)
      await using group = new AsyncDisposableStack()
      const started = await Promise.allSettled(seeds.map(() => S3Delivery.startCopy(world, prepared)))
      for (const it of started) if (it.status === 'fulfilled') group.use(it.value)
      const deliveries = started.map((it) => {
        if (it.status === 'rejected') throw it.reason
        return it.value
      })
      const ready = await Promise.all(
        deliveries.map(async (delivery, i) => {
          return { seed: seeds[i]!, delivery, bucket: await withFlowLogs(delivery) }
        }),
      )
      await Promise.all([
        ...ready.map(({ seed, delivery }) => disturbed(delivery, seed)),
        killGatewayOnce(world, first),
      ])
      for (const { seed, delivery, bucket } of ready) {
        await assertEachLineOnce(delivery, bucket, `seed ${seed}`)
      }
    }
  })
}

async function withFlowLogs(delivery: S3Delivery): Promise<string> {
  const bucket = await delivery.tenant.createBucket()
  const prefixes = ['web', 'web', 'db'] // Two flow logs in one object.
  for (const [i, prefix] of prefixes.entries()) await delivery.createFlowLog(i, `${bucket}/${prefix}`)
  return bucket
}

/** Three windows while requests break and the parts stop and start, as the seed says; returns when all is delivered. */
async function disturbed(delivery: S3Delivery, seed: number): Promise<void> {
  const next = random(seed)
  const agent = { idleMsMax: 300, slowMs: 100, requestTimeoutMs: 400 }
  delivery.startAgent(agent)
  delivery.storeProxy.faults = seededFaults(next, { faultsMax: 6, percent: 25 })
  delivery.controlProxy.faults = seededFaults(next, { faultsMax: 6, percent: 25 })
  for (let i = 1; i <= 3; i++) {
    await delivery.addWindow(i, { linesEach: 1 + (next() % 3), segmentSizeMax: 200 })
    const event = next() % 6
    if (event === 0) {
      await delivery.stopAgent()
      delivery.startAgent(agent)
    } else if (event === 1) {
      await delivery.stopControlPlane()
      await delivery.startControlPlane()
    }
  }
  await delivery.untilEmpty().catch((error: unknown) => assert.fail(`seed ${seed}: ${error}`))
}

/** All of a group have the same store, so it dies for all of them: at a moment that the seed says. */
async function killGatewayOnce(world: S3World, seed: number): Promise<void> {
  await pause(random(seed)() % 1_000)
  await world.ceph.killGateway()
  await world.ceph.startGateway()
}
