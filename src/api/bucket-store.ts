import type { Readable } from 'node:stream'
import type { LifecycleRule } from '../model/lifecycle.ts'

/** What the control plane needs of an object store. `test/contract/bucket-store.ts` is its suite. */
export interface BucketStore {
  /** Undefined when there is no such bucket. Whether it can be written is asked for an object of that name, if any. */
  findBucket(bucket: string, objectName?: string): Promise<FoundBucket | undefined>
  /** What was found is asked for anew the next time. */
  forgetFound?(bucket: string): void
  /** Why this store could never hold an object of that name; undefined when it could. */
  nameFault(objectName: string): string | undefined
  statObject(bucket: string, objectName: string): Promise<ObjectStat | undefined>
  /** An upload that whoever has the URL can do, exactly so, until it expires. */
  signUpload(order: UploadOrder): Promise<{ url: string; headers: Record<string, string> }>
  /** In the order of their names, after `after`. */
  listObjects(bucket: string, listing: ObjectListing): Promise<StoredObject[]>
  readObject(bucket: string, objectName: string): Promise<Readable | undefined>
  /** True of a store that cannot refuse a second object of one name. */
  readonly overwrites?: boolean
  /** Only of a store that this process serves itself. */
  embedded?: EmbeddedBuckets
}

export interface FoundBucket {
  /** The contract that owns the bucket, where the store knows. */
  contractNumber?: number
  /** Why the technical user cannot see whose it is, where the store would say. */
  ownerFault?: string
  /** Why the technical user cannot write; undefined when it can. */
  writeFault?: string
}

export interface ObjectStat {
  size: number
  /** Undefined where the store does not keep it. */
  sha256?: string
}

export interface UploadOrder {
  bucket: string
  objectName: string
  size: number
  sha256: string
  expiresAtMs: number
  /** Where this control plane is reached, for stores that it serves itself. */
  origin: string
}

export interface ObjectListing {
  prefix: string
  after: string
  limit: number
}

export interface StoredObject {
  name: string
  size: number
  modifiedAtMs: number
}

/** Buckets that live in the control plane itself and are written through its own HTTP server. */
export interface EmbeddedBuckets {
  createBucket(bucket: string): Promise<void>
  listBuckets(): Promise<string[]>
  /** Retention, which the store enforces itself. */
  lifecycle: {
    rules(bucket: string): Promise<LifecycleRule[]>
    setRules(bucket: string, rules: readonly LifecycleRule[]): Promise<void>
  }
  /** Checks the signature before it reads the body; writes the object whole or not at all. */
  receive(upload: SignedUpload): Promise<void>
}

export interface SignedUpload {
  /** As it came: path and query below the origin. */
  url: string
  headers: Record<string, string | string[] | undefined>
  body: Readable
}
