import type { Assignments } from '../model/agent-protocol.ts'
import { assignmentsVersion, assignmentsVersions } from '../store/agents.ts'
import { assignmentsOf } from '../store/flow-logs.ts'
import { type Store, settingOnce } from '../store/store.ts'

const REPLICA_POLL_MS = 250

/**
 * Answers agents that wait for a change of their assignments. A change made by this process is known at
 * once; with a database that other replicas write too, one small query asks for all waiting hosts together.
 */
export class AssignmentFeed {
  readonly #store: Store
  readonly #windowSizeS: number
  readonly #waiting = new Map<string, Set<() => void>>()
  #epoch: Promise<string> | undefined
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(options: { windowSizeS: number }, dependencies: { store: Store }) {
    this.#windowSizeS = options.windowSizeS
    this.#store = dependencies.store
    this.#store.signals.on('assignments', this.#wake)
  }

  get waiting(): number {
    return this.#waiting.size
  }

  stop(): void {
    this.#stopped = true
    this.#store.signals.off('assignments', this.#wake)
    clearTimeout(this.#timer)
    for (const host of [...this.#waiting.keys()]) this.#wake(host)
  }

  /** The assignments of a host: at once when they are not at `known`, else after a change or `waitMs`. */
  async next(
    host: string,
    known: string | undefined,
    waitMs: number,
    signal: AbortSignal,
  ): Promise<Assignments> {
    const current = await this.#version(host)
    if (known === current && waitMs > 0 && !this.#stopped) await this.#change(host, known, waitMs, signal)
    // The version is read before the assignments: what changes in between is only sent twice.
    const version = await this.#version(host)
    const assignments = await assignmentsOf(this.#store.db, host)
    return { version, windowSizeS: this.#windowSizeS, assignments }
  }

  /** `<number>-<database>`: the number orders versions, the rest tells one database from another. */
  async #version(host: string): Promise<string> {
    const number = await assignmentsVersion(this.#store.db, host)
    return `${number}-${await this.#database()}`
  }

  #database(): Promise<string> {
    this.#epoch ??= this.#store.change((change) =>
      settingOnce(change, 'epoch', () => crypto.randomUUID().slice(0, 8)),
    )
    return this.#epoch
  }

  #change(host: string, known: string, waitMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wakers = this.#waiting.get(host) ?? new Set()
      this.#waiting.set(host, wakers)
      const done = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        wakers.delete(done)
        if (wakers.size === 0 && this.#waiting.get(host) === wakers) this.#waiting.delete(host)
        resolve()
      }
      const timer = setTimeout(done, waitMs)
      signal.addEventListener('abort', done, { once: true })
      wakers.add(done)
      // A change may have come between reading the version and waiting for the next.
      void this.#version(host).then((now) => (now === known ? undefined : done()), done)
      this.#pollReplicas()
    })
  }

  readonly #wake = (host: string): void => {
    for (const done of [...(this.#waiting.get(host) ?? [])]) done()
  }

  #pollReplicas(): void {
    if (this.#store.dialect === 'sqlite' || this.#timer !== undefined || this.#stopped) return
    const seen = new Map<string, number>()
    const poll = async () => {
      const hosts = [...this.#waiting.keys()]
      if (hosts.length > 0) {
        const versions = await assignmentsVersions(this.#store.db, hosts).catch(
          () => new Map<string, number>(),
        )
        for (const [host, version] of versions) {
          if (seen.has(host) && seen.get(host) !== version) this.#wake(host)
          seen.set(host, version)
        }
      }
      this.#timer = this.#stopped ? undefined : setTimeout(poll, REPLICA_POLL_MS)
    }
    this.#timer = setTimeout(poll, 0)
  }
}

/** The number in a version that an agent sends back; 0 when it is not of this form. */
export function versionNumber(version: string): number {
  const number = Number(version.split('-', 1)[0])
  return Number.isSafeInteger(number) ? number : 0
}
