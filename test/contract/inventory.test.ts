import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TestAgent } from './support/agent.ts'
import { FLOW_LOG, HOST, startControlPlane } from './support/control-plane.ts'
import { CONTRACT, makeTenants } from './support/tenants.ts'

// The request shapes of the other clients (CONTRACT, section 7), and what the inventory promises them.

test('a server with NICs with flow logs comes to be in one request', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 1 })
  const body = {
    properties: { name: 'web', cores: 2, ram: 2048, type: 'enterprise' },
    entities: {
      nics: {
        items: [
          { properties: { name: 'eth0', lan: 1 }, entities: { flowlogs: { items: [FLOW_LOG] } } },
          { properties: { name: 'eth1', lan: 7 } },
        ],
      },
    },
  }

  const created = await weir.post(`/datacenters/${weir.owner.datacenterId}/servers`, body)
  const finished = await weir.finished(created)
  const { body: server } = await weir.get(`${created.body.href}?depth=5`)

  const types = finished.metadata.targets.map((it: { target: { type: string } }) => it.target.type).sort()
  assert.deepEqual(types, ['flow-log', 'lan', 'nic', 'nic', 'server'])
  const [first, second] = server.entities.nics.items
  assert.deepEqual(first.entities.flowlogs.items[0].properties, FLOW_LOG.properties)
  assert.deepEqual([first.properties.deviceNumber, second.properties.deviceNumber], [1, 2])
  assert.match(first.properties.mac, /^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/)
  const lan = await weir.get(`/datacenters/${weir.owner.datacenterId}/lans/7?depth=2`)
  assert.deepEqual(
    lan.body.entities.nics.items.map((it: { id: string }) => it.id),
    [second.id],
  )
})

test('LANs are numbered in the order in which they come, alone or together', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 1 })
  const lans = { items: [{ properties: {} }, { properties: {} }, { properties: { name: 'third' } }] }
  const servers = {
    items: [
      { properties: { cores: 1, ram: 256 }, entities: { nics: { items: [{ properties: { lan: 7 } }] } } },
    ],
  }
  const { body } = await weir.post('/datacenters', {
    properties: { location: 'x' },
    entities: { lans, servers },
  })
  const path = `/datacenters/${body.id}/lans`
  const alone = await weir.post(path, { properties: { name: 'alone' } })

  const { items } = (await weir.get(`${path}?depth=1`)).body
  const named = items.map((it: { id: string; properties: { name: string } }) => [it.id, it.properties.name])
  assert.equal(alone.body.id, '8')
  assert.deepEqual(named, [
    ['1', 'Unnamed LAN'],
    ['2', 'Unnamed LAN'],
    ['3', 'third'],
    ['7', 'LAN 7'],
    ['8', 'alone'],
  ])
})

test('when one part of a composite is refused nothing of it is there', async () => {
  await using weir = await startControlPlane()
  const servers = `/datacenters/${weir.owner.datacenterId}/servers`
  const nic = { properties: { lan: 1 }, entities: { flowlogs: { items: [FLOW_LOG, FLOW_LOG] } } }
  const body = { properties: { name: 'web', cores: 1, ram: 256 }, entities: { nics: { items: [nic] } } }

  const refused = await weir.post(servers, body)
  const invalid = await weir.post(servers, {
    ...body,
    entities: {
      nics: { items: [{ ...nic, entities: { flowlogs: { items: [{ properties: { name: 'x' } }] } } }] },
    },
  })
  const { body: list } = await weir.get(servers)

  assert.equal(refused.status, 422)
  assert.equal(refused.body.messages[0].errorCode, '200')
  assert.equal(list.items.length, 1)
  const at = '[(root).entities.nics.items[0].entities.flowlogs.items[0].properties.action]'
  assert.ok(invalid.body.messages.some((it: { message: string }) => it.message.startsWith(at)))
})

test('every type of resource can be made, read, changed, replaced and deleted', async () => {
  await using weir = await startControlPlane()
  const datacenter = `/datacenters/${weir.owner.datacenterId}`
  const cases: [collection: string, properties: Record<string, unknown>][] = [
    ['/datacenters', { name: 'dc', location: 'de/fra', description: 'd' }],
    [`${datacenter}/servers`, { name: 's', cores: 1, ram: 1024 }],
    [`${datacenter}/lans`, { name: 'l', public: true }],
    [
      `${datacenter}/natgateways`,
      { name: 'n', publicIps: ['192.0.2.1'], lans: [{ id: 1, gatewayIps: null }] },
    ],
    [`${datacenter}/networkloadbalancers`, { name: 'n', listenerLan: 1, targetLan: 2 }],
    [`${datacenter}/applicationloadbalancers`, { name: 'a', listenerLan: 1, targetLan: 2 }],
  ]

  for (const [collection, properties] of cases) {
    const created = await weir.post(collection, { properties })
    assert.equal(created.status, 202, `${collection}: ${JSON.stringify(created.body)}`)
    assert.equal((await weir.finished(created)).metadata.status, 'DONE')
    const item = created.body.href
    for (const [name, value] of Object.entries(properties)) {
      assert.deepEqual(created.body.properties[name], value)
    }
    const patched = await weir.call('PATCH', item, { name: 'renamed' })
    assert.equal(patched.status, 202)
    assert.ok(patched.headers.get('location'))
    const replaced = await weir.call('PUT', item, { properties: { ...properties, name: 'replaced' } })
    assert.equal(replaced.status, 202)
    const found = await weir.get(item)
    assert.equal(found.body.properties.name, 'replaced')
    assert.equal(found.headers.get('etag'), `"${found.body.metadata.etag}"`)
    const deleted = await weir.call('DELETE', item)
    assert.equal((await weir.finished(deleted)).metadata.status, 'DONE')
    assert.equal((await weir.get(item)).status, 404)
  }
})

test('waiting like ionosctl: the request, then every parent up to the data center reaches AVAILABLE', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 100 })

  const created = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  await weir.finished(created)
  const states = []
  for (let url = `${weir.base}${weir.nicPath}/flowlogs/${created.body.id}`; /datacenters\/./.test(url); ) {
    states.push((await weir.get(`${url}?depth=1`)).body.metadata.state)
    url = url.split('/').slice(0, -2).join('/')
  }

  assert.deepEqual(states, Array(4).fill('AVAILABLE'))
})

test('like Terraform: a patch that nobody waits for, followed at once by one of the NIC', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 200 })
  const created = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)

  const flowLog = await weir.call('PATCH', `${weir.nicPath}/flowlogs/${created.body.id}`, {
    ...FLOW_LOG.properties,
    name: 'other',
    action: 'all',
  })
  const nic = await weir.call('PATCH', weir.nicPath, { name: 'eth0', lan: 1, dhcp: true })
  const finished = await weir.finished(nic)
  const { body } = await weir.get(`${weir.nicPath}?depth=3`)

  assert.deepEqual([flowLog.status, nic.status], [202, 202])
  assert.equal(finished.metadata.status, 'DONE')
  assert.equal(body.entities.flowlogs.items[0].properties.name, 'other')
  assert.equal(body.metadata.state, 'AVAILABLE')
})

test('sequence 10, like Ansible: following _links.next gives every data center once', async () => {
  await using weir = await startControlPlane()
  for (let i = 0; i < 6; i++) {
    await weir.post('/datacenters', { properties: { name: `dc-${i}`, location: 'de/fra' } })
  }

  const ids: string[] = []
  const offsets: number[] = []
  for (
    let url: string | undefined = `${weir.base}/datacenters?depth=1&limit=3&offset=0`;
    url !== undefined;
  ) {
    const { body } = await weir.get(url)
    ids.push(...body.items.map((it: { id: string }) => it.id))
    offsets.push(body.offset)
    assert.equal('prev' in body._links, body.offset > 0)
    url = body._links.next
  }

  assert.equal(ids.length, 7)
  assert.equal(new Set(ids).size, 7)
  assert.deepEqual(offsets, [0, 3, 6])
})

test('hrefs and Locations use the public URL, and the three rate limit headers are on every answer', async () => {
  await using weir = await startControlPlane({ publicUrl: 'https://weir.example.org/edge/' })

  const created = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  const refused = await fetch(`${weir.base}/datacenters`)

  assert.match(created.body.href, /^https:\/\/weir\.example\.org\/edge\/cloudapi\/v6\/datacenters\//)
  const location = /^https:\/\/weir\.example\.org\/edge\/cloudapi\/v6\/requests\/[0-9a-f-]{36}\/status$/
  assert.match(created.headers.get('location') ?? '', location)
  for (const headers of [created.headers, refused.headers]) {
    for (const name of ['limit', 'burst', 'remaining']) {
      assert.match(headers.get(`x-ratelimit-${name}`) ?? '', /^\d+$/)
    }
  }
})

test('past the rate limit the answer is 429 with Retry-After, for this contract only', async () => {
  await using weir = await startControlPlane({ rateLimit: { perMinute: 60, burst: 3 } })

  const answers = []
  for (let i = 0; i < 5; i++) answers.push(await weir.get('/contracts'))

  const last = answers.at(-1)!
  assert.deepEqual(
    answers.map((it) => it.status),
    [200, 200, 200, 429, 429],
  )
  assert.match(last.headers.get('retry-after') ?? '', /^[1-9]/)
  assert.equal(last.body.messages[0].errorCode, '429')
})

test('methods, types, bodies and etags that do not fit have their own answers', async () => {
  await using weir = await startControlPlane()
  const { nicPath } = weir

  const method = await weir.call('DELETE', '/datacenters')
  const type = await weir.call('POST', `${nicPath}/flowlogs`, 'x=1', { 'content-type': 'text/plain' })
  const anyType = await weir.call('PATCH', nicPath, { name: 'x' }, { 'content-type': '*/*' })
  const broken = await weir.call('POST', `${nicPath}/flowlogs`, '{"properties":')
  const empty = await weir.call('POST', `${nicPath}/flowlogs`, '')
  const stale = await weir.call(
    'PATCH',
    nicPath,
    { name: 'y' },
    { 'if-match': '"00000000000000000000000000000000"' },
  )
  const depth = await weir.get('/datacenters?depth=11&limit=0')
  const deleteWithType = await weir.call('DELETE', weir.owner.nics[1]!.path, undefined, {
    'content-type': 'application/json',
  })

  assert.deepEqual(
    [method, type, anyType, broken, empty, stale, depth, deleteWithType].map((it) => it.status),
    [405, 415, 202, 400, 422, 412, 422, 202],
  )
  assert.equal(depth.body.messages.length, 2)
  assert.equal(method.headers.get('allow'), 'GET, HEAD, POST')
})

test('requests can be listed and filtered', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 60_000 })
  await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  await weir.call('PATCH', weir.owner.nics[1]!.path, { name: 'x' })
  const methods = async (query: string) =>
    (await weir.get(`/requests?depth=1${query}`)).body.items.map(
      (it: { properties: { method: string } }) => it.properties.method,
    )

  assert.deepEqual(await methods(''), ['POST', 'PATCH'])
  assert.deepEqual(await methods('&filter.status=running'), ['POST'])
  assert.deepEqual(await methods('&filter.method=patch'), ['PATCH'])
  assert.deepEqual(await methods('&filter.url=flowlogs'), ['POST'])
  assert.deepEqual(await methods('&filter.createdAfter=2099-01-01 00:00:00'), [])
  assert.deepEqual(await methods('&filter.nonsense=1'), [])
  assert.deepEqual(await methods('&filter.createdBefore=nonsense'), [])
  assert.deepEqual(await methods('&filter.createdAfter=2000-01-01 00:00:00&orderBy=method'), [
    'PATCH',
    'POST',
  ])
  assert.deepEqual(await methods('&maxResults=1&filter.method=patch'), [])
  assert.deepEqual(await methods('&maxResults=1&filter.status=done'), [])
})

test('binding a NIC to another device moves its flow log to the other host', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 1 })
  await using agent = new TestAgent({ origin: weir.origin, token: weir.owner.agentToken })
  await weir.finished(await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG))
  await agent.poll(0)
  const before = agent.assignments.map((it) => it.binding)

  await weir.call('PATCH', weir.nicPath, {
    binding: { host: HOST, device: 'tap0', netns: 'red', side: 'guest' },
  })
  await agent.poll(0)
  const moved = agent.assignments.map((it) => it.binding)
  await weir.call('PATCH', weir.nicPath, { binding: { host: 'host-9', device: 'tap0', side: 'guest' } })
  await agent.poll(0)
  const incomplete = await weir.call('PATCH', weir.nicPath, { binding: { side: 'guest', device: 'tap0' } })

  assert.deepEqual(before, [{ device: 'eth0', side: 'own' }])
  assert.deepEqual(moved, [{ device: 'tap0', netns: 'red', side: 'guest' }])
  assert.deepEqual(agent.assignments, [])
  assert.equal(incomplete.status, 422)
})

test('the short inventory has every interface with its flow log, and is sent again only once it has changed', async () => {
  await using weir = await startControlPlane()
  const datacenter = weir.nicPath.split('/').slice(0, 3).join('/')
  const properties = { name: 'alb', listenerLan: 1, targetLan: 2, ips: ['192.0.2.9'] }
  const balancer = await weir.post(`${datacenter}/applicationloadbalancers`, { properties })
  const path = `${datacenter}/applicationloadbalancers/${balancer.body.id}`
  await weir.finished(await weir.post(`${path}/flowlogs`, FLOW_LOG))

  const first = await weir.get('/weir/v1/inventory')
  const headers = { 'if-none-match': first.headers.get('etag')! }
  const same = await weir.call('GET', '/weir/v1/inventory', undefined, headers)
  await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  const changed = await weir.call('GET', '/weir/v1/inventory', undefined, headers)

  const [{ servers, gateways }] = first.body.items
  assert.partialDeepStrictEqual(gateways, [
    {
      id: balancer.body.id,
      type: 'applicationloadbalancer',
      name: 'alb',
      addresses: ['192.0.2.9'],
      flowLog: FLOW_LOG,
    },
  ])
  assert.deepEqual(
    servers[0].nics.map(({ name }: { name: string }) => name),
    ['eth0', 'eth1'],
  )
  assert.equal(same.status, 304)
  assert.deepEqual(changed.body.items[0].servers[0].nics[0].flowLog.properties, FLOW_LOG.properties)
})

test('users, groups, members and shares are filtered, ordered and paged like everything else', async () => {
  await using weir = await startControlPlane()
  const tenants = await makeTenants(weir)
  const list = async (target: string) => (await tenants.call('GET', target)).body
  const emails = async (query: string) =>
    (await list(`/um/users?depth=1${query}`)).items.map(
      (it: { properties: { email: string } }) => it.properties.email.split('@')[0],
    )

  assert.deepEqual(await emails('&orderBy=email'), ['admin', 'editor', 'outsider', 'owner', 'reader'])
  assert.deepEqual(await emails('&filter.email=EDIT'), ['editor'])
  assert.deepEqual(await emails('&filter.administrator=true&order-by=email'), ['admin', 'owner'])
  assert.deepEqual(await emails('&filter.createdDate=1999'), [])
  assert.deepEqual(await emails('&filter.constructor=x'), [])
  assert.deepEqual(await emails('&maxResults=1&filter.email=admin'), [])

  const page = await list('/um/users?orderBy=email&limit=2&offset=2')
  assert.deepEqual(Object.keys(page.items[0]), ['id', 'type', 'href'])
  assert.deepEqual(page.items[0].id, tenants.userIds.outsider)
  assert.match(page._links.next, /orderBy=email&offset=4&limit=2$/)
  assert.match(page._links.prev, /orderBy=email&offset=0&limit=2$/)

  const groups = await list('/um/groups?depth=1&filter.createFlowLog=true')
  assert.deepEqual(
    groups.items.map((it: { id: string }) => it.id),
    [tenants.groupId],
  )
  const members = await list(`/um/groups/${tenants.groupId}/users?filter.firstname=reader`)
  const shares = await list(`/um/groups/${tenants.groupId}/shares?filter.editPrivilege=true`)
  assert.deepEqual([members.items.length, shares.items.length], [0, 1])

  const group = `/um/groups/${tenants.groupId}`
  const at = async (depth: number) => (await list(`${group}?depth=${depth}`)).entities
  const [none, references, whole] = [await at(0), await at(1), await at(2)]
  assert.deepEqual(Object.keys(none.users), ['id', 'type', 'href'])
  assert.deepEqual(
    references.users.items.map((it: object) => Object.keys(it)),
    [['id', 'type', 'href']],
  )
  assert.equal(whole.users.items[0].properties.email, 'editor@example.org')
  assert.equal(whole.shares.items[0].properties.editPrivilege, true)
  const listed = await list('/um/groups?depth=3&filter.createFlowLog=true')
  assert.deepEqual(listed.items[0].entities, whole)
  assert.equal((await weir.get(`${group}?depth=11`)).status, 422)
  const { paths } = (await weir.get('/openapi.json')).body
  const described = paths['/cloudapi/v6/um/groups'].get.parameters.map(
    (it: { name?: string; $ref?: string }) => it.name ?? it.$ref?.split('/').at(-1),
  )
  for (const name of ['orderBy', 'maxResults', 'filter.name', 'filter.createFlowLog']) {
    assert.ok(described.includes(name), name)
  }
})

test('a group or a user that somebody deletes meanwhile is not there, for whoever changes it', async () => {
  await using weir = await startControlPlane()
  const { userIds, datacenterId, call } = await makeTenants(weir)
  const headers = { 'x-contract-number': String(CONTRACT) }
  const statuses = new Set<number>()
  const change = async (method: string, target: string, body?: unknown) => {
    statuses.add((await weir.call(method, target, body, headers)).status)
  }
  for (let round = 0; round < 5; round++) {
    const group = `/um/groups/${(await call('POST', '/um/groups', { properties: { name: 'x' } })).body.id}`
    const names = { firstname: 'x', lastname: 'y', email: `x${round}@example.org` }
    const properties = { ...names, password: 'a long password' }
    const user = `/um/users/${(await call('POST', '/um/users', { properties })).body.id}`

    await Promise.all([
      change('DELETE', group),
      change('PUT', group, { properties: { name: 'y' } }),
      change('POST', `${group}/users`, { id: userIds.reader }),
      change('POST', `${group}/shares/${datacenterId}`, { properties: {} }),
      change('DELETE', user),
      change('PUT', user, { properties: names }),
    ])
  }

  assert.deepEqual([...statuses.difference(new Set([202, 404]))], [])
})

test('a member sees the data centers that are shared with its groups, however many these are', async () => {
  await using weir = await startControlPlane()
  const { authorization, datacenterId, groupId } = await makeTenants(weir)
  await weir.store.change(async ({ tx }) => {
    for (let at = 0; at < 33_000; at += 3_000) {
      const rows = Array.from({ length: 3_000 }, (_, i) => ({
        group_id: groupId,
        resource_id: `shared ${at + i}`,
        may_edit: 0,
      }))
      await tx.insertInto('group_shares').values(rows).execute()
    }
  })

  const headers = { authorization: authorization.editor! }
  const listed = await weir.call('GET', '/datacenters?depth=1', undefined, headers)
  const filtered = await weir.call('GET', '/datacenters?filter.name=dc', undefined, headers)

  const idsOf = (answer: typeof listed) => answer.body.items.map((it: { id: string }) => it.id)
  assert.deepEqual([idsOf(listed), idsOf(filtered)], [[datacenterId], [datacenterId]])
})

test('what is not kept is not accepted either: rules, volumes and new children of a PUT', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 0 })
  const servers = `/datacenters/${weir.owner.datacenterId}/servers`
  const properties = { name: 'web', cores: 1, ram: 1024 }
  const rule = { properties: { protocol: 'TCP' } }
  const nic = { properties: { lan: 1 }, entities: { firewallrules: { items: [rule] }, flowlogs: null } }
  const before = (await weir.get(servers)).body.items.length

  const both = await weir.post(servers, { properties, entities: { volumes: { items: [rule] }, cdroms: 'x' } })
  const inside = await weir.post(servers, { properties, entities: { nics: { items: [nic] } } })
  const empty = { firewallrules: { items: [] }, securitygroups: null, flowlogs: { id: 'x', items: [] } }
  const bare = await weir.post(servers, {
    properties,
    entities: { volumes: {}, nics: { items: [{ ...nic, entities: empty }] } },
  })

  const messages = (answer: { body: { messages: { errorCode: string; message: string }[] } }) =>
    answer.body.messages.map((it) => `${it.errorCode} ${it.message.split(':')[0]}`)
  const refused = 'Attribute is not allowed in create requests'
  assert.deepEqual(messages(both), [
    `100 [(root).entities.volumes] ${refused}`,
    `100 [(root).entities.cdroms] ${refused}`,
  ])
  assert.deepEqual(messages(inside), [
    `100 [(root).entities.nics.items[0].entities.firewallrules] ${refused}`,
  ])
  assert.deepEqual([both.status, inside.status, bare.status], [422, 422, 202])
  assert.equal((await weir.get(servers)).body.items.length, before + 1)

  const { body: server } = await weir.get(`${bare.body.href}?depth=5`)
  const echoed = await weir.call('PUT', server.href, server)
  server.entities.nics.items.push({ properties: { lan: 2 } })
  const added = await weir.call('PUT', server.href, server)
  const unknown = await weir.call('PATCH', server.href, { colour: 'blue' })
  assert.equal(
    unknown.body.messages[0].message,
    '[(root).properties.colour] Attribute is not allowed in update requests',
  )
  assert.deepEqual([echoed.status, added.status], [202, 422])
  assert.match(added.body.messages[0].message, /^\[\(root\)\.entities\.nics\.items\[1\]\] /)
})

test('a path is the same however its characters are encoded, and a slash in an id leads nowhere', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 0 })
  const [, , datacenterId, , serverId] = weir.nicPath.split('/')
  const statusOf = async (target: string) => (await weir.get(target)).status

  const encoded = await weir.get(weir.nicPath.replaceAll('-', '%2d'))
  const asUser = await fetch(`${weir.origin}/%61gent/v1/assignments`, {
    headers: { authorization: `Bearer ${weir.owner.token}` },
  })
  const upper = await statusOf(`/datacenters/${datacenterId!.toUpperCase()}/servers/${serverId}/`)
  const smuggled = await statusOf(`/datacenters/${datacenterId}%2Fservers%2F${serverId}`)
  const patched = await weir.call('PATCH', `/datacenters/${datacenterId}%2fservers%2f${serverId}`, {
    name: 'x',
  })

  assert.deepEqual([encoded.status, encoded.body.id], [200, weir.owner.nics[0]!.id])
  assert.deepEqual([upper, smuggled, patched.status], [200, 404, 404])
  assert.equal(asUser.status, 401) // An agent's route wants an agent, however it is spelled.
})

test('what cannot be read as it says it is, is refused before anything changes', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 0 })
  const body = JSON.stringify({ properties: { location: 'Köln' } })
  const send = async (headers: Record<string, string>, content: string | Buffer = body, query = '') => {
    const response = await fetch(`${weir.base}/datacenters${query}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${weir.owner.token}`,
        'content-type': 'application/json',
        ...headers,
      },
      body: content,
    })
    const { messages } = (await response.json()) as { messages?: { message: string }[] }
    return [response.status, messages?.[0]?.message]
  }

  assert.deepEqual(await send({ 'content-encoding': 'gzip' }), [
    415,
    "a body with Content-Encoding 'gzip' is not taken",
  ])
  assert.deepEqual(await send({ 'content-type': 'application/json; charset=ISO-8859-1' }), [
    415,
    "JSON is UTF-8, not 'ISO-8859-1'",
  ])
  assert.deepEqual(await send({}, Buffer.from(body, 'latin1')), [400, 'the body is not UTF-8'])
  assert.equal((await send({}, body, '?depth=11'))[0], 422)
  assert.equal((await weir.get('/datacenters')).body.items.length, 1)
  assert.equal((await send({ 'content-type': 'application/json;charset="UTF-8"' }))[0], 202)
})

test('what is too deep or too large to be read again is refused, and of a long body the beginning is kept', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 0 })
  const datacenter = `/datacenters/${weir.owner.datacenterId}`
  const server = `${datacenter}/servers/${weir.nicPath.split('/')[4]}`
  const nested = (open: string, close: string) => open.repeat(10_000) + close.repeat(10_000)
  const lan = { properties: { ipFailover: [{ note: 'x'.repeat(70_000) }] } }
  const tooLarge = 'Attribute values are longer than 65536 in all'

  const deep = await weir.call('PATCH', server, `{"bootVolume":{"id":"x","y":${nested('[', ']')}}}`)
  const children = nested('{"a":{"items":[{"id":1,"entities":', '}]}}').replace(':}', ':null}')
  const deepChildren = await weir.call('PATCH', datacenter, `{"properties":{},"entities":${children}}`)
  const made = await weir.post(`${datacenter}/lans`, lan)
  const changed = await weir.call('PATCH', `${datacenter}/lans/1`, lan.properties)
  const inline = await weir.post('/datacenters', {
    properties: { location: 'x' },
    entities: { lans: { items: [lan] } },
  })
  const lans = { items: Array.from({ length: 5_001 }, () => ({ properties: {} })) }
  const servers = {
    items: [
      {
        properties: { cores: 1, ram: 256 },
        entities: { nics: { items: Array.from({ length: 5_000 }, () => ({ properties: { lan: 1 } })) } },
      },
    ],
  }
  const many = await weir.post('/datacenters', { properties: { location: 'x' }, entities: { lans, servers } })
  const padded = await weir.call('PATCH', datacenter, `{"name":"x"${' '.repeat(1 << 20)}}`)

  const faults = [deep, deepChildren, made, changed, inline, many].map(({ status, body }) => [
    status,
    body.messages[0].message,
  ])
  const { items } = (await weir.get('/requests?depth=1')).body
  assert.deepEqual(faults, [
    [400, 'the body is nested deeper than 100 levels'],
    [400, 'the body is nested deeper than 100 levels'],
    [422, `[(root).properties] ${tooLarge}`],
    [422, `[(root).properties] ${tooLarge}`],
    [422, `[(root).entities.lans.items[0].properties] ${tooLarge}`],
    [422, '[(root).entities] One request creates at most 10000 resources'],
  ])
  assert.equal(padded.status, 202)
  assert.deepEqual(
    items.map((it: { properties: { body: string } }) => it.properties.body),
    ['{"name":"x"'.padEnd(4096)],
  )
})

test('every answer has the limits, and one resource its etag unless a depth is given', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 0 })
  const patch = (query: string) => weir.call('PATCH', `${weir.nicPath}${query}`, { name: 'x' })
  const etagOf = (it: { headers: Headers }) => it.headers.get('etag')

  const unreadable = await weir.get('/datacenters/%zz')
  const [plain, deep] = [await patch(''), await patch('?depth=0')]
  const flat = await weir.get(`${weir.nicPath}?pretty=FALSE`)

  assert.deepEqual([unreadable.status, unreadable.headers.get('x-ratelimit-limit')], [400, '600000'])
  assert.deepEqual([etagOf(plain), etagOf(deep)], [`"${plain.body.metadata.etag}"`, null])
  assert.equal(etagOf(flat), `"${deep.body.metadata.etag}"`)
  assert.equal(flat.headers.get('content-length'), String(JSON.stringify(flat.body).length))
})
