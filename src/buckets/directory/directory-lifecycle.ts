import { randomUUID } from 'node:crypto'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import type { LifecycleRule } from '../../model/lifecycle.ts'

const DAY_MS = 86_400_000
const PAGE_SIZE = 1_000

/** What the lifecycle needs of the store. */
export interface ExpiringStore {
  listBuckets(): Promise<string[]>
  listObjects(
    bucket: string,
    listing: { prefix: string; after: string; limit: number },
  ): Promise<{ name: string; modifiedAtMs: number }[]>
  removeObject(bucket: string, objectName: string): Promise<void>
}

/** Retention for buckets that are folders: rules in one file per bucket, which the server itself enforces. */
export class DirectoryLifecycle {
  readonly #directory: string
  readonly #store: ExpiringStore

  constructor(options: { directory: string }, dependencies: { store: ExpiringStore }) {
    this.#directory = options.directory
    this.#store = dependencies.store
  }

  async rules(bucket: string): Promise<LifecycleRule[]> {
    try {
      return JSON.parse(await readFile(this.#fileOf(bucket), 'utf8')) as LifecycleRule[]
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
  }

  async setRules(bucket: string, rules: readonly LifecycleRule[]): Promise<void> {
    const file = this.#fileOf(bucket)
    if (rules.length === 0) {
      await rm(file, { force: true })
      return
    }
    await mkdir(this.#directory, { recursive: true, mode: 0o750 })
    const draft = `${file}.${randomUUID()}`
    const handle = await open(draft, 'wx', 0o640)
    try {
      await handle.writeFile(`${JSON.stringify(rules)}\n`)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(draft, file)
  }

  /** Removes what is too old, and returns how many objects that were. */
  async expire(nowMs: number): Promise<number> {
    let removed = 0
    for (const bucket of await this.#store.listBuckets()) {
      for (const rule of await this.rules(bucket)) removed += await this.#expireRule(bucket, rule, nowMs)
    }
    return removed
  }

  async #expireRule(bucket: string, { prefix, days }: LifecycleRule, nowMs: number): Promise<number> {
    let removed = 0
    for (let after = ''; ; ) {
      const page = await this.#store.listObjects(bucket, { prefix, after, limit: PAGE_SIZE })
      for (const { name, modifiedAtMs } of page) {
        if (nowMs - modifiedAtMs < days * DAY_MS) continue
        await this.#store.removeObject(bucket, name)
        removed++
      }
      if (page.length < PAGE_SIZE) return removed
      after = page.at(-1)!.name
    }
  }

  #fileOf(bucket: string): string {
    return path.join(this.#directory, `${bucket}.json`)
  }
}
