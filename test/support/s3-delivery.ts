import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { GetObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3'
import type { FastifyInstance } from 'fastify'
import { createApp } from '../../src/api/app.ts'
import { type Bootstrapped, bootstrap } from '../../src/api/bootstrap.ts'
import type { S3Store } from '../../src/buckets/s3/s3-store.ts'
import { ControlPlaneClient } from '../../src/deliver/control-plane-client.ts'
import { Deliverer, type DelivererOptions, type Delivery } from '../../src/deliver/deliverer.ts'
import { AGENT_PROTOCOL_VERSION } from '../../src/model/agent-protocol.ts'
import { Spool } from '../../src/spool/spool.ts'
import { WindowWriter } from '../../src/spool/window-writer.ts'
import { systemClock } from '../../src/stdx/clock.ts'
import { openStore, type Store } from '../../src/store/store.ts'
import { eventually } from './eventually.ts'
import type { S3World, Tenant } from './s3-world.ts'
import { silentLog } from './spool-world.ts'
import { TcpProxy } from './tcp-proxy.ts'

const QUICK: DelivererOptions = {
  spreadMs: 0,
  retryDelayMsMin: 10,
  retryDelayMsMax: 200,
  refusedDelayMsMin: 100,
  refusedDelayMsMax: 300,
  slowMs: 300,
  idleMsMax: 1_500,
}

export interface FlowLogTarget {
  flowLogId: string
  bucket: string
  prefix: string
}

interface Parts extends Prepared {
  world: S3World
  storeProxy: TcpProxy
  controlProxy: TcpProxy
  storeOptions: { requestTimeoutMs?: number }
}

/** A database with its NICs and the tenant they belong to: making them takes longer than a schedule of faults. */
export interface Prepared {
  directory: string
  owner: Bootstrapped
  tenant: Tenant
}

/** An agent's spool and deliverer, a real control plane with its database on disk, and radosgw: behind proxies. */
export class S3Delivery implements AsyncDisposable {
  readonly owner: Bootstrapped
  readonly tenant: Tenant
  readonly storeProxy: TcpProxy
  readonly controlProxy: TcpProxy
  readonly targets: FlowLogTarget[] = []
  readonly deliveries: Delivery[] = []
  spool!: Spool
  deliverer!: Deliverer
  linesMade = 0
  /** From the next start of the control plane. */
  conditionalWrites = true
  /** How far the control plane's clock is wrong. */
  skewMs = 0
  readonly #directory: string
  readonly #world: S3World
  readonly #storeOptions: Parts['storeOptions']
  #client: ControlPlaneClient | undefined
  #app: FastifyInstance | undefined
  #store: Store | undefined
  #buckets: S3Store | undefined
  #origin = ''

  private constructor(parts: Parts) {
    this.owner = parts.owner
    this.storeProxy = parts.storeProxy
    this.controlProxy = parts.controlProxy
    this.#directory = parts.directory
    this.#world = parts.world
    this.#storeOptions = parts.storeOptions
    this.tenant = parts.tenant
  }

  static async prepare(world: S3World, options: { nics: number }): Promise<Prepared> {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weir-s3-delivery-'))
    const store = await openStore({ sqlitePath: path.join(directory, 'weir.db') })
    const interfaces = Array.from({ length: options.nics }, (_, i) => ({ device: `eth${i}` }))
    const owner = await bootstrap({ hostname: 'host-1', interfaces }, { store, buckets: world.store() })
    await store.close()
    return { directory, owner, tenant: world.tenant(owner.contractNumber) }
  }

  static async start(world: S3World, options: { nics: number }): Promise<S3Delivery> {
    return S3Delivery.#startIn(world, await S3Delivery.prepare(world, options))
  }

  /** With a copy of the database; the tenant is shared. Its control plane soon gives up on black holes. */
  static startCopy(world: S3World, prepared: Prepared): Promise<S3Delivery> {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weir-s3-delivery-'))
    fs.copyFileSync(path.join(prepared.directory, 'weir.db'), path.join(directory, 'weir.db'))
    return S3Delivery.#startIn(world, { ...prepared, directory }, { requestTimeoutMs: 700 })
  }

  static async #startIn(
    world: S3World,
    prepared: Prepared,
    storeOptions: { requestTimeoutMs?: number } = {},
  ): Promise<S3Delivery> {
    const storeProxy = new TcpProxy({ host: '127.0.0.1', port: world.ceph.port })
    await storeProxy.start()
    const controlProxy = new TcpProxy()
    await controlProxy.start()
    const delivery = new S3Delivery({ ...prepared, world, storeProxy, controlProxy, storeOptions })
    await delivery.startControlPlane()
    return delivery
  }

  /** Another one after each start of the control plane; the proxy before it keeps its own. */
  get origin(): string {
    return this.#origin
  }

  /** Lets another host in; returns its agent's token. */
  async enrol(host: string): Promise<string> {
    const post = async (target: string, body: object): Promise<Record<string, string>> => {
      const headers = { authorization: `Bearer ${this.owner.token}`, 'content-type': 'application/json' }
      const answer = await fetch(this.origin + target, {
        method: 'POST',
        headers,
        body: JSON.stringify(body),
      })
      return (await answer.json()) as Record<string, string>
    }
    const { code } = await post('/weir/v1/enrolments', { host })
    return (await post('/agent/v1/enroll', { code }))['token']!
  }

  async startControlPlane(): Promise<void> {
    const clock = { ...systemClock, nowMs: () => systemClock.nowMs() + this.skewMs }
    this.#store = await openStore({ sqlitePath: path.join(this.#directory, 'weir.db') }, { clock })
    const options = { ...this.#storeOptions, clock, conditionalWrites: this.conditionalWrites }
    const endpoint = `http://127.0.0.1:${this.storeProxy.port}`
    this.#buckets = this.#world.store(endpoint, undefined, options)
    this.#app = await createApp(
      { windowSizeS: 60, attachGraceMs: 10 },
      { store: this.#store, buckets: this.#buckets },
    )
    this.#origin = await this.#app.listen({ host: '127.0.0.1', port: 0 })
    this.controlProxy.target = { host: '127.0.0.1', port: Number(new URL(this.#origin).port) }
  }

  async stopControlPlane(): Promise<void> {
    this.controlProxy.target = undefined
    await this.#app?.close()
    await this.#store?.close()
    this.#buckets?.stop()
  }

  async createFlowLog(nic: number, bucket: string): Promise<{ status: number; message: string; id: string }> {
    const response = await fetch(`${this.origin}/cloudapi/v6${this.owner.nics[nic]!.path}/flowlogs`, {
      method: 'POST',
      headers: { authorization: `Bearer ${this.owner.token}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        properties: { name: 'a', action: 'ALL', direction: 'BIDIRECTIONAL', bucket },
      }),
    })
    const body = (await response.json()) as { id?: string; messages?: { message: string }[] }
    const [name = '', prefix = ''] = bucket.split('/')
    if (body.id !== undefined) this.targets.push({ flowLogId: body.id, bucket: name, prefix })
    return { status: response.status, message: body.messages?.[0]?.message ?? '', id: body.id ?? '' }
  }

  startAgent(options: DelivererOptions & { requestTimeoutMs?: number } = {}): void {
    const { requestTimeoutMs = 1_500, ...rest } = options
    this.spool = new Spool(
      { directory: path.join(this.#directory, 'spool'), bytesMax: 1e12, ageMsMax: 1e15 },
      { clock: systemClock, log: silentLog },
    )
    this.spool.start()
    const serverUrl = `http://127.0.0.1:${this.controlProxy.port}`
    this.#client = new ControlPlaneClient({
      serverUrl,
      agentToken: this.owner.agentToken,
      requestTimeoutMs,
    })
    this.deliverer = new Deliverer(
      { ...QUICK, ...rest },
      {
        spool: this.spool,
        api: this.#client,
        clock: systemClock,
        log: silentLog,
        onDelivered: (delivery) => this.deliveries.push(delivery),
      },
    )
    this.deliverer.start()
  }

  async stopAgent(): Promise<void> {
    await this.deliverer?.stop()
    this.#client?.stop()
    this.spool?.stop()
  }

  async addWindow(
    index: number,
    options: { linesEach?: number; segmentSizeMax?: number } = {},
  ): Promise<void> {
    const writer = new WindowWriter({
      directory: this.spool.directory,
      segmentSizeMax: options.segmentSizeMax ?? 1 << 26,
    })
    writer.begin({ windowKey: `boot-${index}`, windowStartS: index * 60, windowSizeS: 60 })
    for (const { flowLogId, bucket, prefix } of this.targets) {
      for (let i = 0; i < (options.linesEach ?? 1); i++) {
        const line = gzipSync(`${flowLogId} ${index} ${this.linesMade++}\n`)
        writer.append({ contractNumber: 1, bucket, stem: prefix }, line, {
          flowLogId,
          records: 1,
          packets: 1,
          octets: 60,
        })
      }
    }
    await writer.commit()
    this.spool.addWindow(`boot-${index}`)
    this.deliverer.wake()
  }

  /** What an agent tells of its spool with each heartbeat. */
  async report(): Promise<void> {
    const { flowLogs } = this.deliverer.status()
    const health = { windowStartS: 0, windowSizeS: 60, flows: 0, flowsMax: 1, skippedPackets: 0, hookRuns: 0 }
    await this.#client!.report({
      protocol: AGENT_PROTOCOL_VERSION,
      agentVersion: '0',
      startedAt: '',
      assignmentsVersion: '0',
      points: [],
      health: {
        ...{ ...health, hookNs: 0, lateVerdicts: 0, lostPackets: 0 },
        spool: this.spool.stats(),
        deliveries: flowLogs,
      },
    })
  }

  until(isTrue: () => boolean, deadlineMs = 60_000): Promise<true> {
    const what = () => `${isTrue} ${JSON.stringify(this.deliverer.status())}`
    return eventually(what, isTrue, deadlineMs)
  }

  untilEmpty(): Promise<true> {
    return this.until(() => this.spool.segments().length === 0)
  }

  /** All lines in a bucket, by object, as its owner reads them. */
  stored(bucket: string): Promise<Map<string, string[]>> {
    return this.storedBy(this.tenant, bucket)
  }

  async storedBy({ client }: Tenant, bucket: string): Promise<Map<string, string[]>> {
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }))
    const lines = new Map<string, string[]>()
    for (const { Key = '' } of Contents) {
      const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key }))
      lines.set(
        Key,
        gunzipSync(await Body!.transformToByteArray())
          .toString()
          .trimEnd()
          .split('\n'),
      )
    }
    return lines
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopAgent()
    await this.controlProxy.stop()
    await this.stopControlPlane()
    await this.storeProxy.stop()
    fs.rmSync(this.#directory, { recursive: true, force: true })
  }
}
