import { createHash, type Hash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { assert } from '../stdx/assert.ts'
import { type SpoolFiles, systemFiles } from './files.ts'
import { MANIFEST, type Member, manifestLine, type SegmentLine } from './manifest.ts'
import { spoolErrorFrom } from './spool-error.ts'

export const TMP_PREFIX = 'tmp-'
export const WINDOW_PREFIX = 'w-'

const SEGMENT_SIZE_MAX = 64 * 1024 * 1024
const BUFFERED_SIZE_MAX = 32 * 1024 * 1024 // Small destinations, which are most, stay in memory until the commit.
const SYNCS_MAX = 32 // Side by side, so that the file system commits its journal for many at once.

export interface WindowWriterOptions {
  /** The spool's folder. */
  directory: string
  /** A destination's bytes beyond this size begin another segment. */
  segmentSizeMax?: number
  bufferedSizeMax?: number
}

export interface WindowStart {
  /** `<bootid>-<generation>`: never used for two windows of this host. */
  windowKey: string
  windowStartS: number
  windowSizeS: number
}

/** A bucket's name may have been another contract's before: what is for the one must not wait for the other's. */
export interface SegmentDestination {
  contractNumber: number
  bucket: string
  stem: string
}

/** What the appended bytes say, for the day when they must be given up. */
export interface AppendCounts {
  flowLogId: string
  records: number
  packets: number
  octets: number
}

export interface CommittedWindow {
  windowKey: string
  segments: number
  bytes: number
  records: number
}

interface OpenSegment {
  readonly line: SegmentLine
  readonly hash: Hash
  chunks: Uint8Array[]
}

/**
 * Writes the segments of one window so that all of them exist after a crash, or none: into a temporary folder, synced,
 * then renamed. The rename is the commit; the source of the records may be cleared only after it.
 * After any throw the window is not committed: `abort` it, and write it again from its source.
 */
export class WindowWriter {
  readonly #directory: string
  readonly #segmentSizeMax: number
  readonly #bufferedSizeMax: number
  readonly #files: SpoolFiles
  #window: WindowStart | undefined
  #folder = ''
  #tells: string[] = []
  #open = new Map<string, OpenSegment>()
  #segments: OpenSegment[] = []
  #bufferedSize = 0

  constructor(options: WindowWriterOptions, dependencies: { files?: SpoolFiles } = {}) {
    this.#directory = options.directory
    this.#segmentSizeMax = options.segmentSizeMax ?? SEGMENT_SIZE_MAX
    this.#bufferedSizeMax = options.bufferedSizeMax ?? BUFFERED_SIZE_MAX
    this.#files = dependencies.files ?? systemFiles
  }

  begin(window: WindowStart): void {
    assert(this.#window === undefined, 'the previous window is still open')
    assert(/^[A-Za-z0-9._-]+$/.test(window.windowKey), `'${window.windowKey}' cannot name a folder`)
    this.#reset()
    this.#folder = path.join(this.#directory, `${TMP_PREFIX}${window.windowKey}`)
    this.#window = window
    this.#guard('making the folder of a window', () => {
      this.#files.removeFolder(this.#folder) // What an aborted attempt may have left.
      this.#files.makeFolder(this.#folder)
    })
  }

  /** `bytes` are whole gzip members with whole lines of one flow log. They are kept, not copied. */
  append(destination: SegmentDestination, bytes: Uint8Array, counts: AppendCounts): void {
    const segment = this.#segmentFor(destination, bytes.length)
    const { line } = segment
    let index = line.flowLogIds.indexOf(counts.flowLogId)
    if (index < 0) index = line.flowLogIds.push(counts.flowLogId) - 1
    line.members.push([bytes.length, crc32(bytes), index, counts.records, counts.packets, counts.octets])
    line.size += bytes.length
    segment.hash.update(bytes)
    segment.chunks.push(bytes)
    this.#bufferedSize += bytes.length
    if (this.#bufferedSize > this.#bufferedSizeMax) this.#writeOut()
  }

  /** The window's objects carry SKIPDATA records for these losses (`Spool.takeGivenUp`). */
  tell(givenUpIds: readonly string[]): void {
    this.#tells.push(...givenUpIds)
  }

  /** Durable when it resolves. A window without segments leaves nothing behind. */
  async commit(): Promise<CommittedWindow> {
    const window = this.#window
    assert(window !== undefined, 'no window is open')
    const lines = this.#segments.map((segment) => seal(segment))
    try {
      if (lines.length === 0) this.#files.removeFolder(this.#folder)
      else await this.#commitSegments(window, lines)
    } catch (error) {
      throw spoolErrorFrom(error, `committing window ${window.windowKey}`)
    }
    const bytes = lines.reduce((sum, line) => sum + line.size, 0)
    const records = lines.reduce((sum, line) => sum + recordsOf(line.members), 0)
    this.#reset()
    return { windowKey: window.windowKey, segments: lines.length, bytes, records }
  }

  abort(): void {
    if (this.#window === undefined) return
    const folder = this.#folder
    this.#reset()
    try {
      this.#files.removeFolder(folder)
    } catch {
      // A disk that refuses even this keeps the folder until the spool starts again, which removes it.
    }
  }

  async #commitSegments(window: WindowStart, lines: SegmentLine[]): Promise<void> {
    const committed = path.join(this.#directory, `${WINDOW_PREFIX}${window.windowKey}`)
    // Whoever committed it did not get to clear its source: the first commit counts, and may be on its way already.
    if (fs.existsSync(committed)) return this.#files.removeFolder(this.#folder)
    await inParallel(this.#segments, SYNCS_MAX, ({ line, chunks }) =>
      this.#files.appendDurably(path.join(this.#folder, line.file), chunks),
    )
    const header = manifestLine({ windowKey: window.windowKey, tells: this.#tells })
    const manifest = [header, ...lines.map(manifestLine), header].join('')
    this.#files.writeDurably(path.join(this.#folder, MANIFEST), Buffer.from(manifest))
    this.#files.syncFolder(this.#folder)
    this.#files.rename(this.#folder, committed)
    this.#files.syncFolder(this.#directory)
  }

  #segmentFor(destination: SegmentDestination, size: number): OpenSegment {
    const window = this.#window
    assert(window !== undefined, 'no window is open')
    const { contractNumber, bucket, stem } = destination
    const key = `${contractNumber}/${bucket}/${stem}`
    const current = this.#open.get(key)
    if (current !== undefined && current.line.size + size <= this.#segmentSizeMax) return current
    const part = current === undefined ? 0 : current.line.part + 1
    const segment: OpenSegment = {
      line: {
        segmentId: segmentIdOf(window, key, part),
        file: `${this.#segments.length}.log.gz`,
        contractNumber,
        bucket,
        stem,
        part,
        windowStartS: window.windowStartS,
        windowSizeS: window.windowSizeS,
        size: 0,
        sha256: '',
        flowLogIds: [],
        members: [],
      },
      hash: createHash('sha256'),
      chunks: [],
    }
    this.#open.set(key, segment)
    this.#segments.push(segment)
    return segment
  }

  #writeOut(): void {
    this.#guard('writing segments', () => {
      for (const segment of this.#segments) {
        if (segment.chunks.length === 0) continue
        this.#files.append(path.join(this.#folder, segment.line.file), segment.chunks)
        segment.chunks = []
      }
    })
    this.#bufferedSize = 0
  }

  #guard(doing: string, work: () => void): void {
    try {
      work()
    } catch (error) {
      throw spoolErrorFrom(error, doing)
    }
  }

  #reset(): void {
    this.#window = undefined
    this.#folder = ''
    this.#tells = []
    this.#open = new Map()
    this.#segments = []
    this.#bufferedSize = 0
  }
}

/**
 * The same for the same window and destination, however often a window is written before its commit succeeds: the
 * control plane knows a segment by this name, and gives it one object.
 */
function segmentIdOf(window: WindowStart, destinationKey: string, part: number): string {
  const text = JSON.stringify([window.windowKey, window.windowStartS, destinationKey, part])
  return createHash('sha256').update(text).digest('hex').slice(0, 40)
}

function seal(segment: OpenSegment): SegmentLine {
  return { ...segment.line, sha256: segment.hash.copy().digest('hex') }
}

export function recordsOf(members: readonly Member[]): number {
  let records = 0
  for (const member of members) records += member[3]
  return records
}

async function inParallel<T>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0
  const lane = async () => {
    while (next < items.length) await work(items[next++]!)
  }
  const results = await Promise.allSettled(Array.from({ length: Math.min(width, items.length) }, lane))
  // All lanes have ended here: nobody writes into the folder any more when the caller aborts.
  for (const result of results) if (result.status === 'rejected') throw result.reason
}
