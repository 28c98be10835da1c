import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TestAgent } from './support/agent.ts'
import { type ControlPlane, FLOW_LOG, startControlPlane } from './support/control-plane.ts'

function agentOf(weir: ControlPlane): TestAgent {
  return new TestAgent({ origin: weir.origin, token: weir.owner.agentToken })
}

const LONG_MS = 60_000

test('a flow log and its parents are BUSY until the agent has attached it', async () => {
  await using weir = await startControlPlane({ attachGraceMs: LONG_MS })
  await using agent = agentOf(weir)
  await agent.poll(0)
  const states = async () => {
    const parts = weir.nicPath.split('/')
    const paths = [weir.nicPath, parts.slice(0, 5).join('/'), parts.slice(0, 3).join('/')]
    return Promise.all(paths.map(async (it) => (await weir.get(it)).body.metadata.state))
  }

  const created = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  const before = await states()
  const status = await weir.get(created.headers.get('location')!)
  await agent.poll(0)
  await agent.report()
  const finished = await weir.get(created.headers.get('location')!)

  assert.deepEqual(before, ['BUSY', 'BUSY', 'BUSY'])
  assert.equal(status.body.metadata.status, 'RUNNING')
  assert.equal(agent.assignments[0]?.flowLogId, created.body.id)
  assert.deepEqual(agent.assignments[0]?.binding, { device: 'eth0', side: 'own' })
  assert.equal(finished.body.metadata.status, 'DONE')
  assert.deepEqual(await states(), ['AVAILABLE', 'AVAILABLE', 'AVAILABLE'])
  const { body } = await weir.get(`/weir/v1/flowlogs/${created.body.id}`)
  assert.equal(body.delivery.status, 'capturing')
})

test('a device that is not there makes the flow log AVAILABLE at once, waiting for an interface', async () => {
  await using weir = await startControlPlane({ attachGraceMs: LONG_MS })
  await using agent = agentOf(weir)
  agent.stateOf = () => 'waiting'

  const created = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  await agent.poll(0)
  await agent.report()
  const { body } = await weir.get(`${weir.nicPath}/flowlogs/${created.body.id}`)
  const status = await weir.get(`/weir/v1/flowlogs/${created.body.id}`)

  assert.equal(body.metadata.state, 'AVAILABLE')
  assert.equal(status.body.delivery.status, 'waiting for an interface')
})

test('without a word from an agent the waiting ends by itself', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 50 })

  const created = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  const finished = await weir.finished(created)

  assert.equal(created.body.metadata.state, 'BUSY')
  assert.equal(finished.metadata.status, 'DONE')
})

test('a flow log that cannot be attached fails its request and says why', async () => {
  await using weir = await startControlPlane({ attachGraceMs: LONG_MS })
  await using agent = agentOf(weir)

  const created = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  await agent.report([{ flowLogId: created.body.id, state: 'failed', message: 'no BPF here' }])
  const finished = await weir.finished(created)

  assert.equal(finished.metadata.status, 'FAILED')
  assert.match(finished.metadata.message, /^\[VDC-5-1810\] .*no BPF here/)
  const state = async () =>
    (await weir.get(`${weir.nicPath}/flowlogs/${created.body.id}`)).body.metadata.state
  assert.equal(await state(), 'INACTIVE')
  await agent.report([{ flowLogId: created.body.id, state: 'attached' }])
  assert.equal(await state(), 'AVAILABLE')
})

test('mutations during BUSY are taken, and end in the order in which they came', async () => {
  await using weir = await startControlPlane({ attachGraceMs: LONG_MS })
  await using agent = agentOf(weir)

  const created = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  const renamed = await weir.call('PATCH', weir.nicPath, { name: 'renamed' })
  const sibling = await weir.call('PATCH', weir.owner.nics[1]!.path, { name: 'sibling' })
  const statusOf = async (it: typeof created) =>
    (await weir.get(it.headers.get('location')!)).body.metadata.status
  const before = [await statusOf(created), await statusOf(renamed), await statusOf(sibling)]
  await agent.poll(0)
  await agent.report()
  const after = [await statusOf(created), await statusOf(renamed)]

  assert.equal(renamed.status, 202)
  assert.deepEqual(before, ['RUNNING', 'QUEUED', 'DONE'])
  assert.deepEqual(after, ['DONE', 'DONE'])
})

test('a deleted flow log is gone when the agent says so, not before', async () => {
  await using weir = await startControlPlane({ attachGraceMs: LONG_MS })
  await using agent = agentOf(weir)
  const created = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  const path = `${weir.nicPath}/flowlogs/${created.body.id}`
  await agent.poll(0)
  await agent.report()

  const deleted = await weir.call('DELETE', path)
  await agent.report([]) // Sent before the agent has heard of it: says nothing.
  const early = await weir.get(path)
  await agent.poll(0)
  await agent.report()
  const late = await weir.get(path)

  assert.deepEqual([deleted.status, deleted.body], [202, undefined])
  assert.equal(early.body.metadata.state, 'BUSY')
  assert.deepEqual(agent.assignments, [])
  assert.equal(late.status, 404)
  assert.equal((await weir.get(deleted.headers.get('location')!)).body.metadata.status, 'DONE')
})

test('after a delete another flow log can be made at once', async () => {
  await using weir = await startControlPlane({ attachGraceMs: LONG_MS })
  await using agent = agentOf(weir)
  const first = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  await agent.poll(0)
  await agent.report()

  await weir.call('DELETE', `${weir.nicPath}/flowlogs/${first.body.id}`)
  const second = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  await agent.poll(0)
  await agent.report()
  const finished = await weir.finished(second)

  assert.equal(second.status, 202)
  assert.equal(finished.metadata.status, 'DONE')
  assert.deepEqual(
    agent.assignments.map((it) => it.flowLogId),
    [second.body.id],
  )
})

test('sequence 16: deleting a NIC deletes its flow log and withdraws the assignment', async () => {
  await using weir = await startControlPlane()
  await using agent = agentOf(weir)
  const created = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  await weir.finished(created)

  const deleted = await weir.call('DELETE', weir.nicPath)
  const finished = await weir.finished(deleted)
  await agent.poll(0)

  assert.equal(finished.metadata.status, 'DONE')
  assert.deepEqual(agent.assignments, [])
  assert.equal((await weir.get(weir.nicPath)).status, 404)
  assert.equal((await weir.get(`${weir.nicPath}/flowlogs/${created.body.id}`)).status, 404)
})

test('a waiting agent hears of a change at once, and of none after its waiting time', async () => {
  await using weir = await startControlPlane()
  await using agent = agentOf(weir)
  await agent.poll(0)
  const version = agent.version

  const waiting = agent.poll(30)
  await weir.longPolls(1)
  const beginMs = performance.now()
  await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  await waiting
  const tookMs = performance.now() - beginMs
  const heard = agent.version
  await agent.poll(1)

  assert.ok(tookMs < 15_000, `took ${tookMs} ms`) // Unheard of, it would be the 30 s of its waiting.
  assert.notEqual(heard, version)
  assert.equal(agent.version, heard)
  assert.equal(agent.assignments.length, 1)
})

test('a host that does not report, or is not let in any more, is not said to be capturing', async () => {
  await using weir = await startControlPlane({ attachGraceMs: LONG_MS })
  await using agent = agentOf(weir)
  const created = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  await agent.poll(0)
  await agent.report()
  const look = async () => (await weir.get(`/weir/v1/flowlogs/${created.body.id}`)).body.delivery
  const seenAt = Date.parse('2026-01-02T03:04:05Z')

  await weir.store.change(({ tx }) => tx.updateTable('agents').set({ last_seen_at: seenAt }).execute())
  const silent = await look()
  await agent.report()
  const back = await look()
  await weir.call('DELETE', '/weir/v1/agents/host-1')
  const expelled = await look()

  assert.equal(silent.status, 'host does not report')
  assert.deepEqual(silent.points, [
    {
      flowLogId: created.body.id,
      host: 'host-1',
      state: 'attached',
      device: 'eth0',
      message: 'the agent of host host-1 has not reported since 2026-01-02T03:04:05.000Z',
      live: false,
    },
  ])
  assert.equal(back.status, 'capturing')
  assert.deepEqual([back.points[0].message, back.points[0].live], [null, true])
  assert.equal(expelled.status, 'host does not report')
  assert.equal(expelled.points[0].message, 'host host-1 is no longer let in')
})
