import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import type { UploadGrant } from '../../src/model/agent-protocol.ts'
import { issueAgentToken } from '../../src/store/agents.ts'
import { statusOf, TestAgent } from './support/agent.ts'
import { type ControlPlane, FLOW_LOG, startControlPlane } from './support/control-plane.ts'

const CONTENT = gzipSync('2 12345678 …\n')
const WINDOW_START_S = 1_700_000_000

async function withFlowLog(weir: ControlPlane, properties = FLOW_LOG.properties, nic = 0): Promise<string> {
  const created = await weir.post(`${weir.owner.nics[nic]!.path}/flowlogs`, { properties })
  assert.equal(created.status, 202)
  return created.body.id
}

function agentOf(weir: ControlPlane): TestAgent {
  return new TestAgent({ origin: weir.origin, token: weir.owner.agentToken })
}

function segment(segmentId: string, flowLogIds: string[], content = CONTENT) {
  return { segmentId, flowLogIds, windowStartS: WINDOW_START_S, content }
}

test('a segment becomes an object that zcat reads, and is told once', async () => {
  await using weir = await startControlPlane()
  await using agent = agentOf(weir)
  const flowLog = await withFlowLog(weir)

  const grant = await agent.grant(segment('s1', [flowLog]))
  const [early] = await agent.acknowledge('s1')
  const put = await agent.put(grant, CONTENT)
  const acknowledged = [...(await agent.acknowledge('s1')), ...(await agent.acknowledge('s1'))]

  assert.equal(statusOf(early), 409)
  assert.equal(put.status, 201)
  assert.deepEqual(acknowledged, [{ acknowledged: true }, { acknowledged: true }])
  const file = path.join(weir.directory, 'buckets', 'flowlogs', `web-${WINDOW_START_S}.log.gz`)
  assert.equal(gunzipSync(await readFile(file)).toString(), '2 12345678 …\n')
  assert.equal(weir.delivered.length, 1)
  assert.deepEqual(weir.delivered[0], {
    host: 'host-1',
    bucket: 'flowlogs',
    objectName: `web-${WINDOW_START_S}.log.gz`,
    windowStartS: WINDOW_START_S,
    records: 1,
    bytes: CONTENT.length,
  })
})

test('without a prefix the name begins with the UUID of the interface', async () => {
  await using weir = await startControlPlane()
  await using agent = agentOf(weir)
  const flowLog = await withFlowLog(weir, { ...FLOW_LOG.properties, bucket: 'flowlogs' })

  const { objectName } = await agent.grant(segment('s1', [flowLog]))

  assert.equal(objectName, `${weir.owner.nics[0]!.id}-${WINDOW_START_S}.log.gz`)
})

test('asking again gives the same name, before the upload, after it and after the acknowledgement', async () => {
  await using weir = await startControlPlane()
  await using agent = agentOf(weir)
  const it = segment('s1', [await withFlowLog(weir)])

  const first = await agent.grant(it)
  const second = await agent.grant(it)
  await agent.put(second, CONTENT)
  const third = await agent.grant(it)
  await agent.acknowledge('s1')
  const fourth = await agent.grant(it)

  const name = `web-${WINDOW_START_S}.log.gz`
  const seen = (grant: UploadGrant) => [grant.objectName, grant.delivered]
  assert.deepEqual([first, second, third, fourth].map(seen), [
    [name, false],
    [name, false],
    [name, true],
    [name, true],
  ])
})

test('a name that is taken is raised by a second until it is free', async () => {
  await using weir = await startControlPlane()
  await using agent = agentOf(weir)
  const flowLog = await withFlowLog(weir)
  const byHand = path.join(weir.directory, 'buckets', 'flowlogs', `web-${WINDOW_START_S + 1}.log.gz`)
  await writeFile(byHand, 'not ours')

  const deliver = async (id: string): Promise<string> => {
    for (;;) {
      const grant = await agent.grant(segment(id, [flowLog]))
      const { status } = await agent.put(grant, CONTENT)
      if (status === 201) return grant.objectName
      assert.equal(status, 412) // Taken by something that only the store knows: ask again.
    }
  }
  const names = await Promise.all(['s1', 's2', 's3'].map(deliver))

  assert.deepEqual(
    names.sort(),
    [0, 2, 3].map((it) => `web-${WINDOW_START_S + it}.log.gz`),
  )
  assert.equal(await readFile(byHand, 'utf8'), 'not ours')
})

test('a host gets no upload for what it does not carry, and no other kind of token gets any', async () => {
  await using weir = await startControlPlane()
  const flowLog = await withFlowLog(weir)
  const token = await weir.store.change((change) =>
    issueAgentToken(change, { host: 'host-2', purpose: 'test' }),
  )
  await using stranger = new TestAgent({ origin: weir.origin, token })
  await using user = new TestAgent({ origin: weir.origin, token: weir.owner.token })

  await stranger.poll(0)
  await stranger.report([{ flowLogId: flowLog, state: 'attached' }]) // Saying so does not make it so.
  const answers = await stranger.ask(segment('s1', [flowLog]), segment('s1', [crypto.randomUUID()]))

  assert.deepEqual(stranger.assignments, [])
  assert.deepEqual(answers.map(statusOf), [403, 403])
  await assert.rejects(user.ask(segment('s1', [flowLog])), /401/)
  const { body } = await weir.get(`/weir/v1/flowlogs/${flowLog}`)
  assert.equal(body.delivery.lastError, null) // A stranger has no say in that.
  const asUser = await weir.call('GET', '/datacenters', undefined, {
    authorization: `Bearer ${weir.owner.agentToken}`,
  })
  assert.equal(asUser.status, 401)
})

test('what a deleted flow log had captured is still delivered', async () => {
  await using weir = await startControlPlane()
  await using agent = agentOf(weir)
  const flowLog = await withFlowLog(weir)
  await weir.finished(await weir.call('DELETE', `${weir.nicPath}/flowlogs/${flowLog}`))

  const grant = await agent.grant(segment('s1', [flowLog]))
  const put = await agent.put(grant, CONTENT)

  assert.equal(put.status, 201)
  assert.deepEqual(await agent.acknowledge('s1'), [{ acknowledged: true }])
})

test('the flow logs of one segment have one destination', async () => {
  await using weir = await startControlPlane()
  await using agent = agentOf(weir)
  const first = await withFlowLog(weir)
  const same = await withFlowLog(weir, FLOW_LOG.properties, 1)

  const [together] = await agent.ask(segment('s1', [first, same]))
  await weir.finished(await weir.call('DELETE', `${weir.owner.nics[1]!.path}/flowlogs/${same}`))
  const other = await withFlowLog(weir, { ...FLOW_LOG.properties, bucket: 'flowlogs/other' }, 1)
  const [apart] = await agent.ask(segment('s2', [first, other]))
  const [changed] = await agent.ask(segment('s1', [first, same], Buffer.from('other bytes')))

  assert.deepEqual([together, apart, changed].map(statusOf), [0, 422, 422])
})

test('each segment of a request has its own answer, whatever is wrong with the others', async () => {
  await using weir = await startControlPlane()
  await using agent = agentOf(weir)
  const good = await withFlowLog(weir)
  const bad = segment('no such name!', [good])
  const endless = { ...segment('s4', [good]), records: 1e19 } // More than a database can count.

  const answers = await agent.ask(
    segment('s1', [good]),
    bad,
    segment('s2', [crypto.randomUUID()]),
    segment('s3', [good]),
    segment('s1', [good]),
    endless,
  )
  const names = answers.map((it) => ('error' in it ? it.error.code : it.objectName))
  for (const i of [0, 3]) await agent.put(answers[i] as UploadGrant, CONTENT)
  const acknowledged = await agent.acknowledge('s1', 'unknown', 's3')

  const [first, second] = [0, 1].map((it) => `web-${WINDOW_START_S + it}.log.gz`)
  assert.deepEqual(names, [first, 'WEIR_INVALID', 'WEIR_FORBIDDEN', second, first, 'WEIR_INVALID'])
  assert.deepEqual(acknowledged.map(statusOf), [0, 404, 0])
  assert.deepEqual(
    weir.delivered.map((it) => it.objectName),
    [first, second],
  )
})

test('many acknowledgements of objects that are not there are found out, and those that are there are not doubted', async () => {
  await using weir = await startControlPlane()
  await using agent = agentOf(weir)
  const flowLog = await withFlowLog(weir)
  const segments = Array.from({ length: 20 }, (_, i) => segment(`s${i}`, [flowLog]))
  const grants = (await agent.ask(...segments)) as UploadGrant[]
  await agent.put(grants[7]!, CONTENT)

  const answers = await agent.acknowledge(...segments.map((it) => it.segmentId))

  assert.deepEqual(
    answers.flatMap((it, i) => (statusOf(it) === 0 ? [i] : [])),
    [7],
  )
  assert.equal(answers.filter((it) => statusOf(it) === 409).length, 19)
})

test('what arrives in one request is counted for each flow log', async () => {
  await using weir = await startControlPlane()
  await using agent = agentOf(weir)
  const both = [await withFlowLog(weir), await withFlowLog(weir, FLOW_LOG.properties, 1)]
  const segments = [segment('s1', [both[0]!]), segment('s2', both), segment('s3', both)]
  for (const grant of (await agent.ask(...segments)) as UploadGrant[]) await agent.put(grant, CONTENT)

  await agent.acknowledge('s1', 's2', 's3')
  await agent.acknowledge('s1', 's2', 's3')

  const told = await Promise.all(both.map((id) => weir.get(`/weir/v1/flowlogs/${id}`)))
  assert.deepEqual(
    told.map(({ body }) => [body.delivery.objects, body.delivery.records, body.delivery.bytes]),
    [
      [3, 3, 3 * CONTENT.length],
      [2, 2, 2 * CONTENT.length],
    ],
  )
})

test('a bucket whose store is silent delays the others of its request by two seconds at most', async (t) => {
  await using weir = await startControlPlane()
  await using agent = agentOf(weir)
  await weir.post('/weir/v1/buckets', { name: 'silent' })
  const good = await withFlowLog(weir)
  const silent = await withFlowLog(weir, { ...FLOW_LOG.properties, bucket: 'silent/web' }, 1)
  const { buckets } = weir
  const findBucket = buckets.findBucket.bind(buckets)
  t.mock.method(buckets, 'findBucket', (name: string) =>
    name === 'silent' ? new Promise(() => {}) : findBucket(name),
  )

  const beginMs = performance.now()
  const answers = await agent.ask(segment('s1', [silent]), segment('s2', [good]))
  const tookMs = performance.now() - beginMs

  assert.deepEqual(answers.map(statusOf), [503, 0])
  assert.ok(tookMs < 10_000, `took ${tookMs} ms`) // It is silent for ever; a busy machine must not fail for it.
})

test('a request for more segments than are allowed is refused', async () => {
  await using weir = await startControlPlane()
  await using agent = agentOf(weir)
  const flowLog = await withFlowLog(weir)

  const many = Array.from({ length: 101 }, (_, i) => segment(`s${i}`, [flowLog]))

  await assert.rejects(agent.ask(...many), /422/)
  await assert.rejects(agent.ask(), /422/)
  await assert.rejects(agent.acknowledge(), /422/)
})
