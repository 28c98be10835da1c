import { open, rm } from 'node:fs/promises'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { WeirError } from '../model/errors.ts'
import type { Clock } from '../stdx/clock.ts'
import { type ExportFormat, settle } from './ask.ts'
import type { PackSelection } from './flows-view.ts'
import type { Inquest } from './inquiry.ts'
import type { Executor } from './jobs.ts'
import type { LiveBatch, LiveSource } from './live-rows.ts'
import { mayHold, type TimeRange } from './object-name.ts'
import type { ObjectStore, Place } from './object-store.ts'
import { type BuildFault, eachAtOnce, type ListedObject, listed, PackBuilder } from './pack-builder.ts'
import { type Pack, PackCache } from './pack-cache.ts'
import type { Answer, Coverage, Finding, Names, Question, SettledQuestion } from './question.ts'

/** What an asker may read, and what things are called. Who grants it has checked it. */
export interface Access {
  places: Place[]
  interfaces: { id: string; name: string; server?: string; datacenter?: string; addresses: string[] }[]
  /** Only records of these `interfaces`: whoever may not read all of a bucket's. */
  onlyThese?: boolean
}

export interface AskOptions {
  signal?: AbortSignal | undefined
  onProgress?(progress: Progress): void
  /** For live questions. */
  live?: LiveSource | undefined
}

/** Objects read so far, of those that had to be read. */
export interface Progress {
  stage: 'list' | 'read' | 'ask'
  done: number
  total: number
}

/** The packs for a range, kept from removal until `release`. */
export interface Prepared {
  selection: PackSelection
  coverage: Coverage
  /** What was found, as `bucket/name`. */
  objects: ReadonlySet<string>
  release(): void
}

const LISTING_PAGE = 1_000
const FAULTS_SHOWN_MAX = 20
const PREPARE_ATTEMPTS_MAX = 5

/** Answers questions about the flows in buckets. */
export class Explorer {
  readonly #store: ObjectStore
  readonly #executor: Executor
  readonly #clock: Clock
  readonly #cache: PackCache
  readonly #builder: PackBuilder

  constructor(
    options: { cacheDirectory: string; cacheSizeMax: number; packsAtOnce?: number },
    dependencies: { store: ObjectStore; executor: Executor; clock: Clock },
  ) {
    this.#store = dependencies.store
    this.#executor = dependencies.executor
    this.#clock = dependencies.clock
    const { cacheDirectory: directory, cacheSizeMax: sizeMax } = options
    this.#cache = new PackCache({ directory, sizeMax }, dependencies)
    this.#builder = new PackBuilder(
      { packsAtOnce: options.packsAtOnce ?? 2 },
      { ...dependencies, cache: this.#cache },
    )
  }

  async start(): Promise<void> {
    await this.#cache.start()
  }

  async stop(): Promise<void> {
    await this.#executor.stop()
  }

  async ask<Q extends Question>(
    question: Q,
    access: Access,
    options: AskOptions = {},
  ): Promise<Answer<Q['kind']>> {
    const beginMs = Number(this.#clock.monotonicNs() / 1_000_000n)
    const settled = settle(question, this.#clock.nowMs())
    return this.#overPacks(
      placesOf(question, access),
      settled.readRange,
      options,
      async ({ selection, coverage, objects }) => {
        options.onProgress?.({ stage: 'ask', done: coverage.objects, total: coverage.objects })
        const live = await options.live?.beside(objects)
        const inquest = inquestOf(settled, { selection, live: live?.batches }, access)
        const finding = await this.#executor.run<'ask'>({ kind: 'ask', inquest }, options.signal)
        return {
          ...(finding as Finding<Q['kind']>),
          kind: question.kind as Q['kind'],
          range: settled.range,
          coverage,
          ...(live === undefined ? {} : { live: live.coverage }),
          names: namesIn([finding.result, live?.coverage.silent], access),
          tookMs: Number(this.#clock.monotonicNs() / 1_000_000n) - beginMs,
        }
      },
    )
  }

  /** All rows of a question for flows or groups as a file that is gone when its stream is. */
  async export(
    question: Question,
    access: Access,
    options: AskOptions & { format: ExportFormat },
  ): Promise<{ content: Readable; rows: number }> {
    const settled = settle(question, this.#clock.nowMs())
    const file = path.join(this.#cache.directory, `${this.#cache.newId()}.export`)
    const places = placesOf(question, access)
    return this.#overPacks(places, settled.readRange, options, async ({ selection, objects }) => {
      const live = await options.live?.beside(objects)
      const inquest = inquestOf(settled, { selection, live: live?.batches }, access)
      const job = { kind: 'export', inquest, format: options.format, path: file } as const
      try {
        const rows = await this.#executor.run<'export'>(job, options.signal)
        const opened = await open(file)
        return { content: opened.createReadStream(), rows }
      } finally {
        // Also of an export that nobody reads to its end nothing stays: what is open can be read without a
        // name.
        await rm(file, { force: true })
      }
    })
  }

  async #overPacks<T>(
    places: Place[],
    range: TimeRange,
    options: AskOptions,
    work: (prepared: Prepared) => Promise<T>,
  ): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const prepared = await this.prepare(places, range, options)
      try {
        return await work(prepared)
      } catch (error) {
        if (attempt > 1 || !isLostFile(error)) throw error
        await this.#cache.forgetLost()
      } finally {
        prepared.release()
        await this.#cache.enforceLimit()
      }
    }
  }

  /** Sees to it that all objects that may hold flows of the range are in packs. */
  async prepare(places: Place[], range: TimeRange | undefined, options: AskOptions = {}): Promise<Prepared> {
    options.onProgress?.({ stage: 'list', done: 0, total: 0 })
    const lists = await eachAtOnce(merged(places), 4, (place) => this.#list(place, range, options.signal))
    const total = lists.reduce((sum, { inside }) => sum + inside.length, 0)
    for (let attempt = 1; ; attempt++) {
      let done = 0
      const onPacked = (objects: number): void => {
        done += objects
        options.onProgress?.({ stage: 'read', done, total })
      }
      const faults: BuildFault[] = lists.flatMap(({ fault }) => fault ?? [])
      for (const { place, inside } of lists) {
        faults.push(
          ...(await this.#builder.build(place.bucket, inside, { signal: options.signal, onPacked })),
        )
      }
      const prepared = this.#select(lists, range, faults)
      if (prepared !== undefined) return prepared
      if (attempt === PREPARE_ATTEMPTS_MAX) {
        throw new WeirError('WEIR_QUERY_BUSY', 'the cache is too small for all that is asked at the moment')
      }
    }
  }

  /** Undefined when a pack was removed, for want of room, after it was made and before it could be pinned. */
  #select(lists: Listing[], range: TimeRange | undefined, faults: BuildFault[]): Prepared | undefined {
    const coverage: Coverage = {
      objects: 0,
      objectsOutside: lists.reduce((sum, it) => sum + it.outside, 0),
      objectsFailed: faults.length,
      linesFailed: 0,
      oldestWindowS: null,
      newestWindowS: null,
      faults: faults.slice(0, FAULTS_SHOWN_MAX),
    }
    const known = new Set(faults.map(({ object }) => object))
    const packs = new Set<Pack>()
    const wanted = new Set<string>()
    for (const { place, inside } of lists) {
      for (const object of inside) {
        const found = this.#cache.find(place.bucket, object)
        if (found === undefined) {
          if (known.has(`${place.bucket}/${object.name}`)) continue // Could not be fetched, and is told as a fault.
          return undefined // A total must not silently lack something.
        }
        packs.add(found.pack)
        wanted.add(`${place.bucket}/${object.name}`)
        count(coverage, place.bucket, found.cached)
      }
    }
    const objectsGone = [...packs].flatMap(({ bucket, objects }) =>
      objects
        .filter(({ windowS, records }) => records > 0 && (range === undefined || mayHold(windowS, range)))
        .map(({ name }) => `${bucket}/${name}`)
        .filter((name) => !wanted.has(name)),
    )
    const unpin = this.#cache.pin(packs)
    void this.#cache.touch(packs)
    const gone = new Set(objectsGone)
    const files = [...packs]
      .filter(({ size }) => size > 0)
      .map((pack) => {
        const isWhole = !pack.objects.some(({ name }) => gone.has(`${pack.bucket}/${name}`))
        return { ...this.#cache.filesOf(pack), ...(isWhole ? {} : { sums: {} }) }
      })
      .sort((a, b) => (a.rows < b.rows ? -1 : 1))
    return { selection: { packs: files, objectsGone }, coverage, objects: wanted, release: unpin }
  }

  async #list(place: Place, range: TimeRange | undefined, signal: AbortSignal | undefined): Promise<Listing> {
    const inside: ListedObject[] = []
    let outside = 0
    for (let after = ''; ; ) {
      signal?.throwIfAborted()
      const { bucket, prefix } = place
      let page: Awaited<ReturnType<ObjectStore['listObjects']>>
      try {
        page = await this.#store.listObjects(bucket, { prefix, after, limit: LISTING_PAGE })
      } catch (error) {
        // A bucket whose owner lets nobody list it must not hide the others; it is named with what is
        // missing.
        if (!(error instanceof WeirError) || error.code !== 'WEIR_FORBIDDEN') throw error
        return { place, inside: [], outside: 0, fault: { object: `${bucket}/`, reason: error.message } }
      }
      for (const object of page) {
        const it = listed(object)
        if (it === undefined || !isBelow(it.stem, prefix)) continue // Not a flow log's, or another one's.
        if (range === undefined || mayHold(it.windowS, range)) inside.push(it)
        else outside++
      }
      if (page.length < LISTING_PAGE) return { place, inside, outside }
      after = page.at(-1)!.name
    }
  }
}

interface Listing {
  place: Place
  inside: ListedObject[]
  outside: number
  fault?: BuildFault
}

function inquestOf(
  settled: SettledQuestion,
  { selection, live }: { selection: PackSelection; live: LiveBatch[] | undefined },
  access: Access,
): Inquest {
  const { interfaces } = access
  const interfaceIds = access.onlyThese ? interfaces.map(({ id }) => id) : undefined
  const flows = { selection: { ...selection, interfaceIds }, ...(live === undefined ? {} : { live }) }
  return { settled, ...flows, interfaces }
}

/** A prefix names one flow log's objects, or a folder of them; `web` is not `web2`. */
export function isBelow(stem: string, prefix: string): boolean {
  if (prefix === '' || stem === prefix) return true
  return stem.startsWith(prefix.endsWith('/') ? prefix : `${prefix}/`)
}

/** Places without those that lie in another: no object is counted twice. */
function merged(places: Place[]): Place[] {
  const isIn = (a: Place, b: Place): boolean => a.bucket === b.bucket && isBelow(a.prefix, b.prefix)
  return places.filter(
    (place, at) =>
      !places.some((other, i) => i !== at && isIn(place, other) && (!isIn(other, place) || i < at)),
  )
}

function count(
  coverage: Coverage,
  bucket: string,
  cached: { name: string; windowS: number; linesFailed: number; fault?: string },
): void {
  coverage.objects++
  coverage.linesFailed += cached.linesFailed
  coverage.oldestWindowS = Math.min(coverage.oldestWindowS ?? cached.windowS, cached.windowS)
  coverage.newestWindowS = Math.max(coverage.newestWindowS ?? 0, cached.windowS)
  const reason =
    cached.fault ?? (cached.linesFailed > 0 ? `${cached.linesFailed} lines are no records` : undefined)
  if (cached.fault !== undefined) coverage.objectsFailed++
  if (reason === undefined || coverage.faults.length >= FAULTS_SHOWN_MAX) return
  coverage.faults.push({ object: `${bucket}/${cached.name}`, reason })
}

/** The places that a question is about: a part of what its asker may read, or WEIR_NOT_FOUND. */
function placesOf(question: Question, { places }: Access): Place[] {
  if (question.buckets === undefined) return places
  return question.buckets.map((text) => {
    const slash = text.indexOf('/')
    const place = {
      bucket: slash < 0 ? text : text.slice(0, slash),
      prefix: slash < 0 ? '' : text.slice(slash + 1),
    }
    const isAllowed = places.some((it) => it.bucket === place.bucket && isBelow(place.prefix, it.prefix))
    if (!isAllowed) throw new WeirError('WEIR_NOT_FOUND', `bucket '${text}' does not exist`)
    return place
  })
}

/** The names of what a result mentions. */
function namesIn(result: unknown, { interfaces }: Access): Names {
  const mentioned = new Set<unknown>()
  collect(result, mentioned)
  const names: Names = { interfaces: {}, addresses: {} }
  for (const { id, name, server, datacenter, addresses } of interfaces) {
    if (mentioned.has(id))
      names.interfaces[id] = { name, ...(server ? { server } : {}), ...(datacenter ? { datacenter } : {}) }
    for (const address of addresses) {
      if (mentioned.has(address)) names.addresses[address] = server === undefined ? name : `${server} ${name}`
    }
  }
  return names
}

function collect(value: unknown, into: Set<unknown>): void {
  if (typeof value === 'string') into.add(value)
  else if (Array.isArray(value)) for (const it of value) collect(it, into)
  else if (value !== null && typeof value === 'object')
    for (const it of Object.values(value)) collect(it, into)
}

/** A pack that another process removed between choosing and opening it, or that is cut short. */
function isLostFile(error: unknown): boolean {
  return (
    error instanceof WeirError &&
    error.code === 'WEIR_QUERY_FAILED' &&
    /No files found|Cannot open file|No magic bytes|too small to be a Parquet/i.test(error.message)
  )
}
