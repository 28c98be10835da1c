import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  ApplicationLoadBalancersApi,
  Configuration,
  FlowLogsApi,
  NATGatewaysApi,
  NetworkInterfacesApi,
  NetworkLoadBalancersApi,
  waitForRequest,
} from '@ionos-cloud/sdk-nodejs'
import { TestAgent } from './support/agent.ts'
import { type ControlPlane, FLOW_LOG, HOST, startControlPlane } from './support/control-plane.ts'

// The sequences of CONTRACT, section 9, with the vendor's own SDK, which waits a second before every call; so all of
// them sleep together.

interface Sdk {
  // biome-ignore lint/suspicious/noExplicitAny: generated classes whose methods differ in their names only.
  [method: string]: (parameters: any) => Promise<{ status: number; data: any; headers: any }>
}
type Api = new (configuration: Configuration) => object

interface Parent {
  type: string
  api: Api
  /** Where flow logs and parents are not in one class. */
  flowLogsApi?: Api
  /** What the methods' names begin with. */
  method: string
  id: string
  body: string
  flowLogBody: string
  patchBody: string
  flowLogId: string
  find: string
  findFlowLog: string
  properties: object
}

const binding = { host: HOST, device: 'wan0', side: 'own' }
const PARENTS: Parent[] = [
  {
    type: 'nic',
    api: NetworkInterfacesApi,
    flowLogsApi: FlowLogsApi,
    method: 'datacentersServersNics',
    id: 'nicId',
    body: 'nic',
    flowLogBody: 'flowlog',
    patchBody: 'flowlog',
    flowLogId: 'flowlogId',
    find: 'FindById',
    findFlowLog: 'FindById',
    properties: { name: 'eth7', lan: 1, dhcp: true, firewallType: 'bidirectional', binding },
  },
  gateway('natgateway', NATGatewaysApi, 'Natgateways', 'natGateway', { publicIps: ['192.0.2.1'] }),
  gateway('networkloadbalancer', NetworkLoadBalancersApi, 'Networkloadbalancers', 'networkLoadBalancer', {
    listenerLan: 1,
    targetLan: 2,
  }),
  gateway(
    'applicationloadbalancer',
    ApplicationLoadBalancersApi,
    'Applicationloadbalancers',
    'applicationLoadBalancer',
    { listenerLan: 1, targetLan: 2 },
  ),
]

function gateway(type: string, api: Api, collection: string, body: string, properties: object): Parent {
  const name = body[0]!.toUpperCase() + body.slice(1)
  return {
    type,
    api,
    method: `datacenters${collection}`,
    id: `${body}Id`,
    body,
    flowLogBody: `${body}FlowLog`,
    patchBody: `${body}FlowLogProperties`,
    flowLogId: 'flowLogId',
    find: `FindBy${name}Id`,
    findFlowLog: 'FindByFlowLogId',
    properties: { name: type, ...properties, binding },
  }
}

interface Ended {
  status: string
  targets: { target: { type: string } }[]
}

/** The SDK's calls for one kind of parent. */
class Client {
  readonly #parent: Parent
  readonly #configuration: Configuration
  readonly #parents: Sdk
  readonly #flowLogs: Sdk
  place: Record<string, string>

  constructor(weir: ControlPlane, parent: Parent, kind: 'Basic' | 'Bearer') {
    const { username, password, token, datacenterId, serverId } = weir.owner
    const credentials = kind === 'Basic' ? { username, password } : { apiKey: token }
    this.#parent = parent
    this.#configuration = new Configuration({ ...credentials, basePath: weir.base })
    this.#parents = new parent.api(this.#configuration) as Sdk
    this.#flowLogs = parent.flowLogsApi ? (new parent.flowLogsApi(this.#configuration) as Sdk) : this.#parents
    this.place = parent.type === 'nic' ? { datacenterId, serverId } : { datacenterId }
  }

  onParent(verb: string, parameters: object = {}) {
    return this.#parents[this.#parent.method + verb]!({ ...this.place, ...parameters })
  }

  onFlowLog(verb: string, parameters: object = {}) {
    return this.#flowLogs[`${this.#parent.method}Flowlogs${verb}`]!({ ...this.place, ...parameters })
  }

  /** How the request ended that an answer names, when it has ended. */
  async ended(answer: { status: number; headers: { location?: string } }): Promise<string> {
    return (await this.request(answer)).status
  }

  /** The same, with what it was about. */
  async request(answer: { status: number; headers: { location?: string } }): Promise<Ended> {
    assert.equal(answer.status, 202)
    return (await waitForRequest(this.#configuration, answer.headers.location!)).data.metadata
  }
}

async function refusal(call: Promise<unknown>): Promise<{ status: number; code: string; message: string }> {
  const error = await call.then(
    () => assert.fail('was not refused'),
    (error: unknown) => error,
  )
  const { status, data } = (
    error as {
      response: { status: number; data: { messages: { errorCode: string; message: string }[] } }
    }
  ).response
  const { errorCode: code, message } = data.messages[0]!
  return { status, code, message }
}

describe('sequences of clients', { concurrency: true }, () => {
  for (const parent of PARENTS) {
    for (const kind of ['Basic', 'Bearer'] as const) testSequences(parent, kind)
  }
})

function testSequences(parent: Parent, kind: 'Basic' | 'Bearer'): void {
  const { flowLogBody, patchBody, find, findFlowLog } = parent
  const { properties } = FLOW_LOG
  const sameButName = { ...properties, name: 'c', action: 'all' }

  test(`1 to 7, 13 and 16 on a ${parent.type} with ${kind} credentials`, async () => {
    await using weir = await startControlPlane()
    await using agent = new TestAgent({ origin: weir.origin, token: weir.owner.agentToken }).start()
    const client = new Client(weir, parent, kind)
    const made = await client.onParent('Post', { [parent.body]: { properties: parent.properties } })
    assert.equal(await client.ended(made), 'DONE')
    client.place[parent.id] = made.data.id

    const created = await client.onFlowLog('Post', { [flowLogBody]: FLOW_LOG })
    assert.equal(created.data.metadata.state, 'BUSY')
    assert.equal(await client.ended(created), 'DONE')
    const item = { [parent.flowLogId]: created.data.id }
    const found = await client.onFlowLog(findFlowLog, item)
    assert.equal(found.data.metadata.state, 'AVAILABLE')
    assert.deepEqual(found.data.properties, properties)
    assert.match(found.data.metadata.etag, /^[0-9a-f]{32}$/)
    assert.match(found.data.metadata.createdDate, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    assert.equal(agent.assignments[0]?.interfaceId, made.data.id)
    assert.deepEqual(agent.assignments[0]?.binding, { device: 'wan0', side: 'own' })

    const second = await refusal(client.onFlowLog('Post', { [flowLogBody]: FLOW_LOG }))
    assert.deepEqual([second.status, second.code], [422, '200'])
    const wrong = { properties: { ...properties, direction: 'IN' } }
    const bad = await refusal(client.onFlowLog('Post', { [flowLogBody]: wrong }))
    assert.deepEqual([bad.status, bad.code], [422, '100'])
    assert.match(bad.message, /^\[\(root\)\.properties\.direction\] /)

    const references = await client.onFlowLog('Get', { depth: 0 })
    assert.deepEqual(
      references.data.items.map((it: object) => Object.keys(it).sort()),
      [['href', 'id', 'type']],
    )
    const items = await client.onFlowLog('Get', { depth: 1 })
    assert.deepEqual(items.data.items, [found.data])

    const renamed = await client.onFlowLog('Patch', { ...item, [patchBody]: { name: 'b' } })
    assert.equal(await client.ended(renamed), 'DONE')
    const after = await client.onFlowLog(findFlowLog, item)
    assert.deepEqual(after.data.properties, { ...properties, name: 'b' })
    assert.notEqual(after.data.metadata.etag, found.data.metadata.etag)
    const patched = await client.onFlowLog('Patch', { ...item, [patchBody]: sameButName })
    assert.equal(await client.ended(patched), 'DONE')
    const put = { properties: { ...properties, name: 'd' } }
    const replaced = await client.onFlowLog('Put', { ...item, [flowLogBody]: put })
    assert.deepEqual([replaced.status, replaced.data.properties], [202, put.properties])

    const deleted = await client.onFlowLog('Delete', item)
    assert.equal(await client.ended(deleted), 'DONE')
    const gone = { status: 404, code: '309', message: 'Resource does not exist' }
    assert.deepEqual(await refusal(client.onFlowLog(findFlowLog, item)), gone)

    const again = await client.onFlowLog('Post', { [flowLogBody]: FLOW_LOG })
    assert.equal(await client.ended(again), 'DONE')
    assert.equal(await client.ended(await client.onParent('Delete')), 'DONE')
    const withParent = { [parent.flowLogId]: again.data.id }
    assert.deepEqual(await refusal(client.onFlowLog(findFlowLog, withParent)), gone)
    assert.deepEqual(agent.assignments, [])
  })

  if (parent.type === 'applicationloadbalancer') return // Its entities have no flow logs (CONTRACT, section 8).
  test(`8: a ${parent.type} with its flow log in one request, with ${kind} credentials`, async () => {
    await using weir = await startControlPlane()
    const client = new Client(weir, parent, kind)
    const whole = { properties: parent.properties, entities: { flowlogs: { items: [FLOW_LOG] } } }

    const made = await client.onParent('Post', { [parent.body]: whole })
    const { status, targets } = await client.request(made)
    const { data } = await client.onParent(find, { [parent.id]: made.data.id, depth: 3 })

    assert.equal('entities' in made.data, false)
    assert.equal(status, 'DONE')
    assert.deepEqual(targets.map((it) => it.target.type).sort(), ['flow-log', parent.type].sort())
    assert.deepEqual(data.entities.flowlogs.items[0].properties, properties)
    assert.equal(data.metadata.state, 'AVAILABLE')
  })
}
