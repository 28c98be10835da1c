import type { SegmentState } from './segment-state.ts'

/** A sealed segment: the bytes for one destination of one window. */
export interface Segment {
  readonly segmentId: string
  readonly windowKey: string
  readonly contractNumber: number
  readonly bucket: string
  readonly stem: string
  readonly part: number
  readonly windowStartS: number
  readonly windowSizeS: number
  readonly flowLogIds: string[]
  readonly file: string
  readonly path: string
  readonly size: number
  readonly sha256: string
  readonly records: number
  /** When it is too old. On the monotonic clock: the wall clock may step by days. */
  readonly expiresAtMs: number
  state: SegmentState
}

/** The segments that are here, by id, in order of age, and by who uses how much. */
export class SegmentIndex {
  bytes = 0
  readonly #segments = new Map<string, Segment>()
  readonly #windows = new Map<string, number>()
  #sorted: Segment[] | undefined = []

  get count(): number {
    return this.#segments.size
  }

  add(segment: Segment): void {
    if (this.#segments.has(segment.segmentId)) return
    this.#segments.set(segment.segmentId, segment)
    this.#windows.set(segment.windowKey, this.ofWindow(segment.windowKey) + 1)
    this.bytes += segment.size
    this.#sorted = undefined
  }

  remove(segment: Segment): void {
    if (!this.#segments.delete(segment.segmentId)) return
    this.#windows.set(segment.windowKey, this.ofWindow(segment.windowKey) - 1)
    if (this.ofWindow(segment.windowKey) === 0) this.#windows.delete(segment.windowKey)
    this.bytes -= segment.size
  }

  get(segmentId: string): Segment | undefined {
    return this.#segments.get(segmentId)
  }

  ofWindow(windowKey: string): number {
    return this.#windows.get(windowKey) ?? 0
  }

  parked(): number {
    let count = 0
    for (const { state } of this.#segments.values()) if (state === 'parked') count++
    return count
  }

  oldestFirst(): Segment[] {
    const sorted = this.#sorted ?? [...this.#segments.values()].sort(byAge)
    this.#sorted = sorted.filter((it) => this.#segments.has(it.segmentId)) // Removal leaves the order as it is.
    return [...this.#sorted]
  }

  /** Segments that are too old, but for those on their way. */
  expiredAt(nowMs: number): Segment[] {
    return this.oldestFirst().filter((it) => it.state !== 'uploading' && it.expiresAtMs < nowMs)
  }

  /**
   * What to give up to win `bytes`: of the bucket that uses most, the destination that uses most, its oldest; and
   * again. So neither a bucket that fails for days nor a flow log under attack costs the others anything.
   */
  victims(bytes: number): Segment[] {
    const buckets = new Map<string, Consumer>()
    for (const segment of this.oldestFirst()) {
      if (segment.state === 'uploading') continue
      const bucket = consumer(buckets, segment.bucket)
      bucket.bytes += segment.size
      const stem = consumer(bucket.parts, segment.stem)
      stem.bytes += segment.size
      stem.segments.push(segment)
    }
    const victims: Segment[] = []
    for (let won = 0; won < bytes; ) {
      const bucket = largest(buckets)
      const stem = bucket && largest(bucket.parts)
      const victim = stem?.segments.shift()
      if (!bucket || !stem || !victim) break
      bucket.bytes -= victim.size
      stem.bytes -= victim.size
      won += victim.size
      victims.push(victim)
    }
    return victims
  }
}

interface Consumer {
  bytes: number
  parts: Map<string, Consumer>
  segments: Segment[]
}

function consumer(of: Map<string, Consumer>, name: string): Consumer {
  let found = of.get(name)
  if (found === undefined) {
    found = { bytes: 0, parts: new Map(), segments: [] }
    of.set(name, found)
  }
  return found
}

function largest(of: Map<string, Consumer>): Consumer | undefined {
  let most: Consumer | undefined
  for (const it of of.values()) if (it.bytes > 0 && (most === undefined || it.bytes > most.bytes)) most = it
  return most
}

function byAge(a: Segment, b: Segment): number {
  return (
    a.windowStartS - b.windowStartS ||
    (a.windowKey < b.windowKey ? -1 : a.windowKey > b.windowKey ? 1 : a.part - b.part)
  )
}
