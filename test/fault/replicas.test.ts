import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { random } from '../../src/stdx/prng.ts'
import { createDatabase, postgresPrograms, startPostgres } from '../contract/support/postgres.ts'
import { eventually } from '../support/eventually.ts'
import { WeirChild } from '../support/weir-child.ts'

const SEED = Number(process.env['REPLICAS_SEED'] ?? 11)
const KILLS = 3
const programs = postgresPrograms()
const skip = programs === undefined ? 'PostgreSQL is not installed' : false

/** One `weir server` process that can be killed and started again, on another port. */
class Replica {
  origin = ''
  readonly #dataDir: string
  readonly #databaseUrl: string
  readonly #child = new WeirChild()

  constructor(options: { dataDir: string; databaseUrl: string }) {
    this.#dataDir = options.dataDir
    this.#databaseUrl = options.databaseUrl
  }

  async start(): Promise<void> {
    const args = ['server', '--listen', '127.0.0.1:0', '--data-dir', this.#dataDir]
    const before = this.#child.output.length
    await this.#child.start(args, { env: { ...process.env, WEIR_DATABASE: this.#databaseUrl } })
    const output = this.#child.output.slice(before)
    const [, origin] = /(http:\/\/[^/\s]+)\/cloudapi/.exec(output) ?? []
    assert.ok(origin, `no server came up: ${output}`)
    this.origin = origin
  }

  async kill(): Promise<void> {
    await this.#child.end('SIGKILL')
  }
}

test(`three replicas, killed at random moments: what was accepted is finished (seed ${SEED})`, {
  skip,
}, async () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'weir-replicas-'))
  await using server = await startPostgres(programs!)
  const databaseUrl = await createDatabase(server.url)
  mkdirSync(path.join(directory, 'buckets'))
  const replicas = Array.from({ length: 3 }, (_, i) => {
    const dataDir = path.join(directory, `data-${i}`)
    mkdirSync(dataDir)
    symlinkSync(path.join(directory, 'buckets'), path.join(dataDir, 'buckets'))
    return new Replica({ dataDir, databaseUrl })
  })
  try {
    for (const it of replicas) await it.start()
    const { token } = JSON.parse(readFileSync(path.join(directory, 'data-0/credentials.json'), 'utf8'))
    await storm({ replicas, token, next: random(SEED) })
    await assertSettled(databaseUrl)
  } finally {
    await Promise.all(replicas.map((it) => it.kill()))
    rmSync(directory, { recursive: true, force: true })
  }
})

interface Storm {
  replicas: Replica[]
  token: string
  next: () => number
}

async function storm({ replicas, token, next }: Storm): Promise<void> {
  const any = () => replicas[next() % replicas.length]!
  const call = async (method: string, target: string, body?: unknown): Promise<Response | undefined> => {
    try {
      return await fetch(`${any().origin}${target}`, {
        method,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(10_000),
      })
    } catch {
      return undefined // The replica has just been killed.
    }
  }
  const created = async (target: string, body: unknown): Promise<{ id: string; status: string }> => {
    for (;;) {
      const answer = await call('POST', target, body)
      const text = await answer?.text().catch(() => undefined)
      if (answer === undefined || text === undefined || answer.status === 503) continue
      assert.ok(answer.status < 300, `${target}: ${answer.status} ${text}`)
      const status = new URL(answer.headers.get('location') ?? 'http://x/').pathname
      return { id: JSON.parse(text).id, status }
    }
  }

  const base = '/cloudapi/v6/datacenters'
  await created('/weir/v1/buckets', { name: 'flowlogs' })
  const datacenter = await created(base, { properties: { name: 'dc', location: 'x' } })
  const servers = `${base}/${datacenter.id}/servers`
  const owner = await created(servers, { properties: { name: 's', cores: 1, ram: 256 } })
  const flowLog = { properties: { name: 'a', action: 'ALL', direction: 'INGRESS', bucket: 'flowlogs/x' } }
  const nic = { properties: { lan: 1 }, entities: { flowlogs: { items: [flowLog] } } }

  const accepted: string[] = []
  let killing = true
  const client = async () => {
    while (killing) accepted.push((await created(`${servers}/${owner.id}/nics`, nic)).status)
  }
  const clients = Array.from({ length: 3 }, client)
  for (let i = 0; i < KILLS; i++) {
    await sleep(200 + (next() % 600)) // The moment is what is random here.
    const victim = any()
    await victim.kill()
    await victim.start()
  }
  killing = false
  await Promise.all(clients)

  assert.ok(accepted.length > KILLS, `only ${accepted.length} were accepted`)
  for (const status of accepted) {
    await eventually(`${status} is DONE`, async () => {
      const answer = await call('GET', status)
      assert.ok(answer, 'no replica is being killed any more')
      const { metadata } = (await answer.json()) as { metadata: { status: string } }
      return metadata.status === 'DONE'
    })
  }
}

/**
 * Whatever was cut off left nothing half done: no resource is BUSY, no request open, no flow log without
 * its NIC.
 */
async function assertSettled(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    const count = async (query: string) =>
      Number((await client.query(`select count(*) from ${query}`)).rows[0].count)
    const areFinished = async () => (await count('requests where finished_at is null')) === 0
    await eventually('all requests are finished', areFinished)

    assert.equal(await count('resources where pending <> 0'), 0)
    assert.equal(await count("resources where type = 'nic'"), await count('flow_logs'))
    assert.equal(await count("resources where type = 'flow-log'"), await count('flow_logs'))
    const numbers = "(select properties::json->>'deviceNumber' as n from resources where type = 'nic') as it"
    const different = await client.query(`select count(distinct n) from ${numbers}`)
    assert.equal(Number(different.rows[0].count), await count("resources where type = 'nic'"))
  } finally {
    await client.end()
  }
}
