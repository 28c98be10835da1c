import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TestAgent } from './support/agent.ts'
import { type ControlPlane, FLOW_LOG, HOST, startControlPlane } from './support/control-plane.ts'

function agentOf(weir: ControlPlane): TestAgent {
  return new TestAgent({ origin: weir.origin, token: weir.owner.agentToken })
}

/** With the first NIC's flow log assigned and attached. */
async function withOne(): Promise<{ weir: ControlPlane; agent: TestAgent; id: string; path: string }> {
  const weir = await startControlPlane({ attachGraceMs: 60_000 })
  const agent = agentOf(weir)
  const { id } = (await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)).body
  await agent.poll(0)
  await agent.report()
  return { weir, agent, id, path: `${weir.nicPath}/flowlogs/${id}` }
}

const idsOf = (it: { assignments: { flowLogId: string }[] }) =>
  it.assignments.map(({ flowLogId }) => flowLogId)

test('an agent that knows a version is told what has changed since, as often as it asks', async () => {
  const { weir, agent, id, path } = await withOne()
  await using _ = weir
  const known = agent.version

  const { body: other } = await weir.post(`${weir.owner.nics[1]!.path}/flowlogs`, FLOW_LOG)
  const added = await agent.changesSince(known)
  await weir.call('DELETE', path)
  const first = await agent.changesSince(known) // The answer is lost.
  const second = await agent.changesSince(known)
  const since = await agent.changesSince(added.version)
  const nothing = await agent.changesSince(second.version)

  assert.deepEqual([added.since, idsOf(added), added.withdrawn], [known, [other.id], []])
  assert.deepEqual([first.since, idsOf(first), first.withdrawn], [known, [other.id], [id]])
  assert.deepEqual(second, first)
  assert.deepEqual([idsOf(since), since.withdrawn], [[], [id]])
  assert.deepEqual([nothing.since, idsOf(nothing), nothing.withdrawn], [second.version, [], []])
})

test('a flow log that leaves the host is withdrawn, and one that has come back is not', async () => {
  const { weir, agent, id } = await withOne()
  await using _ = weir
  const known = agent.version
  const bind = (host: string) =>
    weir.call('PATCH', weir.nicPath, { binding: { host, device: 'tap0', side: 'guest' } })

  await bind('host-9')
  const gone = await agent.changesSince(known)
  await bind(HOST)
  const back = await agent.changesSince(known)
  const sinceGone = await agent.changesSince(gone.version)

  assert.deepEqual([idsOf(gone), gone.withdrawn], [[], [id]])
  assert.deepEqual([idsOf(back), back.withdrawn], [[id], []])
  assert.deepEqual([idsOf(sinceGone), sinceGone.withdrawn], [[id], []])
  assert.equal(sinceGone.assignments[0]?.binding.device, 'tap0')
})

test('what one request does to many flow logs of a host is one version, and is told whole', async () => {
  const { weir, agent } = await withOne()
  await using _ = weir
  const numberOf = (version: string) => Number(version.split('-', 1)[0])
  const known = agent.version!
  const nics = [
    { host: HOST, device: 'tap0', side: 'guest' },
    { host: HOST, device: 'tap1', side: 'guest' },
    null,
  ]
  const items = nics.map((binding) => ({
    properties: { lan: 1, binding },
    entities: { flowlogs: { items: [FLOW_LOG] } },
  }))
  const servers = `/datacenters/${weir.owner.datacenterId}/servers`

  const server = { properties: { cores: 1, ram: 256 }, entities: { nics: { items: items.slice(0, 2) } } }
  const { body } = await weir.post(servers, server)
  const made = await agent.changesSince(known)
  await weir.call('DELETE', `${servers}/${body.id}`)
  const deleted = await agent.changesSince(made.version)
  const mixed = await weir.post(servers, { ...server, entities: { nics: { items } } })
  const offered = await agent.changesSince(deleted.version)
  await weir.call('DELETE', `${servers}/${mixed.body.id}`)
  const withdrawn = await agent.changesSince(offered.version)

  const versions = [known, made.version, deleted.version].map(numberOf)
  assert.deepEqual(versions, [versions[0], versions[0]! + 1, versions[0]! + 2])
  assert.deepEqual([idsOf(made).length, made.withdrawn], [2, []])
  assert.deepEqual([idsOf(deleted), deleted.withdrawn?.toSorted()], [[], idsOf(made).toSorted()])
  assert.deepEqual([idsOf(offered).length, idsOf(withdrawn).length], [4, 1]) // With what is offered, all is told.
})

test('an agent whose version says nothing here is told everything', async () => {
  const { weir, agent, id } = await withOne()
  await using _ = weir
  const [number, database] = agent.version!.split('-')

  const answers = await Promise.all(
    [undefined, 'nonsense', `${number}-0badcafe`, `${Number(number) + 1}-${database}`].map((it) =>
      agent.changesSince(it),
    ),
  )

  for (const it of answers)
    assert.deepEqual([it.since, idsOf(it), it.withdrawn], [undefined, [id], undefined])
})

test('flow logs that are offered to every host come and go with an answer that tells everything', async () => {
  const { weir, agent, id } = await withOne()
  await using _ = weir
  const known = agent.version
  const servers = weir.nicPath.split('/').slice(0, 5).join('/')
  const nic = { properties: { lan: 1 }, entities: { flowlogs: { items: [FLOW_LOG] } } }

  const made = await weir.post(`${servers}/nics`, nic)
  const offered = await agent.changesSince(known)
  await weir.call('DELETE', `${servers}/nics/${made.body.id}`)
  const without = await agent.changesSince(offered.version)

  assert.deepEqual([offered.since, offered.assignments.length, idsOf(offered)[0]], [undefined, 2, id])
  assert.deepEqual([without.since, idsOf(without)], [undefined, [id]])
})

test('whoever mends a bucket has the hosts try it again, also for flow logs that are deleted', async () => {
  const { weir, agent, path } = await withOne()
  await using _ = weir
  const known = agent.version
  const retry = (name: string) => weir.post(`/weir/v1/buckets/${name}/retry`, {})
  const place = { contractNumber: weir.owner.contractNumber, bucket: 'flowlogs' }

  const asked = await retry('flowlogs')
  const told = await agent.changesSince(known)
  const again = await agent.changesSince(known) // The answer was lost.
  const after = await agent.changesSince(told.version)
  await weir.call('DELETE', path)
  const deleted = await agent.changesSince(told.version)
  await retry('flowlogs')
  const forDeleted = await agent.changesSince(deleted.version)
  const unnamed = await retry('nobody-names-this')

  assert.deepEqual(asked.body, { name: 'flowlogs', hosts: [HOST] })
  assert.deepEqual([told.since, told.retry, told.assignments], [known, [place], []])
  assert.deepEqual(again, told)
  assert.deepEqual([after.retry, deleted.retry, forDeleted.retry], [undefined, undefined, [place]])
  assert.equal(unnamed.status, 404)
})

test('a report need not repeat itself: only of a withdrawn flow log does silence say something', async () => {
  const { weir, agent, id, path } = await withOne()
  await using _ = weir
  const delivery = async () => (await weir.get(`/weir/v1/flowlogs/${id}`)).body.delivery.status

  await agent.report([])
  const silent = await delivery()
  const deleted = await weir.call('DELETE', path)
  await agent.report([]) // Has not heard of it yet.
  const early = await weir.get(path)
  await agent.poll(0)
  await agent.report([{ flowLogId: id, state: 'attached', device: 'eth0' }]) // Has heard, and is not done yet.
  const still = await weir.get(path)
  await agent.report([])
  const finished = await weir.finished(deleted)

  assert.equal(silent, 'capturing')
  assert.deepEqual([early.status, still.status], [200, 200])
  assert.equal(finished.metadata.status, 'DONE')
  assert.equal((await weir.get(path)).status, 404)
})

test('an agent of another version of the protocol is told which side is to be upgraded', async () => {
  const { weir, agent } = await withOne()
  await using _ = weir
  const answers: string[] = []
  for (const protocol of [0, 2]) {
    agent.protocol = protocol
    await agent.report().catch((error: Error) => answers.push(error.message))
  }

  assert.match(answers[0]!, /^report: 400 .*protocol 0 is not spoken here, only 1: upgrade the agent/)
  assert.match(answers[1]!, /^report: 400 .*protocol 2 is not spoken here, only 1: upgrade the control plane/)
})

test('a database that was away when the first agent asked is asked again for the next', async (t) => {
  await using weir = await startControlPlane()
  const agent = agentOf(weir)
  const away = Object.assign(new Error('connection refused'), { code: 'ECONNREFUSED' })

  const change = t.mock.method(weir.store, 'change', () => Promise.reject(away))
  const first = await agent.send('GET', '/agent/v1/assignments')
  change.mock.restore()
  const second = await agent.send('GET', '/agent/v1/assignments')

  assert.deepEqual([first.status, second.status], [503, 200])
})

test('what agents are answered is as the description has it', async () => {
  const { weir, agent, id, path } = await withOne()
  await using _ = weir
  const headers = { authorization: `Bearer ${weir.owner.agentToken}` }
  // Each answer is compared with the description in passing.
  const call = async (method: string, target: string, body?: object) => {
    const answer = await weir.call(method, `/agent/v1/${target}`, body, headers)
    assert.ok(answer.status < 300, JSON.stringify(answer.body))
    return answer.body
  }
  const segment = { windowStartS: 1_700_000_000, size: 1, sha256: '0'.repeat(64), records: 1 }

  const whole = await call('GET', 'assignments')
  await weir.call('DELETE', path)
  const changes = await call('GET', `assignments?changes=true&version=${agent.version}`)
  const uploads = await call('POST', 'uploads', {
    segments: [
      { ...segment, segmentId: 's1', flowLogIds: [id] },
      { ...segment, segmentId: 's2', flowLogIds: [crypto.randomUUID()] },
      { segmentId: 's3' },
    ],
  })
  const acknowledged = await call('POST', 'uploads/acknowledge', { segmentIds: ['s1', 's2'] })
  const live = await call('POST', 'live', { everyS: 2, flowLogs: [] })

  assert.deepEqual([whole.assignments.length, changes.since, changes.withdrawn], [1, agent.version, [id]])
  const codes = (it: { answers: { error?: { code: string } }[] }) =>
    it.answers.map(({ error }) => error?.code)
  assert.deepEqual(codes(uploads), [undefined, 'WEIR_FORBIDDEN', 'WEIR_INVALID'])
  assert.deepEqual(codes(acknowledged), ['WEIR_OBJECT_MISSING', 'WEIR_NOT_FOUND'])
  assert.deepEqual(live, { key: '', flowLogIds: [], forS: 0 })
})
