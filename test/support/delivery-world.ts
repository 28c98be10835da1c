import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { ControlPlaneClient } from '../../src/deliver/control-plane-client.ts'
import { Deliverer, type DelivererOptions, type Delivery } from '../../src/deliver/deliverer.ts'
import { Spool } from '../../src/spool/spool.ts'
import { WindowWriter } from '../../src/spool/window-writer.ts'
import { systemClock } from '../../src/stdx/clock.ts'
import { eventually } from './eventually.ts'
import { GrantServer } from './grant-server.ts'
import { silentLog } from './spool-world.ts'
import { TcpProxy } from './tcp-proxy.ts'

export interface WorldDestination {
  flowLogId: string
  bucket: string
  stem: string
  contractNumber?: number
}

const QUICK: DelivererOptions = {
  spreadMs: 0,
  retryDelayMsMin: 5,
  retryDelayMsMax: 40,
  refusedDelayMsMin: 30,
  refusedDelayMsMax: 60,
  slowMs: 100,
  idleMsMax: 200,
}

/** A spool, a deliverer, and a control plane and store behind proxies that can break every request. */
export class DeliveryWorld implements AsyncDisposable {
  readonly server: GrantServer
  readonly deliveries: Delivery[] = []
  readonly directory: string
  spool!: Spool
  deliverer!: Deliverer
  controlProxy!: TcpProxy
  storeProxy!: TcpProxy
  readonly #destinations: readonly WorldDestination[]
  readonly #options: DelivererOptions
  #client: ControlPlaneClient | undefined
  #lines = 0

  private constructor(destinations: readonly WorldDestination[], options: DelivererOptions) {
    this.#destinations = destinations
    this.#options = { ...QUICK, ...options }
    this.directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weir-delivery-'))
    this.server = new GrantServer(new Map(destinations.map((it) => [it.flowLogId, it])))
  }

  static async start(
    destinations: readonly WorldDestination[],
    options: DelivererOptions = {},
  ): Promise<DeliveryWorld> {
    const world = new DeliveryWorld(destinations, options)
    await world.server.start()
    world.controlProxy = new TcpProxy({ host: '127.0.0.1', port: world.server.controlPort })
    world.storeProxy = new TcpProxy({ host: '127.0.0.1', port: world.server.storePort })
    await world.controlProxy.start()
    await world.storeProxy.start()
    world.server.storeOrigin = `http://127.0.0.1:${world.storeProxy.port}`
    world.startAgent()
    return world
  }

  /** A new agent on the same disk. */
  startAgent(): void {
    const log = silentLog
    this.spool = new Spool(
      { directory: path.join(this.directory, 'spool'), bytesMax: 1e12, ageMsMax: 1e15 },
      { clock: systemClock, log },
    )
    this.spool.start()
    const serverUrl = `http://127.0.0.1:${this.controlProxy.port}`
    this.#client = new ControlPlaneClient({ serverUrl, agentToken: 'token', requestTimeoutMs: 200 })
    this.deliverer = new Deliverer(this.#options, {
      spool: this.spool,
      api: this.#client,
      clock: systemClock,
      log,
      onDelivered: (delivery) => this.deliveries.push(delivery),
    })
    this.deliverer.start()
  }

  async stopAgent(): Promise<void> {
    await this.deliverer.stop()
    this.#client?.stop()
    this.spool.stop()
  }

  /** Seals a window with a segment for each destination, or for those named. */
  async addWindow(
    index: number,
    options: { linesEach?: number; only?: string; segmentSizeMax?: number } = {},
  ): Promise<void> {
    const { segmentSizeMax = 1 << 20 } = options
    const writer = new WindowWriter({ directory: this.spool.directory, segmentSizeMax })
    const windowKey = `boot-${index}`
    writer.begin({ windowKey, windowStartS: index * 60, windowSizeS: 60 })
    for (const { flowLogId, bucket, stem, contractNumber = 1 } of this.#destinations) {
      if (options.only !== undefined && options.only !== flowLogId) continue
      for (let i = 0; i < (options.linesEach ?? 1); i++) {
        const line = gzipSync(`${flowLogId} ${index} ${this.#lines++}\n`)
        writer.append({ contractNumber, bucket, stem }, line, {
          flowLogId,
          records: 1,
          packets: 1,
          octets: 60,
        })
      }
    }
    await writer.commit()
    this.spool.addWindow(windowKey)
    this.deliverer.wake()
  }

  untilEmpty(deadlineMs?: number): Promise<true> {
    return this.until(() => this.spool.segments().length === 0, deadlineMs)
  }

  until(isTrue: () => boolean, deadlineMs?: number): Promise<true> {
    return eventually(String(isTrue), isTrue, deadlineMs)
  }

  /** All lines that are in objects, by object. */
  stored(): Map<string, string[]> {
    return new Map(
      [...this.server.objects].map(([name, bytes]) => [
        name,
        gunzipSync(bytes).toString().trimEnd().split('\n'),
      ]),
    )
  }

  get linesMade(): number {
    return this.#lines
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopAgent()
    await Promise.all([this.controlProxy.stop(), this.storeProxy.stop(), this.server.stop()])
    fs.rmSync(this.directory, { recursive: true, force: true })
  }
}
