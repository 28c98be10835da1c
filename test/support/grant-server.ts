import { createHash } from 'node:crypto'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import type {
  Acknowledged,
  AcknowledgeRequest,
  SegmentRefusal,
  UploadGrant,
  UploadRequest,
  UploadsRequest,
} from '../../src/model/agent-protocol.ts'
import { objectName } from '../../src/model/flow-log.ts'

export interface GrantServerFaults {
  /** Status and S3 code for a PUT into a bucket; undefined: none. */
  bucket?: (
    bucket: string,
    name: string,
  ) => { status: number; code: string; retryAfterS?: number } | undefined
  grant?: (request: UploadRequest) => SegmentRefusal['error'] | undefined
}

interface Upload {
  request: UploadRequest
  bucket: string
  name: string
  acknowledged: boolean
}

/**
 * The upload side of a control plane and a store, in memory, on two ports: names are reserved and raised by one
 * second until free, a segment keeps its name, a PUT never overwrites. For tests of the agent's side alone.
 */
export class GrantServer {
  readonly objects = new Map<string, Buffer>()
  readonly puts: { bucket: string; name: string; status: number }[] = []
  faults: GrantServerFaults = {}
  /** Where agents reach the store: a proxy may stand in between. */
  storeOrigin = ''
  readonly #uploads = new Map<string, Upload>()
  readonly #destinations: ReadonlyMap<string, { bucket: string; stem: string }>
  readonly #control = http.createServer((request, response) => void this.#onControl(request, response))
  readonly #store = http.createServer((request, response) => void this.#onStore(request, response))

  /** By flow log. */
  constructor(destinations: ReadonlyMap<string, { bucket: string; stem: string }>) {
    this.#destinations = destinations
  }

  async start(): Promise<void> {
    await Promise.all(
      [this.#control, this.#store].map((it) => new Promise<void>((ok) => it.listen(0, '127.0.0.1', ok))),
    )
    this.storeOrigin = `http://127.0.0.1:${this.storePort}`
  }

  get controlPort(): number {
    return (this.#control.address() as AddressInfo).port
  }

  get storePort(): number {
    return (this.#store.address() as AddressInfo).port
  }

  async stop(): Promise<void> {
    for (const server of [this.#control, this.#store]) {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }

  acknowledged(segmentId: string): boolean {
    return this.#uploads.get(segmentId)?.acknowledged ?? false
  }

  async #onControl(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const body = await bodyOf(request)
    if (body === undefined) return
    const answer = (status: number, json?: object) => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(json === undefined ? undefined : JSON.stringify(json))
    }
    const order = JSON.parse(body.toString()) as Partial<UploadsRequest & AcknowledgeRequest>
    if (order.segmentIds !== undefined) {
      answer(200, { answers: order.segmentIds.map((it) => this.#acknowledge(it)) })
      return
    }
    const { segments = [] } = order
    const answers = segments.map((it) => {
      const fault = this.faults.grant?.(it)
      return fault === undefined ? this.#grant(it) : { error: fault }
    })
    answer(200, { answers })
  }

  #acknowledge(segmentId: string): Acknowledged | SegmentRefusal {
    const upload = this.#uploads.get(segmentId)
    if (upload === undefined || !this.#isStored(upload)) {
      return { error: { status: 409, code: 'WEIR_OBJECT_MISSING', message: 'not there' } }
    }
    upload.acknowledged = true
    return { acknowledged: true }
  }

  #grant(request: UploadRequest): UploadGrant {
    const { bucket, stem } = this.#destinations.get(request.flowLogIds[0]!)!
    let upload = this.#uploads.get(request.segmentId)
    const isTaken = (name: string) =>
      this.objects.has(`${bucket}/${name}`) ||
      [...this.#uploads.values()].some((it) => it.bucket === bucket && it.name === name)
    if (upload === undefined) {
      let second = request.windowStartS
      while (isTaken(objectName(stem, second))) second++
      upload = { request, bucket, name: objectName(stem, second), acknowledged: false }
      this.#uploads.set(request.segmentId, upload)
    }
    return {
      bucket,
      objectName: upload.name,
      delivered: this.#isStored(upload),
      url: `${this.storeOrigin}/${bucket}/${encodeURIComponent(upload.name)}`,
      headers: { 'x-content-sha256': request.sha256, 'if-none-match': '*' },
      expiresAt: '2100-01-01T00:00:00Z',
    }
  }

  #isStored(upload: Upload): boolean {
    const object = this.objects.get(`${upload.bucket}/${upload.name}`)
    return object !== undefined && sha256(object) === upload.request.sha256
  }

  async #onStore(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const [, bucket = '', name = ''] = decodeURIComponent(request.url ?? '').split('/')
    const body = await bodyOf(request)
    if (body === undefined) return // Cut off: nothing is stored.
    const fault = this.faults.bucket?.(bucket, name)
    const key = `${bucket}/${name}`
    const isWhole = sha256(body) === request.headers['x-content-sha256']
    const status = fault?.status ?? (!isWhole ? 400 : this.objects.has(key) ? 412 : 200)
    if (status === 200) this.objects.set(key, body)
    this.puts.push({ bucket, name, status })
    const code = fault?.code ?? (status === 400 ? 'BadDigest' : 'PreconditionFailed')
    response.writeHead(
      status,
      fault?.retryAfterS === undefined ? {} : { 'retry-after': `${fault.retryAfterS}` },
    )
    response.end(status === 200 ? undefined : `<Error><Code>${code}</Code></Error>`)
  }
}

async function bodyOf(request: http.IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  } catch {
    return undefined
  }
  return Buffer.concat(chunks)
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
