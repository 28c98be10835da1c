import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { issueAgentToken, revokeAgent } from '../../src/store/agents.ts'
import { statusOf, TestAgent } from './support/agent.ts'
import { type ControlPlane, FLOW_LOG, startControlPlane } from './support/control-plane.ts'

// Flow logs whose interface is bound to no host, and agents that say that they have it.

const CONTENT = gzipSync('2 12345678 …\n')

/** A flow log of a NIC that is bound to no host. */
async function offeredFlowLog(weir: ControlPlane): Promise<string> {
  const nics = weir.nicPath.slice(0, weir.nicPath.lastIndexOf('/'))
  const nic = { properties: { lan: 1 }, entities: { flowlogs: { items: [FLOW_LOG] } } }
  const made = await weir.post(nics, nic)
  const { body } = await weir.get(`${nics}/${made.body.id}/flowlogs`)
  return body.items[0].id
}

async function agentOf(weir: ControlPlane, host: string): Promise<TestAgent> {
  const token = await weir.store.change((change) => issueAgentToken(change, { host, purpose: 'test' }))
  return new TestAgent({ origin: weir.origin, token })
}

const attached = (flowLogId: string) => [{ flowLogId, state: 'attached' as const, device: 'tap0' }]
const waiting = (flowLogId: string) => [{ flowLogId, state: 'waiting' as const }]

async function mayDeliver(agent: TestAgent, flowLogId: string): Promise<boolean> {
  const segmentId = crypto.randomUUID()
  const asked = { segmentId, flowLogIds: [flowLogId], windowStartS: 1_700_000_000, content: CONTENT }
  const [answer] = await agent.ask(asked)
  assert.ok([0, 403].includes(statusOf(answer)), JSON.stringify(answer))
  return statusOf(answer) === 0
}

async function pointsOf(weir: ControlPlane, flowLogId: string): Promise<Record<string, string>> {
  const { points } = (await weir.get(`/weir/v1/flowlogs/${flowLogId}`)).body.delivery
  return Object.fromEntries(points.map((it: { host: string; state: string }) => [it.host, it.state]))
}

async function contested(weir: ControlPlane): Promise<string | undefined> {
  return /^weir_flow_logs_contested (\d+)$/m.exec(await metricsOf(weir))?.[1]
}

async function metricsOf(weir: ControlPlane): Promise<string> {
  const headers = { authorization: `Bearer ${weir.owner.token}` }
  return (await fetch(`${weir.origin}/metrics`, { headers })).text()
}

/** Newest first: host and status. */
async function claimsOf(weir: ControlPlane, flowLogId: string): Promise<[string, number][]> {
  const { items } = (await weir.get('/weir/v1/audit')).body
  return items
    .filter((it: { method: string; path: string }) => it.method === 'CLAIM' && it.path.endsWith(flowLogId))
    .map((it: { address: string; status: number }) => [it.address, it.status])
}

test('the first host that says it has an interface gets its flow log; a second one is seen, and delivers nothing', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 0 })
  const id = await offeredFlowLog(weir)
  await using first = await agentOf(weir, 'host-a')
  await using second = await agentOf(weir, 'host-b')

  await first.report(attached(id))
  await second.report(attached(id))

  assert.deepEqual([await mayDeliver(first, id), await mayDeliver(second, id)], [true, false])
  assert.deepEqual(await pointsOf(weir, id), { 'host-a': 'attached', 'host-b': 'failed' })
  const { delivery } = (await weir.get(`/weir/v1/flowlogs/${id}`)).body
  assert.equal(delivery.status, 'capturing')
  assert.equal(await contested(weir), '1')
  assert.deepEqual(await claimsOf(weir, id), [
    ['host-b', 409],
    ['host-a', 200],
  ])
})

test('a flow log goes over when its holder lets go, and the former holder still delivers what it has', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 0 })
  const id = await offeredFlowLog(weir)
  await using from = await agentOf(weir, 'host-a')
  await using to = await agentOf(weir, 'host-b')
  await from.report(attached(id))
  await to.report(attached(id)) // A guest that moves is on both hosts for a moment.

  const during = await mayDeliver(to, id)
  await from.report(waiting(id))
  const after = await mayDeliver(to, id)

  assert.deepEqual([during, after, await mayDeliver(from, id)], [false, true, true])
  assert.deepEqual(await pointsOf(weir, id), { 'host-a': 'waiting', 'host-b': 'attached' })
  assert.equal(await contested(weir), '0')
  assert.deepEqual(await claimsOf(weir, id), [
    ['host-b', 200],
    ['host-b', 409],
    ['host-a', 200],
  ])
})

test('what a silent or expelled host holds another one may have', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 0 })
  const [lost, expelled] = [await offeredFlowLog(weir), await offeredFlowLog(weir)]
  await using silent = await agentOf(weir, 'host-a')
  await using banned = await agentOf(weir, 'host-b')
  await using heir = await agentOf(weir, 'host-c')
  await silent.report(attached(lost))
  await banned.report(attached(expelled))
  await heir.report([...attached(lost), ...attached(expelled)])
  const before = [await mayDeliver(heir, lost), await mayDeliver(heir, expelled)]

  await weir.store.change(async (change) => {
    await revokeAgent(change, 'host-b')
    const longAgo = { last_seen_at: change.nowMs - 61_000 }
    await change.tx.updateTable('agents').set(longAgo).where('host', '=', 'host-a').execute()
  })

  assert.deepEqual(before, [false, false])
  assert.deepEqual([await mayDeliver(heir, lost), await mayDeliver(heir, expelled)], [true, true])
})

test('two machines with the token of one host are told from one that starts again', async () => {
  await using weir = await startControlPlane()
  await using agent = await agentOf(weir, 'host-a')
  const twins: unknown[] = []
  for (const startedAt of ['01', '02', '01', '02']) {
    agent.startedAt = `2026-01-${startedAt}T00:00:00.000Z`
    await agent.report([])
    const { agents } = (await weir.get('/weir/v1/status')).body
    twins.push(agents.find((it: { host: string }) => it.host === 'host-a').twin)
  }

  assert.deepEqual(twins, [false, false, true, true])
  assert.match(await metricsOf(weir), /^weir_agent_twin\{host="host-a"\} 1$/m)
})

test('a host that is merely offered a flow log, or whose interface waits, delivers nothing for it', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 0 })
  const id = await offeredFlowLog(weir)
  await using agent = await agentOf(weir, 'host-a')
  await agent.poll(0)

  const offered = await mayDeliver(agent, id)
  await agent.report(waiting(id))

  assert.deepEqual([offered, await mayDeliver(agent, id)], [false, false])
})

test('where bindings are required, no agent hears of what is bound to no host, and none gets it', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 0, requireBindings: true })
  const id = await offeredFlowLog(weir)
  const bound = (await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)).body.id
  await using agent = new TestAgent({ origin: weir.origin, token: weir.owner.agentToken })

  await agent.poll(0)
  await agent.report([...attached(id), ...attached(bound)])

  assert.deepEqual(
    agent.assignments.map((it) => it.flowLogId),
    [bound],
  )
  assert.match(agent.version!, /-bound$/) // Whoever knows a version from before is told everything.
  assert.deepEqual([await mayDeliver(agent, id), await mayDeliver(agent, bound)], [false, true])
  assert.deepEqual(await pointsOf(weir, id), {})
})
