import http from 'node:http'
import https from 'node:https'
import { Readable } from 'node:stream'
import {
  GetBucketAclCommand,
  GetObjectCommand,
  HeadBucketCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { WeirError } from '../../model/errors.ts'
import { type Clock, systemClock } from '../../stdx/clock.ts'
import { encodePath, NO_BODY, signRequest } from './sign-request.ts'

export interface S3Options {
  /** Such as `https://s3.example.org`. */
  endpoint: string
  region: string
  /** Where the bucket's name stands: in the path, or before the host. */
  addressing: 'path' | 'virtual-host'
  /** The technical user's. */
  credentials: { accessKeyId: string; secretAccessKey: string }
  /** PEM of the authorities to trust beside the usual ones. */
  ca?: string
  /** False for a store that does not know `If-None-Match` on PUT. */
  conditionalWrites?: boolean
  requestTimeoutMs?: number
}

/** How long stores accept a signed request after its date. All known ones: 15 minutes. */
const SIGNATURE_MS = 15 * 60_000
/** A finding of `findBucket` is believed this long: good ones longer than faults, which somebody may be curing. */
const FOUND_MS = 30_000
const FAULT_MS = 2_000
const FOUND_MAX = 10_000
const CONNECTIONS_MAX = 64
const REQUEST_MS_MAX = 10_000
const NAME_SIZE_MAX = 1024
const DIGEST_KEY = 'weir-sha256'
/** MD5 of nothing: never that of the probe's one byte. */
const WRONG_MD5 = '1B2M2Y8AsgTpgAmY7PhCfg=='

interface Found {
  contractNumber?: number
  ownerFault?: string
  writeFault?: string
}

/**
 * Buckets of tenants in an S3-compatible store, which let the technical user write. Objects belong to the technical
 * user, and the bucket's owner has full control. The secret never leaves this class: not in URLs, logs or errors.
 */
export class S3Store {
  readonly overwrites: boolean
  readonly #options: S3Options
  readonly #clock: Clock
  readonly #client: S3Client
  readonly #agent: http.Agent
  readonly #found = new Map<string, { expiresAtMs: number; found: Promise<Found | undefined> }>()
  #technicalUser: Promise<string | undefined> | undefined

  constructor(options: S3Options, dependencies: { clock?: Clock } = {}) {
    this.overwrites = options.conditionalWrites === false
    this.#options = options
    this.#clock = dependencies.clock ?? systemClock
    const ca = options.ca === undefined ? {} : { ca: options.ca }
    const { Agent } = new URL(options.endpoint).protocol === 'https:' ? https : http
    this.#agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS_MAX, timeout: 15_000, ...ca })
    this.#client = new S3Client({
      endpoint: options.endpoint,
      region: options.region,
      forcePathStyle: options.addressing === 'path',
      credentials: options.credentials,
      // Others than AWS do not know the newer checksums, and refuse streams that carry them.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      maxAttempts: 2,
      requestHandler: {
        connectionTimeout: 3_000,
        requestTimeout: options.requestTimeoutMs ?? REQUEST_MS_MAX,
        throwOnRequestTimeout: true,
        httpAgent: { maxSockets: CONNECTIONS_MAX },
        httpsAgent: { maxSockets: CONNECTIONS_MAX, ...ca },
      },
    })
  }

  stop(): void {
    this.#client.destroy()
    this.#agent.destroy()
  }

  /**
   * Whether the technical user can write is tried for `objectName` only, since permission may be limited to a prefix;
   * and without writing: the store is sent a body that does not match its MD5, and looks at the permission first.
   */
  async findBucket(bucket: string, objectName?: string): Promise<Found | undefined> {
    const found = await this.#remembered(bucket, () => this.#look(bucket))
    if (found === undefined || objectName === undefined) return found
    const tried = await this.#remembered(`${bucket}/${objectName}`, async () => {
      const writeFault = await this.#writeFault(bucket, objectName)
      return writeFault === undefined ? {} : { writeFault }
    })
    return { ...found, ...tried }
  }

  forgetFound(bucket: string): void {
    for (const key of this.#found.keys()) if (key.split('/', 1)[0] === bucket) this.#found.delete(key)
  }

  #remembered(key: string, look: () => Promise<Found | undefined>): Promise<Found | undefined> {
    const nowMs = this.#clock.nowMs()
    const known = this.#found.get(key)
    if (known !== undefined && known.expiresAtMs > nowMs) return known.found
    const found = look()
    const entry = { expiresAtMs: nowMs + FAULT_MS, found }
    if (this.#found.size >= FOUND_MAX) this.#found.clear()
    this.#found.set(key, entry)
    found.then(
      (it) => {
        if (it !== undefined && it.writeFault === undefined && it.ownerFault === undefined)
          entry.expiresAtMs = nowMs + FOUND_MS
      },
      () => this.#found.delete(key),
    )
    return found
  }

  nameFault(objectName: string): string | undefined {
    const size = Buffer.byteLength(objectName)
    return size > NAME_SIZE_MAX ? `the name is longer than ${NAME_SIZE_MAX} bytes` : undefined
  }

  /** Without the SDK, whose requests take four times as much of a core: there is one for each object. */
  async statObject(
    bucket: string,
    objectName: string,
  ): Promise<{ size: number; sha256?: string } | undefined> {
    const { status, headers } = await this.#head(bucket, objectName)
    // Who may not list a bucket is told 403 for an object that is not there; what it wrote itself it may read.
    if (status === 404 || status === 403) return undefined
    if (status !== 200) {
      throw new WeirError(
        'WEIR_STORE_UNAVAILABLE',
        `looking at an object of bucket '${bucket}' failed: ${status}`,
      )
    }
    const sha256 = headers[`x-amz-meta-${DIGEST_KEY}`]
    const size = Number(headers['content-length'])
    return { size, ...(typeof sha256 === 'string' ? { sha256 } : {}) }
  }

  async signUpload(order: {
    bucket: string
    objectName: string
    size: number
    sha256: string
    expiresAtMs: number
  }): Promise<{ url: string; headers: Record<string, string> }> {
    const { region, credentials, conditionalWrites = true } = this.#options
    const { bucket, objectName, size, sha256 } = order
    const url = this.#urlOf(bucket, objectName)
    const headers = signRequest({
      method: 'PUT',
      url,
      region,
      credentials,
      sha256,
      headers: {
        'content-length': `${size}`,
        'content-type': 'application/gzip',
        'x-amz-acl': 'bucket-owner-full-control',
        [`x-amz-meta-${DIGEST_KEY}`]: sha256,
        ...(conditionalWrites ? { 'if-none-match': '*' } : {}),
      },
      // A signature ages from its date, so one that shall end sooner is dated back; none lives longer than this.
      signedAtMs: Math.min(order.expiresAtMs - SIGNATURE_MS, this.#clock.nowMs()),
    })
    return { url: url.href, headers }
  }

  async listObjects(
    bucket: string,
    listing: { prefix: string; after: string; limit: number },
  ): Promise<{ name: string; size: number; modifiedAtMs: number }[]> {
    try {
      const listed = await this.#client.send(
        new ListObjectsV2Command({
          Bucket: bucket,
          Prefix: listing.prefix,
          ...(listing.after === '' ? {} : { StartAfter: listing.after }),
          MaxKeys: listing.limit,
        }),
      )
      return (listed.Contents ?? []).map(({ Key = '', Size = 0, LastModified }) => ({
        name: Key,
        size: Size,
        modifiedAtMs: LastModified?.getTime() ?? 0,
      }))
    } catch (error) {
      if (statusOf(error) === 404) return []
      if (statusOf(error) === 403) {
        throw new WeirError('WEIR_FORBIDDEN', `the technical user may not list bucket '${bucket}'`, {
          cause: error,
        })
      }
      throw unavailable(error, `listing bucket '${bucket}'`)
    }
  }

  async readObject(bucket: string, objectName: string): Promise<Readable | undefined> {
    try {
      const { Body } = await this.#client.send(new GetObjectCommand({ Bucket: bucket, Key: objectName }))
      return Body instanceof Readable ? Body : undefined
    } catch (error) {
      if (statusOf(error) === 404 || statusOf(error) === 403) return undefined
      throw unavailable(error, `reading an object of bucket '${bucket}'`)
    }
  }

  /** The canonical id that a tenant lets into a bucket; undefined where the store does not tell. */
  technicalUser(): Promise<string | undefined> {
    this.#technicalUser ??= this.#client.send(new ListBucketsCommand({})).then(
      ({ Owner }) => Owner?.ID,
      (error: unknown) => {
        this.#technicalUser = undefined
        throw unavailable(error, 'asking the store who the technical user is')
      },
    )
    return this.#technicalUser
  }

  async #look(bucket: string): Promise<Found | undefined> {
    const owner = await this.#ownerOf(bucket)
    if (owner === 'missing') return undefined
    const contract = /^(\d{1,15})\|/.exec(owner.id ?? '')?.[1]
    return {
      ...(contract === undefined ? {} : { contractNumber: Number(contract) }),
      ...(owner.fault === undefined ? {} : { ownerFault: owner.fault }),
    }
  }

  /** Canonical ids are `<contract>|<user>`; an operator registers buckets of owners with others. */
  async #ownerOf(bucket: string): Promise<{ id?: string | undefined; fault?: string } | 'missing'> {
    let owner: { fault?: string } = {}
    try {
      const { Owner } = await this.#client.send(new GetBucketAclCommand({ Bucket: bucket }))
      return { id: Owner?.ID }
    } catch (error) {
      if (statusOf(error) === 404) return 'missing'
      if (isAboutBucket(error)) owner = { fault: (error as Error).name }
      else if (!isUnknown(error)) throw unavailable(error, `asking for the owner of bucket '${bucket}'`)
    }
    try {
      await this.#client.send(new HeadBucketCommand({ Bucket: bucket }))
    } catch (error) {
      if (statusOf(error) === 404) return 'missing'
      if (statusOf(error) !== 403) throw unavailable(error, `looking for bucket '${bucket}'`)
    }
    return owner
  }

  async #writeFault(bucket: string, objectName: string): Promise<string | undefined> {
    const { conditionalWrites = true } = this.#options
    try {
      await this.#client.send(
        new PutObjectCommand({
          Bucket: bucket,
          Key: objectName,
          Body: Buffer.from('x'),
          ContentMD5: WRONG_MD5,
          ACL: 'bucket-owner-full-control',
          ...(conditionalWrites ? { IfNoneMatch: '*' } : {}),
        }),
      )
      return undefined // A store that does not look at MD5s: it has let us write.
    } catch (error) {
      const { name } = error as Error
      if (name === 'BadDigest' || name === 'InvalidDigest' || statusOf(error) === 412) return undefined
      if (name === 'NoSuchBucket') return 'it is gone (NoSuchBucket)'
      if (name === 'QuotaExceeded') return 'its quota is used up (QuotaExceeded)'
      if (isAboutBucket(error)) return `the technical user may not write (${name})`
      throw unavailable(error, `trying bucket '${bucket}'`)
    }
  }

  async #head(
    bucket: string,
    objectName: string,
  ): Promise<{ status: number; headers: http.IncomingHttpHeaders }> {
    const { region, credentials, requestTimeoutMs = REQUEST_MS_MAX } = this.#options
    const url = this.#urlOf(bucket, objectName)
    const signedAtMs = this.#clock.nowMs()
    const headers = signRequest({
      method: 'HEAD',
      url,
      region,
      credentials,
      sha256: NO_BODY,
      headers: {},
      signedAtMs,
    })
    for (let attempt = 1; ; attempt++) {
      try {
        return await headOf(url, { headers, agent: this.#agent }, requestTimeoutMs)
      } catch (error) {
        // Often just a kept connection that the store had closed.
        if (attempt === 2) throw unavailable(error, `looking at an object of bucket '${bucket}'`)
      }
    }
  }

  #urlOf(bucket: string, objectName: string): URL {
    const url = new URL(this.#options.endpoint)
    const base = url.pathname.replace(/\/+$/, '')
    if (this.#options.addressing === 'path') url.pathname = `${base}/${bucket}/${encodePath(objectName)}`
    else {
      url.hostname = `${bucket}.${url.hostname}`
      url.pathname = `${base}/${encodePath(objectName)}`
    }
    return url
  }
}

function headOf(
  url: URL,
  options: http.RequestOptions,
  timeoutMs: number,
): Promise<{ status: number; headers: http.IncomingHttpHeaders }> {
  const { promise, resolve, reject } = Promise.withResolvers<{
    status: number
    headers: http.IncomingHttpHeaders
  }>()
  const request = (url.protocol === 'https:' ? https : http).request(
    url,
    { ...options, method: 'HEAD' },
    (answer) => {
      answer.resume()
      resolve({ status: answer.statusCode ?? 0, headers: answer.headers })
    },
  )
  const timer = setTimeout(() => request.destroy(new Error(`no answer after ${timeoutMs} ms`)), timeoutMs)
  request.on('error', reject)
  request.end()
  return promise.finally(() => clearTimeout(timer))
}

function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode
}

/** A refusal that another bucket might not meet; keys and clocks are wrong for all. */
function isAboutBucket(error: unknown): boolean {
  return statusOf(error) === 403 && !isAboutUs(error)
}

function isAboutUs(error: unknown): boolean {
  const codes = ['InvalidAccessKeyId', 'SignatureDoesNotMatch', 'RequestTimeTooSkewed', 'UserSuspended']
  return codes.includes((error as Error).name)
}

/** A store without ACLs. */
function isUnknown(error: unknown): boolean {
  const { name } = error as Error
  return (
    statusOf(error) === 501 ||
    ['NotImplemented', 'MethodNotAllowed', 'AccessControlListNotSupported'].includes(name)
  )
}

/** Names the store's code and nothing else: its messages may quote keys. */
function unavailable(error: unknown, doing: string): WeirError {
  const { name } = error as Error
  if (isAboutUs(error)) {
    const message = `the object store does not let the technical user in (${name}): the operator has to cure that`
    return new WeirError('WEIR_STORE_REFUSED', message)
  }
  const { code } = error as NodeJS.ErrnoException
  const status = statusOf(error)
  const reason = status === undefined ? (code ?? name) : `${status} ${name}`
  return new WeirError('WEIR_STORE_UNAVAILABLE', `${doing} failed: ${reason}`)
}
