import type { Store } from '../store/store.ts'

const KEYS_MAX = 10_000

/**
 * Remembers who asks, as the database said it, until something is committed that may say otherwise: it is never
 * older than an answer of the database itself. Only SQLite is ours alone: with PostgreSQL other replicas commit, too,
 * and nothing is remembered.
 */
export class AccessMemory<T extends object | string> {
  readonly #store: Store
  readonly #known = new Map<string, T>()
  #version: number | undefined

  constructor(store: Store) {
    this.#store = store
  }

  async read(key: string, find: () => Promise<T | undefined>): Promise<T | undefined> {
    const { accessVersion } = this.#store
    if (accessVersion === undefined) return find()
    if (this.#version !== accessVersion || this.#known.size >= KEYS_MAX) this.#known.clear()
    this.#version = accessVersion
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const found = await find()
    if (found !== undefined && this.#store.accessVersion === accessVersion) this.#known.set(key, found)
    return found
  }
}
