import { createHash } from 'node:crypto'
import {
  DeleteBucketLifecycleCommand,
  GetBucketLifecycleConfigurationCommand,
  PutBucketLifecycleConfigurationCommand,
  S3Client,
  type LifecycleRule as S3Rule,
} from '@aws-sdk/client-s3'
import { WeirError } from '../../model/errors.ts'
import type { LifecycleRule } from '../../model/lifecycle.ts'
import type { S3Options } from './s3-store.ts'

const OURS = 'weir-'

/**
 * Retention in an object store: rules of the bucket's own lifecycle, set with the tenant's credentials, which alone may
 * set them. Rules that others made are kept as they are.
 */
export class S3Lifecycle {
  readonly #client: S3Client

  /** `credentials` are the tenant's. */
  constructor(options: S3Options) {
    this.#client = new S3Client({
      endpoint: options.endpoint,
      region: options.region,
      forcePathStyle: options.addressing === 'path',
      credentials: options.credentials,
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      ...(options.ca === undefined ? {} : { requestHandler: { httpsAgent: { ca: options.ca } } }),
    })
    this.#addContentMd5()
  }

  stop(): void {
    this.#client.destroy()
  }

  /** Ours and others', as far as they say when objects of a prefix go. */
  async rules(bucket: string): Promise<LifecycleRule[]> {
    const rules = (await this.#read(bucket)).flatMap((rule) => {
      const days = rule.Expiration?.Days
      const isOn = rule.Status === 'Enabled' && days !== undefined
      return isOn
        ? [{ prefix: rule.Filter?.Prefix ?? rule.Filter?.And?.Prefix ?? rule.Prefix ?? '', days }]
        : []
    })
    return rules.sort((a, b) => (a.prefix < b.prefix ? -1 : 1)) // Stores return them in any order.
  }

  async set(bucket: string, { prefix, days }: LifecycleRule): Promise<void> {
    const ID = idOf(prefix)
    const others = (await this.#read(bucket)).filter((rule) => rule.ID !== ID)
    await this.#write(bucket, [
      ...others,
      { ID, Status: 'Enabled', Filter: { Prefix: prefix }, Expiration: { Days: days } },
    ])
  }

  /** Takes away what `set` made. Returns false when there was nothing. */
  async clear(bucket: string, prefix: string): Promise<boolean> {
    const before = await this.#read(bucket)
    const others = before.filter((rule) => rule.ID !== idOf(prefix))
    if (others.length === before.length) return false
    await this.#write(bucket, others)
    return true
  }

  async #read(bucket: string): Promise<S3Rule[]> {
    try {
      const { Rules } = await this.#client.send(
        new GetBucketLifecycleConfigurationCommand({ Bucket: bucket }),
      )
      return Rules ?? []
    } catch (error) {
      if ((error as Error).name === 'NoSuchLifecycleConfiguration') return []
      throw faultOf(error, bucket)
    }
  }

  async #write(bucket: string, Rules: S3Rule[]): Promise<void> {
    try {
      // An empty configuration is not allowed.
      if (Rules.length === 0) await this.#client.send(new DeleteBucketLifecycleCommand({ Bucket: bucket }))
      else {
        const order = { Bucket: bucket, LifecycleConfiguration: { Rules } }
        await this.#client.send(new PutBucketLifecycleConfigurationCommand(order))
      }
    } catch (error) {
      throw faultOf(error, bucket)
    }
  }

  /** The newer checksums that the SDK sends are not enough for stores that are a little older. */
  #addContentMd5(): void {
    this.#client.middlewareStack.add(
      (next) => (args) => {
        const request = args.request as { method?: string; body?: unknown; headers: Record<string, string> }
        if (request.method === 'PUT' && typeof request.body === 'string') {
          request.headers['content-md5'] = createHash('md5').update(request.body).digest('base64')
        }
        return next(args)
      },
      { step: 'build', name: 'contentMd5', priority: 'low' },
    )
  }
}

function idOf(prefix: string): string {
  return `${OURS}${createHash('sha256').update(prefix).digest('hex').slice(0, 16)}`
}

function faultOf(error: unknown, bucket: string): WeirError {
  const { name } = error as Error
  const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode
  if (status === 404) return new WeirError('WEIR_BUCKET_MISSING', `bucket '${bucket}' does not exist`)
  if (status === 403) {
    return new WeirError(
      'WEIR_FORBIDDEN',
      `these keys may not read or set the lifecycle of bucket '${bucket}' (${name})`,
    )
  }
  const reason = status === undefined ? ((error as NodeJS.ErrnoException).code ?? name) : `${status} ${name}`
  return new WeirError('WEIR_STORE_UNAVAILABLE', `the lifecycle of bucket '${bucket}': ${reason}`)
}
