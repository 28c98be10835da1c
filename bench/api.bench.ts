import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createApp } from '../src/api/app.ts'
import { bootstrap } from '../src/api/bootstrap.ts'
import { DirectoryStore } from '../src/buckets/directory/directory-store.ts'
import { issueAgentToken } from '../src/store/agents.ts'
import { openStore } from '../src/store/store.ts'
import { parameter, random, report } from './bench.ts'

// Question: how many requests does one control plane over SQLite (a file, every commit fsynced) answer,
// with this many NICs and flow logs in it and this many agents waiting? Budget on 2 cores: 3,000 gets/s,
// 500 creates/s, p99 below 50 ms, server below 300 MB. Client and server share the machine; the client's
// work is not left out.
const nics = parameter('nics', { smoke: 200, full: 100_000 })
const agents = parameter('agents', { smoke: 10, full: 1_000 })
const requests = parameter('requests', { smoke: 200, full: 20_000 })
const concurrency = parameter('concurrency', { smoke: 4, full: 16 })
const next = random(42)
const NICS_PER_SERVER = 20

if (process.argv[2] === 'server') await serve()
else await measure()

interface Ready {
  origin: string
  token: string
  server: string
  nics: string[]
  agentTokens: string[]
}

/** In a process of its own, so that its memory is its own. */
async function serve(): Promise<void> {
  const directory = process.argv[3]!
  const store = await openStore({ sqlitePath: path.join(directory, 'weir.db') })
  const buckets = new DirectoryStore({ directory: path.join(directory, 'buckets') })
  await buckets.start()
  const made = await bootstrap({ hostname: 'host-0', interfaces: [] }, { store, buckets })
  const app = await createApp({ windowSizeS: 600, attachGraceMs: 0 }, { store, buckets })
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  const agentTokens = await store.change(async (change) => {
    const tokens = []
    for (let i = 0; i < agents; i++)
      tokens.push(await issueAgentToken(change, { host: `host-${i}`, purpose: 'bench' }))
    return tokens
  })
  const server = `/datacenters/${made.datacenterId}/servers`
  process.send!({ origin, token: made.token, server, nics: [], agentTokens } satisfies Ready)
  process.on('disconnect', () => process.exit(1)) // The client is gone.
  process.on('message', async () => {
    await app.close()
    await store.close()
    process.exit(0)
  })
  setInterval(() => process.send!({ rss: process.memoryUsage().rss }), 500).unref()
}

async function measure(): Promise<void> {
  const directory = await mkdtemp(path.join(tmpdir(), 'weir-bench-api-'))
  const child = fork(import.meta.filename, ['server', directory, ...process.argv.slice(2)], {
    execArgv: process.execArgv,
  })
  const [ready] = (await once(child, 'message')) as [Ready]
  let rssMax = 0
  child.on('message', ({ rss }: { rss: number }) => {
    rssMax = Math.max(rssMax, rss)
  })
  const { origin, token } = ready
  const http = new Agent({ keepAlive: true, maxSockets: concurrency })
  const call = (method: string, target: string, body?: unknown) =>
    send(http, { origin, token, method, target: `/cloudapi/v6${target}`, body })

  const paths = await fill(call, ready.server)
  const waiting = ready.agentTokens.map((it) => longPoll(origin, it))
  await once(child, 'message') // Half a second for all of them to wait.

  const gets = await run(requests, () =>
    call('GET', `${paths[next() % paths.length]}/flowlogs?depth=1&pretty=false`),
  )
  const lists = await run(requests, () =>
    call('GET', `${serverOf(paths[next() % paths.length]!)}/nics?depth=1&limit=50`),
  )
  const creates = await run(Math.ceil(requests / 10), () =>
    call('POST', `${serverOf(paths[0]!)}/nics`, newNic(0)),
  )
  const beginMs = performance.now()
  await call('POST', `${serverOf(paths.at(-1)!)}/nics`, newNic(agents - 1))
  await waiting.at(-1)
  report('api', {
    nics,
    agents,
    getsPerSecond: gets.perSecond,
    getP99Ms: gets.p99Ms,
    listsPerSecond: lists.perSecond,
    listP99Ms: lists.p99Ms,
    createsPerSecond: creates.perSecond,
    createP99Ms: creates.p99Ms,
    changeToAgentMs: Math.round(performance.now() - beginMs),
    serverMb: Math.round(rssMax / 2 ** 20),
  })
  http.destroy()
  child.send('stop')
  await once(child, 'exit')
  await Promise.allSettled(waiting)
  await rm(directory, { recursive: true, force: true })
}

type Call = (method: string, target: string, body?: unknown) => Promise<{ status: number; text: string }>

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

/** Servers with NICs with flow logs, many in one request each. */
async function fill(call: Call, servers: string): Promise<string[]> {
  const paths: string[] = []
  for (let made = 0; made < nics; made += NICS_PER_SERVER) {
    const items = Array.from({ length: NICS_PER_SERVER }, (_, i) => newNic((made + i) % agents))
    const body = { properties: { name: 's', cores: 1, ram: 256 }, entities: { nics: { items } } }
    const created = await call('POST', servers, body)
    if (created.status !== 202) throw new Error(created.text)
    const { href } = JSON.parse(created.text) as { href: string }
    const server = href.slice(href.indexOf('/datacenters'))
    const { text } = await call('GET', `${server}/nics?pretty=false`)
    for (const it of (JSON.parse(text) as { items: { id: string }[] }).items)
      paths.push(`${server}/nics/${it.id}`)
  }
  return paths
}

function serverOf(nicPath: string): string {
  return nicPath.slice(0, nicPath.indexOf('/nics'))
}

async function run(
  count: number,
  work: () => Promise<{ status: number; text: string }>,
): Promise<{ perSecond: number; p99Ms: number }> {
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
  const seconds = (performance.now() - beginMs) / 1000
  const p99Ms = took.sort((a, b) => a - b)[Math.floor(took.length * 0.99)]!
  return { perSecond: Math.round(count / seconds), p99Ms: Math.round(p99Ms * 10) / 10 }
}

/** Asks for the assignments, then waits for the next change of them. */
async function longPoll(origin: string, token: string): Promise<void> {
  const http = new Agent({ keepAlive: true, maxSockets: 1 })
  const poll = (query: string) =>
    send(http, { origin, token, method: 'GET', target: `/agent/v1/assignments?${query}`, body: undefined })
  const { version } = JSON.parse((await poll('waitS=0')).text) as { version: string }
  await poll(`version=${encodeURIComponent(version)}&waitS=60`)
  http.destroy()
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
