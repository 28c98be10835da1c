import { readFileSync } from 'node:fs'
import { CreateBucketCommand, type Permission, PutBucketAclCommand, S3Client } from '@aws-sdk/client-s3'
import { S3Store } from '../../src/buckets/s3/s3-store.ts'
import { systemClock } from '../../src/stdx/clock.ts'
import type { Certificate } from './certificate.ts'
import { Radosgw, type S3User } from './radosgw.ts'

export const TECHNICAL_USER = '31721881|65b95d54-8b1b-459c-9d46-364296d9beaf'

/** What a tenant gives the technical user: to write, and to let it see whose bucket it is. */
export const GRANT: Permission[] = ['WRITE', 'READ_ACP']

/** Where buckets' names stand in this process: `test/contract/virtual-host.test.ts` runs suites with the other way. */
const ADDRESSING = process.env['WEIR_TEST_S3_DNS_NAME'] === undefined ? 'path' : 'virtual-host'

/** A radosgw with the technical user and tenants. */
export class S3World implements AsyncDisposable {
  readonly ceph: Radosgw
  readonly technicalUser: S3User
  #buckets = 0

  /** What its clients have to trust, when it speaks TLS. */
  readonly ca: Buffer | undefined

  private constructor(ceph: Radosgw, ca: Buffer | undefined) {
    this.ceph = ceph
    this.ca = ca
    this.technicalUser = ceph.createUser(TECHNICAL_USER)
  }

  static async start(options: { lifecycleDayS?: number; tls?: Certificate } = {}): Promise<S3World> {
    const dnsName = process.env['WEIR_TEST_S3_DNS_NAME']
    const ceph = await Radosgw.start({ ...options, ...(dnsName === undefined ? {} : { dnsName }) })
    return new S3World(ceph, options.tls && readFileSync(options.tls.certFile))
  }

  /** Through `endpoint`, where a proxy may stand. */
  store(
    endpoint = this.ceph.endpoint,
    credentials = this.technicalUser,
    { clock = systemClock, conditionalWrites = true, requestTimeoutMs = 10_000 } = {},
  ): S3Store {
    const options = {
      endpoint,
      region: 'us-east-1',
      addressing: ADDRESSING,
      credentials,
      conditionalWrites,
      requestTimeoutMs,
    } as const
    return new S3Store(options, { clock })
  }

  /** The options of commands that speak to this store. */
  get options(): string[] {
    return ['--s3-endpoint', this.ceph.endpoint, '--s3-addressing', ADDRESSING]
  }

  tenant(contractNumber: number): Tenant {
    return new Tenant(this, this.ceph.createUser(`${contractNumber}|${crypto.randomUUID()}`))
  }

  newBucketName(): string {
    return `logs-${++this.#buckets}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.ceph[Symbol.asyncDispose]()
  }
}

export class Tenant implements Disposable {
  readonly user: S3User
  readonly client: S3Client
  readonly #world: S3World

  constructor(world: S3World, user: S3User) {
    this.#world = world
    this.user = user
    this.client = new S3Client({
      endpoint: world.ceph.endpoint,
      region: 'us-east-1',
      forcePathStyle: ADDRESSING === 'path',
      credentials: user,
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      ...(world.ca === undefined ? {} : { requestHandler: { httpsAgent: { ca: world.ca } } }),
    })
  }

  async createBucket(permissions: readonly Permission[] = GRANT): Promise<string> {
    const bucket = this.#world.newBucketName()
    await this.client.send(new CreateBucketCommand({ Bucket: bucket }))
    await this.grant(bucket, permissions)
    return bucket
  }

  /** Exactly these, to the technical user; none removes it from the bucket. */
  async grant(bucket: string, permissions: readonly Permission[]): Promise<void> {
    const technicalUser = { Type: 'CanonicalUser', ID: this.#world.technicalUser.uid } as const
    const owner = { Type: 'CanonicalUser', ID: this.user.uid } as const
    const Grants = [
      { Grantee: owner, Permission: 'FULL_CONTROL' as const }, // Without it the owner is locked out.
      ...permissions.map((permission) => ({ Grantee: technicalUser, Permission: permission })),
    ]
    const AccessControlPolicy = { Owner: { ID: this.user.uid }, Grants }
    await this.client.send(new PutBucketAclCommand({ Bucket: bucket, AccessControlPolicy }))
  }

  [Symbol.dispose](): void {
    this.client.destroy()
  }
}
