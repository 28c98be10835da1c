import type { Store } from '../store/store.ts'

const KEYS_MAX = 10_000

/**
 * Remembers what was read from the database until anything at all is committed, so that what it says is never
 * older than an answer of the database itself. Only SQLite is ours alone: with PostgreSQL other replicas
 * commit too, and nothing is remembered.
 */
export class ReadMemory<T extends object | string> {
  readonly #store: Store
  readonly #known = new Map<string, T>()
  #commits = 0

  constructor(store: Store) {
    this.#store = store
  }

  async read(key: string, find: () => Promise<T | undefined>): Promise<T | undefined> {
    if (this.#store.dialect !== 'sqlite') return find()
    const { commits } = this.#store
    if (this.#commits !== commits || this.#known.size >= KEYS_MAX) this.#known.clear()
    this.#commits = commits
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const found = await find()
    if (found !== undefined && this.#store.commits === commits) this.#known.set(key, found)
    return found
  }
}
