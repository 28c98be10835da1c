import { createHash } from 'node:crypto'
import {
  type Acknowledged,
  type DeliveryPlace,
  type PendingDelivery,
  SEGMENTS_PER_REQUEST_MAX,
  type UploadGrant,
  type UploadRequest,
} from '../model/agent-protocol.ts'
import type { Segment } from '../spool/segment-index.ts'
import { Backoff } from '../stdx/backoff.ts'
import type { Clock } from '../stdx/clock.ts'
import { Batcher } from './batcher.ts'
import { ControlPlaneError } from './control-plane-client.ts'
import { DeliveryFault, faultFrom, isExpired, storeFault } from './delivery-fault.ts'
import { type Answer, HttpExchange } from './http-exchange.ts'
import { Lane, type LaneState, laneKeyOf } from './lane.ts'
import { ParkedSegments } from './parked-segments.ts'
import { Permits } from './permits.ts'
import type { DeliveryLog, DeliverySpool, UploadGrants } from './ports.ts'

export interface DelivererOptions {
  /** Uploads side by side. */
  concurrency?: number
  /** How far the uploads of one window are spread. Default: a twentieth of the window, at most 30 s. */
  spreadMs?: number
  retryDelayMsMin?: number
  retryDelayMsMax?: number
  /** For faults that somebody must cure: a grant removed, a bucket gone. */
  refusedDelayMsMin?: number
  refusedDelayMsMax?: number
  /** An upload that takes longer frees its place for other buckets, and goes on. */
  slowMs?: number
  idleMsMax?: number
  /** 0 up to but not including 1. */
  random?: () => number
}

export interface Delivery {
  segment: Segment
  bucket: string
  objectName: string
  records: number
  bytes: number
  /** ISO time. */
  at: string
}

export interface DelivererDependencies {
  spool: DeliverySpool
  api: UploadGrants
  clock: Clock
  log: DeliveryLog
  http?: Pick<HttpExchange, 'exchange' | 'stop'>
  onDelivered?: (delivery: Delivery) => void
}

export interface DeliveryStatus {
  lastDelivery?: { bucket: string; objectName: string; records: number; bytes: number; at: string }
  lastError?: { message: string; at: string }
  /** Those for which something waits. */
  flowLogs: PendingDelivery[]
}

export interface BucketStatus {
  bucket: string
  state: LaneState
  pendingSegments: number
  lastError: Lane['lastError']
}

/** One delivery on its way. */
interface Turn {
  readonly lane: Lane
  readonly segment: Segment
  slow: boolean
  /** The store has said nothing to its upload for that long. */
  silent: boolean
  /** Holds a permit to upload. */
  uploading: boolean
}

const DEFAULTS = {
  concurrency: 16,
  retryDelayMsMin: 500,
  retryDelayMsMax: 60_000,
  refusedDelayMsMin: 20_000,
  refusedDelayMsMax: 300_000,
  slowMs: 3_000,
  idleMsMax: 20_000,
}
const SPREAD_MS_MAX = 30_000
const ATTEMPT_GRANTS_MAX = 4 // A taken name or an expired signature asks again; more often than this is a fault.
const UPLOAD_BYTES_PER_MS_MIN = 16 // 16 kB/s: below that an upload is given up and begun anew.
/** Deliveries on their way for each upload on its way: the others ask for names, or tell what has arrived. */
const PLACES_PER_UPLOAD = 16
const GATHER_MS = 50
const FLOW_LOGS_PER_REQUEST_MAX = 20_000 // Keeps a request below a megabyte.
const LIMITS_INTERVAL_MS = 60_000
const DRAIN_FAILURES_MAX = 3
const FLOW_LOGS_REPORTED_MAX = 2_000

/**
 * Brings segments to their buckets: asks the control plane for an object name and a signed upload, uploads,
 * acknowledges, and only then lets the spool forget. At least one try too many, never one object too few; that a try
 * too many makes no second object is the control plane's promise, which gives a segment one name until it is there.
 */
export class Deliverer {
  readonly #options: Required<Omit<DelivererOptions, 'spreadMs' | 'random'>>
  readonly #spreadMs: number | undefined
  readonly #random: () => number
  readonly #spool: DeliverySpool
  readonly #api: UploadGrants
  readonly #clock: Clock
  readonly #log: DeliveryLog
  readonly #http: Pick<HttpExchange, 'exchange' | 'stop'>
  readonly #onDelivered: (delivery: Delivery) => void
  readonly #stopping = new AbortController()
  /** By `laneKeyOf`. */
  readonly #lanes = new Map<string, Lane>()
  readonly #known = new Set<string>()
  readonly #parked: ParkedSegments
  readonly #attempts = new Set<Promise<void>>()
  readonly #serverBackoff: Backoff
  #serverRetryAtMs = 0
  #serverFailures = 0
  /** Deliveries on their way: all but the slow ones. */
  #places = 0
  readonly #permits: Permits
  readonly #uploads: Batcher<UploadRequest, UploadGrant>
  readonly #acknowledgements: Batcher<string, Acknowledged>
  #timer: NodeJS.Timeout | undefined
  #limitsTimer: NodeJS.Timeout | undefined
  #running = false
  #draining = false
  #laneTurn = 0
  #delivered = 0
  #lastDelivery: DeliveryStatus['lastDelivery']
  #lastError: DeliveryStatus['lastError']
  #onIdle: (() => void) | undefined

  constructor(options: DelivererOptions, dependencies: DelivererDependencies) {
    const { spreadMs, random, ...rest } = options
    this.#options = { ...DEFAULTS, ...rest }
    this.#spreadMs = spreadMs
    this.#random = random ?? Math.random
    this.#spool = dependencies.spool
    this.#api = dependencies.api
    this.#clock = dependencies.clock
    this.#log = dependencies.log
    this.#http = dependencies.http ?? new HttpExchange()
    this.#onDelivered = dependencies.onDelivered ?? (() => {})
    this.#parked = new ParkedSegments({ ...this.#options, random: this.#random })
    this.#permits = new Permits(this.#options.concurrency)
    const { signal } = this.#stopping
    const batching = {
      itemsMax: SEGMENTS_PER_REQUEST_MAX,
      weightMax: FLOW_LOGS_PER_REQUEST_MAX,
      gatherMs: GATHER_MS,
      patienceMs: this.#options.slowMs,
      isRefusal: (error: unknown) => error instanceof ControlPlaneError && !error.concernsAll,
    }
    this.#uploads = new Batcher({ ...batching, weightOf: (it) => it.flowLogIds.length }, (segments) =>
      this.#api.requestUploads(segments, { signal }),
    )
    this.#acknowledgements = new Batcher({ ...batching, weightOf: () => 1 }, (segmentIds) =>
      this.#api.acknowledge(segmentIds, { signal }),
    )
    this.#serverBackoff = new Backoff({
      delayMsMin: this.#options.retryDelayMsMin,
      delayMsMax: this.#options.retryDelayMsMax,
      random: this.#random,
    })
  }

  start(): void {
    this.#running = true
    this.#queue(0) // What is left from before has waited long enough.
    this.#limitsTimer = setInterval(() => this.#spool.enforceLimits(), LIMITS_INTERVAL_MS)
    this.#pump()
  }

  /** New segments are in the spool. */
  wake(): void {
    if (!this.#running) return
    this.#queue(this.#draining ? 0 : this.#spreadMs)
    this.#pump()
  }

  /** Somebody has mended something: what waits for these is tried at once, as if it had not failed. */
  retry(places: readonly DeliveryPlace[]): void {
    const keys = new Set(places.map(laneKeyOf))
    for (const lane of this.#lanes.values()) if (keys.has(lane.key)) lane.retryNow()
    this.#parked.retryNow(keys)
    this.#serverAnswered() // Else nobody would have told.
    this.#pump()
  }

  /** Breaks off what is on its way; the spool keeps it. */
  async stop(): Promise<void> {
    this.#running = false
    clearTimeout(this.#timer)
    clearInterval(this.#limitsTimer)
    this.#stopping.abort(new Error('delivery was stopped'))
    await Promise.all(this.#attempts)
    this.#http.stop()
  }

  /**
   * Delivers at once what can be delivered, and returns when nothing is left, when what is left has failed again and
   * again, or when the deadline (milliseconds from now) has passed.
   */
  async drain({ deadlineMs }: { deadlineMs: number }): Promise<{ delivered: number; left: number }> {
    const before = this.#delivered
    this.#draining = true
    this.#serverFailures = 0
    for (const lane of this.#lanes.values()) lane.failures = 0
    const { promise, resolve } = Promise.withResolvers<void>()
    const deadline = setTimeout(resolve, deadlineMs)
    this.#onIdle = resolve
    this.wake()
    await promise
    clearTimeout(deadline)
    this.#onIdle = undefined
    this.#draining = false
    return { delivered: this.#delivered - before, left: this.#spool.segments().length }
  }

  status(): DeliveryStatus {
    return {
      ...(this.#lastDelivery === undefined ? {} : { lastDelivery: this.#lastDelivery }),
      ...(this.#lastError === undefined ? {} : { lastError: this.#lastError }),
      flowLogs: this.#flowLogs(),
    }
  }

  /** Those for which something waits, by contract and name. */
  buckets(): BucketStatus[] {
    return [...Map.groupBy(this.#spool.segments(), laneKeyOf)].map(([key, segments]) => {
      const lane = this.#lanes.get(key)
      return {
        bucket: segments[0]!.bucket,
        state: lane?.state ?? 'ok',
        pendingSegments: segments.length,
        lastError: lane?.lastError,
      }
    })
  }

  /** Oldest first, as the spool is. */
  #flowLogs(): PendingDelivery[] {
    const found = new Map<string, PendingDelivery>()
    for (const segment of this.#spool.segments()) {
      for (const flowLogId of segment.flowLogIds) {
        const pending = found.get(flowLogId) ?? this.#pendingOf(flowLogId, segment)
        found.set(flowLogId, pending)
        pending.segments++
        pending.bytes += segment.size
      }
    }
    return [...found.values()].slice(0, FLOW_LOGS_REPORTED_MAX)
  }

  #pendingOf(flowLogId: string, segment: Segment): PendingDelivery {
    const lane = this.#lanes.get(laneKeyOf(segment))
    const fails = lane !== undefined && (lane.state !== 'ok' || lane.parked > 0)
    return {
      flowLogId,
      segments: 0,
      bytes: 0,
      oldestWindowStartS: segment.windowStartS,
      ...(fails && lane.lastError !== undefined ? { lastError: toldOf(lane.lastError) } : {}),
    }
  }

  /** Takes in segments that are new here. A destination's place in the spread is the same for all its parts. */
  #queue(spreadMs: number | undefined): void {
    const nowMs = this.#monotonicMs()
    const fresh = this.#spool
      .segments()
      .filter((it) => !this.#known.has(it.segmentId) && it.state === 'sealed')
    for (const segments of Map.groupBy(fresh, laneKeyOf).values()) {
      const queued = segments.map((segment) => {
        this.#known.add(segment.segmentId)
        const widthMs = spreadMs ?? Math.min(segment.windowSizeS * 50, SPREAD_MS_MAX)
        return { segment, dueMs: nowMs + widthMs * spreadOf(segment) }
      })
      this.#laneOf(segments[0]!).add(queued)
    }
  }

  #laneOf(place: DeliveryPlace): Lane {
    let lane = this.#lanes.get(laneKeyOf(place))
    if (lane === undefined) {
      lane = new Lane(place, { ...this.#options, random: this.#random })
      this.#lanes.set(lane.key, lane)
    }
    return lane
  }

  /** Starts what may start, and sets the timer for what may start later. */
  #pump(): void {
    clearTimeout(this.#timer)
    if (!this.#running) return
    this.#releaseParked()
    let next = this.#nextLane()
    while (next.lane !== undefined && this.#places < this.#placesMax()) {
      this.#begin(next.lane)
      next = this.#nextLane()
    }
    if (this.#isIdle()) this.#onIdle?.()
    const wakeAtMs = Math.min(next.readyAtMs, this.#parked.nextRetryAtMs())
    if (next.lane !== undefined || wakeAtMs === Number.POSITIVE_INFINITY) return // Whoever ends, pumps.
    const delayMs = Math.min(Math.max(wakeAtMs - this.#monotonicMs(), 1), LIMITS_INTERVAL_MS)
    this.#timer = setTimeout(() => this.#pump(), delayMs)
  }

  /** While the control plane is away, one asks for all. */
  #placesMax(): number {
    return this.#serverFailures > 0 ? 1 : this.#options.concurrency * PLACES_PER_UPLOAD
  }

  /** The next lane in turn that is ready now; else when the first will be. */
  #nextLane(): { lane: Lane | undefined; readyAtMs: number } {
    const nowMs = this.#monotonicMs()
    const lanes = [...this.#lanes.values()]
    let earliestMs = Number.POSITIVE_INFINITY
    for (let i = 0; i < lanes.length; i++) {
      const turn = (this.#laneTurn + i) % lanes.length
      const lane = lanes[turn]!
      // Some places stay for the others while a bucket has not shown yet that it answers.
      if (lanes.length > 1 && lane.uploads >= Math.ceil(this.#placesMax() * 0.75)) continue
      const readyAtMs = Math.max(lane.readyAtMs(this.#draining), this.#serverRetryAtMs)
      if (readyAtMs <= nowMs) {
        this.#laneTurn = (turn + 1) % lanes.length
        return { lane, readyAtMs }
      }
      earliestMs = Math.min(earliestMs, readyAtMs)
    }
    return { lane: undefined, readyAtMs: earliestMs }
  }

  #begin(lane: Lane): void {
    const segment = lane.take()
    if (this.#spool.segment(segment.segmentId)?.state !== 'sealed') {
      lane.uploads-- // Given up since.
      lane.named(segment)
      this.#forget(segment)
      return
    }
    this.#places++
    const turn: Turn = { lane, segment, slow: false, silent: false, uploading: false }
    const attempt = this.#attempt(turn).finally(() => {
      if (turn.slow) lane.slowUploads--
      else this.#places--
      if (turn.silent) lane.silentUploads--
      lane.uploads--
      lane.named(segment)
      this.#removeWhenIdle(lane)
      this.#attempts.delete(attempt)
      this.#pump()
    })
    this.#attempts.add(attempt)
  }

  /** Waits for an answer; one that takes long frees the places that its delivery holds. */
  async #watch<T>(turn: Turn, answer: Promise<T>): Promise<T> {
    const timer = setTimeout(() => {
      if (turn.slow) return
      turn.slow = true
      turn.lane.slowUploads++
      this.#places--
      if (turn.uploading) {
        turn.silent = true
        turn.lane.silentUploads++
        this.#permits.release()
      }
      turn.uploading = false
      this.#pump()
    }, this.#options.slowMs)
    try {
      return await answer
    } finally {
      clearTimeout(timer)
    }
  }

  async #attempt(turn: Turn): Promise<void> {
    const { lane, segment } = turn
    this.#spool.upload(segment.segmentId)
    try {
      const grant = await this.#deliver(turn)
      if (grant === 'damaged') {
        this.#spool.salvage(segment.segmentId)
        this.#forget(segment)
        this.#queue(0)
        return
      }
      if (grant === 'postponed') {
        this.#spool.fail(segment.segmentId)
        lane.add([{ segment, dueMs: this.#monotonicMs() }])
        return
      }
      await this.#spool.acknowledge(segment.segmentId)
      this.#forget(segment)
      this.#noteDelivery(lane, segment, grant)
    } catch (error) {
      if (this.#stopping.signal.aborted) this.#spool.fail(segment.segmentId)
      else this.#noteFault(lane, segment, faultFrom(error, lane.bucket))
    }
  }

  /** Returns when the control plane knows that the object is there, and be it since before a damage. */
  async #deliver(turn: Turn): Promise<UploadGrant | 'damaged' | 'postponed'> {
    let answer: Answer | undefined
    for (let round = 0; round < ATTEMPT_GRANTS_MAX; round++) {
      const grant = await this.#ask(turn)
      if (!grant.delivered) {
        const put = await this.#put(turn, grant)
        if (put === 'damaged' || put === 'postponed') return put
        answer = put
        if (answer.status === 412 || (round === 0 && isExpired(answer))) continue
        if (answer.status < 200 || answer.status >= 300) break
      }
      await this.#acknowledge(turn)
      return grant
    }
    throw storeFault(turn.lane.bucket, answer!, this.#clock.nowMs())
  }

  async #put(turn: Turn, grant: UploadGrant): Promise<Answer | 'damaged' | 'postponed'> {
    const { lane, segment } = turn
    if (!turn.slow) {
      await this.#permits.acquire()
      turn.uploading = true
    }
    try {
      // It has waited for its turn, and meanwhile its bucket has failed or gone silent: others need the permit more.
      if (!turn.slow && !lane.mayUpload(this.#monotonicMs())) return 'postponed'
      const loaded = await this.#spool.load(segment.segmentId)
      if (loaded === 'damaged') return loaded
      const answer = this.#http.exchange({
        method: 'PUT',
        url: grant.url,
        headers: grant.headers,
        body: loaded.bytes ?? { path: segment.path, size: segment.size },
        idleMsMax: this.#options.idleMsMax,
        totalMsMax: this.#options.idleMsMax + segment.size / UPLOAD_BYTES_PER_MS_MIN,
        signal: this.#stopping.signal,
      })
      return await this.#watch(turn, answer)
    } finally {
      if (turn.uploading) this.#permits.release()
      turn.uploading = false
    }
  }

  async #ask(turn: Turn): Promise<UploadGrant> {
    const grant = await this.#watch(turn, this.#uploads.ask(requestFor(turn.segment), apart(turn)))
    turn.lane.named(turn.segment)
    this.#serverAnswered()
    return grant
  }

  async #acknowledge(turn: Turn): Promise<void> {
    try {
      await this.#watch(turn, this.#acknowledgements.ask(turn.segment.segmentId, apart(turn)))
    } catch (error) {
      if (!(error instanceof ControlPlaneError) || error.status !== 409) throw error
      // The store said yes and the control plane does not see the object: sent again, after a pause.
      const message = `bucket '${turn.lane.bucket}' took an object that is not there: ${error.message}`
      throw new DeliveryFault('bucket', 'retry', { reason: 'not there', message, cause: error })
    }
  }

  #serverAnswered(): void {
    this.#serverFailures = 0
    this.#serverRetryAtMs = 0
    this.#serverBackoff.reset()
  }

  #noteDelivery(lane: Lane, segment: Segment, grant: UploadGrant): void {
    const wasFailing = lane.state !== 'ok'
    lane.succeeded()
    this.#delivered++
    const { records, size: bytes } = segment
    const at = isoTime(this.#clock.nowMs())
    const { bucket, objectName } = grant
    this.#lastDelivery = { bucket, objectName, records, bytes, at }
    if (wasFailing) this.#log.info({ bucket }, 'bucket takes objects again')
    this.#onDelivered({ segment, bucket, objectName, records, bytes, at })
  }

  #noteFault(lane: Lane, segment: Segment, fault: DeliveryFault): void {
    const now = { monotonicMs: this.#monotonicMs(), wallMs: this.#clock.nowMs() }
    const { segmentId } = segment
    this.#lastError = { message: fault.message, at: isoTime(now.wallMs) }
    const fields = { bucket: lane.bucket, segmentId, reason: fault.reason, err: fault }
    if (fault.scope === 'segment') {
      lane.noteError(fault, now.wallMs)
      this.#spool.park(segmentId)
      this.#parked.add(segmentId, lane, now.monotonicMs)
      this.#log.warn(fields, 'segment is refused, parked')
      return
    }
    this.#spool.fail(segmentId)
    lane.add([{ segment, dueMs: now.monotonicMs }])
    if (fault.scope === 'bucket') {
      if (lane.state === 'ok') this.#log.warn(fields, 'delivery failed')
      lane.failed(fault, now)
      return
    }
    if (this.#serverFailures === 0) this.#log.warn(fields, 'delivery waits for the control plane')
    if (now.monotonicMs < this.#serverRetryAtMs) return
    this.#serverFailures++
    const delayMs = Math.max(this.#serverBackoff.nextDelayMs(), fault.retryAfterMs ?? 0)
    this.#serverRetryAtMs = now.monotonicMs + delayMs
  }

  #releaseParked(): void {
    const nowMs = this.#monotonicMs()
    const gone = this.#parked.forgetGone((it) => this.#spool.segment(it) !== undefined)
    for (const segmentId of gone) this.#known.delete(segmentId) // Given up since.
    for (const { segmentId, lane } of this.#parked.release(nowMs)) {
      this.#spool.release(segmentId)
      lane.add([{ segment: this.#spool.segment(segmentId)!, dueMs: nowMs }])
    }
  }

  /** In a drain: nothing is on its way, and nothing that waits has a chance. */
  #isIdle(): boolean {
    if (!this.#draining || this.#attempts.size > 0) return false
    if (this.#serverFailures >= DRAIN_FAILURES_MAX) return true
    for (const lane of this.#lanes.values()) {
      if (lane.waiting > 0 && lane.state !== 'refused' && lane.failures < DRAIN_FAILURES_MAX) return false
    }
    return true
  }

  #forget(segment: Segment): void {
    this.#known.delete(segment.segmentId)
    this.#parked.forget(segment.segmentId)
  }

  /** A bucket of a deleted flow log is not remembered for ever. */
  #removeWhenIdle(lane: Lane): void {
    if (lane.waiting > 0 || lane.uploads > 0 || lane.parked > 0 || lane.state !== 'ok') return
    if (this.#lanes.get(lane.key) === lane) this.#lanes.delete(lane.key)
  }

  #monotonicMs(): number {
    return Number(this.#clock.monotonicNs() / 1000n) / 1000
  }
}

/** A bucket that fails may keep the control plane waiting: then nobody else shall wait with it. */
function apart({ lane }: Turn): { alone: boolean } {
  return { alone: lane.state !== 'ok' || lane.slowUploads > 0 }
}

function requestFor(segment: Segment): UploadRequest {
  const { segmentId, flowLogIds, windowStartS, size, sha256, records } = segment
  return { segmentId, flowLogIds, windowStartS, size, sha256, records }
}

/** 0 up to but not including 1; the same for all parts and windows of a destination on this host. */
function spreadOf(segment: Segment): number {
  const text = `${segment.windowKey.slice(0, 36)}/${segment.bucket}/${segment.stem}`
  return createHash('sha256').update(text).digest().readUInt32LE(0) / 2 ** 32
}

function toldOf({ reason, message, atMs }: NonNullable<Lane['lastError']>) {
  return { reason, message, at: isoTime(atMs) }
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}
