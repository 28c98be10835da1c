import { randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Clock } from '../stdx/clock.ts'
import { type PackFiles, type PackSizes, type SumsKind, sumsPath } from './flows-view.ts'

/**
 * What a pack knows of an object. `size` and `modifiedAtMs` tell whether it is still the object that was
 * read.
 */
export interface CachedObject {
  name: string
  windowS: number
  size: number
  modifiedAtMs: number
  records: number
  linesFailed: number
  fault?: string
}

export interface Pack extends PackSizes {
  id: string
  bucket: string
  stem: string
  /** When the first and the last of its flows start. */
  firstS: number
  lastS: number
  objects: CachedObject[]
}

const INDEX_VERSION = 5
const TOUCH_INTERVAL_MS = 60_000
/** Files without an index that are younger may be another process at work. */
const LEFTOVER_AGE_MS = 3_600_000

/**
 * The packs on disk: `<id>.parquet` with the rows, `<id>.<kind>.parquet` with sums, `<id>.json` with what is in them.
 * Bounded: the packs that were not asked for the longest go first. Everything in it can be made again from the bucket,
 * so nothing is lost with it.
 */
export class PackCache {
  readonly directory: string
  readonly #sizeMax: number
  readonly #clock: Clock
  readonly #packs = new Map<string, Pack>()
  readonly #byObject = new Map<string, { pack: Pack; cached: CachedObject }>()
  readonly #usedAtMs = new Map<string, number>()
  /** Packs that a question is being answered from. */
  readonly #pins = new Map<string, number>()
  /** Removed while pinned: the files go with the last pin. */
  readonly #retired = new Map<string, Pack>()

  constructor(options: { directory: string; sizeMax: number }, dependencies: { clock: Clock }) {
    this.directory = path.resolve(options.directory)
    this.#sizeMax = options.sizeMax
    this.#clock = dependencies.clock
  }

  async start(): Promise<void> {
    await mkdir(this.directory, { recursive: true, mode: 0o700 })
    const names = new Set(await readdir(this.directory))
    for (const name of names) {
      if (name.endsWith('.json')) await this.#load(path.join(this.directory, name), names)
    }
    const kept = new Set(
      [...this.#packs.values()].flatMap((pack) => [this.#index(pack), ...this.#files(pack)]),
    )
    for (const name of names) {
      const file = path.join(this.directory, name)
      if (kept.has(file)) continue
      const found = await stat(file).catch(() => undefined)
      if (found === undefined || found.mtimeMs > this.#clock.nowMs() - LEFTOVER_AGE_MS) continue
      await rm(file, { recursive: true, force: true })
    }
  }

  /** Takes no notice of what is no index of ours. */
  async #load(file: string, names: Set<string>): Promise<void> {
    try {
      const read = JSON.parse(await readFile(file, 'utf8')) as { version: number; pack: Pack }
      if (read.version !== INDEX_VERSION) return
      const { pack } = read
      if (!this.#files(pack).every((it) => names.has(path.basename(it)))) return
      // In two packs after a crash, or by two processes: its rows must not count twice.
      if (pack.objects.some(({ name }) => this.#byObject.has(`${pack.bucket}/${name}`))) return
      this.#keep(pack, (await stat(file)).mtimeMs)
    } catch {
      // Cut short, or removed in the meantime: it is made again.
    }
  }

  get size(): number {
    let size = 0
    for (const pack of this.#packs.values()) size += sizeOf(pack)
    return size
  }

  newId(): string {
    return randomUUID()
  }

  path(id: string): string {
    return path.join(this.directory, `${id}.parquet`)
  }

  /** The files of a pack, which has rows. */
  filesOf({ id, sums, firstS, lastS }: Pack): PackFiles {
    const rows = this.path(id)
    const paths = Object.keys(sums).map((kind) => [kind, sumsPath(rows, kind as SumsKind)])
    return { rows, sums: Object.fromEntries(paths), firstS, lastS }
  }

  #index({ id }: Pack): string {
    return path.join(this.directory, `${id}.json`)
  }

  #files(pack: Pack): string[] {
    const { rows, sums } = this.filesOf(pack)
    return pack.size === 0 ? [] : [rows, ...Object.values(sums)]
  }

  /** The pack that holds exactly this object. */
  find(
    bucket: string,
    object: { name: string; size: number; modifiedAtMs: number },
  ): { pack: Pack; cached: CachedObject } | undefined {
    const found = this.#byObject.get(`${bucket}/${object.name}`)
    const isSame = found?.cached.size === object.size && found.cached.modifiedAtMs === object.modifiedAtMs
    return isSame ? found : undefined
  }

  /** The pack that holds some version of this object. */
  findAnyVersion(bucket: string, name: string): Pack | undefined {
    return this.#byObject.get(`${bucket}/${name}`)?.pack
  }

  /**
   * Forgets packs whose file is gone: another process shares this directory, and its limit is ours. Also those that a
   * machine without power did not write to their end: nothing here is worth waiting for the disk.
   */
  async forgetLost(): Promise<void> {
    for (const pack of [...this.#packs.values()]) {
      let size = 0
      for (const file of this.#files(pack)) size += (await stat(file).catch(() => undefined))?.size ?? 0
      if (size !== sizeOf(pack)) await this.remove(pack)
    }
  }

  /** Packs of one flow log's objects. */
  packsOf(bucket: string, stem: string): Pack[] {
    return [...this.#packs.values()].filter((it) => it.bucket === bucket && it.stem === stem)
  }

  /** Takes a pack whose file is there. The index is written last: without it the file is nothing. */
  async add(pack: Pack): Promise<void> {
    const file = this.#index(pack)
    await writeFile(`${file}.draft`, JSON.stringify({ version: INDEX_VERSION, pack }))
    await rename(`${file}.draft`, file)
    this.#keep(pack, this.#clock.nowMs())
  }

  /** No question finds the pack from here on; those that have it keep its file to their end. */
  async remove(pack: Pack): Promise<void> {
    this.#packs.delete(pack.id)
    this.#usedAtMs.delete(pack.id)
    for (const { name } of pack.objects) {
      const key = `${pack.bucket}/${name}`
      if (this.#byObject.get(key)?.pack === pack) this.#byObject.delete(key)
    }
    await rm(this.#index(pack), { force: true })
    if (this.#pins.has(pack.id)) this.#retired.set(pack.id, pack)
    else await this.#removeFiles(pack)
  }

  async #removeFiles(pack: Pack): Promise<void> {
    for (const file of this.#files(pack)) await rm(file, { force: true })
  }

  /** Keeps packs from being removed until the returned function is called. */
  pin(packs: Iterable<Pack>): () => void {
    const ids = [...packs].map(({ id }) => id)
    for (const id of ids) this.#pins.set(id, (this.#pins.get(id) ?? 0) + 1)
    return () => {
      for (const id of ids.splice(0)) {
        const pins = this.#pins.get(id)! - 1
        if (pins > 0) this.#pins.set(id, pins)
        else {
          this.#pins.delete(id)
          const retired = this.#retired.get(id)
          this.#retired.delete(id)
          if (retired !== undefined) void this.#removeFiles(retired)
        }
      }
    }
  }

  /** Notes the use, on disk too: the next process must know what was used last. */
  async touch(packs: Iterable<Pack>): Promise<void> {
    const nowMs = this.#clock.nowMs()
    for (const pack of packs) {
      const { id } = pack
      if (nowMs - (this.#usedAtMs.get(id) ?? 0) < TOUCH_INTERVAL_MS) continue
      this.#usedAtMs.set(id, nowMs)
      // Of a pack that goes in this moment nobody needs to know when it was used.
      await utimes(this.#index(pack), nowMs / 1000, nowMs / 1000).catch(() => undefined)
    }
  }

  /** Removes the packs that were not used the longest, until the rest is within bounds. */
  async enforceLimit(): Promise<void> {
    let size = this.size
    const oldest = [...this.#packs.values()].sort(
      (a, b) => this.#usedAtMs.get(a.id)! - this.#usedAtMs.get(b.id)!,
    )
    for (const pack of oldest) {
      if (size <= this.#sizeMax) return
      if (this.#pins.has(pack.id)) continue
      size -= sizeOf(pack)
      await this.remove(pack)
    }
  }

  #keep(pack: Pack, usedAtMs: number): void {
    this.#packs.set(pack.id, pack)
    this.#usedAtMs.set(pack.id, usedAtMs)
    for (const cached of pack.objects) this.#byObject.set(`${pack.bucket}/${cached.name}`, { pack, cached })
  }
}

/** Of all its files. */
function sizeOf({ size, sums }: Pack): number {
  return Object.values(sums).reduce((sum, it) => sum + it, size)
}
