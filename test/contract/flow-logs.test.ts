import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FLOW_LOG, startControlPlane } from './support/control-plane.ts'

// The sequences of CONTRACT, section 9, that need no SDK; `sdk-sequences.test.ts` has the others.

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

test('sequence 11: a data center at depth 10 shows all flow logs but those of application load balancers', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 1 })
  const withFlowLog = (bucket: string) => ({
    entities: { flowlogs: { items: [{ properties: { ...FLOW_LOG.properties, bucket } }] } },
  })
  const datacenter = `/datacenters/${weir.owner.datacenterId}`
  const balancer = { name: 'x', listenerLan: 1, targetLan: 2 }
  const gateways = {
    natgateways: { name: 'nat', publicIps: ['192.0.2.1'] },
    networkloadbalancers: balancer,
    applicationloadbalancers: balancer,
  }
  for (const [collection, properties] of Object.entries(gateways)) {
    const whole = { properties, ...withFlowLog(`flowlogs/${collection}`) }
    const created = await weir.post(`${datacenter}/${collection}`, whole)
    assert.equal(created.status, 202)
    await weir.finished(created)
  }
  const nic = { properties: { lan: 1 }, ...withFlowLog('flowlogs/nic') }
  await weir.finished(await weir.post(`${weir.nicPath.split('/').slice(0, 5).join('/')}/nics`, nic))

  const { body } = await weir.get(`${datacenter}?depth=10`)

  const text = JSON.stringify(body)
  const found = [...text.matchAll(/"bucket":"([^"]+)"/g)].map((it) => it[1])
  // The NIC hangs below its server and shows again below its LAN.
  assert.deepEqual([...new Set(found)].sort(), [
    'flowlogs/natgateways',
    'flowlogs/networkloadbalancers',
    'flowlogs/nic',
  ])
  assert.equal('applicationloadbalancers' in body.entities, false)
})
