import { randomInt } from 'node:crypto'
import type { UploadGrant, UploadRequest } from '../model/agent-protocol.ts'
import { WeirError } from '../model/errors.ts'
import { claimAgain } from '../store/claims.ts'
import { carriedBy, findFlowLogs, recordDeliveryErrors } from '../store/flow-logs.ts'
import {
  findObjects,
  type Reservation,
  recordDeliveries,
  renameObject,
  reserveObjects,
} from '../store/objects.ts'
import type { FlowLogRow, ObjectRow } from '../store/schema.ts'
import type { Store } from '../store/store.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { BucketStore } from './bucket-store.ts'
import { assertBucketUsable } from './destinations.ts'

/** One object that has arrived in its bucket. */
export interface DeliveredObject {
  host: string
  bucket: string
  objectName: string
  windowStartS: number
  records: number
  bytes: number
}

const GRANT_MS = 15 * 60_000
const NAMES_TRIED_MAX = 100
/** How long one request waits for the store. A bucket that does not answer must not hold up the others for longer. */
const STORE_MS_MAX = 2_000
/** Objects that are looked for when many are acknowledged: a store or an agent that is wrong is wrong again and again. */
const LOOKED_FOR_MAX = 2

/** Lends agents the right to put objects, each with its own signature, into the buckets of tenants. */
export class Uploads {
  readonly #store: Store
  readonly #buckets: BucketStore
  readonly #metrics: Metrics
  readonly #onDelivered: ((object: DeliveredObject) => void) | undefined
  readonly #offered: boolean

  constructor(
    options: { offered: boolean },
    dependencies: {
      store: Store
      buckets: BucketStore
      metrics: Metrics
      onDelivered: ((object: DeliveredObject) => void) | undefined
    },
  ) {
    this.#offered = options.offered
    this.#store = dependencies.store
    this.#buckets = dependencies.buckets
    this.#metrics = dependencies.metrics
    this.#onDelivered = dependencies.onDelivered
  }

  /** Each segment has its own answer. What is about all of them, such as a database that is away, is thrown. */
  async grant(
    host: string,
    uploads: readonly UploadRequest[],
    origin: string,
  ): Promise<PromiseSettledResult<UploadGrant>[]> {
    const ids = [...new Set(uploads.flatMap((it) => it.flowLogIds))]
    const carried = await this.#carriedBy(host, ids)
    const usable = new Map<string, Promise<void>>()
    const wanted = await Promise.allSettled(
      uploads.map((upload) => this.#reservationOf(host, upload, carried, usable)),
    )
    const reservations = wanted.flatMap((it) => (it.status === 'fulfilled' ? [it.value] : []))
    const reserved = await this.#store.change((change) => reserveObjects(change, host, reservations))
    const grants = await Promise.allSettled(
      wanted.map(async (it) => {
        if (it.status === 'rejected') throw it.reason
        const { object, isNew } = reserved.get(it.value.upload.segmentId)!
        return this.#granted(await this.#named(object, isNew, it.value), origin)
      }),
    )
    await this.#noteFaults(uploads, grants, carried)
    return grants
  }

  /** The agent says that the store took these. A few are looked for; if one of them is missing, all of them are. */
  async acknowledge(host: string, segmentIds: readonly string[]): Promise<PromiseSettledResult<void>[]> {
    const found = await findObjects(this.#store.db, host, segmentIds)
    const objects = new Map(found.map((it) => [it.segment_id, it]))
    const faults = await this.#faultsOf(found.filter((it) => it.delivered_at === null))
    const arrived = found.filter((it) => it.delivered_at === null && !faults.has(it.segment_id))
    if (arrived.length > 0) {
      const delivered = await this.#store.change((change) => recordDeliveries(change, arrived))
      for (const object of delivered) this.#tell(object)
    }
    return Promise.allSettled(
      segmentIds.map(async (segmentId) => {
        if (faults.has(segmentId)) throw faults.get(segmentId)
        if (objects.has(segmentId)) return
        throw new WeirError('WEIR_NOT_FOUND', `no upload of segment '${segmentId}' was asked for`)
      }),
    )
  }

  async #carriedBy(host: string, ids: readonly string[]): Promise<Map<string, FlowLogRow>> {
    const { db } = this.#store
    const rows = await carriedBy(db, host, ids)
    const known = new Set(rows.map(({ id }) => id))
    const missing = ids.filter((id) => !known.has(id))
    if (this.#offered && missing.length > 0 && (await claimAgain(this.#store, host, missing))) {
      rows.push(...(await carriedBy(db, host, missing)))
    }
    return new Map(rows.map((it) => [it.id, it]))
  }

  /** Flow logs may be deleted by now; what they had captured is still theirs. */
  async #reservationOf(
    host: string,
    upload: UploadRequest,
    carried: ReadonlyMap<string, FlowLogRow>,
    usable: Map<string, Promise<void>>,
  ): Promise<Reservation> {
    const missing = upload.flowLogIds.filter((id) => !carried.has(id))
    if (missing.length > 0) {
      const isKnown = (await findFlowLogs(this.#store.db, missing.slice(0, 1))).length > 0
      const reason = isKnown ? 'is not carried by' : 'is not known, nor was it of'
      throw new WeirError('WEIR_FORBIDDEN', `flow log ${missing[0]} ${reason} host ${host}`)
    }
    const { bucket, contractNumber, stem } = destinationOf(upload.flowLogIds.map((id) => carried.get(id)!))
    const key = `${contractNumber}/${bucket}`
    // Not whether it can be written: the upload itself will show.
    const check =
      usable.get(key) ??
      inTime(bucket, assertBucketUsable(this.#store.db, this.#buckets, contractNumber, { bucket }))
    usable.set(key, check)
    await check
    return { contractNumber, bucket, stem, upload }
  }

  /** A name that neither the database nor the store has given to anything else. */
  async #named(
    reserved: ObjectRow,
    isNew: boolean,
    { upload, stem }: Reservation,
  ): Promise<ObjectRow & { delivered: boolean }> {
    // Asked for the first time: if something else has that name, the store says so and the agent asks again.
    if (isNew && this.#buckets.overwrites !== true) return { ...reserved, delivered: false }
    assertSameSegment(reserved, upload)
    let object = reserved
    for (let tried = 0; tried < NAMES_TRIED_MAX; tried++) {
      if (object.delivered_at !== null) return { ...object, delivered: true }
      const found = await this.#stat(object)
      if (found === undefined) return { ...object, delivered: false }
      if (isSame(found, object)) return { ...object, delivered: true } // An earlier try had reached the store.
      object = await renameObject(this.#store, object, stem)
    }
    throw new WeirError('WEIR_UPLOAD_FAILED', `no free name for segment '${upload.segmentId}' was found`)
  }

  async #granted(object: ObjectRow & { delivered: boolean }, origin: string): Promise<UploadGrant> {
    const { bucket, object_name: objectName, size, sha256, delivered } = object
    const expiresAtMs = this.#store.clock.nowMs() + GRANT_MS
    const order = { bucket, objectName, size, sha256, expiresAtMs, origin }
    const { url, headers } = await this.#buckets.signUpload(order)
    return { bucket, objectName, delivered, url, headers, expiresAt: new Date(expiresAtMs).toISOString() }
  }

  /** For the delivery status of flow logs that this host carries: it has no say in that of others. */
  async #noteFaults(
    uploads: readonly UploadRequest[],
    grants: readonly PromiseSettledResult<UploadGrant>[],
    carried: ReadonlyMap<string, FlowLogRow>,
  ): Promise<void> {
    const faults = uploads.flatMap(({ flowLogIds }, i) => {
      const grant = grants[i]!
      if (grant.status === 'fulfilled') return []
      const message = grant.reason instanceof Error ? grant.reason.message : String(grant.reason)
      return [{ message, flowLogIds: flowLogIds.filter((id) => carried.has(id)) }]
    })
    if (faults.length > 0) await this.#store.change((change) => recordDeliveryErrors(change, faults))
  }

  /** By segment. */
  async #faultsOf(objects: readonly ObjectRow[]): Promise<Map<string, unknown>> {
    const faults = new Map<string, unknown>()
    const lookFor = (some: readonly ObjectRow[]) =>
      Promise.all(
        some.map(async (object) => {
          const fault = await this.#assertThere(object).catch((error: unknown) => error)
          if (fault !== undefined) faults.set(object.segment_id, fault)
        }),
      )
    const sample = sampleOf(objects, LOOKED_FOR_MAX)
    await lookFor(sample)
    if (faults.size > 0) await lookFor(objects.filter((it) => !sample.includes(it)))
    return faults
  }

  async #assertThere(object: ObjectRow): Promise<void> {
    const found = await this.#stat(object)
    if (found !== undefined && isSame(found, object)) return
    const { bucket, object_name: name } = object
    const message = `object '${name}' is not in bucket '${bucket}' as it was announced`
    throw new WeirError('WEIR_OBJECT_MISSING', message)
  }

  #stat({ bucket, object_name: name }: ObjectRow): ReturnType<BucketStore['statObject']> {
    return inTime(bucket, this.#buckets.statObject(bucket, name))
  }

  #tell(object: ObjectRow): void {
    const { host, bucket, size, records } = object
    this.#metrics.add('weir_delivery_objects_total')
    this.#metrics.add('weir_delivery_bytes_total', size)
    this.#metrics.add('weir_delivery_records_total', records)
    const { object_name: objectName, window_start_s: windowStartS } = object
    this.#onDelivered?.({ host, bucket, objectName, windowStartS, records, bytes: size })
  }
}

/** What comes later is not waited for, but it is not in vain either: a bucket's check is remembered. */
async function inTime<T>(bucket: string, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const message = `the store of bucket '${bucket}' has not answered after ${STORE_MS_MAX} ms`
    timer = setTimeout(() => reject(new WeirError('WEIR_STORE_UNAVAILABLE', message)), STORE_MS_MAX)
  })
  return Promise.race([answer, late]).finally(() => clearTimeout(timer))
}

/** So many of them, at random. */
function sampleOf<T>(all: readonly T[], count: number): T[] {
  const left = [...all]
  const sample: T[] = []
  while (sample.length < count && left.length > 0) sample.push(...left.splice(randomInt(left.length), 1))
  return sample
}

/** All flow logs of a segment have one destination: bucket and prefix, or bucket and interface. */
function destinationOf(flowLogs: FlowLogRow[]): { bucket: string; contractNumber: number; stem: string } {
  const stems = new Map(
    flowLogs.map((it) => [JSON.stringify([it.contract_number, it.bucket, stemOf(it)]), it]),
  )
  const [first] = stems.values()
  if (first === undefined || stems.size > 1) {
    throw new WeirError('WEIR_INVALID', 'the flow logs of a segment must have one bucket and prefix')
  }
  return { bucket: first.bucket, contractNumber: first.contract_number, stem: stemOf(first) }
}

function stemOf(it: FlowLogRow): string {
  return it.prefix === '' ? it.interface_id : it.prefix
}

function assertSameSegment(object: ObjectRow, upload: UploadRequest): void {
  if (object.sha256 === upload.sha256 && object.size === upload.size) return
  throw new WeirError('WEIR_INVALID', `segment '${upload.segmentId}' was announced with other content before`)
}

function isSame(found: { size: number; sha256?: string }, object: ObjectRow): boolean {
  return found.size === object.size && (found.sha256 === undefined || found.sha256 === object.sha256)
}
