import { forgetLive } from '../store/live.ts'
import { dueRequests } from '../store/requests.ts'
import { deleteOutdated, OUTDATED_MAX } from '../store/retention.ts'
import { settleRequests } from '../store/settle.ts'
import type { Store } from '../store/store.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Metrics } from '../telemetry/metrics.ts'

const INTERVAL_MS = 250
const REQUESTS_MAX = 8
const TIDY_INTERVAL_MS = 600_000

/** Finishes requests whose waiting time is over. Any number of replicas may do it at the same time. */
export class Settler {
  readonly #dependencies: { store: Store; log: Logger; metrics: Metrics }
  #timer: NodeJS.Timeout | undefined
  #round: Promise<void> = Promise.resolve()
  #stopped = false
  #tidiedAtMs = 0

  constructor(dependencies: { store: Store; log: Logger; metrics: Metrics }) {
    this.#dependencies = dependencies
  }

  start(): void {
    this.#timer = setTimeout(() => {
      this.#round = this.settle().finally(() => {
        if (!this.#stopped) this.start()
      })
    }, INTERVAL_MS)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await this.#round
  }

  async settle(): Promise<void> {
    const { log, metrics } = this.#dependencies
    try {
      await this.#settleDue()
      await this.#tidy()
    } catch (error) {
      metrics.add('weir_api_settle_errors_total')
      log.error({ err: error }, 'requests could not be settled')
    }
  }

  /** A few at a time: whoever wants to change something must not wait for all of them. */
  async #settleDue(): Promise<void> {
    const { store } = this.#dependencies
    const nowMs = store.clock.nowMs()
    for (let after = 0; !this.#stopped; ) {
      const due = await dueRequests(store.db, { nowMs, after, limit: REQUESTS_MAX })
      const last = due.at(-1)
      if (last === undefined) return
      const ids = due.map((it) => it.id)
      await store.change((change) => settleRequests(change, { ids }))
      after = last.ordinal
    }
  }

  async #tidy(): Promise<void> {
    const { store } = this.#dependencies
    const nowMs = store.clock.nowMs()
    if (nowMs - this.#tidiedAtMs < TIDY_INTERVAL_MS) return
    const deleted = await store.change((change) => deleteOutdated(change))
    if (deleted >= OUTDATED_MAX) return // The next round goes on: changes have their turn between.
    this.#tidiedAtMs = nowMs
    if (store.dialect === 'postgres') await store.change((change) => forgetLive(change))
  }
}
