import type { Assignment, Assignments } from '../model/agent-protocol.ts'
import { assignmentsVersion, assignmentsVersions } from '../store/agents.ts'
import { assignmentChanges, assignmentsOf, retriesSince } from '../store/flow-logs.ts'
import { type Store, settingOnce } from '../store/store.ts'
import type { LiveBoard } from './live-board.ts'

const REPLICA_POLL_MS = 250

/** What an agent has been told. */
export interface Known {
  version: string | undefined
  /** Key of the flow logs that it tells of live; undefined for agents that cannot. */
  live: string | undefined
  /** Whether it is content with what has changed since `version`. */
  changes: boolean
}

interface Waiter {
  known: Known
  done: () => void
}

/**
 * Answers agents that wait for a change of their assignments, or for somebody who wants to see flows live. A change made
 * by this process is known at once; with a database that other replicas write too, one small query asks for all waiting
 * hosts together.
 */
export class AssignmentFeed {
  readonly #store: Store
  readonly #live: LiveBoard
  readonly #windowSizeS: number
  readonly #offered: boolean
  readonly #waiting = new Map<string, Set<Waiter>>()
  #wholeAnswer: Promise<void> | undefined
  #epoch: Promise<string> | undefined
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(
    options: { windowSizeS: number; offered: boolean },
    dependencies: { store: Store; live: LiveBoard },
  ) {
    this.#windowSizeS = options.windowSizeS
    this.#offered = options.offered
    this.#live = dependencies.live
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

  /** The assignments of a host: at once when they are not as the agent knows them, else after a change or `waitMs`. */
  async next(host: string, known: Known, waitMs: number, signal: AbortSignal): Promise<Assignments> {
    if (waitMs > 0 && !this.#stopped) await this.#change(host, known, waitMs, signal)
    const told = await this.#told(host, known)
    const live = (await this.#live.wanted([host])).get(host)!
    const isWanted = live.key !== '' && known.live !== undefined
    return { ...told, windowSizeS: this.#windowSizeS, ...(isWanted ? { live } : {}) }
  }

  /** All assignments, or what has changed since those that the agent has: one cannot do with less. */
  async #told(host: string, known: Known): Promise<Omit<Assignments, 'windowSizeS'>> {
    const { db } = this.#store
    const database = await this.#database()
    // The version is read before the assignments: what changes in between is only sent twice.
    const { version: number, wholeVersion } = await assignmentsVersion(db, host)
    const version = `${number}-${database}`
    const since = versionNumber(known.version ?? '')
    const isOurs = known.version === `${since}-${database}` && since <= number
    const retry = isOurs && since < number ? await retriesSince(db, host, since) : []
    const told = { version, ...(retry.length === 0 ? {} : { retry }) }
    if (!known.changes || !isOurs || since < wholeVersion) {
      return { ...told, assignments: await this.#whole(host) }
    }
    return { ...told, since: known.version!, ...(await assignmentChanges(db, host, since)) }
  }

  /** One host at a time: a fleet that comes back all at once would have everything in memory together. */
  async #whole(host: string): Promise<Assignment[]> {
    const before = this.#wholeAnswer
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#wholeAnswer = promise
    await before
    try {
      return await assignmentsOf(this.#store.db, host, { offered: this.#offered })
    } finally {
      setImmediate(resolve) // When this one is written.
    }
  }

  async #isKnown(host: string, known: Known): Promise<boolean> {
    const { version } = await assignmentsVersion(this.#store.db, host)
    const live = known.live === undefined ? '' : (await this.#live.wanted([host])).get(host)!.key
    return isUpToDate(known, { version: `${version}-${await this.#database()}`, live })
  }

  /**
   * Tells one database from another, and what is told of it: `<number>-<database>` is a version, whose number orders
   * it.
   */
  async #database(): Promise<string> {
    this.#epoch ??= this.#store
      .change((change) => settingOnce(change, 'epoch', () => crypto.randomUUID().slice(0, 8)))
      .catch((error: unknown) => {
        this.#epoch = undefined // Asked again for the next agent.
        throw error
      })
    return this.#offered ? this.#epoch : `${await this.#epoch}-bound`
  }

  #change(host: string, known: Known, waitMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const waiters = this.#waiting.get(host) ?? new Set()
      this.#waiting.set(host, waiters)
      const done = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        waiters.delete(waiter)
        if (waiters.size === 0 && this.#waiting.get(host) === waiters) this.#waiting.delete(host)
        resolve()
      }
      const waiter = { known, done }
      const timer = setTimeout(done, waitMs)
      signal.addEventListener('abort', done, { once: true })
      waiters.add(waiter)
      // Asked when already waiting: no change can come in between.
      void this.#isKnown(host, known).then((isKnown) => (isKnown ? undefined : done()), done)
      this.#pollReplicas()
    })
  }

  readonly #wake = (host: string): void => {
    for (const { done } of [...(this.#waiting.get(host) ?? [])]) done()
  }

  #pollReplicas(): void {
    if (this.#store.dialect === 'sqlite' || this.#timer !== undefined || this.#stopped) return
    const poll = async () => {
      await this.#askForAll().catch(() => {}) // A database that is away is asked again.
      this.#timer = this.#stopped ? undefined : setTimeout(poll, REPLICA_POLL_MS)
    }
    this.#timer = setTimeout(poll, 0)
  }

  async #askForAll(): Promise<void> {
    const hosts = [...this.#waiting.keys()]
    if (hosts.length === 0) return
    const [versions, wanted, database] = await Promise.all([
      assignmentsVersions(this.#store.db, hosts),
      this.#live.wanted(hosts),
      this.#database(),
    ])
    for (const [host, version] of versions) {
      const now = { version: `${version}-${database}`, live: wanted.get(host)?.key ?? '' }
      for (const { known, done } of [...(this.#waiting.get(host) ?? [])]) if (!isUpToDate(known, now)) done()
    }
  }
}

/** That nobody looks any more is the answer to the agent's next report, and no news here. */
function isUpToDate(known: Known, now: { version: string; live: string }): boolean {
  if (known.version !== now.version) return false
  return known.live === undefined || now.live === '' || known.live === now.live
}

/** The number in a version that an agent sends back; 0 when it is not of this form. */
export function versionNumber(version: string): number {
  const number = Number(version.split('-', 1)[0])
  return Number.isSafeInteger(number) ? number : 0
}
