import { existsSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { createApp, type DeliveredObject } from '../api/app.ts'
import { bootstrap } from '../api/bootstrap.ts'
import type { BucketStore } from '../api/bucket-store.ts'
import { DirectoryStore } from '../buckets/directory/directory-store.ts'
import { type S3Options, S3Store } from '../buckets/s3/s3-store.ts'
import { WeirError } from '../model/errors.ts'
import { openStore } from '../store/store.ts'
import { createLogger } from '../telemetry/logger.ts'
import { readCredentials, writeCredentials } from './data-dir.ts'
import { machineInterfaces } from './network.ts'

/** Beside src/ here, beside dist/ in the published package. */
const CONSOLE = path.resolve(import.meta.dirname, '../../build/console')

export interface ControlPlaneOptions {
  dataDir: string
  hostname: string
  listen: { host: string; port: number }
  windowSizeS: number
  publicUrl?: string
  /** The object store; the buckets of the data directory without one. */
  s3?: S3Options
  /** Put this machine's interfaces into the inventory. */
  withMachine: boolean
  onDelivered?(object: DeliveredObject): void
}

export interface RunningControlPlane extends AsyncDisposable {
  /** Such as http://127.0.0.1:8080. */
  origin: string
  /** Base path of the Cloud API. */
  url: string
  token: string
  agentToken: string
  bucket: string
  nics: { id: string; name: string; device: string; path: string }[]
}

/** Starts the API over the data directory's database and buckets, and writes credentials.json. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<RunningControlPlane> {
  const { dataDir } = options
  const log = createLogger({ level: 'warn', destination: process.stderr })
  const store = await openStore({ sqlitePath: path.join(dataDir, 'weir.db') })
  const buckets = await openBuckets(options)
  const saved = readCredentials(dataDir)
  const made = await bootstrap(
    {
      hostname: options.hostname,
      interfaces: options.withMachine ? machineInterfaces() : [],
      ...(saved === undefined ? {} : { credentials: saved }),
    },
    { store, buckets },
  )
  const app = await createApp(
    {
      windowSizeS: options.windowSizeS,
      ...(options.publicUrl === undefined ? {} : { publicUrl: options.publicUrl }),
      ...(existsSync(path.join(CONSOLE, 'index.html')) ? { consoleDirectory: CONSOLE } : {}),
    },
    { store, buckets, log, ...(options.onDelivered ? { onDelivered: options.onDelivered } : {}) },
  )
  try {
    await app.listen(options.listen)
  } catch (cause) {
    await store.close()
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
  const origin = originOf(app.server.address() as AddressInfo)
  const url = `${options.publicUrl ?? origin}/cloudapi/v6`
  const { username, password, token, contractNumber } = made
  writeCredentials(dataDir, { url, username, password, token, contractNumber })
  return {
    origin,
    url,
    token,
    agentToken: made.agentToken,
    bucket: made.bucket,
    nics: made.nics,
    async [Symbol.asyncDispose]() {
      await app.close()
      await store.close()
    },
  }
}

async function openBuckets({ s3, dataDir }: ControlPlaneOptions): Promise<BucketStore> {
  if (s3 !== undefined) return new S3Store(s3)
  const directory = new DirectoryStore({ directory: path.join(dataDir, 'buckets') })
  await directory.start()
  return directory
}

/** A wildcard address is no address to call: the local agent and CLI use loopback. */
function originOf({ address, port, family }: AddressInfo): string {
  const host = address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address
  return `http://${family === 'IPv6' ? `[${host}]` : host}:${port}`
}
