import { type ChildProcess, fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { ListObjectsV2Command } from '@aws-sdk/client-s3'
import type { Bootstrapped } from '../src/api/bootstrap.ts'
import { widenThreadPool } from '../src/cli/agent-options.ts'
import { ControlPlaneClient } from '../src/deliver/control-plane-client.ts'
import { Deliverer } from '../src/deliver/deliverer.ts'
import { HttpExchange } from '../src/deliver/http-exchange.ts'
import { Spool } from '../src/spool/spool.ts'
import { WindowWriter } from '../src/spool/window-writer.ts'
import { systemClock } from '../src/stdx/clock.ts'
import { random } from '../src/stdx/prng.ts'
import { missingForRadosgw } from '../test/support/radosgw.ts'
import { S3World, type Tenant } from '../test/support/s3-world.ts'
import { silentLog } from '../test/support/spool-world.ts'
import { parameter, report } from './bench.ts'

// Question: how long from the end of a window to its last object in radosgw, against plain PUTs of the same bytes by a
// minimal client at the same concurrency? Everything runs on one machine, so the control plane, which has its own in
// life, and radosgw take their share of the same cores. The jitter of uploads is off. Budget: 0.8 of the plain PUTs.
const flowLogs = parameter('flowLogs', { smoke: 20, full: 2_000 })
const objects = parameter('objects', { smoke: 50, full: 5_000 })
const objectSize = parameter('objectSize', { smoke: 2_000, full: 6_000 })
const concurrency = parameter('concurrency', { smoke: 16, full: 16 })
const buckets = parameter('buckets', { smoke: 2, full: 1 }) // The flow logs and the plain PUTs are spread over them.
const rounds = parameter('rounds', { smoke: 1, full: 5 })

interface Target {
  flowLogId: string
  bucket: string
  prefix: string
}

widenThreadPool(process.env) // As the agent does.
const missing = missingForRadosgw()
if (missing !== undefined) report('delivery', { skipped: missing })
else await main()

async function main(): Promise<void> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weir-bench-'))
  await using world = await S3World.start()
  const controlPlane = await startControlPlane(world, directory)
  try {
    using tenant = world.tenant(controlPlane.owner.contractNumber)
    const names = await createBuckets(tenant)
    const begin = performance.now()
    const targets = await createFlowLogs(controlPlane, names)
    const createMs = Math.round((performance.now() - begin) / targets.length)
    const bodies = makeBodies()
    const plainNames = await createBuckets(tenant) // All buckets grow from round to round.
    for (let round = 1; round <= rounds; round++) {
      const plain = await plainPuts({ world, buckets: plainNames, bodies, round })
      const delivered = await deliver({ world, directory, controlPlane, targets, bodies, round })
      const stored = await countObjects(tenant, names)
      report('delivery', {
        round,
        ...delivered,
        ...plain,
        ofPlain: ratio(delivered.objectsPerS, plain.plainObjectsPerS),
        stored,
        createMs,
      })
    }
  } finally {
    controlPlane.child.disconnect()
    fs.rmSync(directory, { recursive: true, force: true })
  }
}

/** Incompressible, as gzip members are; all different. */
function makeBodies(): Buffer[] {
  const next = random(42)
  return Array.from({ length: objects }, () =>
    gzipSync(Buffer.from(Uint32Array.from({ length: objectSize / 4 }, next).buffer), { level: 1 }),
  )
}

async function plainPuts(it: {
  world: S3World
  buckets: readonly string[]
  bodies: readonly Buffer[]
  round: number
}) {
  const { world, bodies, round } = it
  const store = world.store()
  const http = new HttpExchange()
  const signed = await Promise.all(
    bodies.map((body, i) =>
      store.signUpload({
        bucket: it.buckets[i % it.buckets.length]!,
        objectName: `plain-${round}-${i}`,
        size: body.length,
        sha256: createHash('sha256').update(body).digest('hex'),
        expiresAtMs: Date.now() + 900_000,
      }),
    ),
  )
  const before = process.cpuUsage()
  const storeBeforeMs = world.ceph.cpuMs()
  const begin = performance.now()
  let at = 0
  const lane = async () => {
    while (at < bodies.length) {
      const i = at++
      const { url, headers } = signed[i]!
      const { status } = await http.exchange({
        method: 'PUT',
        url,
        headers,
        body: bodies[i]!,
        idleMsMax: 30_000,
        totalMsMax: 30_000,
      })
      if (status !== 200) throw new Error(`plain PUT answered ${status}`)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, lane))
  const ms = performance.now() - begin
  http.stop()
  store.stop()
  return {
    plainObjectsPerS: Math.round(bodies.length / (ms / 1000)),
    plainCpuMs: cpuMs(process.cpuUsage(before)),
    plainStoreCpuMs: world.ceph.cpuMs() - storeBeforeMs,
  }
}

interface RunningControlPlane {
  child: ChildProcess
  origin: string
  owner: Bootstrapped
}

async function deliver(it: {
  world: S3World
  directory: string
  controlPlane: RunningControlPlane
  targets: readonly Target[]
  bodies: readonly Buffer[]
  round: number
}) {
  const spool = new Spool(
    { directory: path.join(it.directory, 'spool'), bytesMax: 1e12, ageMsMax: 1e15 },
    { clock: systemClock, log: silentLog },
  )
  spool.start()
  const { origin, owner, child } = it.controlPlane
  const client = new ControlPlaneClient({ serverUrl: origin, agentToken: owner.agentToken })
  const { promise, resolve } = Promise.withResolvers<void>()
  let left = it.bodies.length
  const onDelivered = () => {
    if (--left === 0) resolve()
  }
  const options = { concurrency, spreadMs: 0 }
  const deliverer = new Deliverer(options, {
    spool,
    api: client,
    clock: systemClock,
    log: silentLog,
    onDelivered,
  })
  deliverer.start()
  const serverBefore = await usageOf(child)
  const before = process.cpuUsage()
  const begin = performance.now()

  const windowKey = `boot-${it.round}`
  const writer = new WindowWriter({ directory: spool.directory, segmentSizeMax: 1 }) // Each body is a part of its own.
  writer.begin({ windowKey, windowStartS: it.round * 600, windowSizeS: 600 })
  for (const [i, body] of it.bodies.entries()) {
    const { flowLogId, bucket, prefix } = it.targets[i % it.targets.length]!
    writer.append({ contractNumber: 1, bucket, stem: prefix }, body, {
      flowLogId,
      records: 50,
      packets: 500,
      octets: 50_000,
    })
  }
  await writer.commit()
  spool.addWindow(windowKey)
  const committedMs = performance.now() - begin
  const commitCpu = process.cpuUsage(before)
  const storeBeforeMs = it.world.ceph.cpuMs()
  deliverer.wake()
  await promise

  const ms = performance.now() - begin
  const cpu = process.cpuUsage(before)
  const serverAfter = await usageOf(child)
  await deliverer.stop()
  client.stop()
  spool.stop()
  return {
    objects: it.bodies.length,
    commitMs: Math.round(committedMs),
    lastObjectMs: Math.round(ms),
    objectsPerS: Math.round(it.bodies.length / ((ms - committedMs) / 1000)),
    commitCpuMs: cpuMs(commitCpu),
    agentCpuMs: cpuMs(cpu) - cpuMs(commitCpu),
    agentRssMb: Math.round(process.memoryUsage.rss() / 2 ** 20),
    storeCpuMs: it.world.ceph.cpuMs() - storeBeforeMs,
    serverCpuMs: serverAfter.cpuMs - serverBefore.cpuMs,
    serverRssMb: serverAfter.rssMb,
  }
}

function cpuMs({ user, system }: NodeJS.CpuUsage): number {
  return Math.round((user + system) / 1000)
}

function ratio(a: number, b: number): number {
  return Math.round((a / b) * 100) / 100
}

async function startControlPlane(world: S3World, directory: string): Promise<RunningControlPlane> {
  const s3 = {
    endpoint: world.ceph.endpoint,
    region: 'us-east-1',
    addressing: 'path',
    credentials: world.technicalUser,
  }
  const options = { sqlitePath: path.join(directory, 'weir.db'), nics: flowLogs, s3 }
  const child = fork(path.join(import.meta.dirname, 'control-plane-process.ts'), [JSON.stringify(options)])
  const { promise, resolve, reject } = Promise.withResolvers<{ origin: string; owner: Bootstrapped }>()
  child.once('message', (message) => resolve(message as { origin: string; owner: Bootstrapped }))
  child.once('exit', (code) => reject(new Error(`the control plane ended with ${code}`)))
  return { child, ...(await promise) }
}

function usageOf(child: ChildProcess): Promise<{ cpuMs: number; rssMb: number }> {
  const { promise, resolve } = Promise.withResolvers<{ cpuMs: number; rssMb: number }>()
  child.once('message', (message) => resolve(message as { cpuMs: number; rssMb: number }))
  child.send('usage')
  return promise
}

async function createBuckets(tenant: Tenant): Promise<string[]> {
  const names: string[] = []
  while (names.length < buckets) names.push(await tenant.createBucket())
  return names
}

async function createFlowLogs(
  controlPlane: RunningControlPlane,
  buckets: readonly string[],
): Promise<Target[]> {
  const { nics } = controlPlane.owner
  const targets: Target[] = []
  const width = 10 // As the usual tools do.
  for (let at = 0; at < nics.length; at += width) {
    const some = nics.slice(at, at + width)
    targets.push(
      ...(await Promise.all(
        some.map(({ path }, i) =>
          createFlowLog(controlPlane, path, buckets[(at + i) % buckets.length]!, at + i),
        ),
      )),
    )
  }
  return targets
}

async function createFlowLog(
  { origin, owner }: RunningControlPlane,
  nic: string,
  bucket: string,
  index: number,
): Promise<Target> {
  const prefix = `nic${index}`
  const properties = {
    name: prefix,
    action: 'ALL',
    direction: 'BIDIRECTIONAL',
    bucket: `${bucket}/${prefix}`,
  }
  const response = await fetch(`${origin}/cloudapi/v6${nic}/flowlogs`, {
    method: 'POST',
    headers: { authorization: `Bearer ${owner.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ properties }),
  })
  const { id } = (await response.json()) as { id: string }
  return { flowLogId: id, bucket, prefix }
}

/** What is really there: the guard against a run that skipped the work. */
async function countObjects(tenant: Tenant, buckets: readonly string[]): Promise<number> {
  let count = 0
  for (const bucket of buckets) count += await countIn(tenant, bucket)
  return count
}

async function countIn(tenant: Tenant, bucket: string): Promise<number> {
  let count = 0
  for (let after: string | undefined; ; ) {
    const listing = { Bucket: bucket, ...(after === undefined ? {} : { StartAfter: after }) }
    const { Contents = [] } = await tenant.client.send(new ListObjectsV2Command(listing))
    count += Contents.length
    if (Contents.length === 0) return count
    after = Contents.at(-1)?.Key
  }
}
