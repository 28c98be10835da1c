import { createWriteStream } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Executor } from './jobs.ts'
import { parseObjectName } from './object-name.ts'
import type { ObjectStore } from './object-store.ts'
import type { CachedObject, Pack, PackCache } from './pack-cache.ts'
import type { PackInput } from './pack-writer.ts'

export interface ListedObject {
  name: string
  size: number
  modifiedAtMs: number
  windowS: number
  stem: string
}

export interface BuildOptions {
  signal?: AbortSignal | undefined
  /** Told after each pack how many objects it was made of. */
  onPacked?(objects: number): void
}

export interface BuildFault {
  object: string
  reason: string
}

const BATCH_SIZE_MAX = 16 << 20
const BATCH_OBJECTS_MAX = 256
const FETCHES_AT_ONCE = 8
const SMALL_PACK_SIZE = 4 << 20
const SMALL_PACKS_MAX = 8
const MERGED_SIZE_MAX = 64 << 20

/** Fetches objects that no pack has yet, and has packs made of them. */
export class PackBuilder {
  readonly #store: ObjectStore
  readonly #cache: PackCache
  readonly #executor: Executor
  readonly #packsAtOnce: number
  /** One flow log is worked on once at a time: two questions must not pack the same objects. */
  readonly #queues = new Map<string, Promise<unknown>>()

  constructor(
    options: { packsAtOnce: number },
    dependencies: { store: ObjectStore; cache: PackCache; executor: Executor },
  ) {
    this.#packsAtOnce = options.packsAtOnce
    this.#store = dependencies.store
    this.#cache = dependencies.cache
    this.#executor = dependencies.executor
  }

  /**
   * Returns what could not be fetched: it is tried again with the next question. What is damaged is kept in
   * its pack.
   */
  async build(bucket: string, objects: ListedObject[], options: BuildOptions): Promise<BuildFault[]> {
    const byStem = Map.groupBy(objects, ({ stem }) => stem)
    const faults = await eachAtOnce([...byStem], this.#packsAtOnce, ([stem, some]) =>
      this.#inTurn(`${bucket}/${stem}`, () => this.#buildOf(bucket, stem, some, options)),
    )
    return faults.flat()
  }

  async #inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#queues.get(key)
    const turn = (before ?? Promise.resolve()).catch(() => undefined).then(work) // Whoever asked first is told.
    this.#queues.set(key, turn)
    try {
      return await turn
    } finally {
      if (this.#queues.get(key) === turn) this.#queues.delete(key)
    }
  }

  async #buildOf(
    bucket: string,
    stem: string,
    objects: ListedObject[],
    options: BuildOptions,
  ): Promise<BuildFault[]> {
    for (const object of objects) {
      // Objects are never overwritten by Weir; should somebody else do it, the old rows must go. What else was in
      // their pack is missing then, too: hence before looking for what is.
      if (this.#cache.find(bucket, object) !== undefined) continue
      const stale = this.#cache.findAnyVersion(bucket, object.name)
      if (stale !== undefined) await this.#cache.remove(stale)
    }
    const missing = objects.filter((object) => this.#cache.find(bucket, object) === undefined)
    options.onPacked?.(objects.length - missing.length)
    const faults = await eachAtOnce(batches(missing), this.#packsAtOnce, async (batch) => {
      const some = await this.#pack(bucket, stem, batch, options.signal)
      options.onPacked?.(batch.length)
      return some
    })
    await this.#mergeSmall(bucket, stem, options.signal)
    return faults.flat()
  }

  async #pack(
    bucket: string,
    stem: string,
    objects: ListedObject[],
    signal: AbortSignal | undefined,
  ): Promise<BuildFault[]> {
    const id = this.#cache.newId()
    const folder = path.join(this.#cache.directory, `${id}.incoming`)
    await mkdir(folder, { recursive: true })
    try {
      const faults: BuildFault[] = []
      const fetched = await eachAtOnce(
        objects.map((object, index) => ({ object, file: path.join(folder, `${index}.gz`) })),
        FETCHES_AT_ONCE,
        async ({ object, file }) => {
          const reason = await this.#fetch(bucket, object.name, file, signal)
          if (reason !== undefined) faults.push({ object: `${bucket}/${object.name}`, reason })
          return reason === undefined
            ? [{ object, path: this.#store.objectPath?.(bucket, object.name) ?? file }]
            : []
        },
      )
      const found = fetched.flat()
      if (found.length === 0) return faults
      const inputs: PackInput[] = found.map(({ object, path: file }) => ({
        object: `${bucket}/${object.name}`,
        windowS: object.windowS,
        path: file,
      }))
      const job = { kind: 'pack', packPath: this.#cache.path(id), inputs } as const
      const written = await this.#executor.run<'pack'>(job, signal)
      const cached = found.map(({ object }, at): CachedObject => {
        const { records, linesFailed, fault } = written.objects[at]!
        const { name, windowS, size, modifiedAtMs } = object
        return {
          name,
          windowS,
          size,
          modifiedAtMs,
          records,
          linesFailed,
          ...(fault === undefined ? {} : { fault }),
        }
      })
      const { size, sums, startsS } = written
      await this.#cache.add({ id, bucket, stem, size, sums, ...startsS, objects: cached })
      return faults
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }

  /** Returns why the object could not be had. */
  async #fetch(
    bucket: string,
    name: string,
    file: string,
    signal: AbortSignal | undefined,
  ): Promise<string | undefined> {
    signal?.throwIfAborted()
    if (this.#store.objectPath !== undefined) return undefined
    try {
      const content = await this.#store.readObject(bucket, name)
      if (content === undefined) return 'has vanished'
      await pipeline(content, createWriteStream(file), signal === undefined ? {} : { signal })
      return undefined
    } catch (error) {
      signal?.throwIfAborted()
      return `cannot be read: ${error instanceof Error ? error.message : String(error)}`
    }
  }

  /** Small packs become one, so that a question opens dozens of files and not thousands. */
  async #mergeSmall(bucket: string, stem: string, signal: AbortSignal | undefined): Promise<void> {
    const small = this.#cache
      .packsOf(bucket, stem)
      .filter((pack) => pack.size < SMALL_PACK_SIZE)
      .sort((a, b) => a.size - b.size)
    if (small.length <= SMALL_PACKS_MAX) return
    let size = 0
    const chosen = small.filter((pack) => {
      size += pack.size
      return size <= MERGED_SIZE_MAX
    })
    const unpin = this.#cache.pin(chosen)
    try {
      const id = this.#cache.newId()
      const withRows = chosen.filter((pack) => pack.size > 0)
      const merged: Pack = {
        id,
        bucket,
        stem,
        size: 0,
        sums: {},
        firstS: Math.min(...withRows.map(({ firstS }) => firstS)),
        lastS: Math.max(...withRows.map(({ lastS }) => lastS)),
        objects: chosen.flatMap(({ objects }) => objects),
      }
      if (withRows.length > 0) {
        const from = withRows.map((pack) => this.#cache.path(pack.id))
        const job = { kind: 'merge', packPath: this.#cache.path(id), from } as const
        Object.assign(merged, await this.#executor.run<'merge'>(job, signal))
      }
      // Removed before the new one is there: rows that are in two packs would count twice, rows in none are
      // read again.
      for (const pack of chosen) await this.#cache.remove(pack)
      await this.#cache.add(merged)
    } finally {
      unpin()
    }
  }
}

/** Splits objects, oldest window first, into what one pack should hold. */
function batches(objects: ListedObject[]): ListedObject[][] {
  const sorted = objects.toSorted((a, b) => a.windowS - b.windowS)
  const found: ListedObject[][] = []
  let size = 0
  for (const object of sorted) {
    const last = found.at(-1)
    if (last === undefined || last.length >= BATCH_OBJECTS_MAX || size + object.size > BATCH_SIZE_MAX) {
      found.push([object])
      size = object.size
    } else {
      last.push(object)
      size += object.size
    }
  }
  return found
}

/** Works on some at once. The first failure ends it, after what has begun has ended. */
export async function eachAtOnce<T, R>(
  items: T[],
  atOnce: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  let next = 0
  let failed = false
  const worker = async (): Promise<void> => {
    while (next < items.length && !failed) {
      const at = next++
      try {
        results[at] = await work(items[at]!)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  const workers = await Promise.allSettled(Array.from({ length: Math.min(atOnce, items.length) }, worker))
  for (const it of workers) if (it.status === 'rejected') throw it.reason
  return results
}

/** The objects of a listing that a flow log wrote. */
export function listed(object: {
  name: string
  size: number
  modifiedAtMs: number
}): ListedObject | undefined {
  const parsed = parseObjectName(object.name)
  return parsed === undefined ? undefined : { ...object, ...parsed }
}
