import type { UploadGrant, UploadRequest } from '../model/agent-protocol.ts'
import { WeirError } from '../model/errors.ts'
import { carriedBy, findFlowLogs, recordDeliveryError } from '../store/flow-logs.ts'
import { findObject, recordDelivery, reserveObject } from '../store/objects.ts'
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

/** Lends agents the right to put one object at a time into a tenant's bucket. */
export class Uploads {
  readonly #store: Store
  readonly #buckets: BucketStore
  readonly #metrics: Metrics
  readonly #onDelivered: ((object: DeliveredObject) => void) | undefined

  constructor(dependencies: {
    store: Store
    buckets: BucketStore
    metrics: Metrics
    onDelivered: ((object: DeliveredObject) => void) | undefined
  }) {
    this.#store = dependencies.store
    this.#buckets = dependencies.buckets
    this.#metrics = dependencies.metrics
    this.#onDelivered = dependencies.onDelivered
  }

  async grant(host: string, upload: UploadRequest, origin: string): Promise<UploadGrant> {
    const flowLogs = await this.#carried(host, upload.flowLogIds)
    const { bucket, contractNumber, stem } = destinationOf(flowLogs)
    try {
      // Not whether it can be written: the upload itself will show.
      await assertBucketUsable(this.#store.db, this.#buckets, contractNumber, { bucket })
      const object = await this.#freeName({ host, contractNumber, bucket, stem, upload })
      return await this.#granted(object, origin)
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      await this.#store.change((change) => recordDeliveryError(change, upload.flowLogIds, message))
      throw error
    }
  }

  /** The agent says that the store took the object. It is believed when the object is there. */
  async acknowledge(host: string, segmentId: string): Promise<void> {
    const object = await findObject(this.#store.db, host, segmentId)
    if (object === undefined)
      throw new WeirError('WEIR_NOT_FOUND', `no upload of segment '${segmentId}' was asked for`)
    if (object.delivered_at !== null) return
    const { bucket, object_name: name } = object
    const found = await this.#buckets.statObject(bucket, name)
    if (found === undefined || !isSame(found, object)) {
      throw new WeirError(
        'WEIR_OBJECT_MISSING',
        `object '${name}' is not in bucket '${bucket}' as it was announced`,
      )
    }
    if (!(await this.#store.change((change) => recordDelivery(change, object)))) return
    this.#metrics.add('weir_delivery_objects_total')
    this.#metrics.add('weir_delivery_bytes_total', object.size)
    this.#metrics.add('weir_delivery_records_total', object.records)
    this.#onDelivered?.({
      host,
      bucket,
      objectName: name,
      windowStartS: object.window_start_s,
      records: object.records,
      bytes: object.size,
    })
  }

  /** Flow logs may be deleted by now; what they had captured is still theirs. */
  async #carried(host: string, ids: readonly string[]): Promise<FlowLogRow[]> {
    const wanted = [...new Set(ids)]
    const carried = await carriedBy(this.#store.db, host, wanted)
    if (carried.length === wanted.length) return carried
    const known = new Set((await findFlowLogs(this.#store.db, wanted)).map((it) => it.id))
    const missing = wanted.filter((id) => !carried.some((it) => it.id === id))
    const reason = missing.some((id) => known.has(id)) ? 'is not carried by' : 'is not known, nor was it of'
    throw new WeirError('WEIR_FORBIDDEN', `flow log ${missing[0]} ${reason} host ${host}`)
  }

  /** A name that neither the database nor the store has given to anything else. */
  async #freeName(
    reservation: Parameters<typeof reserveObject>[1],
  ): Promise<ObjectRow & { delivered: boolean }> {
    const { upload } = reservation
    const reserved = await reserveObject(this.#store, reservation)
    let { object } = reserved
    // Asked for the first time: if something else has that name, the store says so and the agent asks again.
    if (reserved.isNew) return { ...object, delivered: false }
    assertSameSegment(object, upload)
    for (let tried = 0; tried < NAMES_TRIED_MAX; tried++) {
      if (object.delivered_at !== null) return { ...object, delivered: true }
      const found = await this.#buckets.statObject(object.bucket, object.object_name)
      if (found === undefined) return { ...object, delivered: false }
      if (isSame(found, object)) return { ...object, delivered: true } // An earlier try had reached the store.
      object = (await reserveObject(this.#store, reservation, secondOf(object.object_name))).object
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

function secondOf(objectName: string): number {
  return Number(/-(\d+)\.log\.gz$/.exec(objectName)?.[1])
}
