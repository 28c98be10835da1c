import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { replaceDurably, type SpoolFiles } from './files.ts'
import { isMissing } from './spool-error.ts'

const LEDGER = 'given-up.json'

/** What a flow log lost on this host between two moments, still to be told by a SKIPDATA record. */
export interface GivenUp {
  id: string
  flowLogId: string
  records: number
  packets: number
  octets: number
  startS: number
  endS: number
}

export type Loss = Omit<GivenUp, 'id'>

interface LedgerBody {
  losses: GivenUp[]
  causes: string[]
}

/**
 * Remembers what the spool gave up until an object says so. Each loss is counted once, whatever crashes: it is written
 * together with its cause (the segment it was in) before that segment's file goes, and a cause that is known already
 * is not counted again; it is forgotten when the window that tells it has been committed.
 */
export class LossLedger {
  readonly #file: string
  readonly #files: SpoolFiles
  #losses: GivenUp[] = []
  #causes = new Set<string>()
  /** Offered losses are not added to any more: the record that tells them may be written already. */
  readonly #offered = new Set<string>()
  /** False when the file does not hold what this object holds. */
  #written = true

  constructor(directory: string, files: SpoolFiles) {
    this.#file = path.join(directory, LEDGER)
    this.#files = files
  }

  /** Returns false when there was a ledger but it cannot be read: what it said is lost, which the caller reports. */
  load(): boolean {
    let text: string
    try {
      text = fs.readFileSync(this.#file, 'utf8')
    } catch (error) {
      return isMissing(error)
    }
    const body = parseLedger(text)
    if (body === undefined) return false
    this.#losses = body.losses
    this.#causes = new Set(body.causes)
    return true
  }

  knows(cause: string): boolean {
    return this.#causes.has(cause)
  }

  /** Counts the losses of a cause, unless that was done before. Call `write` before removing what they were in. */
  add(cause: string, losses: readonly Loss[]): void {
    if (this.#causes.has(cause)) return
    this.#causes.add(cause)
    this.#written = false
    for (const loss of losses) this.#addLoss(loss)
  }

  /** The files of these causes are gone for good: nobody will ask about them again. */
  settle(causes: readonly string[]): void {
    for (const cause of causes) if (this.#causes.delete(cause)) this.#written = false
  }

  offer(flowLogId: string): GivenUp[] {
    const offered = this.#losses.filter((loss) => loss.flowLogId === flowLogId)
    for (const { id } of offered) this.#offered.add(id)
    return offered
  }

  flowLogIds(): string[] {
    return [...new Set(this.#losses.map(({ flowLogId }) => flowLogId))]
  }

  /** Forgets what a committed window tells. Telling twice is harmless. */
  told(ids: readonly string[]): void {
    if (ids.length === 0) return
    const told = new Set(ids)
    const left = this.#losses.filter(({ id }) => !told.has(id))
    for (const id of ids) this.#offered.delete(id)
    if (left.length === this.#losses.length) return
    this.#losses = left
    this.#written = false
  }

  /** Forgets what no object will ever tell. */
  drop(isDropped: (loss: GivenUp) => boolean): GivenUp[] {
    const dropped = this.#losses.filter(isDropped)
    if (dropped.length === 0) return dropped
    this.#losses = this.#losses.filter((loss) => !dropped.includes(loss))
    this.#written = false
    return dropped
  }

  write(): void {
    if (this.#written) return
    const body: LedgerBody = { losses: this.#losses, causes: [...this.#causes] }
    const text = JSON.stringify(body)
    const sealed = `${crc32(text).toString(16).padStart(8, '0')} ${text}\n`
    replaceDurably(this.#files, this.#file, Buffer.from(sealed))
    this.#written = true
  }

  #addLoss(loss: Loss): void {
    const open = this.#losses.find((it) => it.flowLogId === loss.flowLogId && !this.#offered.has(it.id))
    if (open === undefined) {
      this.#losses.push({ ...loss, id: randomUUID() })
      return
    }
    open.records += loss.records
    open.packets += loss.packets
    open.octets += loss.octets
    open.startS = Math.min(open.startS, loss.startS)
    open.endS = Math.max(open.endS, loss.endS)
  }
}

function parseLedger(text: string): LedgerBody | undefined {
  const body = text.slice(9).trimEnd()
  // The checksum of nothing is 0, as is what a ledger says that was cut within leading zeros.
  if (body === '' || crc32(body) !== Number.parseInt(text.slice(0, 8), 16)) return undefined
  return JSON.parse(body) as LedgerBody
}
