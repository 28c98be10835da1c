import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { sql } from 'kysely'
import { type AppOptions, createApp } from '../../src/api/app.ts'
import { random } from '../../src/stdx/prng.ts'
import { renewAgentToken } from '../../src/store/agents.ts'
import { lockDatacenters } from '../../src/store/resources.ts'
import { hashToken } from '../../src/store/secrets.ts'
import { settleRequests } from '../../src/store/settle.ts'
import { type Change, openStore, type Store } from '../../src/store/store.ts'
import { eventually } from '../support/eventually.ts'
import { TestAgent } from './support/agent.ts'
import { type Answer, type ControlPlane, FLOW_LOG, startControlPlane } from './support/control-plane.ts'
import { createDatabase, postgresPrograms, startPostgres } from './support/postgres.ts'

const programs = postgresPrograms()
const skip = programs === undefined ? 'PostgreSQL is not installed' : false

// What says everything about a control plane over SQLite says it about one over PostgreSQL too.
const SUITES = [
  'agent-changes',
  'claims',
  'flow-logs',
  'life-cycle',
  'uploads',
  'inventory',
  'authorisation',
  'fuzz',
  'tree',
  'live',
  'upgrade',
]

test('the same suites pass over PostgreSQL', { skip }, async () => {
  await using server = await startPostgres(programs!)
  const files = SUITES.map((it) => path.join(import.meta.dirname, `${it}.test.ts`))
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const child = spawn(process.execPath, ['--test', ...files], {
    env: { FUZZ_ROUNDS: '2', ...env, WEIR_TEST_POSTGRES: server.url },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const output = child.stdout.toArray()
  const [code] = await once(child, 'exit')

  assert.equal(code, 0, Buffer.concat(await output).toString())
})

/** A control plane over PostgreSQL, and another replica of it. */
async function startReplicas(options: Partial<AppOptions> = {}) {
  await using started = new AsyncDisposableStack()
  const server = started.use(await startPostgres(programs!))
  const databaseUrl = await createDatabase(server.url)
  const weir = started.use(await startControlPlane(options, { databaseUrl }))
  const replica = started.use(await startReplica(databaseUrl, weir))
  return Object.assign(started.move(), { databaseUrl, weir, replica })
}

async function startReplica(url: string, weir: ControlPlane) {
  const store = await openStore({ postgresUrl: url })
  const app = await createApp({ windowSizeS: 10, attachGraceMs: 300 }, { store, buckets: weir.buckets })
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  let open = true
  const stop = async () => {
    if (!open) return
    open = false
    await app.close()
    await store.close()
  }
  return { origin, stop, [Symbol.asyncDispose]: stop }
}

test('a change made at one replica reaches an agent that waits at another', { skip }, async () => {
  await using replicas = await startReplicas({ attachGraceMs: 60_000 })
  const { weir, replica } = replicas
  await using agent = new TestAgent({ origin: replica.origin, token: weir.owner.agentToken })
  await agent.poll(0)

  const waiting = agent.poll(30)
  const created = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  const beginMs = performance.now()
  await waiting
  const tookMs = performance.now() - beginMs
  await agent.report()
  const finished = await weir.finished(created)

  assert.ok(tookMs < 15_000, `took ${tookMs} ms`) // Unheard of, it would be the 30 s of its waiting.
  assert.equal(finished.metadata.status, 'DONE')
})

test('replicas that answer in turn tell an agent the same changes', { skip }, async () => {
  await using replicas = await startReplicas({ attachGraceMs: 1 })
  const { weir, replica } = replicas
  await using first = new TestAgent({ origin: weir.origin, token: weir.owner.agentToken })
  await using second = new TestAgent({ origin: replica.origin, token: weir.owner.agentToken })
  await first.poll(0)

  const created = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  const here = await first.changesSince(first.version)
  const there = await second.changesSince(first.version)
  await weir.call('DELETE', `${weir.nicPath}/flowlogs/${created.body.id}`)
  const after = await second.changesSince(here.version)

  assert.deepEqual([here.since, here.assignments.length], [first.version, 1])
  assert.deepEqual(there, here)
  assert.deepEqual([after.since, after.withdrawn], [here.version, [created.body.id]])
})

test('flows are seen live at one replica while their agent talks to another', { skip }, async () => {
  await using replicas = await startReplicas()
  const { weir, replica } = replicas
  const created = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  await using agent = new TestAgent({ origin: replica.origin, token: weir.owner.agentToken })
  await agent.poll(0)
  await agent.report()
  await weir.finished(created)

  const waiting = agent.waitForLive({ waitS: 30 })
  const ask = () => weir.post('/weir/v1/explore', { kind: 'summary', since: '1h', live: true })
  const asking = ask()
  const wanted = await waiting
  const tell = () => agent.tellLive([{ flowLogId: created.body.id, rows: 3 }])
  await tell()
  let answer = await asking
  while (answer.body.live?.answering === 0) {
    await tell() // A busy machine answered before it was told: asked and told again, as pages and agents do.
    answer = await ask()
  }
  const { status, body } = answer

  assert.deepEqual(wanted.flowLogIds, [created.body.id])
  assert.deepEqual([status, body.totals?.flows, body.live?.answering], [200, 3, 1])
})

test('changes of one data center that wait for each other keep nobody from reading', { skip }, async () => {
  await using server = await startPostgres(programs!)
  const databaseUrl = await createDatabase(server.url)
  await using weir = await startControlPlane({ attachGraceMs: 1 }, { databaseUrl })
  const { store } = weir
  const waitingCount = async () =>
    (await sql`select 1 from pg_stat_activity where wait_event_type = 'Lock'`.execute(store.db)).rows.length

  const locked = Promise.withResolvers<void>()
  const released = Promise.withResolvers<void>()
  const slow = store.change(async (change) => {
    await lockDatacenters(change, [weir.nicPath])
    locked.resolve()
    await released.promise
  })
  await locked.promise
  const changes = Array.from({ length: 9 }, (_, i) => weir.call('PATCH', weir.nicPath, { name: `x${i}` }))
  let read: Answer
  try {
    await eventually('all of them wait', async () => (await waitingCount()) >= 9)
    read = await weir.get('/contracts')
  } finally {
    released.resolve()
  }
  await slow

  assert.equal(read.status, 200)
  assert.deepEqual(new Set((await Promise.all(changes)).map((it) => it.status)), new Set([202]))
})

test('of two codes that are redeemed at the same moment one token is left', { skip }, async () => {
  await using server = await startPostgres(programs!)
  const store = await openStore({ postgresUrl: await createDatabase(server.url) })
  const renew = (change: Change) => renewAgentToken(change, { host: 'host-2', purpose: 'enrolled' })
  await store.change(renew)

  let second: Promise<string> | undefined
  await store.change(async (change) => {
    await renew(change)
    second ??= store.change(renew)
    await Promise.race([second, eventually('the second waits', () => isWaiting(store))])
  })
  const token = await second!
  const valid = await store.db
    .selectFrom('agent_tokens')
    .select('hash')
    .where('revoked_at', 'is', null)
    .execute()
  await store.close()

  assert.deepEqual(valid, [{ hash: hashToken(token) }])
})

async function isWaiting(store: Store): Promise<boolean> {
  return (await sql`select 1 from pg_locks where not granted`.execute(store.db)).rows.length > 0
}

test('who settles requests of several data centers and who changes these never wait for each other', {
  skip,
}, async () => {
  await using server = await startPostgres(programs!)
  const databaseUrl = await createDatabase(server.url)
  await using weir = await startControlPlane({ attachGraceMs: 60_000 }, { databaseUrl })
  const { store } = weir
  const withFlowLog = {
    properties: { cores: 1, ram: 256 },
    entities: {
      nics: { items: [{ properties: { lan: 1 }, entities: { flowlogs: { items: [FLOW_LOG] } } }] },
    },
  }
  const second = await weir.post('/datacenters', {
    properties: { location: 'x' },
    entities: { servers: { items: [withFlowLog] } },
  })
  const first = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG) // Of a data center that is older.
  const ids = [second, first].map((it) => /requests\/([^/]+)/.exec(it.headers.get('location')!)![1]!)
  const attempts = { settle: 0, change: 0 }

  let settled: Promise<void> | undefined
  await store.change(async (change) => {
    attempts.change++
    await lockDatacenters(change, [weir.nicPath])
    settled ??= store.change((it) => {
      attempts.settle++
      return settleRequests(it, { ids })
    })
    await eventually('the settler waits', () => isWaiting(store))
    await lockDatacenters(change, [`/datacenters/${second.body.id}`])
  })
  await settled

  assert.deepEqual(attempts, { settle: 1, change: 1 })
})

test('three replicas share the work, and none is missed when it goes away', { skip }, async () => {
  await using replicas = await startReplicas({ attachGraceMs: 200 })
  const { databaseUrl, weir, replica: second } = replicas
  await using third = await startReplica(databaseUrl, weir)
  const origins = [weir.origin, second.origin, third.origin]
  const next = random(7)
  const anyOrigin = () => origins[next() % origins.length]!
  const servers = weir.nicPath.split('/').slice(0, 5).join('/')
  const nicAndFlowLog = { properties: { lan: 1 }, entities: { flowlogs: { items: [FLOW_LOG] } } }

  const create = () => weir.post(`${anyOrigin()}/cloudapi/v6${servers}/nics`, nicAndFlowLog)
  const before = await Promise.all(Array.from({ length: 12 }, create))
  origins.splice(1, 1)
  await second.stop()
  const after = await Promise.all(Array.from({ length: 6 }, create))
  const statuses = []
  for (const answer of [...before, ...after]) {
    const location = answer.headers.get('location')!.replace(/^http:\/\/[^/]+/, weir.origin)
    const { metadata } = await weir.finished({ ...answer, headers: new Headers({ location }) })
    statuses.push(metadata.status)
  }

  assert.ok([...before, ...after].every((it) => it.status === 202))
  assert.deepEqual(statuses, Array(18).fill('DONE'))
  const { body } = await weir.get(`${servers}/nics?depth=1`)
  const numbers = body.items.map((it: { properties: { deviceNumber: number } }) => it.properties.deviceNumber)
  assert.deepEqual(
    numbers.toSorted((a: number, b: number) => a - b),
    Array.from({ length: 20 }, (_, i) => i + 1),
  )
  assert.ok(body.items.every((it: { metadata: { state: string } }) => it.metadata.state === 'AVAILABLE'))
})

test('names that several replicas reserve at once are all different', { skip }, async () => {
  await using replicas = await startReplicas({ attachGraceMs: 0 })
  const { weir, replica } = replicas
  const { body } = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  const agents = [weir.origin, replica.origin].map(
    (origin) => new TestAgent({ origin, token: weir.owner.agentToken }),
  )
  const segment = (i: number) => ({
    segmentId: `s${i}`,
    flowLogIds: [body.id],
    windowStartS: 1_700_000_000,
    content: gzipSync(`${i}`),
  })

  const grants = await Promise.all(Array.from({ length: 20 }, (_, i) => agents[i % 2]!.grant(segment(i))))

  assert.equal(new Set(grants.map((it) => it.objectName)).size, 20)
})
