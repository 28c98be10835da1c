import type { Readable } from 'node:stream'

/**
 * Where delivered objects are: what exploring needs of a bucket store. The control plane's stores satisfy it, whether
 * a directory or S3; so do a plain directory and a server that is asked over HTTP.
 */
export interface ObjectStore {
  /** In the order of their names, after `after`. */
  listObjects(
    bucket: string,
    listing: { prefix: string; after: string; limit: number },
  ): Promise<{ name: string; size: number; modifiedAtMs: number }[]>
  /** Undefined when there is no such object (any more). */
  readObject(bucket: string, name: string): Promise<Readable | undefined>
  /** Where the object lies as a file of this machine: it is then read in place. */
  objectPath?(bucket: string, name: string): string
}

/** A bucket, or the part of it that one flow log's prefix names ('' for all). */
export interface Place {
  bucket: string
  prefix: string
}
