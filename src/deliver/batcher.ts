import { assert } from '../stdx/assert.ts'

export interface BatcherOptions<Item> {
  itemsMax: number
  /** Bounds the size of a request. One item is always sent, whatever it weighs. */
  weightMax: number
  weightOf: (item: Item) => number
  /** While there is much to ask for, requests are this far apart: each costs both sides something by itself. */
  gatherMs: number
  /** A request that takes longer is not waited for any more: the next one goes beside it. */
  patienceMs: number
  /** A request that was refused as a whole, perhaps because of one of its items: each is asked for alone. */
  isRefusal: (error: unknown) => boolean
}

interface Waiting<Item, Answer> {
  item: Item
  resolve: (answer: Answer) => void
  reject: (error: unknown) => void
}

/**
 * Joins what is asked for at the same time into one request. The first goes at once, so that a lone item is not
 * delayed; what comes while it is on its way, and shortly after, gathers for the next. Each item has an answer, or an
 * error, of its own.
 */
export class Batcher<Item, Answer extends object> {
  readonly #options: BatcherOptions<Item>
  readonly #send: (items: Item[]) => Promise<(Answer | Error)[]>
  readonly #waiting: Waiting<Item, Answer>[] = []
  #state: 'idle' | 'sending' | 'gathering' = 'idle'
  #timer: NodeJS.Timeout | undefined

  constructor(options: BatcherOptions<Item>, send: (items: Item[]) => Promise<(Answer | Error)[]>) {
    this.#options = options
    this.#send = send
  }

  /** `alone`: in a request that nothing else waits for. */
  ask(item: Item, { alone = false } = {}): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    if (alone) void this.#exchange([{ item, resolve, reject }])
    else {
      this.#waiting.push({ item, resolve, reject })
      this.#begin()
    }
    return promise
  }

  #begin(): void {
    const isFull = this.#waiting.length >= this.#options.itemsMax
    if (this.#state === 'sending' || (this.#state === 'gathering' && !isFull)) return
    clearTimeout(this.#timer)
    this.#state = 'sending'
    setImmediate(() => void this.#next()) // Whatever else is asked for in this turn of the event loop gets in.
  }

  async #next(): Promise<void> {
    const batch = this.#take()
    let isCurrent = true
    const gather = () => {
      if (!isCurrent) return
      isCurrent = false
      this.#state = 'gathering'
      this.#timer = setTimeout(() => this.#gathered(), this.#options.gatherMs)
      this.#begin()
    }
    const patience = setTimeout(gather, this.#options.patienceMs)
    await this.#exchange(batch)
    clearTimeout(patience)
    gather()
  }

  #gathered(): void {
    this.#state = 'idle'
    if (this.#waiting.length > 0) this.#begin()
  }

  #take(): Waiting<Item, Answer>[] {
    const { itemsMax, weightMax, weightOf } = this.#options
    let weight = 0
    let count = 0
    for (const { item } of this.#waiting) {
      weight += weightOf(item)
      if (count === itemsMax || (count > 0 && weight > weightMax)) break
      count++
    }
    return this.#waiting.splice(0, count)
  }

  /** Never rejects: whoever asked is told. */
  async #exchange(batch: readonly Waiting<Item, Answer>[]): Promise<void> {
    try {
      const answers = await this.#send(batch.map(({ item }) => item))
      assert(answers.length === batch.length, `${answers.length} answers to ${batch.length} items`)
      for (const [i, { resolve, reject }] of batch.entries()) {
        const answer = answers[i]!
        if (answer instanceof Error) reject(answer)
        else resolve(answer)
      }
    } catch (error) {
      if (batch.length > 1 && this.#options.isRefusal(error)) {
        await Promise.all(batch.map((it) => this.#exchange([it])))
        return
      }
      for (const { reject } of batch) reject(error)
    }
  }
}
