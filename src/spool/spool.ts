import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { assert } from '../stdx/assert.ts'
import type { Clock } from '../stdx/clock.ts'
import { replaceDurably, type SpoolFiles, systemFiles } from './files.ts'
import { type GivenUp, LossLedger } from './loss-ledger.ts'
import { MANIFEST, type Manifest, manifestLine, parseManifest, type SegmentLine } from './manifest.ts'
import { lossesOf, type Salvage, salvage } from './salvage.ts'
import { type Segment, SegmentIndex } from './segment-index.ts'
import { advance, type SegmentEvent } from './segment-state.ts'
import { isMissing, spoolErrorFrom } from './spool-error.ts'
import { recordsOf, TMP_PREFIX, WINDOW_PREFIX } from './window-writer.ts'

const DAMAGED = 'damaged'
const LOAD_SIZE_MAX = 1024 * 1024 // Larger segments are streamed from their file.
const TRIED_MS_MIN = 600_000 // A machine that was off for a weekend gets to deliver what it had.
const WINDOW_KEYS_MAX = 4096
const NOTHING: Salvage = { whole: Buffer.alloc(0), members: [], losses: [] }

/** What the spool needs of a logger. */
export interface SpoolLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export interface SpoolOptions {
  directory: string
  bytesMax: number
  ageMsMax: number
}

export interface SpoolStats {
  segments: number
  bytes: number
  bytesMax: number
  parkedSegments: number
  oldestWindowStartS?: number
  damagedSegments: number
  damagedManifestLines: number
  /** Files in `damaged/` since the start: damaged segments, and those that no whole manifest line speaks of. */
  setAsideFiles: number
  givenUpSegments: number
  givenUpRecords: number
  givenUpPackets: number
}

/** A verified segment, ready to be sent. Without `bytes` it is large: read `segment.path`. */
export interface LoadedSegment {
  segment: Segment
  bytes: Buffer | undefined
}

/**
 * Segments on disk between metering and delivery. Maintained invariant: a record that was committed is in a file here,
 * in an object that the store acknowledged, or in the ledger of losses; a crash at any moment leaves at worst a
 * segment that is offered again. Knows bytes, not flows.
 *
 *   <directory>/tmp-<windowKey>/          a window that is being written; removed by `start`
 *   <directory>/w-<windowKey>/manifest    a committed window
 *   <directory>/w-<windowKey>/<n>.log.gz  its segments; a missing one was delivered or given up
 *   <directory>/damaged/                  what could not be delivered as it was, for a person to look at
 *   <directory>/given-up.json             the ledger of losses
 */
export class Spool {
  readonly directory: string
  readonly #bytesMax: number
  readonly #ageMsMax: number
  readonly #clock: Clock
  readonly #log: SpoolLog
  readonly #files: SpoolFiles
  readonly #ledger: LossLedger
  readonly #index = new SegmentIndex()
  readonly #windowKeys = new Set<string>()
  /** Files that a read-only disk did not let go; tried again by `enforceLimits`. */
  readonly #unremoved = new Set<Segment>()
  readonly #counts = {
    damagedSegments: 0,
    damagedManifestLines: 0,
    setAsideFiles: 0,
    givenUpSegments: 0,
    givenUpRecords: 0,
    givenUpPackets: 0,
  }

  constructor(options: SpoolOptions, dependencies: { clock: Clock; log: SpoolLog; files?: SpoolFiles }) {
    assert(options.bytesMax > 0 && options.ageMsMax > 0)
    this.directory = options.directory
    this.#bytesMax = options.bytesMax
    this.#ageMsMax = options.ageMsMax
    this.#clock = dependencies.clock
    this.#log = dependencies.log
    this.#files = dependencies.files ?? systemFiles
    this.#ledger = new LossLedger(options.directory, this.#files)
  }

  start(): void {
    try {
      fs.mkdirSync(path.join(this.directory, DAMAGED), { recursive: true, mode: 0o700 })
    } catch (error) {
      // A read-only disk may still hold segments that can be delivered.
      if (!fs.existsSync(this.directory)) throw spoolErrorFrom(error, `making the spool ${this.directory}`)
      this.#log.error({ directory: this.directory, err: error }, 'spool is not writable')
    }
    if (!this.#ledger.load()) {
      this.#counts.damagedManifestLines++
      this.#log.error(
        { directory: this.directory },
        'the ledger of losses is damaged; untold losses are forgotten',
      )
    }
    for (const name of fs.readdirSync(this.directory).sort()) {
      if (name.startsWith(TMP_PREFIX)) this.#removeAbandoned(name)
      else if (name.startsWith(WINDOW_PREFIX)) this.#load(name.slice(WINDOW_PREFIX.length))
    }
  }

  stop(): void {
    this.#removeAgain()
    this.#writeLedger()
  }

  /** Windows whose source may be cleared: everything in them is here, or was. */
  committedWindows(): string[] {
    return [...this.#windowKeys]
  }

  /**
   * Takes in a window that a `WindowWriter` has committed. Clear its source next, in the same breath: limits are
   * enforced on what was here before, because a window that is given up whole leaves no folder behind to say that it
   * was committed, and an uncleared source would be drained, and counted, a second time.
   */
  addWindow(windowKey: string): void {
    this.enforceLimits()
    this.#load(windowKey)
  }

  /** What is still here, oldest window first; delivered and given up segments are not. */
  segments(): Segment[] {
    return this.#index.oldestFirst()
  }

  segment(segmentId: string): Segment | undefined {
    return this.#index.get(segmentId)
  }

  upload(segmentId: string): void {
    this.#advance(segmentId, 'upload')
  }

  /** The attempt failed; the segment waits for another. */
  fail(segmentId: string): void {
    this.#advance(segmentId, 'fail')
  }

  /** The segment was refused for good, until somebody changes the world. */
  park(segmentId: string): void {
    this.#advance(segmentId, 'refuse')
  }

  release(segmentId: string): void {
    this.#advance(segmentId, 'release')
  }

  /**
   * The store has it. At once it is not offered again by this process, and the file goes: without holding up the others,
   * since a disk that is busy may take milliseconds for it.
   */
  async acknowledge(segmentId: string): Promise<void> {
    const segment = this.#advance(segmentId, 'acknowledge')
    this.#index.remove(segment)
    try {
      await this.#files.removeAside(segment.path)
    } catch (error) {
      this.#log.error({ file: segment.path, err: error }, 'could not remove a spool file')
      this.#unremoved.add(segment)
      return
    }
    this.#removed(segment)
  }

  /** Reads a segment and checks it against its manifest. */
  async load(segmentId: string): Promise<LoadedSegment | 'damaged'> {
    const segment = this.#index.get(segmentId)
    assert(segment !== undefined, `no segment ${segmentId}`)
    const { sha256, bytes } = await readAndDigest(segment)
    return sha256 === segment.sha256 ? { segment, bytes } : 'damaged'
  }

  /**
   * Sets a damaged segment aside. What is whole in it becomes a segment of its own, with a name of its own, since the
   * control plane may know the old name with the old contents; what is not goes into the ledger. Ask the control plane
   * first whether the segment had arrived before it was damaged.
   */
  salvage(segmentId: string): void {
    const segment = this.#index.get(segmentId)
    assert(segment !== undefined, `no segment ${segmentId}`)
    const { windowKey, bucket, windowStartS, file } = segment
    const line = this.#manifestOf(windowKey).segments.find((it) => it.segmentId === segmentId)
    const { whole, members, losses } = line === undefined ? NOTHING : salvage(segment.path, line)
    const recordsLost = losses.reduce((sum, { records }) => sum + records, 0)
    this.#counts.damagedSegments++
    this.#log.error(
      { segmentId, bucket, windowStartS, recordsLost, recordsKept: recordsOf(members) },
      'segment is damaged',
    )
    const cause = `damaged ${segmentId}`
    this.#ledger.add(cause, losses)
    this.#writeLedger()
    if (line !== undefined && members.length > 0) this.#addSalvaged(windowKey, { ...line, members }, whole)
    segment.state = advance(segment.state, 'giveUp')
    this.#index.remove(segment)
    if (this.#setAside(windowKey, file)) this.#ledger.settle([cause])
    this.#removeWindowWhenEmpty(windowKey)
  }

  /**
   * Gives up what is too old, and the oldest of the largest consumer while there is too much. Not between a window's
   * commit and the clearing of its source, and after a start not before the sources of `committedWindows` are cleared.
   */
  enforceLimits(): void {
    this.#removeAgain()
    const aged = this.#index.expiredAt(this.#monotonicMs())
    if (aged.length > 0) this.#giveUp(aged, 'age')
    if (this.#index.bytes > this.#bytesMax) this.makeRoom(this.#index.bytes - this.#bytesMax)
    this.#writeLedger()
  }

  /** Gives up at least `bytes`, when there is as much, and returns how many it gave up. */
  makeRoom(bytes: number): number {
    const victims = this.#index.victims(bytes)
    this.#giveUp(victims, 'size')
    return victims.reduce((sum, { size }) => sum + size, 0)
  }

  /** Losses to tell in the window being written; offered again until a committed window tells them. */
  takeGivenUp(flowLogId: string): GivenUp[] {
    return this.#ledger.offer(flowLogId)
  }

  /** A flow log that is not among `kept` makes no more objects here: what it lost before `beforeS` is told by the log. */
  forgetGivenUp(kept: ReadonlySet<string>, beforeS: number): void {
    for (const it of this.#ledger.drop((loss) => !kept.has(loss.flowLogId) && loss.endS < beforeS)) {
      this.#log.warn({ ...it }, 'a flow log is gone that was yet to tell what was given up of it')
    }
    this.#writeLedger()
  }

  flowLogsGivenUp(): string[] {
    return this.#ledger.flowLogIds()
  }

  stats(): SpoolStats {
    const oldest = this.#index.oldestFirst()[0]
    return {
      segments: this.#index.count,
      bytes: this.#index.bytes,
      bytesMax: this.#bytesMax,
      parkedSegments: this.#index.parked(),
      ...(oldest === undefined ? {} : { oldestWindowStartS: oldest.windowStartS }),
      ...this.#counts,
    }
  }

  #advance(segmentId: string, event: SegmentEvent): Segment {
    const segment = this.#index.get(segmentId)
    assert(segment !== undefined, `no segment ${segmentId}`)
    segment.state = advance(segment.state, event)
    return segment
  }

  #load(windowKey: string): void {
    this.#rememberWindow(windowKey)
    const folder = this.#folderOf(windowKey)
    const manifest = this.#manifestOf(windowKey)
    if (manifest.damagedLines > 0) {
      this.#counts.damagedManifestLines += manifest.damagedLines
      this.#log.error({ windowKey, lines: manifest.damagedLines }, 'manifest of a window is damaged')
    }
    const present = new Set(fs.existsSync(folder) ? fs.readdirSync(folder) : []) // A window may have been empty.
    present.delete(MANIFEST)
    present.delete(`${MANIFEST}.new`) // Of a salvage that a crash interrupted.
    const finished: string[] = []
    for (const line of manifest.segments) {
      if (!present.delete(line.file)) continue // Delivered, or given up.
      if (this.#ledger.knows(line.segmentId))
        finished.push(line.file) // Given up, and the crash came before the unlink.
      else this.#index.add(this.#segmentOf(windowKey, line))
    }
    this.#ledger.settle(manifest.segments.map(({ replaces }) => `damaged ${replaces}`))
    for (const file of finished) this.#tryRemove(path.join(folder, file))
    for (const file of present) this.#setAside(windowKey, file)
    this.#ledger.told(manifest.window?.tells ?? [])
    this.#writeLedger() // Before the window can be delivered and its folder, which is what says so, removed.
    this.#removeWindowWhenEmpty(windowKey)
  }

  #rememberWindow(windowKey: string): void {
    this.#windowKeys.add(windowKey)
    if (this.#windowKeys.size > WINDOW_KEYS_MAX)
      this.#windowKeys.delete(this.#windowKeys.values().next().value!)
  }

  #giveUp(victims: readonly Segment[], reason: 'age' | 'size'): void {
    if (victims.length === 0) return
    for (const [windowKey, segments] of Map.groupBy(victims, (victim) => victim.windowKey)) {
      const lines = new Map(this.#manifestOf(windowKey).segments.map((line) => [line.segmentId, line]))
      for (const { segmentId } of segments) this.#countGivenUp(segmentId, lines.get(segmentId))
    }
    // Before the files go. A disk too full for the ledger gets room first: then a crash right here may forget.
    this.#writeLedger()
    for (const segment of victims) {
      segment.state = advance(segment.state, 'giveUp')
      this.#remove(segment)
    }
    this.#writeLedger()
    const bytes = victims.reduce((sum, { size }) => sum + size, 0)
    this.#log.warn({ reason, segments: victims.length, bytes }, 'gave up segments')
  }

  #countGivenUp(segmentId: string, line: SegmentLine | undefined): void {
    const losses = line === undefined ? [] : lossesOf(line)
    this.#ledger.add(segmentId, losses)
    this.#counts.givenUpSegments++
    for (const loss of losses) {
      this.#counts.givenUpRecords += loss.records
      this.#counts.givenUpPackets += loss.packets
    }
  }

  #addSalvaged(windowKey: string, damaged: SegmentLine, whole: Buffer): void {
    const folder = this.#folderOf(windowKey)
    const sha256 = createHash('sha256').update(whole).digest('hex')
    const mark = sha256.slice(0, 8)
    const line: SegmentLine = {
      ...damaged,
      segmentId: `${damaged.segmentId}-${mark}`,
      replaces: damaged.segmentId,
      file: `salvaged-${mark}-${damaged.file}`,
      size: whole.length,
      sha256,
    }
    try {
      this.#files.writeDurably(path.join(folder, line.file), whole)
      const manifest = fs.readFileSync(path.join(folder, MANIFEST))
      replaceDurably(
        this.#files,
        path.join(folder, MANIFEST),
        Buffer.concat([manifest, Buffer.from(manifestLine(line))]),
      )
    } catch (error) {
      throw spoolErrorFrom(error, `salvaging segment ${damaged.segmentId}`)
    }
    this.#index.add(this.#segmentOf(windowKey, line))
  }

  #setAside(windowKey: string, file: string): boolean {
    const to = path.join(this.directory, DAMAGED, `${windowKey}-${file}`)
    try {
      this.#files.rename(path.join(this.#folderOf(windowKey), file), to)
      this.#counts.setAsideFiles++
      this.#log.error({ file: to }, 'set a damaged file aside')
    } catch (error) {
      if (isMissing(error)) return true
      this.#log.error({ file, err: error }, 'could not set a damaged file aside')
      return false
    }
    return true
  }

  #remove(segment: Segment): void {
    this.#index.remove(segment)
    if (this.#tryRemove(segment.path)) this.#removed(segment)
    else this.#unremoved.add(segment)
  }

  #removed(segment: Segment): void {
    this.#ledger.settle([segment.segmentId])
    this.#removeWindowWhenEmpty(segment.windowKey)
  }

  #removeAgain(): void {
    for (const segment of this.#unremoved) {
      if (!this.#tryRemove(segment.path)) return
      this.#unremoved.delete(segment)
      this.#removed(segment)
    }
  }

  #tryRemove(file: string): boolean {
    try {
      this.#files.remove(file)
      return true
    } catch (error) {
      this.#log.error({ file, err: error }, 'could not remove a spool file')
      return false
    }
  }

  #removeWindowWhenEmpty(windowKey: string): void {
    if (this.#index.ofWindow(windowKey) > 0) return
    const folder = this.#folderOf(windowKey)
    const left = fs.existsSync(folder)
      ? fs.readdirSync(folder).filter((name) => !name.startsWith(MANIFEST))
      : []
    if (left.length > 0) return // Something could not be removed or set aside: the manifest stays with it.
    try {
      this.#files.removeFolder(folder)
    } catch (error) {
      this.#log.error({ folder, err: error }, 'could not remove the folder of a window')
    }
  }

  #removeAbandoned(name: string): void {
    try {
      this.#files.removeFolder(path.join(this.directory, name))
    } catch (error) {
      this.#log.error({ name, err: error }, 'could not remove an abandoned window')
    }
  }

  #writeLedger(): void {
    try {
      this.#ledger.write()
    } catch (error) {
      this.#log.error({ err: error }, 'could not write the ledger of losses')
    }
  }

  /** From disk: the members of a hundred thousand waiting segments need not be in memory. */
  #manifestOf(windowKey: string): Manifest {
    const file = path.join(this.#folderOf(windowKey), MANIFEST)
    try {
      return parseManifest(fs.readFileSync(file))
    } catch (error) {
      if (isMissing(error)) return parseManifest(Buffer.alloc(0))
      this.#log.error({ file, err: error }, 'could not read the manifest of a window')
      return { ...parseManifest(Buffer.alloc(0)), damagedLines: 1 } // A disk that cannot read it has damaged it.
    }
  }

  #segmentOf(windowKey: string, line: SegmentLine): Segment {
    const { members, ...rest } = line
    const ageMs = this.#clock.nowMs() - (line.windowStartS + line.windowSizeS) * 1000
    const leftMs = Math.min(Math.max(this.#ageMsMax - ageMs, TRIED_MS_MIN), this.#ageMsMax)
    return {
      ...rest,
      windowKey,
      path: path.join(this.#folderOf(windowKey), line.file),
      records: recordsOf(members),
      expiresAtMs: this.#monotonicMs() + leftMs,
      state: 'sealed',
    }
  }

  #monotonicMs(): number {
    return Number(this.#clock.monotonicNs() / 1_000_000n)
  }

  #folderOf(windowKey: string): string {
    return path.join(this.directory, `${WINDOW_PREFIX}${windowKey}`)
  }
}

async function readAndDigest(segment: Segment): Promise<{ sha256: string; bytes: Buffer | undefined }> {
  const hash = createHash('sha256')
  try {
    if (segment.size <= LOAD_SIZE_MAX) {
      const bytes = fs.readFileSync(segment.path) // On the thread pool it costs five times as much, and waits longer.
      return { sha256: hash.update(bytes).digest('hex'), bytes }
    }
    for await (const chunk of fs.createReadStream(segment.path)) hash.update(chunk)
    return { sha256: hash.digest('hex'), bytes: undefined }
  } catch {
    return { sha256: 'unreadable', bytes: undefined } // Salvage reads it place by place.
  }
}
