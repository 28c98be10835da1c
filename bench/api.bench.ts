import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { Agent, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { ReportedPoints } from '../src/agent/reported-points.ts'
import { createApp } from '../src/api/app.ts'
import { bootstrap } from '../src/api/bootstrap.ts'
import { DirectoryStore } from '../src/buckets/directory/directory-store.ts'
import { AGENT_PROTOCOL_VERSION, type Assignments } from '../src/model/agent-protocol.ts'
import { changedBy } from '../src/model/assignment-changes.ts'
import { keepHeapSmall } from '../src/stdx/heap.ts'
import { issueAgentToken } from '../src/store/agents.ts'
import { openStore } from '../src/store/store.ts'
import { IDLE_HEALTH } from '../test/contract/support/agent.ts'
import { median, parameter, random, report } from './bench.ts'

// Question: how many requests does one control plane over SQLite (a file, every commit fsynced) answer,
// with this many NICs and flow logs in it and this many agents, which wait for their assignments and report
// every five seconds and after each change? Budget on 2 cores: 3,000 gets/s, 500 creates/s, p99 below 50 ms,
// server below 300 MB. Clients and agents share the machine with the server, so the server's own CPU time
// per request is given too: it includes what the agents ask for meanwhile. A create makes a NIC with a flow
// log; its agent then fetches what has changed and reports it attached, but for the unwatched ones, which are
// bound to a host that has no agent. Creates come in two ways: from clients each of which waits for its answer
// before it asks again, and at the budget's own rate whatever the answers do, timed from when each was due. Clients,
// agents and server are a process each, so that nobody's time holds another's event loop; what the server itself
// took, from a request's head to the end of its answer, is given beside it. Before all that it is told how much of a
// processor the server takes while nobody asks for anything but the agents.
const nics = parameter('nics', { smoke: 200, full: 100_000 })
const agents = parameter('agents', { smoke: 10, full: 1_000 })
const requests = parameter('requests', { smoke: 200, full: 30_000 })
const creations = parameter('creations', { smoke: 20, full: 5_000 })
const concurrency = parameter('concurrency', { smoke: 4, full: 16 })
const ratePerSecond = parameter('rate', { smoke: 50, full: 500 })
const changes = parameter('changes', { smoke: 3, full: 50 })
const idleMs = parameter('idle', { smoke: 200, full: 20_000 })
const next = random(42)
const NICS_PER_SERVER = 20
const REPORT_INTERVAL_MS = 5_000

interface Ready {
  origin: string
  token: string
  agentTokens: string[]
}

/** In a process of its own, so that its memory and its time are its own. */
async function serve(): Promise<void> {
  const directory = process.argv[3]!
  keepHeapSmall() // As `weir server` does.
  const store = await openStore({ sqlitePath: path.join(directory, 'weir.db') })
  const buckets = new DirectoryStore({ directory: path.join(directory, 'buckets') })
  await buckets.start()
  const { token } = await bootstrap({ hostname: 'host-0', interfaces: [] }, { store, buckets })
  const app = await createApp({ windowSizeS: 600 }, { store, buckets })
  const created: number[] = []
  app.server.prependListener('request', (asked: IncomingMessage, answer: ServerResponse) => {
    const beginMs = performance.now()
    if (asked.method !== 'POST' || !asked.url!.endsWith('/nics')) return
    answer.once('finish', () => created.push(performance.now() - beginMs))
  })
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  const agentTokens: string[] = []
  await store.change(async (change) => {
    for (let i = 0; i < agents; i++) {
      agentTokens.push(await issueAgentToken(change, { host: `host-${i}`, purpose: 'bench' }))
    }
  })
  process.on('disconnect', () => process.exit(1)) // The client is gone.
  process.on('message', async (message) => {
    if (message === 'usage') {
      const { user, system } = process.cpuUsage()
      process.send!({
        cpuMs: (user + system) / 1000,
        rss: process.memoryUsage.rss(),
        created: created.splice(0),
      })
      return
    }
    await app.close()
    await store.close()
    process.exit(0)
  })
  process.send!({ origin, token, agentTokens } satisfies Ready)
}

async function measure(): Promise<void> {
  const directory = await mkdtemp(path.join(tmpdir(), 'weir-bench-api-'))
  const child = fork(import.meta.filename, ['server', directory, ...process.argv.slice(2)], {
    // As `weir` starts: compiling would else take memory that it never gives back.
    execArgv: [...process.execArgv, ...(await flagsOf('../bin/weir.js'))],
    env: { ...process.env, NODE_COMPILE_CACHE: path.join(tmpdir(), 'node-compile-cache') },
  })
  const [{ origin, token, agentTokens }] = (await once(child, 'message')) as [Ready]
  const usage = async (): Promise<{ cpuMs: number; rss: number; created: number[] }> => {
    child.send('usage')
    return (await once(child, 'message'))[0]
  }
  const http = new Agent({ keepAlive: true, maxSockets: concurrency })
  const call: Call = (method, target, body) =>
    send(http, { origin, token, method, target: `/cloudapi/v6${target}`, body })

  const paths = await fill(call, path.join(directory, 'weir.db'))
  const hostOf = (nic: number) => nic % agents
  const fleet = fork(import.meta.filename, ['fleet', origin, ...process.argv.slice(2)])
  const heard = async () => (await once(fleet, 'message'))[0] as { reports: number }
  fleet.send(agentTokens)
  await heard()
  const anyNic = () => next() % paths.length
  const phase = async (count: number, work: () => Promise<Answer>, how = run) => {
    const before = await usage()
    const { perSecond, p99Ms } = await how(count, work)
    const after = await usage()
    const serverMsPerRequest = Math.round(((after.cpuMs - before.cpuMs) / count) * 1000) / 1000
    rssMax = Math.max(rssMax, before.rss, after.rss)
    return { perSecond, p99Ms, serverMsPerRequest, insideP99Ms: p99Of(after.created) }
  }
  let rssMax = 0

  const beforeIdle = await usage()
  await sleep(idleMs)
  const idleCpuPercent = Math.round(((await usage()).cpuMs - beforeIdle.cpuMs) / (idleMs / 1_000)) / 10
  const gets = await phase(requests, () => call('GET', `${paths[anyNic()]}/flowlogs?depth=1`))
  const items = await phase(requests, () => call('GET', paths[anyNic()]!))
  const lists = await phase(requests / 5, () =>
    call('GET', `${serverOf(paths[anyNic()]!)}/nics?depth=1&limit=50`),
  )
  const creates = await phase(creations, () => {
    const nic = anyNic()
    return call('POST', `${serverOf(paths[nic]!)}/nics`, newNic(hostOf(nic)))
  })
  http.maxSockets = Number.POSITIVE_INFINITY
  const paced = await phase(
    creations,
    () => {
      const nic = anyNic()
      return call('POST', `${serverOf(paths[nic]!)}/nics`, newNic(hostOf(nic)))
    },
    runAtRate,
  )
  http.maxSockets = concurrency
  const unwatched = await phase(creations, () => {
    return call('POST', `${serverOf(paths[anyNic()]!)}/nics`, newNic(agents))
  })
  const reached: number[] = []
  for (let i = 0; i < changes; i++) {
    const nic = anyNic()
    fleet.send(hostOf(nic))
    const changed = heard()
    const beginMs = performance.now()
    await call('POST', `${serverOf(paths[nic]!)}/nics`, newNic(hostOf(nic)))
    await changed
    reached.push(performance.now() - beginMs)
  }
  fleet.send('stop')
  const { reports } = await heard()
  report('api', {
    nics,
    agents,
    idleCpuPercent,
    getsPerSecond: gets.perSecond,
    getP99Ms: gets.p99Ms,
    getServerMs: gets.serverMsPerRequest,
    itemsPerSecond: items.perSecond,
    itemP99Ms: items.p99Ms,
    itemServerMs: items.serverMsPerRequest,
    listsPerSecond: lists.perSecond,
    listP99Ms: lists.p99Ms,
    listServerMs: lists.serverMsPerRequest,
    createsPerSecond: creates.perSecond,
    createP99Ms: creates.p99Ms,
    createInsideP99Ms: creates.insideP99Ms,
    createServerMs: creates.serverMsPerRequest,
    pacedCreatesPerSecond: paced.perSecond,
    pacedCreateP99Ms: paced.p99Ms,
    pacedCreateInsideP99Ms: paced.insideP99Ms,
    pacedCreateServerMs: paced.serverMsPerRequest,
    unwatchedCreatesPerSecond: unwatched.perSecond,
    unwatchedCreateP99Ms: unwatched.p99Ms,
    unwatchedCreateServerMs: unwatched.serverMsPerRequest,
    changeToAgentMs: Math.round(median(reached)),
    changeToAgentMsMax: Math.round(Math.max(...reached)),
    serverMb: Math.round(rssMax / 2 ** 20),
    reports,
  })
  http.destroy()
  child.send('stop')
  await once(child, 'exit')
  await rm(directory, { recursive: true, force: true })
}

/** Those in a command's first line. */
async function flagsOf(command: string): Promise<string[]> {
  const text = await readFile(new URL(command, import.meta.url), 'utf8')
  return text
    .split('\n', 1)[0]!
    .split(' ')
    .filter((it) => it.startsWith('--'))
}

interface Answer {
  status: number
  text: string
}
type Call = (method: string, target: string, body?: unknown) => Promise<Answer>

function newNic(host: number): unknown {
  return {
    properties: { name: 'eth0', lan: 1, binding: { host: `host-${host}`, device: 'tap0', side: 'guest' } },
    entities: {
      flowlogs: {
        items: [{ properties: { name: 'a', action: 'ALL', direction: 'INGRESS', bucket: 'flowlogs/x' } }],
      },
    },
  }
}

/**
 * One server with its NICs and their flow logs through the API, then as many copies of its rows as it takes.
 * Returns the NICs' paths; the n-th NIC is on host `n % agents`.
 */
async function fill(call: Call, sqlitePath: string): Promise<string[]> {
  const items = Array.from({ length: NICS_PER_SERVER }, () => newNic(0))
  const body = { properties: { name: 's', cores: 1, ram: 256 }, entities: { nics: { items } } }
  const { text } = await call('GET', '/datacenters')
  const [datacenter] = (JSON.parse(text) as { items: { id: string }[] }).items
  const created = await call('POST', `/datacenters/${datacenter!.id}/servers`, body)
  if (created.status !== 202) throw new Error(created.text)
  const database = new DatabaseSync(sqlitePath, { timeout: 10_000 })
  const { id } = JSON.parse(created.text) as { id: string }
  const copier = new RowCopier(database)
  const below = database
    .prepare(`select * from resources where instr(path, '${id}') > 0 order by ordinal`)
    .all() as Row[]
  const flowLogs = database.prepare('select * from flow_logs').all() as Row[]
  const paths: string[] = []
  database.exec('begin immediate')
  for (let made = 0; made < nics; made += NICS_PER_SERVER) {
    const names = new Map(below.map((it) => [it['id'] as string, randomUUID() as string]))
    const rename = (value: SQLInputValue) =>
      typeof value === 'string' ? value.replace(/[0-9a-f-]{36}/g, (it) => names.get(it) ?? it) : value
    const hostOf = new Map<string, number>()
    for (const row of below) {
      const properties = String(row['properties']).replace('host-0', `host-${(made + hostOf.size) % agents}`)
      const copy = copier.copy('resources', { ...row, properties, ordinal: null }, rename)
      if (row['type'] !== 'nic') continue
      hostOf.set(String(copy['id']), (made + hostOf.size) % agents)
      paths.push(String(copy['path']))
    }
    for (const row of flowLogs) {
      const host = hostOf.get(names.get(String(row['interface_id']))!)!
      copier.copy('flow_logs', { ...row, host: `host-${host}`, assigned_version: 1 }, rename)
    }
  }
  database.exec('commit')
  database.close()
  return paths
}

type Row = Record<string, SQLInputValue>

class RowCopier {
  readonly #database: DatabaseSync
  constructor(database: DatabaseSync) {
    this.#database = database
  }

  copy(table: string, row: Row, rename: (value: SQLInputValue) => SQLInputValue): Row {
    const copy = Object.fromEntries(Object.entries(row).map(([name, value]) => [name, rename(value)]))
    const names = Object.keys(copy)
    const text = `insert into ${table} (${names}) values (${names.map(() => '?')})`
    this.#database.prepare(text).run(...Object.values(copy))
    return copy
  }
}

function serverOf(nicPath: string): string {
  return nicPath.slice(0, nicPath.indexOf('/nics'))
}

interface Outcome {
  perSecond: number
  p99Ms: number
}

async function run(count: number, work: () => Promise<Answer>): Promise<Outcome> {
  const took: number[] = []
  const beginMs = performance.now()
  let left = count
  const worker = async () => {
    while (left-- > 0) {
      const startMs = performance.now()
      const answer = await work()
      if (answer.status >= 300) throw new Error(answer.text)
      took.push(performance.now() - startMs)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  return outcome(took, beginMs)
}

/** Asks at the rate whether it is answered or not. An answer's time runs from when its request was due. */
async function runAtRate(count: number, work: () => Promise<Answer>): Promise<Outcome> {
  const took: number[] = []
  const beginMs = performance.now()
  const one = async (dueMs: number) => {
    const answer = await work()
    if (answer.status >= 300) throw new Error(answer.text)
    took.push(performance.now() - dueMs)
  }
  const asked: Promise<void>[] = []
  while (asked.length < count) {
    const dueMs = beginMs + (asked.length * 1_000) / ratePerSecond
    if (performance.now() < dueMs) await sleep(1)
    else asked.push(one(dueMs))
  }
  await Promise.all(asked)
  return outcome(took, beginMs)
}

function outcome(took: number[], beginMs: number): Outcome {
  const seconds = (performance.now() - beginMs) / 1000
  return { perSecond: Math.round(took.length / seconds), p99Ms: p99Of(took) }
}

function p99Of(took: number[]): number {
  const p99Ms = took.toSorted((a, b) => a - b)[Math.floor(took.length * 0.99)] ?? 0
  return Math.round(p99Ms * 10) / 10
}

/** All agents, in a process of their own. Told the number of one, it says when that has heard of a change. */
async function beFleet(): Promise<void> {
  const [tokens] = (await once(process, 'message')) as [string[]]
  const fleet = tokens.map((it) => new FleetAgent(process.argv[3]!, it))
  await Promise.all(fleet.map((it) => it.start()))
  const say = () => process.send!({ reports: fleet.reduce((sum, it) => sum + it.reports, 0) })
  process.on('disconnect', () => process.exit(1)) // The client is gone.
  process.on('message', async (message: number | 'stop') => {
    if (message !== 'stop') {
      await fleet[message]!.changed()
      say()
      return
    }
    for (const it of fleet) it.stop()
    say()
    process.disconnect!()
  })
  say()
}

/** What an agent asks of the control plane: its assignments, and to be heard. */
class FleetAgent {
  reports = 0
  readonly #http = new Agent({ keepAlive: true, maxSockets: 2 })
  readonly #origin: string
  readonly #token: string
  readonly #changed: (() => void)[] = []
  readonly #reported = new ReportedPoints()
  #assignments: Assignments = { version: '', windowSizeS: 600, assignments: [] }
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(origin: string, token: string) {
    this.#origin = origin
    this.#token = token
  }

  async start(): Promise<void> {
    this.#assignments = JSON.parse((await this.#call('GET', 'assignments')).text)
    await this.#report()
    const poll = async (): Promise<void> => {
      while (!this.#stopped) {
        const { version } = this.#assignments
        const answer = await this.#call('GET', `assignments?version=${version}&changes=true&waitS=30`)
        const fresh = JSON.parse(answer.text) as Assignments
        if (fresh.since === undefined) this.#reported.forget()
        if (fresh.version === version) continue
        this.#assignments = fresh.since === undefined ? fresh : changedBy(this.#assignments, fresh)
        for (const done of this.#changed.splice(0)) done()
        await this.#report()
      }
    }
    const beat = async () => {
      await this.#report()
      this.#timer = setTimeout(() => beat().catch(unlessStopped), REPORT_INTERVAL_MS)
    }
    const unlessStopped = (error: unknown) => {
      if (!this.#stopped) throw error
    }
    const firstMs = (next() / 2 ** 32) * REPORT_INTERVAL_MS
    this.#timer = setTimeout(() => beat().catch(unlessStopped), firstMs)
    poll().catch(unlessStopped)
  }

  /** Resolves when the next change has come. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.#changed.push(resolve))
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    this.#http.destroy()
  }

  async #report(): Promise<void> {
    const { version, assignments } = this.#assignments
    const attached = { state: 'attached', device: 'tap0' } as const
    const statuses = new Map(assignments.map((it) => [it.flowLogId, attached]))
    const { points, taken } = this.#reported.begin(statuses, performance.now())
    const answer = await this.#call('POST', 'report', {
      protocol: AGENT_PROTOCOL_VERSION,
      agentVersion: 'bench',
      startedAt: '2026-01-01T00:00:00Z',
      assignmentsVersion: version,
      points,
      health: { ...IDLE_HEALTH, flows: this.reports },
    })
    if (answer.status !== 204) throw new Error(answer.text)
    taken()
    this.reports++
  }

  async #call(method: string, target: string, body?: unknown): Promise<Answer> {
    const it = { origin: this.#origin, token: this.#token, method, target: `/agent/v1/${target}`, body }
    return await send(this.#http, it)
  }
}
function send(
  http: Agent,
  it: { origin: string; token: string; method: string; target: string; body: unknown },
): Promise<{ status: number; text: string }> {
  const text = it.body === undefined ? undefined : JSON.stringify(it.body)
  return new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${it.token}`,
      ...(text === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
    }
    const sent = request(
      it.origin + it.target,
      { agent: http, method: it.method, headers },
      async (answer) => {
        resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(await answer.toArray()).toString() })
      },
    )
    sent.once('error', reject)
    sent.end(text)
  })
}

if (process.argv[2] === 'server') await serve()
else if (process.argv[2] === 'fleet') await beFleet()
else await measure()
