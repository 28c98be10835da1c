import fs from 'node:fs'
import path from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import type { SpoolFiles } from '../../src/spool/files.ts'
import { MANIFEST, parseManifest } from '../../src/spool/manifest.ts'
import { Spool } from '../../src/spool/spool.ts'
import { WindowWriter } from '../../src/spool/window-writer.ts'
import { random } from '../../src/stdx/prng.ts'
import { CrashingFiles } from './crashing-files.ts'

const AGAIN = '.again' // A stored segment that an earlier life could not acknowledge, and that is still in the spool.

export const silentLog = { info() {}, warn() {}, error() {}, debug() {} }

/**
 * A source of windows, a spool and a store on one disk, so small that a crash can be tried at every step: what a
 * kernel map, an agent and a bucket do with a spool. Each record is one line; a line `SKIP n` tells of n lost ones.
 */
export class SpoolWorld {
  readonly directory: string
  readonly windows: number
  readonly #bytesMax: number
  readonly #seed: number
  #assertAlive = (): void => {}

  constructor(options: { directory: string; windows: number; bytesMax: number; seed: number }) {
    this.directory = options.directory
    this.windows = options.windows
    this.#bytesMax = options.bytesMax
    this.#seed = options.seed
    fs.mkdirSync(path.join(this.directory, 'store'), { recursive: true })
    fs.mkdirSync(path.join(this.directory, 'source'), { recursive: true })
    fs.mkdirSync(path.join(this.directory, 'unacknowledged'), { recursive: true })
    const made = path.join(this.directory, 'made')
    if (fs.existsSync(made)) return
    for (let i = 0; i < this.windows; i++)
      fs.writeFileSync(path.join(this.directory, 'source', `boot-${i}`), '')
    fs.writeFileSync(made, '')
  }

  /** One life of an agent: from start to the moment when nothing is left to do, unless it is stopped before. */
  async live(files: SpoolFiles): Promise<void> {
    if (files instanceof CrashingFiles) this.#assertAlive = () => files.assertAlive()
    else this.#assertAlive = () => {}
    this.#settleAcknowledged()
    const spool = this.#spool(files)
    spool.start()
    for (const key of spool.committedWindows()) this.#clearSource(key)
    spool.enforceLimits()
    const writer = new WindowWriter({ directory: spool.directory, segmentSizeMax: 400 }, { files })
    for (const key of this.#sources()) {
      await this.#drain(key, spool, writer)
      spool.addWindow(key)
      this.#clearSource(key)
      spool.enforceLimits()
      const next = spool.segments()[0]
      if (next && Number(key.slice(5)) % 3 === 2) await this.#deliver(next.segmentId, spool) // Slower than they come.
    }
    for (const { segmentId } of spool.segments()) await this.#deliver(segmentId, spool)
    spool.stop()
  }

  /**
   * Every record of the source, by what became of it. `twice` were stored, the crash came before the acknowledgement,
   * and then the spool had to give them up: it cannot know better, so it over-reports.
   */
  balance(): {
    made: number
    delivered: number
    duplicates: number
    told: number
    untold: number
    twice: number
  } {
    const lines = fs.readdirSync(path.join(this.directory, 'store')).flatMap((name) => this.#stored(name))
    const twice = fs
      .readdirSync(path.join(this.directory, 'unacknowledged'))
      .flatMap((name) => this.#stored(name.replace(AGAIN, '')))
    const records = lines.filter((line) => !line.startsWith('SKIP'))
    const spool = this.#spool()
    spool.start()
    const losses = spool.flowLogsGivenUp().flatMap((id) => spool.takeGivenUp(id))
    let made = 0
    for (let i = 0; i < this.windows; i++) for (const it of this.#contents(i)) made += it.lines.length
    return {
      made,
      delivered: records.length,
      duplicates: records.length - new Set(records).size,
      told: packetsOf(lines) - records.length,
      untold: losses.reduce((sum, { packets }) => sum + packets, 0),
      twice: packetsOf(twice),
    }
  }

  /** The crash may have come between the segment's removal and that of our note. */
  #settleAcknowledged(): void {
    const spool = this.#spool()
    const waiting = fs.existsSync(spool.directory)
      ? fs.readdirSync(spool.directory, { recursive: true, encoding: 'utf8' })
      : []
    const ids = waiting
      .filter((name) => name.endsWith(MANIFEST))
      .flatMap((name) => {
        const folder = path.join(spool.directory, path.dirname(name))
        const { segments } = parseManifest(fs.readFileSync(path.join(folder, MANIFEST)))
        return segments.filter(({ file }) => fs.existsSync(path.join(folder, file))).map((it) => it.segmentId)
      })
    for (const name of fs.readdirSync(path.join(this.directory, 'unacknowledged'))) {
      if (name.endsWith(AGAIN)) continue // Gone since then, it was given up: `#deliver` would have taken the note.
      const note = this.#note(name)
      if (ids.includes(name)) fs.renameSync(note, `${note}${AGAIN}`)
      else fs.rmSync(note)
    }
  }

  #stored(segmentId: string): string[] {
    const bytes = fs.readFileSync(path.join(this.directory, 'store', segmentId))
    return gunzipSync(bytes).toString().trimEnd().split('\n')
  }

  #spool(files?: SpoolFiles): Spool {
    return new Spool(
      { directory: path.join(this.directory, 'spool'), bytesMax: this.#bytesMax, ageMsMax: 1e15 },
      { clock: { nowMs: () => 0, monotonicNs: () => 0n }, log: silentLog, ...(files ? { files } : {}) },
    )
  }

  async #drain(key: string, spool: Spool, writer: WindowWriter): Promise<void> {
    const index = Number(key.slice(5))
    writer.begin({ windowKey: key, windowStartS: index * 60, windowSizeS: 60 })
    const tells: string[] = []
    for (const { flowLogId, stem, lines } of this.#contents(index)) {
      for (const loss of spool.takeGivenUp(flowLogId)) {
        tells.push(loss.id)
        const skip = gzipSync(`SKIP ${loss.packets}\n`)
        // The record of a loss counts for as much, should it be given up itself.
        writer.append({ contractNumber: 1, bucket: 'bucket', stem }, skip, {
          flowLogId,
          records: 1,
          packets: loss.packets,
          octets: loss.octets,
        })
      }
      const counts = { flowLogId, records: lines.length, packets: lines.length, octets: 60 * lines.length }
      writer.append({ contractNumber: 1, bucket: 'bucket', stem }, gzipSync(`${lines.join('\n')}\n`), counts)
    }
    writer.tell(tells)
    await writer.commit()
  }

  async #deliver(segmentId: string, spool: Spool): Promise<void> {
    const loaded = await spool.load(segmentId)
    if (loaded === 'damaged') throw new Error(`segment ${segmentId} is damaged`)
    spool.upload(segmentId)
    const unacknowledged = this.#note(segmentId)
    this.#assertAlive()
    fs.rmSync(`${unacknowledged}${AGAIN}`, { force: true })
    fs.writeFileSync(unacknowledged, '')
    fs.writeFileSync(path.join(this.directory, 'store', segmentId), loaded.bytes!) // The same segment, the same object.
    await spool.acknowledge(segmentId)
    this.#assertAlive()
    fs.rmSync(unacknowledged)
  }

  #note(segmentId: string): string {
    return path.join(this.directory, 'unacknowledged', segmentId)
  }

  #contents(index: number): { flowLogId: string; stem: string; lines: string[] }[] {
    const next = random(this.#seed * 1000 + index)
    return ['a', 'b', 'c', 'd'].map((name) => ({
      flowLogId: `flow-log-${name}`,
      stem: name === 'd' ? 'c' : name, // Two flow logs with one prefix.
      lines: Array.from({ length: 1 + (next() % 20) }, (_, i) => `${name} ${index} ${i} ${next()}`),
    }))
  }

  #sources(): string[] {
    const keys = fs.readdirSync(path.join(this.directory, 'source'))
    return keys.sort((a, b) => Number(a.slice(5)) - Number(b.slice(5)))
  }

  #clearSource(key: string): void {
    this.#assertAlive()
    fs.rmSync(path.join(this.directory, 'source', key), { force: true })
  }
}

function packetsOf(lines: readonly string[]): number {
  return lines.reduce((sum, line) => sum + (line.startsWith('SKIP') ? Number(line.slice(5)) : 1), 0)
}
