import { existsSync, statSync } from 'node:fs'
import { availableParallelism, homedir, totalmem } from 'node:os'
import path from 'node:path'
import { Readable } from 'node:stream'
import type { DuckDBInstance } from '@duckdb/node-api'
import { S3Store } from '../buckets/s3/s3-store.ts'
import { DirectorySource } from '../explore/directory-source.ts'
import { openDatabase } from '../explore/duckdb.ts'
import { type Access, Explorer, type Progress } from '../explore/explorer.ts'
import { LocalExecutor } from '../explore/jobs.ts'
import type { ObjectStore, Place } from '../explore/object-store.ts'
import type { Coverage } from '../explore/question.ts'
import { WeirError } from '../model/errors.ts'
import { parseDestination } from '../model/flow-log.ts'
import { systemClock } from '../stdx/clock.ts'
import { type ApiClient, connect, SERVER_OPTIONS } from './api-client.ts'
import type { CommandContext } from './command.ts'
import { dataDirectory } from './data-dir.ts'
import { parseCount } from './options.ts'
import type { ProgressLine } from './progress-line.ts'
import { parseS3, S3_OPTIONS } from './s3-options.ts'

/** What every command over delivered objects takes. */
export const EXPLORE_OPTIONS = {
  ...SERVER_OPTIONS,
  ...S3_OPTIONS,
  from: { type: 'string', multiple: true },
  since: { type: 'string' },
  until: { type: 'string' },
  'cache-mib-max': { type: 'string', default: '4096' },
} as const

export const EXPLORE_HELP = `  --from SOURCE     a directory of objects, s3://BUCKET[/PREFIX], BUCKET[/PREFIX] or a flow log's name; may be
                    repeated (default: all buckets of the local data directory, else of the server)
  --since TIME      2h, 1d12h, today, yesterday, monday, '2026-11-22 10:00', RFC 3339; UTC unless it says otherwise
  --until TIME      the same (default: now)
  --server URL      control plane: objects that are not on this machine, and names of interfaces (WEIR_SERVER)
  --data-dir DIR    of the local server (WEIR_DATA_DIR)
  --s3-endpoint URL where s3://BUCKET is, with --s3-region, --s3-addressing, --s3-credentials and --s3-ca as in
                    'weir server'
  --cache-mib-max N disk space for what has been read before (default 4096; in the user's cache directory)`

export interface ExploreValues {
  server?: string | undefined
  'data-dir'?: string | undefined
  from?: string[] | undefined
  since?: string | undefined
  until?: string | undefined
  'cache-mib-max': string
  's3-endpoint'?: string | undefined
  's3-region': string
  's3-addressing': string
  's3-credentials'?: string | undefined
  's3-ca'?: string | undefined
  's3-no-conditional-writes': boolean
}

/** Delivered objects, ready to be asked about. */
export interface Exploring extends AsyncDisposable {
  explorer: Explorer
  database: DuckDBInstance
  access: Access
}

/** Finds the objects, and the names of what they are about where a server can tell. */
export async function openExploring(values: ExploreValues, context: CommandContext): Promise<Exploring> {
  const cacheMibMax = parseCount('cache-mib-max', values['cache-mib-max'], { min: 1, max: 1 << 30 })
  const cacheDirectory = path.join(cacheHome(context.env), 'weir', 'explore')
  const database = await openDatabase({
    threads: availableParallelism(),
    memoryMaxMib: Math.floor(totalmem() / 2 ** 20 / 2),
    spillDirectory: path.join(cacheDirectory, 'spill'),
    spillMaxMib: 16_384,
  })
  const server = await knownServer(values, context)
  const sources = new Sources(values, context, server)
  const places = await sources.places(values.from ?? [])
  const explorer = new Explorer(
    {
      cacheDirectory,
      cacheSizeMax: cacheMibMax * 2 ** 20,
      packsAtOnce: 2 * availableParallelism(), // Some are fetched while others are written.
    },
    { store: sources, executor: new LocalExecutor(database), clock: systemClock },
  )
  await explorer.start()
  const access = { places, interfaces: server?.interfaces ?? [] }
  return { explorer, database, access, [Symbol.asyncDispose]: () => explorer.stop() }
}

interface KnownServer {
  api: ApiClient
  interfaces: Access['interfaces']
  flowLogs: { name: string; id: string; bucket: string; interfaceId: string }[]
}

/** The inventory, when a server answers: records can be read without one. */
async function knownServer(values: ExploreValues, context: CommandContext): Promise<KnownServer | undefined> {
  const isMeant = (values.server ?? context.env['WEIR_SERVER']) !== undefined
  try {
    const api = connect(values, context)
    const nics = await api.nics()
    return {
      api,
      interfaces: nics.map(({ nic, server, datacenter }) => ({
        id: nic.id,
        name: nic.properties.name ?? nic.id,
        server: server.properties.name,
        datacenter: datacenter.properties.name,
        addresses: nic.properties.ips ?? [],
      })),
      flowLogs: nics.flatMap(({ nic, flowLogs }) =>
        flowLogs.map((it) => ({
          name: it.properties.name,
          id: it.id,
          bucket: it.properties.bucket,
          interfaceId: nic.id,
        })),
      ),
    }
  } catch (error) {
    context.signal.throwIfAborted()
    if (isMeant || !(error instanceof WeirError)) throw error
    return undefined
  }
}

/** Whether `--from` means a directory. */
export function isDirectory(source: string): boolean {
  return /^(\.{0,2}\/|\.{1,2}$)/.test(source) || (existsSync(source) && statSync(source).isDirectory())
}

/** One object store over all the kinds that `--from` can name: a bucket's name leads to its own. */
class Sources implements ObjectStore {
  readonly #values: ExploreValues
  readonly #context: CommandContext
  readonly #server: KnownServer | undefined
  readonly #local: string
  readonly #stores = new Map<string, ObjectStore>()

  constructor(values: ExploreValues, context: CommandContext, server: KnownServer | undefined) {
    this.#values = values
    this.#context = context
    this.#server = server
    this.#local = path.join(dataDirectory(values['data-dir'], context.env), 'buckets')
  }

  async places(sources: string[]): Promise<Place[]> {
    if (sources.length === 0) return this.#everything()
    return sources.map((source) => this.#place(source))
  }

  listObjects(bucket: string, listing: { prefix: string; after: string; limit: number }) {
    return this.#storeOf(bucket).listObjects(bucket, listing)
  }

  async readObject(bucket: string, name: string): Promise<Readable | undefined> {
    return this.#storeOf(bucket).readObject(bucket, name)
  }

  #storeOf(bucket: string): ObjectStore {
    const store = this.#stores.get(bucket)
    if (store === undefined) throw new WeirError('WEIR_NOT_FOUND', `bucket '${bucket}' is not known`)
    return store
  }

  async #everything(): Promise<Place[]> {
    const isRemote = (this.#values.server ?? this.#context.env['WEIR_SERVER']) !== undefined
    if (!isRemote && existsSync(this.#local)) {
      const store = new DirectorySource({ directory: this.#local })
      const names = await store.listBuckets()
      return names.map((name) => this.#keep({ bucket: name, prefix: '' }, store))
    }
    if (this.#server === undefined) {
      throw new WeirError(
        'WEIR_USAGE',
        `there are no buckets in ${this.#local}, and no server is known: say --from or --server`,
      )
    }
    const store = new ApiSource(this.#server.api)
    return (await store.listBuckets()).map((name) => this.#keep({ bucket: name, prefix: '' }, store))
  }

  #keep(place: Place, store: ObjectStore): Place {
    this.#stores.set(place.bucket, store)
    return place
  }

  #place(source: string): Place {
    if (isDirectory(source)) {
      const directory = path.resolve(source)
      const store = new DirectorySource({ directory: path.dirname(directory) })
      return this.#keep({ bucket: path.basename(directory), prefix: '' }, store)
    }
    const flowLog = this.#server?.flowLogs.find((it) => it.name === source || it.id === source)
    if (flowLog === undefined) return this.#bucket(source)
    const place = this.#bucket(flowLog.bucket)
    return { ...place, prefix: place.prefix === '' ? flowLog.interfaceId : place.prefix }
  }

  #bucket(source: string): Place {
    const place = parseDestination(source)
    if ('reason' in place) throw new WeirError('WEIR_USAGE', `--from '${source}': ${place.reason}`)
    if (source.startsWith('s3://') && this.#values['s3-endpoint'] !== undefined) {
      return this.#keep(place, new S3Store(parseS3(this.#values, this.#context.env)!))
    }
    if (existsSync(path.join(this.#local, place.bucket))) {
      return this.#keep(place, new DirectorySource({ directory: this.#local }))
    }
    if (this.#server !== undefined) return this.#keep(place, new ApiSource(this.#server.api))
    throw new WeirError(
      'WEIR_NOT_FOUND',
      `'${source}' is neither a directory nor a bucket here; for S3 say --s3-endpoint, for a server --server`,
    )
  }
}

/** Buckets of a server, asked over HTTP. */
class ApiSource implements ObjectStore {
  readonly #api: ApiClient

  constructor(api: ApiClient) {
    this.#api = api
  }

  async listBuckets(): Promise<string[]> {
    const { items } = await this.#api.get<{ items: { name: string }[] }>('/weir/v1/buckets')
    return items.map(({ name }) => name)
  }

  async listObjects(bucket: string, listing: { prefix: string; after: string; limit: number }) {
    const { prefix, after, limit } = listing
    const query = new URLSearchParams({ bucket, prefix, after, limit: String(limit) })
    type Listed = { name: string; size: number; modifiedAt: string }
    const { items } = await this.#api.get<{ items: Listed[] }>(`/weir/v1/objects?${query}`)
    return items.map(({ name, size, modifiedAt }) => ({ name, size, modifiedAtMs: Date.parse(modifiedAt) }))
  }

  async readObject(bucket: string, name: string): Promise<Readable> {
    const query = new URLSearchParams({ bucket, name })
    return Readable.from(await this.#api.bytes(`/weir/v1/objects/content?${query}`))
  }
}

function cacheHome(env: Record<string, string | undefined>): string {
  return env['XDG_CACHE_HOME'] || path.join(env['HOME'] || homedir(), '.cache')
}

/** Says on a progress line how far the reading of objects is. */
export function showReading(line: ProgressLine): (progress: Progress) => void {
  return ({ stage, done, total }) => {
    if (stage === 'list') line.write('listing objects')
    else if (stage === 'read') line.count('reading objects', done, total)
    else line.write('asking')
  }
}

/**
 * What a total leaves out, said on stderr: damaged objects, lines that are no records, packets without a
 * flow.
 */
export function warnOfGaps(
  context: CommandContext,
  coverage: Coverage,
  skipped: { records: number; packets: number; bytes: number } | undefined,
): void {
  for (const { object, reason } of coverage.faults) context.stderr.write(`skipped: ${object} ${reason}\n`)
  const more = coverage.objectsFailed - coverage.faults.length
  if (more > 0) context.stderr.write(`skipped: ${more} more objects\n`)
  if (coverage.objects === 0) {
    const { objectsOutside } = coverage
    context.stderr.write(
      `no objects of this time (${objectsOutside} of other times); see --since and --from\n`,
    )
  }
  if (skipped === undefined || skipped.records === 0) return
  context.stderr.write(
    `not in these flows: ${skipped.packets} packets that SKIPDATA records declare as skipped\n`,
  )
}
