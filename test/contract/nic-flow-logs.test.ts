import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Configuration, FlowLogsApi, NetworkInterfacesApi, waitForRequest } from '@ionos-cloud/sdk-nodejs'
import { TestAgent } from './support/agent.ts'
import { type ControlPlane, FLOW_LOG, startControlPlane } from './support/control-plane.ts'

// The sequences of CONTRACT, section 9, with the vendor's own SDK, which waits a second before every call.

interface Client {
  flowLogs: FlowLogsApi
  nics: NetworkInterfacesApi
  configuration: Configuration
  place: { datacenterId: string; serverId: string; nicId: string }
}

function clientOf(weir: ControlPlane, kind: 'basic' | 'bearer'): Client {
  const { username, password, token, datacenterId, serverId, nics } = weir.owner
  const credentials = kind === 'basic' ? { username, password } : { apiKey: token }
  const configuration = new Configuration({ ...credentials, basePath: weir.base })
  return {
    flowLogs: new FlowLogsApi(configuration),
    nics: new NetworkInterfacesApi(configuration),
    configuration,
    place: { datacenterId, serverId, nicId: nics[0]!.id },
  }
}

// The SDK mostly sleeps, so both sleep together.
describe('flow logs of NICs', { concurrency: true }, () => {
  for (const kind of ['basic', 'bearer'] as const) testCredentials(kind)
})

function testCredentials(kind: 'basic' | 'bearer'): void {
  test(`sequences 1, 3, 4, 5, 6 and 7 with ${kind} credentials`, async () => {
    await using weir = await startControlPlane()
    await using _agent = new TestAgent({ origin: weir.origin, token: weir.owner.agentToken }).start()
    const { flowLogs, configuration, place } = clientOf(weir, kind)
    const finished = async (response: { headers: Record<string, unknown> }) =>
      (await waitForRequest(configuration, String(response.headers['location']))).data

    const created = await flowLogs.datacentersServersNicsFlowlogsPost({
      ...place,
      flowlog: FLOW_LOG as never,
    })
    assert.equal(created.status, 202)
    assert.equal(created.data.metadata?.state, 'BUSY')
    assert.equal((await finished(created)).metadata.status, 'DONE')
    const item = { ...place, flowlogId: created.data.id! }
    const found = await flowLogs.datacentersServersNicsFlowlogsFindById(item)
    assert.equal(found.data.metadata?.state, 'AVAILABLE')
    assert.deepEqual(found.data.properties, FLOW_LOG.properties)
    assert.match(found.data.metadata?.etag ?? '', /^[0-9a-f]{32}$/)
    assert.match(String(found.data.metadata?.createdDate), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)

    const references = await flowLogs.datacentersServersNicsFlowlogsGet({ ...place, depth: 0 })
    assert.deepEqual(Object.keys(references.data.items![0]!).sort(), ['href', 'id', 'type'])
    const items = await flowLogs.datacentersServersNicsFlowlogsGet({ ...place, depth: 1 })
    assert.deepEqual(items.data.items![0]!.properties, FLOW_LOG.properties)

    const renamed = await flowLogs.datacentersServersNicsFlowlogsPatch({
      ...item,
      flowlog: { name: 'b' } as never,
    })
    assert.equal(renamed.status, 202)
    await finished(renamed)
    const after = await flowLogs.datacentersServersNicsFlowlogsFindById(item)
    assert.deepEqual(after.data.properties, { ...FLOW_LOG.properties, name: 'b' })
    assert.notEqual(after.data.metadata?.etag, found.data.metadata?.etag)

    const sameButName = { ...FLOW_LOG.properties, name: 'c', action: 'all' }
    const patched = await flowLogs.datacentersServersNicsFlowlogsPatch({
      ...item,
      flowlog: sameButName as never,
    })
    assert.equal(patched.status, 202)
    const put = { properties: { ...FLOW_LOG.properties, name: 'd' } }
    const replaced = await flowLogs.datacentersServersNicsFlowlogsPut({ ...item, flowlog: put as never })
    assert.equal(replaced.status, 202)
    assert.equal(replaced.data.properties.name, 'd')

    const deleted = await flowLogs.datacentersServersNicsFlowlogsDelete(item)
    assert.equal(deleted.status, 202)
    assert.equal((await finished(deleted)).metadata.status, 'DONE')
    await assert.rejects(flowLogs.datacentersServersNicsFlowlogsFindById(item), (error: unknown) => {
      const { response } = error as { response: { status: number; data: unknown } }
      assert.equal(response.status, 404)
      assert.deepEqual(response.data, {
        httpStatus: 404,
        messages: [{ errorCode: '309', message: 'Resource does not exist' }],
      })
      return true
    })
  })
}

test('sequence 8: a NIC with its flow log in one request, read at depth 3', async () => {
  await using weir = await startControlPlane()
  const { nics, configuration, place } = clientOf(weir, 'bearer')
  const nic = {
    properties: { name: 'eth7', lan: 1, dhcp: true, firewallActive: true, firewallType: 'bidirectional' },
    entities: { flowlogs: { items: [FLOW_LOG] } },
  }

  const created = await nics.datacentersServersNicsPost({ ...place, nic: nic as never })
  const location = String(created.headers['location'])
  const status = await waitForRequest(configuration, location)
  const found = await nics.datacentersServersNicsFindById({ ...place, nicId: created.data.id!, depth: 3 })

  assert.equal(created.status, 202)
  assert.equal('entities' in created.data, false)
  assert.equal(status.data.metadata.status, 'DONE')
  assert.deepEqual(
    status.data.metadata.targets.map((it: { target: { type: string } }) => it.target.type).sort(),
    ['flow-log', 'nic'],
  )
  assert.deepEqual(found.data.entities?.flowlogs?.items?.[0]?.properties, FLOW_LOG.properties)
  assert.equal(found.data.properties.firewallType, 'BIDIRECTIONAL')
  assert.equal(found.data.metadata?.state, 'AVAILABLE')
})

test('sequence 2: a second flow log on the same NIC is refused, and the first survives', async () => {
  await using weir = await startControlPlane()

  const first = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  const second = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  const { body } = await weir.get(`${weir.nicPath}/flowlogs?depth=1`)

  assert.equal(first.status, 202)
  assert.equal(second.status, 422)
  assert.equal(second.body.messages[0].errorCode, '200')
  assert.equal(body.items.length, 1)
})

test('sequence 12: without credentials every path is 401, known or not', async () => {
  await using weir = await startControlPlane()
  const targets = ['', '/datacenters', '/no/such/path', `${weir.nicPath}/flowlogs`, '/%zz', '/../../nothing']

  for (const target of targets) {
    for (const method of ['GET', 'POST', 'DELETE']) {
      const response = await fetch(weir.base + target, { method })
      const text = await response.text()
      assert.equal(response.status, 401, `${method} ${target}`)
      assert.match(response.headers.get('content-type') ?? '', /^application\/json/)
      const { messages } = JSON.parse(text) as { messages: unknown[] }
      assert.deepEqual(messages, [{ errorCode: '315', message: 'Unauthorized' }])
    }
  }
})

test('sequence 13: what is wrong with a body is said with its path', async () => {
  await using weir = await startControlPlane()
  const { bucket: _, ...withoutBucket } = FLOW_LOG.properties
  const cases: [properties: unknown, message: RegExp][] = [
    [
      { ...FLOW_LOG.properties, direction: 'IN' },
      /^\[\(root\)\.properties\.direction\] Attribute value 'IN' not allowed\. Expected one of \[INGRESS, EGRESS, BIDIRECTIONAL\]$/,
    ],
    [withoutBucket, /^\[\(root\)\.properties\.bucket\] /],
    [{ ...FLOW_LOG.properties, bucket: 'flowlogs/a%2Fb' }, /^\[\(root\)\.properties\.bucket\] .*%2F/],
    [{ ...FLOW_LOG.properties, bucket: 'flowlogs//b' }, /^\[\(root\)\.properties\.bucket\] /],
    [{ ...FLOW_LOG.properties, bucket: `flowlogs/${'x'.repeat(300)}` }, /^\[\(root\)\.properties\.bucket\] /],
    [{ ...FLOW_LOG.properties, colour: 'red' }, /^\[\(root\)\.properties\.colour\] Attribute is not allowed/],
  ]

  for (const [properties, message] of cases) {
    const { status, body } = await weir.post(`${weir.nicPath}/flowlogs`, { properties })
    assert.equal(status, 422)
    assert.equal(body.messages[0].errorCode, '100')
    assert.match(body.messages[0].message, message)
  }
  const missing = { properties: { ...FLOW_LOG.properties, bucket: 'nowhere' } }
  const { status, body } = await weir.post(`${weir.nicPath}/flowlogs`, missing)
  assert.equal(status, 422)
  assert.deepEqual(body.messages[0], {
    errorCode: '200',
    message: "[VDC-5-1803] bucket 'nowhere' does not exist",
  })
  assert.deepEqual((await weir.get(`${weir.nicPath}/flowlogs`)).body.items, [])
})

test('enum values come in any case and an s3:// scheme is fine; both are kept in one form', async () => {
  await using weir = await startControlPlane()
  const properties = { name: 'a', action: 'rejected', direction: 'Ingress', bucket: 's3://flowlogs/web' }

  const { status, body } = await weir.post(`${weir.nicPath}/flowlogs`, { properties })

  assert.equal(status, 202)
  assert.deepEqual(body.properties, {
    name: 'a',
    action: 'REJECTED',
    direction: 'INGRESS',
    bucket: 'flowlogs/web',
  })
})

test('a real change of action, direction or bucket is refused with advice; a wrapped patch is understood', async () => {
  await using weir = await startControlPlane()
  const { body: flowLog } = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  const path = `${weir.nicPath}/flowlogs/${flowLog.id}`

  const refused = await weir.call('PATCH', path, { action: 'REJECTED' })
  const wrapped = await weir.call('PATCH', path, { properties: { name: 'wrapped' } })
  const incomplete = await weir.call('PUT', path, { properties: { name: 'only' } })

  assert.equal(refused.status, 422)
  assert.equal(refused.body.messages[0].errorCode, '200')
  assert.match(refused.body.messages[0].message, /delete the flow-log and create another/)
  assert.equal(wrapped.status, 202)
  assert.equal(wrapped.body.properties.name, 'wrapped')
  assert.equal(incomplete.status, 422)
})
