import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { FastifyInstance } from 'fastify'
import { type AppOptions, createApp, type DeliveredObject } from '../../../src/api/app.ts'
import { type Bootstrapped, bootstrap } from '../../../src/api/bootstrap.ts'
import { PAGES } from '../../../src/api/routes/console.ts'
import { DirectoryStore } from '../../../src/buckets/directory/directory-store.ts'
import { Explorer } from '../../../src/explore/explorer.ts'
import { WorkerPool } from '../../../src/explore/worker-pool.ts'
import { systemClock } from '../../../src/stdx/clock.ts'
import { openStore, type Store } from '../../../src/store/store.ts'
import { eventually } from '../../support/eventually.ts'
import { Description } from './description.ts'
import { createDatabase } from './postgres.ts'

export interface Answer {
  status: number
  headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of many shapes.
  body: any
}

/**
 * A control plane on a free port: database in memory, buckets in a directory of its own, one server with
 * two NICs.
 */
export class ControlPlane implements AsyncDisposable {
  readonly app: FastifyInstance
  readonly store: Store
  readonly buckets: DirectoryStore
  readonly directory: string
  readonly origin: string
  readonly owner: Bootstrapped
  readonly delivered: DeliveredObject[]
  #description: Description | undefined

  constructor(parts: Omit<ControlPlane, 'base' | 'nicPath' | typeof Symbol.asyncDispose | keyof Calls>) {
    this.app = parts.app
    this.store = parts.store
    this.buckets = parts.buckets
    this.directory = parts.directory
    this.origin = parts.origin
    this.owner = parts.owner
    this.delivered = parts.delivered
  }

  get base(): string {
    return `${this.origin}/cloudapi/v6`
  }

  /** The path of the first NIC. */
  get nicPath(): string {
    return this.owner.nics[0]!.path
  }

  async call(
    method: string,
    target: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Answer> {
    const url = target.startsWith('http') ? target : `${isOutside(target) ? this.origin : this.base}${target}`
    const response = await fetch(url, {
      method,
      headers: {
        authorization: `Bearer ${this.owner.token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    // Of every answer: some clients cannot decode what does not say that it is JSON.
    if (text !== '') assert.match(response.headers.get('content-type') ?? '', /^application\/json/, target)
    const { status, headers: answered } = response
    const answer = { status, headers: answered, body: text === '' ? undefined : JSON.parse(text) }
    this.#description ??= new Description(this.app)
    const fault = this.#description.faultOf(method, url, answer)
    assert.equal(
      fault,
      undefined,
      `${method} ${target} is not as described: ${fault}\n${text.slice(0, 2000)}`,
    )
    return answer
  }

  get(target: string): Promise<Answer> {
    return this.call('GET', target)
  }

  post(target: string, body: unknown): Promise<Answer> {
    return this.call('POST', target, body)
  }

  /** Polls the request of an accepted mutation to its end. Returns its status resource. */
  // biome-ignore lint/suspicious/noExplicitAny: see Answer.
  async finished(answer: Answer): Promise<any> {
    const location = answer.headers.get('location')
    if (location === null) throw new Error(`${answer.status} has no Location: ${JSON.stringify(answer.body)}`)
    const ended = async () => {
      const { body } = await this.get(location)
      return (body.metadata.status === 'DONE' || body.metadata.status === 'FAILED') && body
    }
    return eventually(`${location} has ended`, ended, 60_000)
  }

  /** Ends when so many agents wait for news. */
  async longPolls(count: number): Promise<void> {
    const headers = { authorization: `Bearer ${this.owner.token}` }
    await eventually(`${count} agents wait`, async () => {
      const metrics = await (await fetch(`${this.origin}/metrics`, { headers })).text()
      return Number(/^weir_api_long_polls (\d+)$/m.exec(metrics)?.[1]) === count
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.app.close()
    await this.store.close()
    await rm(this.directory, { recursive: true, force: true })
  }
}

type Calls = Pick<ControlPlane, 'call' | 'get' | 'post' | 'finished' | 'longPolls'>

/** Not of the Cloud API. */
export function isOutside(target: string): boolean {
  return PAGES.includes(target) || /^\/(agent|assets|weir|auth|buckets|healthz|metrics|openapi)/.test(target)
}

export const HOST = 'host-1'

/** SQLite in memory; a new database of a PostgreSQL server where `postgres.test.ts` says so. */
async function openTestStore(databaseUrl: string | undefined): Promise<Store> {
  const server = process.env['WEIR_TEST_POSTGRES']
  const postgresUrl = databaseUrl ?? (server === undefined ? undefined : await createDatabase(server))
  return openStore(postgresUrl === undefined ? { sqlitePath: ':memory:' } : { postgresUrl })
}

export async function startControlPlane(
  options: Partial<AppOptions> = {},
  { hasPages = true, databaseUrl }: { hasPages?: boolean; databaseUrl?: string } = {},
): Promise<ControlPlane> {
  const directory = await mkdtemp(path.join(tmpdir(), 'weir-control-'))
  const store = await openTestStore(databaseUrl)
  const buckets = new DirectoryStore({ directory: path.join(directory, 'buckets') })
  await buckets.start()
  const owner = await bootstrap(
    {
      hostname: HOST,
      interfaces: [{ device: 'eth0', mac: '02:00:00:00:00:01' }, { device: 'eth1' }],
      cores: 2,
      ram: 4096,
    },
    { store, buckets },
  )
  const delivered: DeliveredObject[] = []
  const explorer = await startExplorer(directory, buckets)
  const consoleDirectory = path.join(directory, 'console')
  await mkdir(consoleDirectory)
  await writeFile(path.join(consoleDirectory, 'index.html'), '<!doctype html><title>Weir</title>')
  const app = await createApp(
    { windowSizeS: 10, attachGraceMs: 300, ...(hasPages ? { consoleDirectory } : {}), ...options },
    { store, buckets, explorer, onDelivered: (it) => delivered.push(it) },
  )
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  return new ControlPlane({ app, store, buckets, directory, origin, owner, delivered })
}

/** As a server's, with one small worker that starts with the first question. */
async function startExplorer(directory: string, store: DirectoryStore): Promise<Explorer> {
  const cacheDirectory = path.join(directory, 'explore')
  const spillDirectory = path.join(cacheDirectory, 'spill')
  const database = {
    threads: 1,
    memoryMaxMib: 256,
    spillDirectory,
    spillMaxMib: 256,
    directories: [cacheDirectory],
  }
  const executor = new WorkerPool({ workers: 1, database, timeLimitMs: 30_000, queueMax: 64 })
  const explorer = new Explorer(
    { cacheDirectory, cacheSizeMax: 1 << 28 },
    { store, executor, clock: systemClock },
  )
  await explorer.start()
  return explorer
}

export const FLOW_LOG = {
  properties: { name: 'a', action: 'ALL', direction: 'BIDIRECTIONAL', bucket: 'flowlogs/web' },
}
