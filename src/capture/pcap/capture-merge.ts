import { WeirError } from '../../model/errors.ts'
import { assert } from '../../stdx/assert.ts'
import type { ByteSource } from './byte-source.ts'
import { CaptureReader, READER_SIZE_MIN } from './capture-reader.ts'
import { BATCH_WORDS, type PacketBatch } from './packet-batch.ts'

/** A capture that can be opened (again): its name and how. */
export interface CaptureInput {
  name: string
  open(): ByteSource
  /** Can be opened once only: standard input, a pipe. */
  once?: boolean
}

interface Active {
  reader: CaptureReader
  batch: PacketBatch
  /** The next packet of the batch. */
  at: number
  slot: number
}

const SECOND = 3

/**
 * The packets of many captures in the order of time (to the second, which is what windows need). A capture
 * is opened when its first packet's time has come, so that a day of rotated files takes the memory of one.
 */
export class CaptureMerge {
  readonly readers: CaptureReader[] = []
  /** Captures that could not be read at all, with the reason. */
  readonly refused: { name: string; error: WeirError }[] = []
  readonly #memory: Uint8Array
  readonly #batchMax: number
  readonly #isDirected: boolean
  readonly #slots: number
  #waiting: { input: CaptureInput; second: number }[] = []
  #active: Active[] = []
  /** Waits for its first packet. */
  #opening: CaptureReader | undefined

  constructor(options: { memory: Uint8Array; batchMax: number; directed: boolean }) {
    this.#memory = options.memory
    this.#isDirected = options.directed
    this.#batchMax = options.batchMax
    this.#slots = Math.floor(options.memory.length / READER_SIZE_MIN)
    assert(this.#slots >= 1)
  }

  /** Looks at the first packet of each capture. */
  async open(inputs: CaptureInput[]): Promise<void> {
    for (const input of inputs) {
      try {
        const opened = await this.#openAt(input, this.#freeSlot())
        const second = opened === undefined ? 0 : nextSecond(opened)
        const keep = input.once === true || inputs.length === 1
        if (opened === undefined) continue // Without packets; its reader knows what was wrong.
        if (keep) this.#active.push(opened)
        else {
          opened.reader.close()
          this.readers.pop() // Opened again, and counted, when its time comes.
          this.#waiting.push({ input, second })
        }
      } catch (error) {
        if (!(error instanceof WeirError)) throw error
        this.refused.push({ name: input.name, error })
      }
    }
    this.#waiting.sort((a, b) => a.second - b.second)
  }

  /** Writes the packets that come next to `batch`. Returns false when there are none. */
  async next(batch: PacketBatch): Promise<boolean> {
    const [only] = this.#active
    if (only !== undefined && isUsedUp(only) && this.#active.length + this.#waiting.length === 1) {
      if (await only.reader.next(batch)) return true // Nothing to merge: straight to where it is wanted.
    }
    // Only now: reading on moves the bytes of the packets that were handed out last.
    for (const it of this.#active.filter(isUsedUp)) await this.#refill(it)
    this.#active.sort((a, b) => nextSecond(a) - nextSecond(b))
    await this.#openDue()
    const [first, second] = this.#active
    if (first === undefined) return false
    const until = Math.min(
      second === undefined ? Infinity : nextSecond(second),
      this.#waiting[0]?.second ?? Infinity,
    )
    take(first, until, batch)
    return true
  }

  /** Opens the captures whose first packet is due. */
  async #openDue(): Promise<void> {
    for (let due = this.#waiting[0]; due !== undefined; due = this.#waiting[0]) {
      const [first] = this.#active
      if (first !== undefined && nextSecond(first) < due.second) return
      this.#waiting.shift()
      const opened = await this.#openAt(due.input, this.#freeSlot())
      if (opened !== undefined) this.#active.push(opened)
      this.#active.sort((a, b) => nextSecond(a) - nextSecond(b))
    }
  }

  /** The next packets of one capture; closes it when there are none. */
  async #refill(it: Active): Promise<void> {
    it.at = 0
    if (await it.reader.next(it.batch)) return
    it.reader.close()
    this.#active.splice(this.#active.indexOf(it), 1)
  }

  async #openAt(input: CaptureInput, slot: number): Promise<Active | undefined> {
    const from = slot * READER_SIZE_MIN
    const limit = from + READER_SIZE_MIN
    const options = { name: input.name, memory: this.#memory, from, limit, directed: this.#isDirected }
    const reader = new CaptureReader(options, { source: input.open() })
    this.#opening = reader
    try {
      await reader.open()
      const words = new Uint32Array(this.#batchMax * BATCH_WORDS)
      const batch: PacketBatch = { words, count: 0, countMax: this.#batchMax, link: 0 }
      const hasPackets = await reader.next(batch)
      this.readers.push(reader)
      if (hasPackets) return { reader, batch, at: 0, slot }
      reader.close()
      return undefined
    } catch (error) {
      reader.close()
      throw error
    } finally {
      this.#opening = undefined
    }
  }

  #freeSlot(): number {
    for (let slot = 0; slot < this.#slots; slot++) {
      if (!this.#active.some((it) => it.slot === slot)) return slot
    }
    const reason = `more than ${this.#slots} captures hold packets of the same time: put some together first (mergecap)`
    throw new WeirError('WEIR_UNSUPPORTED', reason)
  }

  close(): void {
    this.#opening?.close()
    for (const it of this.#active) it.reader.close()
  }
}

function isUsedUp(it: Active): boolean {
  return it.at === it.batch.count
}

function nextSecond(it: Active): number {
  return it.batch.words[it.at * BATCH_WORDS + SECOND]!
}

/** Moves packets up to the second `until` (and at least one) to `batch`. */
function take(it: Active, until: number, batch: PacketBatch): void {
  const { words, count } = it.batch
  let end = until === Infinity ? count : it.at + 1
  while (end < count && words[end * BATCH_WORDS + SECOND]! <= until) end++
  batch.words.set(words.subarray(it.at * BATCH_WORDS, end * BATCH_WORDS))
  batch.count = end - it.at
  batch.link = it.batch.link
  it.at = end
}
