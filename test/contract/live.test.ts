import assert from 'node:assert/strict'
import { PassThrough, Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { runCommand } from '../../src/cli/main.ts'
import { issueAgentToken } from '../../src/store/agents.ts'
import { eventually } from '../support/eventually.ts'
import { TestAgent } from './support/agent.ts'
import { type Answer, type ControlPlane, HOST, startControlPlane } from './support/control-plane.ts'
import { type Caller, CONTRACT, makeTenants, type Tenants } from './support/tenants.ts'

// Two interfaces of one contract, the first in a data center that is shared to members, both on one host.

let weir: ControlPlane
let tenants: Tenants
let agent: TestAgent
let shared: { interfaceId: string; flowLogId: string }
let hidden: { interfaceId: string; flowLogId: string }

before(async () => {
  weir = await startControlPlane()
  tenants = await makeTenants(weir)
  const spare = await tenants.call('POST', '/datacenters', { properties: { name: 'spare', location: 'x' } })
  shared = await makeFlowLog(tenants.datacenterId, 'web')
  hidden = await makeFlowLog(spare.body.id, 'database')
  agent = new TestAgent({ origin: weir.origin, token: weir.owner.agentToken })
  await agent.poll(0)
  await agent.report()
})
after(async () => {
  await agent[Symbol.asyncDispose]()
  await weir[Symbol.asyncDispose]()
})

async function makeFlowLog(datacenterId: string, name: string): Promise<typeof shared> {
  const server = await tenants.call('POST', `/datacenters/${datacenterId}/servers`, {
    properties: { name: `${name}-server`, cores: 1, ram: 1024 },
  })
  const nics = `/datacenters/${datacenterId}/servers/${server.body.id}/nics`
  const binding = { host: HOST, device: `tap-${name}`, side: 'guest' }
  const nic = await tenants.call('POST', nics, { properties: { name, lan: 1, binding } })
  const properties = {
    name: 'all',
    action: 'ALL',
    direction: 'BIDIRECTIONAL',
    bucket: `tenant-logs/${name}`,
  }
  const flowLog = await tenants.call('POST', `${nics}/${nic.body.id}/flowlogs`, { properties })
  return { interfaceId: nic.body.id, flowLogId: flowLog.body.id }
}

function ask(caller: Caller, question: object): Promise<Answer> {
  const headers = { authorization: tenants.authorization[caller]! }
  const whole = { kind: 'summary', since: '10m', live: true, ...question }
  return weir.call('POST', '/weir/v1/explore', whole, headers)
}

/** Asks, and has the agent tell both flow logs: five flows of the shared one, three of the hidden one. */
async function askAndTell(caller: Caller, question: object): Promise<Answer> {
  const asking = ask(caller, question)
  await tellBoth()
  await asking
  await tellBoth()
  return ask(caller, question)
}

async function tellBoth(): Promise<void> {
  await agent.report() // Who has not reported for a while counts as not connected.
  await agent.tellLive([
    { flowLogId: shared.flowLogId, rows: 5, left: 2 },
    { flowLogId: hidden.flowLogId, rows: 3, underway: 1 },
  ])
}

test('a waiting agent hears at once what is wanted of it, tells it, and the first answer has it', async () => {
  const waiting = agent.waitForLive({ waitS: 20 })
  await weir.longPolls(1)
  const beganMs = performance.now()
  const asking = ask('owner', {})
  const wanted = await waiting
  const heardMs = performance.now() - beganMs
  const tellMs = performance.now()
  const next = await agent.tellLive(wanted.flowLogIds.map((flowLogId) => ({ flowLogId, rows: 4 })))
  const { status, body } = await asking
  const toldForS = (performance.now() - tellMs) / 1000

  assert.equal(status, 200, JSON.stringify(body))
  assert.ok(heardMs < 10_000, `${heardMs} ms`)
  assert.deepEqual(wanted.flowLogIds.toSorted(), [shared.flowLogId, hidden.flowLogId].toSorted())
  assert.deepEqual(next, { ...wanted, forS: next.forS })
  assert.ok(next.forS > 5 && next.forS <= 30)
  assert.equal(body.totals.flows, 8)
  assert.deepEqual([body.live.flowLogs, body.live.answering, body.live.silent], [2, 2, []])
  assert.ok(body.live.ageS >= 0 && body.live.ageS <= Math.ceil(toldForS))
})

test('what agents left out and what is on its way is said, and is in no total', async () => {
  const { body } = await askAndTell('owner', { filter: 'dstport = 443' })

  assert.equal(body.totals.flows, 8)
  assert.deepEqual(body.live.left, { flows: 2, packets: 2, bytes: 120 })
  assert.equal(body.live.underway.windows, 1)
})

test('nobody sees live what they may not see delivered', async () => {
  for (const caller of ['reader', 'editor'] as const) {
    const { body } = await askAndTell(caller, { kind: 'top', by: ['interface'], metric: 'flows' })
    const seen = body.result.rows.map((row: { key: { interface: string } }) => row.key.interface)
    assert.deepEqual([seen, body.live.flowLogs], [[shared.interfaceId], 1], caller)
    assert.equal(body.live.left.flows, 2)
    assert.equal(body.live.underway.windows, 0)
  }
  for (const caller of ['outsider', 'stranger'] as const) {
    for (const filter of ['', `interface = ${shared.interfaceId}`]) {
      const { status, body } = await askAndTell(caller, { filter })
      assert.deepEqual([status, body.totals?.flows, body.live?.flowLogs], [200, 0, 0], caller)
    }
  }
})

test('the filter and the buckets of a question say which agents are troubled', async () => {
  const byName = await askAndTell('owner', { filter: 'interface = web and dstport = 443' })
  const byBucket = await askAndTell('owner', { buckets: ['tenant-logs/database'] })

  assert.deepEqual([byName.body.live.flowLogs, byName.body.totals.flows], [1, 5])
  assert.deepEqual([byBucket.body.live.flowLogs, byBucket.body.totals.flows], [1, 3])
})

test('an agent tells only what was wanted of its own host', async () => {
  const token = await weir.store.change((change) =>
    issueAgentToken(change, { host: 'elsewhere', purpose: 'test' }),
  )
  await using other = new TestAgent({ origin: weir.origin, token })
  await askAndTell('owner', {})

  const wanted = await other.tellLive([{ flowLogId: shared.flowLogId, rows: 50 }])
  const { body } = await ask('owner', {})

  assert.deepEqual(wanted, { key: '', flowLogIds: [], forS: 0 })
  assert.equal(body.totals.flows, 8)
})

test('why there is nothing live of a flow log is said', async () => {
  agent.stateOf = ({ flowLogId }) => (flowLogId === hidden.flowLogId ? 'waiting' : 'attached')
  await agent.report()
  const { body } = await askAndTell('owner', {})
  agent.stateOf = () => 'attached'
  await agent.report()

  assert.deepEqual(body.live.silent, [{ interface: hidden.interfaceId, reason: 'waiting', host: HOST }])
  assert.equal(body.names.interfaces[hidden.interfaceId].name, 'database')
  assert.equal(body.totals.flows, 5)
})

test('a window that has become an object counts as that, from the moment it is in the bucket', async () => {
  const windowStartS = Math.floor(Date.now() / 1000) - 2
  const nowS = windowStartS + 1
  const lines = Array.from(
    { length: 5 },
    (_, i) =>
      `2 31000001 ${shared.interfaceId} 192.0.2.1 10.0.0.7 ${i} 443 6 1 60 ${nowS} ${nowS} ACCEPT OK\n`,
  )
  const segment = {
    segmentId: 's1',
    flowLogIds: [shared.flowLogId],
    windowStartS,
    content: gzipSync(lines.join('')),
  }
  const tell = () =>
    agent.tellLive([
      { flowLogId: shared.flowLogId, rows: 5, windowStartS },
      { flowLogId: hidden.flowLogId, rows: 3, windowStartS },
    ])
  await askAndTell('owner', {})
  await tell()

  const before = await ask('owner', {})
  const grant = await agent.grant(segment)
  const reserved = await ask('owner', {})
  await agent.put(grant, segment.content)
  const uploaded = await ask('owner', {})
  await agent.acknowledge(segment.segmentId)
  const acknowledged = await ask('owner', {})

  const answers = [before, reserved, uploaded, acknowledged].map(({ body }) => [
    body.totals.flows,
    body.coverage.objects,
  ])
  assert.deepEqual(answers, [
    [8, 0],
    [8, 0],
    [8, 1],
    [8, 1],
  ])
})

test('weir live paints a table anew on a terminal, with rates, and prints a line of JSON for each look in a pipe', async () => {
  const looks: string[] = []
  const ended = new AbortController()
  const live = (isTerminal: boolean, args: string[], onLook: (text: string) => void) =>
    runCommand(['live', ...args, '--every', '1', '--contract', String(CONTRACT)], {
      stdin: Readable.from([]),
      stdout: new PassThrough().on('data', (chunk) => onLook(String(chunk))),
      stderr: new PassThrough(),
      env: { WEIR_SERVER: weir.origin, WEIR_TOKEN: weir.owner.token, HOME: weir.directory },
      stdoutIsTerminal: isTerminal,
      stderrIsTerminal: false,
      signal: ended.signal,
    })
  let painted = ''
  const told = setInterval(() => tellBoth(), 200)
  try {
    const running = [
      live(false, ['web', '--filter', 'tcp/443'], (text) => looks.push(text)),
      live(true, ['--by', 'packets'], (text) => {
        painted += text
      }),
    ]
    const isSeen = () => looks.length >= 2 && /\d bit\/s/.test(painted)
    await eventually('both have told a rate', isSeen)
    ended.abort()
    assert.deepEqual(await Promise.all(running), [0, 0])
  } finally {
    clearInterval(told)
  }

  const answers = looks.join('').trim().split('\n')
  assert.ok(answers.length >= 2)
  for (const it of answers.map((line) => JSON.parse(line) as Answer['body'])) {
    assert.deepEqual([it.kind, it.live.flowLogs], ['top', 1])
  }
  assert.ok(painted.split('\u001b[H\u001b[2J').length > 2, 'painted more than once')
  assert.match(painted, /live from 2 of 2 flow logs, as of \d\d:\d\d:\d\d/)
  assert.match(painted, /not shown: 2 smaller flows, 120 B/)
  assert.match(painted, /ACCEPT\S*\s+TCP\s+192\.0\.2\.1:4\s+10\.0\.0\.7:443\s.*\d bit\/s/)
})

test('rows that no database column could hold are refused, and so is a report without bounds', async () => {
  const row = ['ACCEPT', 6, '192.0.2.1', 1, '10.0.0.7', 443, 1, 60, 0, 0]
  const bad = [
    row.with(0, 'PASS'),
    row.with(3, 65_536),
    row.with(6, -1),
    row.with(7, 2 ** 60),
    row.with(8, 1.5),
  ]
  for (const it of [...bad.map((wrong) => [wrong]), Array.from({ length: 2_001 }, () => row)]) {
    const windows = [{ startS: 0, rows: it, left: { flows: 0, packets: 0, octets: 0 } }]
    const flowLogs = [{ flowLogId: shared.flowLogId, windows, underway: { windows: 0 } }]
    const { status } = await agent.send('POST', '/agent/v1/live', { everyS: 2, flowLogs })
    assert.equal(status, 422, JSON.stringify(it[0]))
  }
})
