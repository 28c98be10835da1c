import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Assignment } from '../model/agent-protocol.ts'
import { WeirError } from '../model/errors.ts'
import { assert } from '../stdx/assert.ts'

/** An observation point, for as long as a window in the kernel may still mention its number. */
export interface PointRecord {
  point: number
  assignment: Assignment
  /** Set when the point was detached: windows that began later cannot mention it. Unix seconds. */
  retiredAtS?: number
}

const POINT_MAX = 65_535
const FORMAT_VERSION = 1

/**
 * Which number stands for which flow log in the kernel's maps. On disk before a number is used, so that the agent
 * that comes after a crash knows whose flows it finds.
 */
export class PointTable {
  readonly #file: string
  readonly #records = new Map<number, PointRecord>()
  readonly #live = new Map<string, PointRecord>()
  #last = 0
  #isSaved = true

  constructor(options: { file: string }) {
    this.#file = options.file
  }

  /** Reads the table; a missing file is an empty table. */
  load(): void {
    let text: string
    try {
      text = readFileSync(this.#file, 'utf8')
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return
      throw cause
    }
    try {
      const { version, last, points } = JSON.parse(text) as {
        version: number
        last: number
        points: PointRecord[]
      }
      if (version !== FORMAT_VERSION) throw new Error(`format version ${version}, expected ${FORMAT_VERSION}`)
      for (const record of points) this.#add(record)
      this.#last = last
    } catch (cause) {
      throw new WeirError('WEIR_CONFIG_INVALID', `${this.#file} cannot be read: ${String(cause)}`, { cause })
    }
  }

  all(): PointRecord[] {
    return [...this.#records.values()]
  }

  /** The point that captures for a flow log now. */
  live(flowLogId: string): PointRecord | undefined {
    return this.#live.get(flowLogId)
  }

  /** Takes numbers that no window mentions, in the order of the assignments; on disk when this returns, else not taken. */
  take(assignments: readonly Assignment[]): PointRecord[] {
    if (assignments.length === 0) return []
    if (this.#records.size + assignments.length > POINT_MAX) {
      throw new WeirError(
        'WEIR_CONFIG_INVALID',
        `${this.#records.size} observation points are in use, no ${assignments.length} more fit on a host`,
      )
    }
    const taken = assignments.map((assignment) => {
      do this.#last = (this.#last % POINT_MAX) + 1
      while (this.#records.has(this.#last))
      const record = { point: this.#last, assignment }
      this.#add(record)
      return record
    })
    try {
      this.#save()
    } catch (error) {
      for (const { point, assignment } of taken) {
        this.#records.delete(point)
        this.#live.delete(assignment.flowLogId)
      }
      throw error
    }
    return taken
  }

  /** Where the disk refuses it, the table on it is behind: `saveAgain`. After a crash the kernel tells what is gone. */
  retire(points: readonly number[], nowS: number): void {
    let isChanged = false
    for (const point of points) {
      const record = this.#records.get(point)
      assert(record !== undefined, `point ${point} is not in the table`)
      if (record.retiredAtS !== undefined) continue
      record.retiredAtS = nowS
      isChanged = true
      if (this.live(record.assignment.flowLogId) === record) this.#live.delete(record.assignment.flowLogId)
    }
    if (isChanged) this.#saveIfPossible()
  }

  /** Frees the numbers of points retired before `windowStartS`, the start of the oldest window in the kernel. */
  forgetRetiredBefore(windowStartS: number): void {
    const gone = this.all().filter((it) => it.retiredAtS !== undefined && it.retiredAtS < windowStartS)
    if (gone.length === 0) return
    for (const { point } of gone) this.#records.delete(point)
    this.#saveIfPossible()
  }

  /** What the disk refused before. */
  saveAgain(): void {
    if (!this.#isSaved) this.#save()
  }

  #add(record: PointRecord): void {
    this.#records.set(record.point, record)
    if (record.retiredAtS === undefined) this.#live.set(record.assignment.flowLogId, record)
  }

  #save(): void {
    const text = JSON.stringify({ version: FORMAT_VERSION, last: this.#last, points: this.all() })
    this.#isSaved = false
    replaceFile(this.#file, text)
    this.#isSaved = true
  }

  #saveIfPossible(): void {
    try {
      this.#save()
    } catch (error) {
      if (!(error instanceof WeirError)) throw error
    }
  }
}

/** Writes a file so that a crash leaves the old content or the new one. */
export function replaceFile(file: string, text: string): void {
  try {
    writeDraft(file, text)
  } catch (cause) {
    const reason = (cause as Error).message
    throw new WeirError('WEIR_SPOOL_UNWRITABLE', `${file} cannot be written: ${reason}`, { cause })
  }
}

function writeDraft(file: string, text: string): void {
  const draft = openSync(`${file}.new`, 'w', 0o640)
  try {
    writeFileSync(draft, text)
    fsyncSync(draft)
  } finally {
    closeSync(draft)
  }
  renameSync(`${file}.new`, file)
  const folder = openSync(path.dirname(file), 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}
