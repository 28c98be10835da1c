import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  ApplicationLoadBalancersApi,
  Configuration,
  NATGatewaysApi,
  NetworkLoadBalancersApi,
  waitForRequest,
} from '@ionos-cloud/sdk-nodejs'
import { TestAgent } from './support/agent.ts'
import { type ControlPlane, FLOW_LOG, HOST, startControlPlane } from './support/control-plane.ts'

// The sequences of CONTRACT, section 9, for the three parents that are no NICs, with the vendor's own SDK.

interface Sdk {
  // biome-ignore lint/suspicious/noExplicitAny: three generated classes whose methods differ in their names only.
  [method: string]: (parameters: any) => Promise<{ status: number; data: any; headers: any }>
}

const BINDING = { host: HOST, device: 'wan0', side: 'own' }

const PARENTS = [
  {
    name: 'natgateway',
    collection: 'natgateways',
    api: NATGatewaysApi,
    method: 'datacentersNatgatewaysFlowlogs',
    parentId: 'natGatewayId',
    body: 'natGatewayFlowLog',
    properties: { name: 'nat', publicIps: ['192.0.2.1'], binding: BINDING },
  },
  {
    name: 'networkloadbalancer',
    collection: 'networkloadbalancers',
    api: NetworkLoadBalancersApi,
    method: 'datacentersNetworkloadbalancersFlowlogs',
    parentId: 'networkLoadBalancerId',
    body: 'networkLoadBalancerFlowLog',
    properties: { name: 'nlb', listenerLan: 1, targetLan: 2, ips: ['192.0.2.2'], binding: BINDING },
  },
  {
    name: 'applicationloadbalancer',
    collection: 'applicationloadbalancers',
    api: ApplicationLoadBalancersApi,
    method: 'datacentersApplicationloadbalancersFlowlogs',
    parentId: 'applicationLoadBalancerId',
    body: 'applicationLoadBalancerFlowLog',
    properties: { name: 'alb', listenerLan: 1, targetLan: 2, binding: BINDING },
  },
] as const

// The SDK mostly sleeps, so the three sleep together.
describe('flow logs of gateways and load balancers', { concurrency: true }, () => {
  for (const parent of PARENTS) testParent(parent)
})

function testParent(parent: (typeof PARENTS)[number]): void {
  test(`flow logs of a ${parent.name}, by the SDK`, async () => {
    await using weir = await startControlPlane()
    await using agent = new TestAgent({ origin: weir.origin, token: weir.owner.agentToken }).start()
    const configuration = new Configuration({ apiKey: weir.owner.token, basePath: weir.base })
    const api = new parent.api(configuration) as unknown as Sdk
    const datacenterId = weir.owner.datacenterId
    const parentPath = await createParent(weir, parent.collection, parent.properties)
    const place = { datacenterId, [parent.parentId]: parentPath.split('/').at(-1) }
    const call = (verb: string, parameters: object) => api[parent.method + verb]!({ ...place, ...parameters })
    const finish = async (it: { headers: Record<string, string> }) =>
      (await waitForRequest(configuration, it.headers['location']!)).data.metadata.status

    const created = await call('Post', { [parent.body]: FLOW_LOG })
    assert.equal(created.status, 202)
    assert.equal(created.data.metadata.state, 'BUSY')
    assert.equal(await finish(created), 'DONE')
    const item = { flowLogId: created.data.id }
    const found = await call('FindByFlowLogId', item)
    assert.equal(found.data.metadata.state, 'AVAILABLE')
    assert.deepEqual(found.data.properties, FLOW_LOG.properties)
    assert.equal(agent.assignments[0]?.interfaceId, Object.values(place)[1])
    assert.deepEqual(agent.assignments[0]?.binding, { device: 'wan0', side: 'own' })

    const second = await weir.post(`${parentPath}/flowlogs`, FLOW_LOG)
    assert.equal(second.status, 422)
    const list = await call('Get', { depth: 1 })
    assert.deepEqual(list.data.items[0].properties, FLOW_LOG.properties)
    const patched = await call('Patch', { ...item, [`${parent.body}Properties`]: { name: 'b' } })
    assert.equal(patched.status, 202)
    assert.equal(await finish(patched), 'DONE')
    const replacement = { properties: { ...FLOW_LOG.properties, name: 'c' } }
    const replaced = await call('Put', { ...item, [parent.body]: replacement })
    assert.equal(replaced.data.properties.name, 'c')
    const deleted = await call('Delete', item)
    assert.equal(deleted.status, 202)
    assert.equal(await finish(deleted), 'DONE')
    assert.equal((await weir.get(`${parentPath}/flowlogs/${item.flowLogId}`)).status, 404)
  })
}

async function createParent(weir: ControlPlane, collection: string, properties: object): Promise<string> {
  const created = await weir.post(`/datacenters/${weir.owner.datacenterId}/${collection}`, { properties })
  assert.equal(created.status, 202, JSON.stringify(created.body))
  await weir.finished(created)
  return created.body.href.slice(weir.base.length)
}

test('sequence 11: a data center at depth 10 shows all flow logs but those of application load balancers', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 1 })
  const withFlowLog = (bucket: string) => ({
    entities: { flowlogs: { items: [{ properties: { ...FLOW_LOG.properties, bucket } }] } },
  })
  const datacenter = `/datacenters/${weir.owner.datacenterId}`
  for (const { collection, properties } of PARENTS) {
    const created = await weir.post(`${datacenter}/${collection}`, {
      properties,
      ...withFlowLog(`flowlogs/${collection}`),
    })
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
