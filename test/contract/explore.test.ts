import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { type Answer, type ControlPlane, startControlPlane } from './support/control-plane.ts'
import { Description } from './support/description.ts'
import { type Caller, makeTenants, type Tenants } from './support/tenants.ts'

// One bucket with the records of two interfaces: one in a data center that is shared, one in a data center
// that is not.

const START_S = 1_795_372_200
const RANGE = { since: String(START_S), until: String(START_S + 600) }

let weir: ControlPlane
let tenants: Tenants
let shared: string
let hidden: string

before(async () => {
  weir = await startControlPlane()
  tenants = await makeTenants(weir)
  const spare = await tenants.call('POST', '/datacenters', { properties: { name: 'spare', location: 'x' } })
  shared = await makeNic(tenants.datacenterId, 'web')
  hidden = await makeNic(spare.body.id, 'database')
  await deliver('tenant-logs', 'all', [
    ...lines(shared, 5, 'ACCEPT'),
    ...lines(shared, 2, 'REJECT'),
    ...lines(hidden, 3, 'ACCEPT'),
  ])
  const headers = { authorization: tenants.authorization.stranger! }
  const made = await weir.call('POST', '/weir/v1/buckets', { name: 'stranger-logs' }, headers)
  assert.equal(made.status, 201)
  await deliver('stranger-logs', 'x', lines('0c1f0d44-5f0c-4a53-8f0e-6d1f6b0f3a11', 11, 'ACCEPT'))
})
after(() => weir[Symbol.asyncDispose]())

async function makeNic(datacenterId: string, name: string): Promise<string> {
  const servers = `/datacenters/${datacenterId}/servers`
  const server = await tenants.call('POST', servers, {
    properties: { name: `${name}-server`, cores: 1, ram: 1024 },
  })
  const nics = `${servers}/${server.body.id}/nics`
  const nic = await tenants.call('POST', nics, { properties: { name, lan: 1, ips: ['10.0.0.7'] } })
  const properties = { name: 'all', action: 'ALL', direction: 'BIDIRECTIONAL', bucket: 'tenant-logs/all' }
  await tenants.call('POST', `${nics}/${nic.body.id}/flowlogs`, { properties })
  return nic.body.id
}

function lines(interfaceId: string, count: number, action: string): string[] {
  return Array.from({ length: count }, (_, i) => {
    return `2 31000001 ${interfaceId} 192.0.2.${i + 1} 10.0.0.7 ${50_000 + i} 443 6 1 60 ${START_S + i} ${START_S + i} ${action} OK\n`
  })
}

async function deliver(bucket: string, stem: string, records: string[]): Promise<void> {
  const file = path.join(weir.directory, 'buckets', bucket, `${stem}-${START_S}.log.gz`)
  await mkdir(path.dirname(file), { recursive: true })
  await writeFile(file, gzipSync(records.join('')))
}

function as(caller: Caller, method: string, target: string, body?: unknown): Promise<Answer> {
  return weir.call(method, target, body, { authorization: tenants.authorization[caller]! })
}

function ask(caller: Caller, question: object): Promise<Answer> {
  return as(caller, 'POST', '/weir/v1/explore', { ...RANGE, ...question })
}

test('an owner explores all records of the contract, and they have names', async () => {
  const { status, body } = await ask('owner', { kind: 'top', by: ['interface'], metric: 'flows' })

  assert.equal(status, 200, JSON.stringify(body))
  const rows = body.result.rows.map((row: { key: { interface: string }; flows: number }) => [
    row.key.interface,
    row.flows,
  ])
  assert.deepEqual(rows, [
    [shared, 7],
    [hidden, 3],
  ])
  assert.deepEqual(body.names.interfaces[shared], { name: 'web', server: 'web-server', datacenter: 'dc' })
  assert.deepEqual(body.totals.rejected, { flows: 2, packets: 2, bytes: 120 })
})

test('a member explores the interfaces of data centers that are shared to it, and no other in the same object', async () => {
  for (const caller of ['reader', 'editor'] as const) {
    const { status, body } = await ask(caller, { kind: 'summary' })
    assert.deepEqual([status, body.totals?.flows], [200, 7], caller)
    const values = await ask(caller, { kind: 'values', field: 'interface' })
    assert.deepEqual(values.body.result.values, [{ value: shared, label: 'web', flows: 7 }])
  }
  const outside = await ask('outsider', { kind: 'summary' })
  assert.deepEqual([outside.status, outside.body.totals?.flows], [200, 0])
})

test("no route reads another contract's objects, whatever is asked for", async () => {
  const mine = await ask('stranger', { kind: 'summary' })
  assert.equal(mine.body.totals.flows, 11)
  for (const buckets of [
    ['tenant-logs'],
    ['tenant-logs/all'],
    ['../buckets/tenant-logs'],
    ['stranger-logs', 'tenant-logs'],
  ]) {
    for (const kind of ['summary', 'rejects', 'flows', 'throughput']) {
      const { status, body } = await ask('stranger', { kind, buckets })
      assert.equal(status, 404, `${kind} ${buckets}: ${JSON.stringify(body)}`)
    }
    const question = encodeURIComponent(JSON.stringify({ ...RANGE, kind: 'flows', buckets }))
    const exported = await as('stranger', 'GET', `/weir/v1/explore/export?format=json&question=${question}`)
    assert.equal(exported.status, 404)
  }
  const named = await ask('stranger', { kind: 'summary', filter: `interface = ${shared}` })
  assert.equal(named.body.totals.flows, 0)
})

test('without credentials there is nothing', async () => {
  for (const caller of ['agent', 'expired', 'revoked'] as const) {
    assert.equal((await ask(caller, { kind: 'summary' })).status, 401)
  }
})

test('an export is a file with all rows', async () => {
  const question = encodeURIComponent(JSON.stringify({ ...RANGE, kind: 'flows', filter: 'reject', limit: 1 }))

  const { status, body, headers } = await as(
    'owner',
    'GET',
    `/weir/v1/explore/export?format=json&question=${question}`,
  )

  assert.equal(status, 200)
  assert.match(headers.get('content-disposition')!, /attachment; filename="flows\.json"/)
  assert.equal(body.length, 2)
  assert.equal(body[0].action, 'REJECT')
})

test('an export that leaves out rows says so in its name', async () => {
  const atS = START_S + 86_400
  const [line] = lines(shared, 1, 'ACCEPT')
  const records = line!.replaceAll(String(START_S), String(atS)).repeat(1_000_001)
  const file = path.join(weir.directory, 'buckets', 'tenant-logs', `all-${atS}.log.gz`)
  await writeFile(file, gzipSync(records, { level: 1 }))
  const question = JSON.stringify({ kind: 'flows', since: String(atS), until: String(atS + 600) })

  const query = new URLSearchParams({ format: 'parquet', question })
  const headers = { authorization: tenants.authorization.owner! }
  const answer = await fetch(`${weir.origin}/weir/v1/explore/export?${query}`, { headers })
  await answer.arrayBuffer()

  assert.equal(answer.status, 200)
  assert.match(answer.headers.get('content-disposition')!, /filename="flows-first-1000000\.parquet"/)
})

test('a question that does not fit is refused with the attribute that does not', async () => {
  const faults: [object, RegExp][] = [
    [{ kind: 'guess' }, /\[\(root\)\.kind\] Attribute value 'guess' not allowed/],
    [{ kind: 'series' }, /\[\(root\)\.metric\] Attribute is required/],
    [{ kind: 'summary', metric: 'bytes' }, /\[\(root\)\.metric\] Attribute is not for/],
    [{ kind: 'summary', sql: 'SELECT 1' }, /\[\(root\)\.sql\]/],
    [{ kind: 'top', by: ['srcaddr; DROP TABLE flows'], metric: 'bytes' }, /\[\(root\)\.by\[0\]\]/],
    [{ kind: 'summary', since: 'soon' }, /'soon' is not a time/],
    [{ kind: 'summary', filter: 'src = 10.0.0.300' }, /at character 7/],
    [{ kind: 'summary', filter: 'interface = "x\' OR 1=1 --"' }, /no interface is called/],
    [{ kind: 'reach', src: 'a', dst: 'any' }, /'a' is not an address/],
    [{ kind: 'flows', limit: 5_000 }, /\[\(root\)\.limit\]/],
  ]
  for (const [question, message] of faults) {
    const { status, body } = await ask('owner', question)
    assert.equal(status, 422, JSON.stringify(body))
    assert.match(body.messages.map((it: { message: string }) => it.message).join('; '), message)
  }
})

test('the filter line is checked and completed', async () => {
  const { body } = await as('owner', 'POST', '/weir/v1/explore/filter', { text: 'src = 10.0.0.0/8 and dstp' })
  const fields = await as('owner', 'GET', '/weir/v1/explore/fields')

  assert.equal(body.valid, false)
  assert.deepEqual(
    body.suggestions.map((it: { text: string }) => it.text),
    ['dstport'],
  )
  assert.ok(fields.body.fields.some((it: { name: string }) => it.name === 'dstport'))
})

test('who asks about objects for the first time can see how many of them have been read, and nobody else can', async () => {
  const objects = 600
  for (let at = 0; at < objects; at++)
    await deliver('stranger-logs', `many/${at}`, lines(hidden, 1, 'ACCEPT'))
  const before = await as('stranger', 'GET', '/weir/v1/explore/progress')
  let answered = false
  const answer = ask('stranger', { kind: 'summary', buckets: ['stranger-logs/many'] }).finally(() => {
    answered = true
  })

  const seen = new Map<Caller, { read: number; objects: number }[]>([
    ['stranger', []],
    ['owner', []],
  ])
  while (!answered) {
    for (const [caller, readings] of seen) {
      const { body } = await as(caller, 'GET', '/weir/v1/explore/progress')
      if (body.reading !== undefined) readings.push(body.reading)
    }
  }
  const after = await as('stranger', 'GET', '/weir/v1/explore/progress')

  assert.equal((await answer).body.totals.flows, objects)
  assert.deepEqual([before.body, after.body], [{}, {}])
  const readings = seen.get('stranger')!
  assert.ok(
    readings.some((it) => it.objects === objects && it.read < objects),
    JSON.stringify(readings),
  )
  assert.deepEqual(seen.get('owner'), [])
})

test('every kind of question has an answer as the description has it', async () => {
  const questions: object[] = [
    { kind: 'summary' },
    { kind: 'series', metric: 'bytes', splitBy: 'action', top: 1, previous: true },
    { kind: 'flows', limit: 3 },
    { kind: 'top', by: ['service', 'srcaddr'], metric: 'packets', limit: 2 },
    { kind: 'sankey', metric: 'bytes', path: ['srcaddr', 'interface', 'service'], top: 2 },
    { kind: 'heat', metric: 'flows', rows: 'srcport' },
    { kind: 'rejects' },
    { kind: 'changed' },
    { kind: 'unused', lookback: '1h' },
    { kind: 'reach', src: '192.0.2.1', dst: '10.0.0.7', port: 443, protocol: 6 },
    { kind: 'throughput' },
    { kind: 'values', field: 'srcport' },
  ]
  const sizes: Record<string, number> = {}

  // Each answer is compared with the description in passing.
  for (const question of questions) {
    const { status, body } = await ask('owner', question)
    assert.equal(status, 200, JSON.stringify(body))
    sizes[body.kind] = JSON.stringify(body.result).length
  }
  const { document } = new Description(weir.app)
  const { schema } = document.paths['/weir/v1/explore'].post.responses[200].content['application/json']

  const described = schema.anyOf.map(
    (it: { properties: { kind: { const: string } } }) => it.properties.kind.const,
  )
  assert.deepEqual(Object.keys(sizes).toSorted(), described.toSorted())
  for (const kind of [
    'series',
    'flows',
    'top',
    'sankey',
    'heat',
    'rejects',
    'reach',
    'throughput',
    'values',
  ]) {
    assert.ok(sizes[kind]! > 100, `${kind} has no rows to be compared`)
  }
  assert.equal((await as('owner', 'GET', '/weir/v1/explore/fields')).status, 200)
})
