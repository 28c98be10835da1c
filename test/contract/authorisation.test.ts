import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PAGES } from '../../src/api/routes/console.ts'
import { addMember } from '../../src/store/accounts.ts'
import { IDLE_HEALTH } from './support/agent.ts'
import { type ControlPlane, isOutside, startControlPlane } from './support/control-plane.ts'
import { AUDIENCE, Issuer } from './support/issuer.ts'
import {
  CALLERS,
  type Caller,
  CONTRACT,
  makeTenants,
  STRANGER_CONTRACT,
  type Tenants,
} from './support/tenants.ts'

// Every route × every kind of caller. A new route fails this until it is in the table.

/** What each caller must see: a status, or `ok` for anything that is no refusal. */
type Expectation = Partial<Record<Caller, number | 'ok'>>
interface Rule {
  expect: Expectation
  /** Makes a target that this one call may spoil. */
  target: (tenants: Tenants) => Promise<{ path: string; body?: unknown }>
}

const USERS = ['stranger', 'outsider', 'reader', 'editor', 'admin', 'owner', 'operator'] as const
const REFUSED: Expectation = { nobody: 401, agent: 401, expired: 401, revoked: 401 }
const forUsers = (it: Expectation): Expectation => ({ ...REFUSED, ...it })
const all = (outcome: number | 'ok'): Expectation =>
  Object.fromEntries(USERS.map((caller) => [caller, outcome]))

const ANY_USER = forUsers(all('ok'))
const ADMINISTRATORS = forUsers({ ...all('ok'), outsider: 403, reader: 403, editor: 403 })
/** Of one contract, by id: the stranger is an administrator too, but not of this one. */
const OWN_ADMINISTRATORS = { ...ADMINISTRATORS, stranger: 404 }
/** Of a bucket of the contract: who sees none of its flow logs does not see the bucket. */
const EXPLORERS = forUsers({ ...all('ok'), stranger: 404, outsider: 404, reader: 404, editor: 404 })
const OPERATOR = forUsers({ ...all(403), operator: 'ok' })
const READERS = forUsers({ ...all('ok'), stranger: 404, outsider: 404 })
const EDITORS = forUsers({ ...READERS, reader: 403 })
const AGENT: Expectation = { ...all(401), nobody: 401, expired: 401, revoked: 401, agent: 'ok' }
const EVERYBODY: Expectation = Object.fromEntries(CALLERS.map((caller) => [caller, 'ok']))

const FLOW_LOG = {
  properties: { name: 'a', action: 'ALL', direction: 'INGRESS', bucket: 'tenant-logs/x' },
}
const BALANCER = { properties: { name: 'x', listenerLan: 1, targetLan: 2 } }
const BODIES: Record<string, { properties: Record<string, unknown> }> = {
  datacenters: { properties: { name: 'x', location: 'x' } },
  servers: { properties: { name: 'x', cores: 1, ram: 1024 } },
  nics: { properties: { name: 'x', lan: 1 } },
  lans: { properties: { name: 'x' } },
  natgateways: { properties: { name: 'x', publicIps: [] } },
  networkloadbalancers: BALANCER,
  applicationloadbalancers: BALANCER,
  flowlogs: FLOW_LOG,
}

/** `/datacenters/:datacenterId/servers` and so on: the inventory's collections. */
const PLACES = [
  ['datacenters'],
  ['datacenters', 'servers'],
  ['datacenters', 'servers', 'nics'],
  ['datacenters', 'servers', 'nics', 'flowlogs'],
  ['datacenters', 'lans'],
  ...['natgateways', 'networkloadbalancers', 'applicationloadbalancers'].flatMap((it) => [
    ['datacenters', it],
    ['datacenters', it, 'flowlogs'],
  ]),
]

/** Collections that are always empty. */
const UNUSED: Record<string, string[]> = {
  datacenters: ['volumes', 'loadbalancers'],
  servers: ['cdroms', 'volumes'],
  nics: ['firewallrules'],
  natgateways: ['rules'],
  networkloadbalancers: ['forwardingrules'],
  applicationloadbalancers: ['forwardingrules'],
}

/** Makes the resources that a place needs, below the shared data center. */
async function make(tenants: Tenants, place: readonly string[]): Promise<string> {
  let path = ''
  for (const collection of place) {
    if (collection === 'datacenters') path = `/datacenters/${tenants.datacenterId}`
    else path = await createdPath(tenants, `${path}/${collection}`, BODIES[collection])
  }
  return path
}

async function createdPath(tenants: Tenants, collection: string, body: unknown): Promise<string> {
  const { body: made } = await tenants.call('POST', collection, body)
  return `${collection}/${made.id}`
}

function inventoryRules(): Record<string, Rule> {
  const rules: Record<string, Rule> = {}
  for (const place of PLACES) {
    const url = urlOf(place)
    const last = place.at(-1)!
    const isRoot = place.length === 1
    const parent = (tenants: Tenants) => make(tenants, place.slice(0, -1))
    const item = async (tenants: Tenants) => ({ path: await make(tenants, place) })
    // To end the life of the shared data center would end the test: another one is made, which nobody shares.
    const spare = async (tenants: Tenants) =>
      isRoot ? { path: await createdPath(tenants, '/datacenters', BODIES['datacenters']) } : item(tenants)
    const deleters = isRoot ? { ...EDITORS, reader: 404, editor: 404 } : EDITORS
    rules[`GET ${url.collection}`] = {
      expect: isRoot ? ANY_USER : READERS,
      target: async (tenants) => ({ path: isRoot ? '/datacenters' : `${await parent(tenants)}/${last}` }),
    }
    rules[`POST ${url.collection}`] = {
      expect: isRoot ? { ...ANY_USER, outsider: 403, reader: 403 } : EDITORS,
      target: async (tenants) => ({ path: `${await parent(tenants)}/${last}`, body: BODIES[last] }),
    }
    rules[`GET ${url.item}`] = { expect: READERS, target: item }
    rules[`PATCH ${url.item}`] = {
      expect: EDITORS,
      target: async (tenants) => ({ ...(await item(tenants)), body: { name: 'y' } }),
    }
    rules[`PUT ${url.item}`] = {
      expect: EDITORS,
      target: async (tenants) => ({ ...(await item(tenants)), body: BODIES[last] }),
    }
    rules[`DELETE ${url.item}`] = { expect: deleters, target: spare }
    for (const name of UNUSED[last] ?? []) {
      rules[`GET ${url.item}/${name}`] = {
        expect: READERS,
        target: async (tenants) => ({ path: `${await make(tenants, place)}/${name}` }),
      }
    }
  }
  return rules
}

const PARAMETERS: Record<string, string> = {
  datacenters: 'datacenterId',
  servers: 'serverId',
  nics: 'nicId',
  lans: 'lanId',
  natgateways: 'natGatewayId',
  networkloadbalancers: 'networkLoadBalancerId',
  applicationloadbalancers: 'applicationLoadBalancerId',
  flowlogs: 'flowLogId',
}

function urlOf(place: readonly string[]): { collection: string; item: string } {
  const items = place.map((it) => `${it}/:${PARAMETERS[it]}`)
  const collection = `/cloudapi/v6/${[...items.slice(0, -1), place.at(-1)].join('/')}`
  return { collection, item: `${collection}/:${PARAMETERS[place.at(-1)!]}` }
}

const at = (path: string, body?: unknown) => async () => ({ path, body })
const NEW_USER = () => ({
  properties: {
    firstname: 'x',
    lastname: 'y',
    email: `${crypto.randomUUID()}@example.org`,
    password: 'a long password',
  },
})
const NEW_GROUP = { properties: { name: 'g', createFlowLog: true } }
const SHARE = { properties: { editPrivilege: true } }

const newUser = async (tenants: Tenants) => {
  const { body } = await tenants.call('POST', '/um/users', NEW_USER())
  return body.id as string
}
const newGroup = async (tenants: Tenants) => {
  const { body } = await tenants.call('POST', '/um/groups', NEW_GROUP)
  return `/um/groups/${body.id}`
}

function userRules(): Record<string, Rule> {
  const users = '/cloudapi/v6/um/users'
  const groups = '/cloudapi/v6/um/groups'
  return {
    [`GET ${users}`]: { expect: ADMINISTRATORS, target: at('/um/users') },
    [`POST ${users}`]: {
      expect: ADMINISTRATORS,
      target: async () => ({ path: '/um/users', body: NEW_USER() }),
    },
    [`GET ${users}/:userId`]: {
      expect: OWN_ADMINISTRATORS,
      target: async (tenants) => ({ path: `/um/users/${tenants.userIds.reader}` }),
    },
    [`PUT ${users}/:userId`]: {
      expect: OWN_ADMINISTRATORS,
      target: async (tenants) => ({ path: `/um/users/${await newUser(tenants)}`, body: NEW_USER() }),
    },
    [`DELETE ${users}/:userId`]: {
      expect: OWN_ADMINISTRATORS,
      target: async (tenants) => ({ path: `/um/users/${await newUser(tenants)}` }),
    },
    [`GET ${groups}`]: { expect: ADMINISTRATORS, target: at('/um/groups') },
    [`POST ${groups}`]: { expect: ADMINISTRATORS, target: at('/um/groups', NEW_GROUP) },
    ...Object.fromEntries(
      ['GET', 'PUT', 'DELETE'].map((method) => [
        `${method} ${groups}/:groupId`,
        {
          expect: OWN_ADMINISTRATORS,
          target: async (tenants: Tenants) => ({
            path: await newGroup(tenants),
            body: method === 'PUT' ? NEW_GROUP : undefined,
          }),
        },
      ]),
    ),
    ...membershipRules(groups),
    'GET /cloudapi/v6/um/resources': { expect: ADMINISTRATORS, target: at('/um/resources') },
    'GET /cloudapi/v6/um/resources/:resourceType': {
      expect: ADMINISTRATORS,
      target: at('/um/resources/datacenter'),
    },
    'GET /cloudapi/v6/um/resources/:resourceType/:resourceId': {
      expect: OWN_ADMINISTRATORS,
      target: async (tenants) => ({ path: `/um/resources/datacenter/${tenants.datacenterId}` }),
    },
  }
}

function membershipRules(groups: string): Record<string, Rule> {
  const expect = OWN_ADMINISTRATORS
  const withUser = async (tenants: Tenants) => {
    const group = await newGroup(tenants)
    const id = await newUser(tenants)
    await tenants.call('POST', `${group}/users`, { id })
    return `${group}/users/${id}`
  }
  const withShare = async (tenants: Tenants) => {
    const path = `${await newGroup(tenants)}/shares/${tenants.datacenterId}`
    await tenants.call('POST', path, SHARE)
    return path
  }
  const rule = (target: Rule['target']): Rule => ({ expect, target })
  const share = rule(async (tenants) => ({ path: await withShare(tenants), body: SHARE }))
  return {
    [`GET ${groups}/:groupId/users`]: rule(async (tenants) => ({ path: `${await newGroup(tenants)}/users` })),
    [`POST ${groups}/:groupId/users`]: rule(async (tenants) => ({
      path: `${await newGroup(tenants)}/users`,
      body: { id: tenants.userIds.reader },
    })),
    [`DELETE ${groups}/:groupId/users/:userId`]: rule(async (tenants) => ({ path: await withUser(tenants) })),
    [`GET ${groups}/:groupId/shares`]: rule(async (tenants) => ({
      path: `${await newGroup(tenants)}/shares`,
    })),
    [`GET ${groups}/:groupId/resources`]: rule(async (tenants) => ({
      path: `${await newGroup(tenants)}/resources`,
    })),
    [`GET ${groups}/:groupId/shares/:resourceId`]: rule(async (tenants) => ({
      path: await withShare(tenants),
    })),
    [`POST ${groups}/:groupId/shares/:resourceId`]: share,
    [`PUT ${groups}/:groupId/shares/:resourceId`]: share,
    [`DELETE ${groups}/:groupId/shares/:resourceId`]: rule(async (tenants) => ({
      path: await withShare(tenants),
    })),
  }
}

async function someRequest(tenants: Tenants): Promise<string> {
  const { headers } = await tenants.call('PATCH', `/datacenters/${tenants.datacenterId}`, { name: 'dc' })
  return /requests\/([^/]+)/.exec(headers.get('location')!)![1]!
}

/** Members see the requests that they made, and this one is the operator's. */
const REQUEST = forUsers({ ...all(404), admin: 'ok', owner: 'ok', operator: 'ok' })
const REPORT = {
  protocol: 1,
  agentVersion: '1',
  startedAt: '2026-01-01T00:00:00Z',
  assignmentsVersion: '0',
  points: [],
  health: IDLE_HEALTH,
}

/** Of a bucket that belongs to the contract. */
const BUCKET_READERS = { ...OWN_ADMINISTRATORS }

function otherRules(): Record<string, Rule> {
  const api = '/cloudapi/v6'
  const nobodyButAgents = (path: string, body?: unknown): Rule => ({ expect: AGENT, target: at(path, body) })
  return {
    [`GET ${api}`]: { expect: ANY_USER, target: at('') },
    [`GET ${api}/contracts`]: { expect: ANY_USER, target: at('/contracts') },
    [`GET ${api}/datacenters/:datacenterId/lans/:lanId/nics`]: {
      expect: READERS,
      target: async (tenants) => ({ path: `${await make(tenants, ['datacenters', 'lans'])}/nics` }),
    },
    [`GET ${api}/requests`]: { expect: ANY_USER, target: at('/requests') },
    [`GET ${api}/requests/:requestId`]: {
      expect: REQUEST,
      target: async (tenants) => ({ path: `/requests/${await someRequest(tenants)}` }),
    },
    [`GET ${api}/requests/:requestId/status`]: {
      expect: REQUEST,
      target: async (tenants) => ({ path: `/requests/${await someRequest(tenants)}/status` }),
    },
    'GET /auth/v1/tokens/generate': { expect: ANY_USER, target: at('/auth/v1/tokens/generate') },
    'GET /auth/v1/tokens': { expect: ANY_USER, target: at('/auth/v1/tokens') },
    'DELETE /auth/v1/tokens/:tokenId': {
      expect: forUsers(all(404)),
      target: at('/auth/v1/tokens/another-users'),
    },
    'GET /openapi.json': { expect: ANY_USER, target: at('/openapi.json') },
    'GET /metrics': { expect: OPERATOR, target: at('/metrics') },
    'GET /healthz': { expect: EVERYBODY, target: at('/healthz') },
    'GET /weir/v1/status': { expect: ADMINISTRATORS, target: at('/weir/v1/status') },
    'GET /weir/v1/audit': { expect: { ...ADMINISTRATORS, editor: 'ok' }, target: at('/weir/v1/audit') },
    'GET /weir/v1/flowlogs': { expect: ANY_USER, target: at('/weir/v1/flowlogs') },
    'GET /weir/v1/inventory': { expect: ANY_USER, target: at('/weir/v1/inventory') },
    'GET /weir/v1/flowlogs/:flowLogId': {
      expect: READERS,
      target: async (tenants) => {
        const path = await make(tenants, ['datacenters', 'servers', 'nics', 'flowlogs'])
        return { path: `/weir/v1/flowlogs/${path.split('/').at(-1)}` }
      },
    },
    'GET /weir/v1/buckets': { expect: ANY_USER, target: at('/weir/v1/buckets') },
    'POST /weir/v1/buckets': {
      expect: ADMINISTRATORS,
      target: async () => ({ path: '/weir/v1/buckets', body: { name: `b-${crypto.randomUUID()}` } }),
    },
    'POST /weir/v1/explore': {
      expect: EXPLORERS,
      target: at('/weir/v1/explore', { kind: 'summary', since: '1h', buckets: ['tenant-logs'] }),
    },
    'GET /weir/v1/explore/export': {
      expect: EXPLORERS,
      target: at(
        `/weir/v1/explore/export?format=csv&question=${encodeURIComponent(
          JSON.stringify({ kind: 'flows', since: '1h', buckets: ['tenant-logs'] }),
        )}`,
      ),
    },
    'GET /weir/v1/explore/progress': { expect: ANY_USER, target: at('/weir/v1/explore/progress') },
    'GET /weir/v1/explore/fields': { expect: ANY_USER, target: at('/weir/v1/explore/fields') },
    'POST /weir/v1/explore/filter': {
      expect: ANY_USER,
      target: at('/weir/v1/explore/filter', { text: 'tcp/443' }),
    },
    'GET /weir/v1/buckets/:name/lifecycle': {
      expect: BUCKET_READERS,
      target: at('/weir/v1/buckets/tenant-logs/lifecycle'),
    },
    'POST /weir/v1/buckets/:name/lifecycle': {
      expect: BUCKET_READERS,
      target: at('/weir/v1/buckets/tenant-logs/lifecycle', { prefix: 'x', days: 30 }),
    },
    'POST /weir/v1/buckets/:name/retry': {
      expect: BUCKET_READERS,
      target: async (tenants) => {
        await make(tenants, ['datacenters', 'servers', 'nics', 'flowlogs'])
        return { path: '/weir/v1/buckets/tenant-logs/retry', body: {} }
      },
    },
    'GET /weir/v1/objects': { expect: BUCKET_READERS, target: at('/weir/v1/objects?bucket=tenant-logs') },
    'GET /weir/v1/objects/content': {
      expect: forUsers({ ...all(404), outsider: 403, reader: 403, editor: 403 }),
      target: at('/weir/v1/objects/content?bucket=tenant-logs&name=no-1.log.gz'),
    },
    'GET /weir/v1/contracts': { expect: OPERATOR, target: at('/weir/v1/contracts') },
    'POST /weir/v1/contracts': {
      expect: OPERATOR,
      target: async () => ({
        path: '/weir/v1/contracts',
        body: {
          name: 'x',
          owner: { email: `${crypto.randomUUID()}@example.org`, password: 'a long password' },
        },
      }),
    },
    'POST /weir/v1/enrolments': { expect: OPERATOR, target: at('/weir/v1/enrolments', { host: 'host-3' }) },
    'DELETE /weir/v1/agents/:host': { expect: OPERATOR, target: at('/weir/v1/agents/host-3') },
    'GET /weir/v1/registrations': { expect: OPERATOR, target: at('/weir/v1/registrations') },
    'POST /weir/v1/registrations': {
      expect: OPERATOR,
      target: at('/weir/v1/registrations', { name: 'tenant-logs' }),
    },
    'DELETE /weir/v1/registrations/:name': {
      expect: { ...OPERATOR, operator: 404 },
      target: at('/weir/v1/registrations/nobody-has-this'),
    },
    // The console's pages hold no secrets; what they ask for needs a session.
    ...Object.fromEntries(PAGES.map((page) => [`GET ${page}`, { expect: EVERYBODY, target: at(page) }])),
    'GET /assets/*': {
      expect: Object.fromEntries(CALLERS.map((caller) => [caller, 404])),
      target: at('/assets/nothing.js'),
    },
    'POST /weir/v1/session': {
      // Signing in is for pages of the console itself: others are turned away before their password is
      // looked at.
      expect: Object.fromEntries(CALLERS.map((caller) => [caller, 403])),
      target: at('/weir/v1/session', { username: 'nobody@example.org', password: 'wrong' }),
    },
    'GET /weir/v1/session': { expect: ANY_USER, target: at('/weir/v1/session') },
    'PUT /weir/v1/session': {
      // None of them has a session that could be switched.
      expect: forUsers(all(403)),
      target: at('/weir/v1/session', { contractNumber: CONTRACT }),
    },
    'DELETE /weir/v1/session': { expect: ANY_USER, target: at('/weir/v1/session') },
    'GET /agent/v1/assignments': nobodyButAgents('/agent/v1/assignments'),
    'POST /agent/v1/report': nobodyButAgents('/agent/v1/report', REPORT),
    'POST /agent/v1/live': nobodyButAgents('/agent/v1/live', { everyS: 2, flowLogs: [] }),
    // A host that does not carry the flow log is refused in the answer for the segment: see uploads.test.ts.
    'POST /agent/v1/uploads': nobodyButAgents('/agent/v1/uploads', { segments: [{}] }),
    'POST /agent/v1/uploads/acknowledge': nobodyButAgents('/agent/v1/uploads/acknowledge', {
      segmentIds: ['unknown'],
    }),
    'POST /agent/v1/enroll': {
      expect: Object.fromEntries(CALLERS.map((caller) => [caller, 401])),
      target: at('/agent/v1/enroll', { code: 'no such code' }),
    },
    'PUT /buckets/*': {
      expect: Object.fromEntries(CALLERS.map((caller) => [caller, 403])),
      target: at('/buckets/tenant-logs/x-1.log.gz'),
    },
  }
}

const RULES: Record<string, Rule> = { ...inventoryRules(), ...userRules(), ...otherRules() }

function routesOf(weir: ControlPlane): string[] {
  const routes = weir.app.routeTable.filter(({ method }) => method !== 'HEAD')
  return [...new Set(routes.map(({ method, url }) => `${method} ${url}`))].sort()
}

test('every route is in the authorisation table, and nothing else is', async () => {
  await using weir = await startControlPlane()

  assert.deepEqual(Object.keys(RULES).sort(), routesOf(weir))
})

test('every route lets in whom it should, and nobody else', async () => {
  await using issuer = new Issuer()
  await issuer.start()
  const openId = { issuer: issuer.url, audience: AUDIENCE }
  await using weir = await startControlPlane({ attachGraceMs: 0, openId })
  const tenants = await makeTenants(weir, issuer)
  const faults: string[] = []

  for (const [route, { expect, target }] of Object.entries(RULES)) {
    const [method = ''] = route.split(' ')
    for (const caller of CALLERS) {
      const { path, body } = await target(tenants)
      const authorization = tenants.authorization[caller]
      const status = await statusOf(weir, {
        method,
        path,
        body,
        authorization,
        isOperator: caller === 'operator',
      })
      const wanted = expect[caller === 'federated' ? 'editor' : caller]
      const isRight = wanted === 'ok' ? status < 400 : status === wanted
      if (!isRight) faults.push(`${route} for ${caller}: ${status} instead of ${wanted}`)
    }
  }

  assert.deepEqual(faults, [])
})

async function statusOf(
  weir: ControlPlane,
  it: { method: string; path: string; body: unknown; authorization: string | undefined; isOperator: boolean },
): Promise<number> {
  const response = await fetch(`${isOutside(it.path) ? weir.origin : weir.base}${it.path}`, {
    method: it.method,
    headers: {
      ...(it.authorization === undefined ? {} : { authorization: it.authorization }),
      ...(it.isOperator ? { 'x-contract-number': String(CONTRACT) } : {}),
      ...(it.body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(it.body === undefined ? {} : { body: JSON.stringify(it.body) }),
  })
  await response.arrayBuffer()
  return response.status
}

test("what is another's answers to the letter as what is not there", async () => {
  await using weir = await startControlPlane({ attachGraceMs: 0 })
  const tenants = await makeTenants(weir)
  const faults: string[] = []
  let compared = 0

  for (const [route, { expect, target }] of Object.entries(RULES)) {
    const [method = ''] = route.split(' ')
    for (const caller of ['stranger', 'outsider'] as const) {
      if (expect[caller] !== 404) continue
      const { path, body } = await target(tenants)
      const invented = new Map<string, string>()
      const elsewhere = replaceIds(JSON.stringify({ path, body }), invented)
      const authorization = tenants.authorization[caller]
      const there = await textOf(weir, { method, path, body, authorization })
      const nowhere = await textOf(weir, { method, ...JSON.parse(elsewhere), authorization })
      compared++
      if (replaceIds(there, invented) !== nowhere)
        faults.push(`${route} for ${caller}: ${there} and ${nowhere}`)
    }
  }

  assert.deepEqual(faults, [])
  assert.ok(compared > 100, String(compared))
})

/** Ids, and the one bucket, by others that were never given to anybody. */
function replaceIds(text: string, invented: Map<string, string>): string {
  return text.replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|tenant-logs/g, (id) => {
    const other = invented.get(id) ?? (id === 'tenant-logs' ? 'nobodys-log' : crypto.randomUUID())
    invented.set(id, other)
    return other
  })
}

/** Status, headers but for those that count, and body. */
async function textOf(
  weir: ControlPlane,
  it: { method: string; path: string; body?: unknown; authorization: string | undefined },
): Promise<string> {
  const response = await fetch(`${isOutside(it.path) ? weir.origin : weir.base}${it.path}`, {
    method: it.method,
    headers: { authorization: it.authorization!, 'content-type': 'application/json' },
    ...(it.body === undefined ? {} : { body: JSON.stringify(it.body) }),
  })
  const headers = [...response.headers].filter(([name]) => !/^(date|x-ratelimit-remaining)$/.test(name))
  return JSON.stringify([response.status, headers, await response.text()])
}

test('lists show what belongs to the caller and nothing else', async () => {
  await using weir = await startControlPlane()
  const tenants = await makeTenants(weir)
  const listed = async (caller: Caller, path: string) => {
    const headers = { authorization: tenants.authorization[caller]! }
    const response = await fetch(weir.base + path, { headers })
    return ((await response.json()) as { items: { id: string }[] }).items.map((it) => it.id)
  }
  await tenants.call('POST', '/datacenters', { properties: { name: 'other', location: 'x' } })

  assert.deepEqual(await listed('stranger', '/datacenters'), [])
  assert.deepEqual(await listed('outsider', '/datacenters'), [])
  assert.deepEqual(await listed('reader', '/datacenters'), [tenants.datacenterId])
  assert.equal((await listed('owner', '/datacenters')).length, 2)
  assert.deepEqual(await listed('stranger', '/requests'), [])
  assert.deepEqual(await listed('stranger', '/um/groups'), [])
  assert.deepEqual(await listed('stranger', '/um/resources'), [])
  assert.equal((await listed('owner', '/um/resources')).length, 2)
  const shared = `/um/groups/${tenants.groupId}/resources`
  assert.deepEqual(await listed('owner', shared), [tenants.datacenterId])
})

test('who is a member of two contracts cannot be taken over by the administrators of one', async () => {
  await using weir = await startControlPlane()
  const tenants = await makeTenants(weir)
  const userId = tenants.userIds.reader
  await weir.store.change((change) =>
    addMember(change, { contractNumber: STRANGER_CONTRACT, userId, role: 'owner' }),
  )
  const properties = {
    firstname: 'x',
    lastname: 'y',
    email: 'mine@example.org',
    password: 'a password of mine',
  }
  const change = (caller: Caller, contractNumber: number) =>
    weir.call(
      'PUT',
      `/um/users/${userId}`,
      { properties },
      { authorization: tenants.authorization[caller]!, 'x-contract-number': String(contractNumber) },
    )

  const byAdministrator = await change('admin', CONTRACT)
  const byItself = await change('reader', STRANGER_CONTRACT)

  assert.equal(byAdministrator.status, 403)
  assert.equal(byItself.status, 202)
})

test('an address is the same in any case: nobody takes that of another, and it signs in', async () => {
  await using weir = await startControlPlane()
  await makeTenants(weir)
  const signIn = (name: string) =>
    weir.call('GET', '/contracts', undefined, {
      authorization: `Basic ${Buffer.from(`${name}:a long password`).toString('base64')}`,
    })
  const lookAlike = { firstname: 'x', lastname: 'y', email: 'OWNER@example.org', password: 'a long password' }

  const refused = await weir.post('/um/users', { properties: lookAlike })
  const answers = [await signIn('owner@example.org'), await signIn('Owner@Example.org')]

  assert.equal(refused.status, 422)
  assert.match(refused.body.messages[0].message, /is taken/)
  assert.deepEqual(
    answers.map(({ status, body }) => [status, body.items[0].properties.contractNumber]),
    [
      [200, CONTRACT],
      [200, CONTRACT],
    ],
  )
})

test('only the operator binds interfaces to devices or names their MAC addresses', async () => {
  await using weir = await startControlPlane()
  const tenants = await makeTenants(weir)
  const server = await tenants.call('POST', `/datacenters/${tenants.datacenterId}/servers`, BODIES['servers'])
  const nics = `/datacenters/${tenants.datacenterId}/servers/${server.body.id}/nics`
  const binding = { host: 'host-1', device: 'eth0', side: 'own' }
  const asOwner = (properties: object) =>
    weir.call(
      'POST',
      nics,
      { properties: { lan: 1, ...properties } },
      { authorization: tenants.authorization.owner! },
    )

  const answers = [
    await asOwner({ binding }),
    await asOwner({ mac: '02:00:00:00:00:01' }),
    await asOwner({}),
    await tenants.call('POST', nics, { properties: { lan: 1, binding, mac: '02:00:00:00:00:09' } }),
  ]

  assert.deepEqual(
    answers.map((it) => it.status),
    [403, 403, 202, 202],
  )
})

test('a tenant cannot name the bucket of another', async () => {
  await using weir = await startControlPlane()
  const tenants = await makeTenants(weir)
  const flowLog = { properties: { ...FLOW_LOG.properties, bucket: 'tenant-logs' } }

  const refused = await weir.post(`${weir.nicPath}/flowlogs`, flowLog)
  const taken = await weir.call(
    'POST',
    '/weir/v1/buckets',
    { name: 'tenant-logs' },
    { authorization: tenants.authorization.stranger! },
  )

  assert.equal(refused.status, 422)
  assert.equal(refused.body.messages[0].errorCode, '200')
  assert.match(refused.body.messages[0].message, /does not belong to contract/)
  assert.equal(taken.status, 422)
})

test('a code enrols its host once; shutting the host out ends its token', async () => {
  await using weir = await startControlPlane()
  const { body } = await weir.post('/weir/v1/enrolments', { host: 'host-7' })
  const enroll = () => weir.call('POST', '/agent/v1/enroll', { code: body.code }, { authorization: '' })

  const first = await enroll()
  const second = await enroll()
  const asAgent = () =>
    weir.call('GET', '/agent/v1/assignments', undefined, { authorization: `Bearer ${first.body.token}` })
  const before = await asAgent()
  await weir.call('DELETE', '/weir/v1/agents/host-7')
  const after = await asAgent()

  assert.deepEqual([first.status, first.body.host, second.status], [201, 'host-7', 401])
  assert.deepEqual([before.status, after.status], [200, 401])
})

test('a generated token works until it is revoked', async () => {
  await using weir = await startControlPlane()
  const basic = `Basic ${Buffer.from(`${weir.owner.username}:${weir.owner.password}`).toString('base64')}`
  const { body } = await weir.call('GET', '/auth/v1/tokens/generate', undefined, { authorization: basic })
  const authorization = `Bearer ${body.token}`
  const contracts = () => weir.call('GET', '/contracts', undefined, { authorization })

  const before = await contracts()
  const { body: list } = await weir.get('/auth/v1/tokens')
  const { href } = list.tokens.find((it: { purpose: string }) => it.purpose === 'generated')
  await weir.call('DELETE', href)
  const after = await contracts()

  assert.deepEqual([before.status, after.status], [200, 401])
  assert.equal(before.body.items[0].properties.contractNumber, weir.owner.contractNumber)
})

test('the audit log says who changed what, with which outcome, and holds no secrets', async () => {
  await using weir = await startControlPlane()
  await weir.call('PATCH', weir.nicPath, { name: 'x' })
  await weir.call('DELETE', '/datacenters/nothing')
  const user = { firstname: 'x', lastname: 'y', email: 'x@example.org', password: 'a very secret one' }
  const escaped = JSON.stringify({ properties: user }).replace('"password"', '"p\\u0061ssword"')
  await weir.call('POST', '/um/users', escaped)
  await weir.get('/auth/v1/tokens/generate')
  const { username, password } = weir.owner
  const marked = { 'x-weir-console': '1' }
  await weir.call('POST', '/weir/v1/session', { username, password }, marked)

  let items: { method: string; path: string; status: number; email: string; requestId: string | null }[] = []
  while (items.length < 5) items = (await weir.get('/weir/v1/audit')).body.items // Written in batches.

  assert.deepEqual(
    items.map((it) => [it.method, it.path.split('/').at(-1), it.status]),
    [
      ['POST', 'session', 201],
      ['GET', 'generate', 200],
      ['POST', 'users', 202],
      ['DELETE', 'nothing', 404],
      ['PATCH', weir.owner.nics[0]!.id, 202],
    ],
  )
  assert.ok(items.every((it) => it.email === weir.owner.username))
  assert.match(items[4]!.requestId ?? '', /^[0-9a-f-]{36}$/)
  const requests = await weir.get('/requests?depth=1')
  const shown = JSON.stringify([items, requests.body])
  assert.ok(!shown.includes('a very secret one') && !shown.includes(password))
})
