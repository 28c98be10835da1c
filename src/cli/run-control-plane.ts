import { existsSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { availableParallelism, totalmem } from 'node:os'
import path from 'node:path'
import { createApp, type DeliveredObject, renewCertificate, type Tls } from '../api/app.ts'
import { bootstrap, bootstrapContract, bootstrapShared } from '../api/bootstrap.ts'
import type { BucketStore } from '../api/bucket-store.ts'
import type { OpenIdOptions } from '../api/open-id.ts'
import { DirectoryStore, type StoreLog } from '../buckets/directory/directory-store.ts'
import { type S3Options, S3Store } from '../buckets/s3/s3-store.ts'
import { Explorer } from '../explore/explorer.ts'
import { WorkerPool } from '../explore/worker-pool.ts'
import { WeirError } from '../model/errors.ts'
import { systemClock } from '../stdx/clock.ts'
import { keepHeapSmall } from '../stdx/heap.ts'
import { openStore, type Store } from '../store/store.ts'
import { createLogger } from '../telemetry/logger.ts'
import { type Credentials, readCredentials, writeCredentials } from './data-dir.ts'
import { machineInterfaces } from './network.ts'

/** Beside src/ here, beside dist/ in the published package. */
const CONSOLE = path.resolve(import.meta.dirname, '../../build/console')

export interface ControlPlaneOptions {
  dataDir: string
  hostname: string
  listen: { host: string; port: number }
  windowSizeS: number
  publicUrl?: string
  /** PostgreSQL, shared with other replicas; the data directory's own database without one. */
  databaseUrl?: string
  /** Serve HTTPS. */
  tls?: Tls
  trustProxy?: boolean
  /** Agents get only what is bound to their host. */
  requireBindings?: boolean
  /** An issuer whose tokens are taken, too. */
  openId?: OpenIdOptions
  /** The object store; the buckets of the data directory without one. */
  s3?: S3Options
  /** Put this machine's interfaces into the inventory, and make a token for an agent in this process. */
  withMachine: boolean
  onDelivered?(object: DeliveredObject): void
}

export interface RunningControlPlane extends AsyncDisposable {
  /** Such as http://127.0.0.1:8080. */
  origin: string
  /** Base path of the Cloud API. */
  url: string
  /** Where a browser finds the console; undefined when it was not built. */
  consoleUrl: string | undefined
  token: string
  agentToken: string
  bucket: string
  nics: { id: string; name: string; device: string; path: string }[]
  renewCertificate(tls: Tls): void
}

/** Starts the API over the data directory's database and buckets, and writes credentials.json. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<RunningControlPlane> {
  keepHeapSmall()
  const { dataDir } = options
  const log = createLogger({ level: 'warn', destination: process.stderr })
  const { databaseUrl } = options
  await using started = new AsyncDisposableStack() // What has begun ends if something after it fails.
  const store = await openStore(
    databaseUrl === undefined ? { sqlitePath: path.join(dataDir, 'weir.db') } : { postgresUrl: databaseUrl },
  )
  started.defer(() => store.close())
  const buckets = await openBuckets(options, log)
  const hasConsole = existsSync(path.join(CONSOLE, 'index.html'))
  const made = await firstThings(options, { store, buckets })
  // Before anything else can fail: nobody but us has the password.
  if (made.credentials !== undefined)
    writeCredentials(dataDir, { ...made.credentials, url: expectedUrl(options) })
  const explorer = await openExplorer(dataDir, buckets)
  started.defer(() => explorer.stop())
  const app = await createApp(
    {
      windowSizeS: options.windowSizeS,
      ...(options.publicUrl === undefined ? {} : { publicUrl: options.publicUrl }),
      ...(options.tls === undefined ? {} : { tls: options.tls }),
      ...(options.openId === undefined ? {} : { openId: options.openId }),
      ...(options.trustProxy === undefined ? {} : { trustProxy: options.trustProxy }),
      ...(options.requireBindings === undefined ? {} : { requireBindings: options.requireBindings }),
      ...(hasConsole ? { consoleDirectory: CONSOLE } : {}),
    },
    {
      store,
      buckets,
      log,
      explorer,
      ...(options.onDelivered ? { onDelivered: options.onDelivered } : {}),
    },
  )
  started.defer(() => app.close())
  try {
    await app.listen(options.listen)
  } catch (cause) {
    const { host, port } = options.listen
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause)
    throw new WeirError(
      'WEIR_CONFIG_INVALID',
      `cannot listen on ${host}:${port} (${reason}); choose with --listen`,
      {
        cause,
      },
    )
  }
  const scheme = options.tls === undefined ? 'http' : 'https'
  const origin = originOf(scheme, app.server.address() as AddressInfo)
  const url = `${options.publicUrl ?? origin}/cloudapi/v6`
  const { credentials, ...rest } = made
  if (credentials !== undefined) writeCredentials(dataDir, { ...credentials, url })
  const running = started.move()
  return {
    origin,
    url,
    consoleUrl: hasConsole ? `${options.publicUrl ?? origin}/` : undefined,
    token: credentials?.token ?? '',
    ...rest,
    renewCertificate: (tls) => renewCertificate(app, tls),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

interface FirstThings {
  /** Undefined when another replica has them. */
  credentials: Omit<Credentials, 'url'> | undefined
  agentToken: string
  bucket: string
  nics: RunningControlPlane['nics']
}

/** Owner, bucket, inventory of this machine. Replicas that share a database must not take the owner from each other. */
async function firstThings(
  options: ControlPlaneOptions,
  dependencies: { store: Store; buckets: BucketStore },
): Promise<FirstThings> {
  const saved = readCredentials(options.dataDir)
  if (options.databaseUrl !== undefined) {
    const credentials = (await bootstrapShared(dependencies)) ?? saved
    return { credentials, agentToken: '', bucket: '', nics: [] }
  }
  const known = saved === undefined ? {} : { credentials: saved }
  if (!options.withMachine) {
    const { username, password, token, contractNumber, bucket } = await bootstrapContract(known, dependencies)
    const credentials = { username, password, token, contractNumber }
    return { credentials, agentToken: '', bucket, nics: [] }
  }
  const machine = { hostname: options.hostname, interfaces: machineInterfaces() }
  const made = await bootstrap({ ...machine, ...known }, dependencies)
  const { username, password, token, contractNumber, agentToken, bucket, nics } = made
  return { credentials: { username, password, token, contractNumber }, agentToken, bucket, nics }
}

async function openBuckets({ s3, dataDir }: ControlPlaneOptions, log: StoreLog): Promise<BucketStore> {
  if (s3 !== undefined) return new S3Store(s3)
  const directory = new DirectoryStore({ directory: path.join(dataDir, 'buckets') }, { log })
  await directory.start()
  return directory
}

/** Questions are worked on by processes of their own; what they have read once stays in the data directory. */
async function openExplorer(dataDir: string, store: BucketStore): Promise<Explorer> {
  const cacheDirectory = path.join(dataDir, 'explore')
  const spillDirectory = path.join(cacheDirectory, 'spill')
  const workers = Math.max(1, Math.min(4, availableParallelism() - 1))
  const memoryMaxMib = Math.max(256, Math.floor(totalmem() / 2 ** 20 / 4 / workers))
  const database = {
    threads: 2,
    memoryMaxMib,
    spillDirectory,
    spillMaxMib: 4_096,
    directories: [cacheDirectory],
  }
  const executor = new WorkerPool({ workers, database, timeLimitMs: 30_000, queueMax: 64 })
  const explorer = new Explorer(
    { cacheDirectory, cacheSizeMax: 4 * 2 ** 30 },
    { store, executor, clock: systemClock },
  )
  await explorer.start()
  return explorer
}

/** As far as it is known before the server listens: port 0 is not. */
function expectedUrl({ publicUrl, tls, listen }: ControlPlaneOptions): string {
  const { host: address, port } = listen
  const family = address.includes(':') ? 'IPv6' : 'IPv4'
  const origin = originOf(tls === undefined ? 'http' : 'https', { address, port, family })
  return `${publicUrl ?? origin}/cloudapi/v6`
}

/** A wildcard address is no address to call: the local agent and CLI use loopback. */
function originOf(scheme: 'http' | 'https', { address, port, family }: AddressInfo): string {
  const host = address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address
  return `${scheme}://${family === 'IPv6' ? `[${host}]` : host}:${port}`
}
