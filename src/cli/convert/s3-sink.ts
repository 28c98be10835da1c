import { createHash } from 'node:crypto'
import { readFileSync, unlinkSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import path from 'node:path'
import { type S3Options, S3Store } from '../../buckets/s3/s3-store.ts'
import { WeirError } from '../../model/errors.ts'
import { type Destination, objectName } from '../../model/flow-log.ts'
import { systemClock } from '../../stdx/clock.ts'
import type { RecordSink } from './record-sinks.ts'

const TRIES_MAX = 4
const EXPIRES_MS = 10 * 60_000
const NAME_TRIES_MAX = 3600

/**
 * Objects that another sink makes in a directory of their own go to an S3 bucket as soon as they are whole, by
 * the same signed PUT as the agent's. A name that is taken is raised by a second; nothing is overwritten.
 */
export class S3Sink implements RecordSink {
  /** The names that the objects got. */
  readonly outputs: string[] = []
  readonly #options: S3Options
  readonly #destination: Destination
  readonly #directory: string
  readonly #inner: RecordSink
  readonly #store: S3Store
  #sent = 0

  /** `inner` makes `<stem>-<window start>.log.gz` in `directory`. */
  constructor(
    options: S3Options & { destination: Destination; directory: string },
    dependencies: { inner: RecordSink },
  ) {
    this.#options = options
    this.#destination = options.destination
    this.#directory = options.directory
    this.#inner = dependencies.inner
    this.#store = new S3Store(options)
  }

  beginWindow(startS: number): void {
    this.#inner.beginWindow(startS)
  }

  write(rows: Uint8Array, count: number): void {
    this.#inner.write(rows, count)
  }

  endWindow(): void {
    this.#inner.endWindow()
  }

  end(): void {
    this.#inner.end()
  }

  async settle(isOver: boolean): Promise<void> {
    await this.#inner.settle?.(isOver)
    for (; this.#sent < this.#inner.outputs.length; this.#sent++) {
      const file = this.#inner.outputs[this.#sent]!
      this.outputs.push(`s3://${this.#destination.bucket}/${await this.#upload(file)}`)
      unlinkSync(file)
    }
  }

  stop(): void {
    this.#store.stop()
  }

  async #upload(file: string): Promise<string> {
    const body = readFileSync(file)
    const [, stem, startS] = /^(.*)-(\d+)\.log\.gz$/.exec(path.relative(this.#directory, file)) ?? []
    for (let i = 0; i < NAME_TRIES_MAX; i++) {
      const name = objectName(stem ?? '', Number(startS) + i)
      if (await this.#put(name, body)) return name
    }
    throw new WeirError('WEIR_OBJECT_EXISTS', `no free name for ${path.basename(file)} in an hour of names`)
  }

  /** Returns false when an object of this name is there. */
  async #put(name: string, body: Buffer): Promise<boolean> {
    const { bucket } = this.#destination
    const sha256 = createHash('sha256').update(body).digest('hex')
    for (let tries = 1; ; tries++) {
      const expiresAtMs = systemClock.nowMs() + EXPIRES_MS
      const order = { bucket, objectName: name, size: body.length, sha256, expiresAtMs, origin: '' }
      const { url, headers } = await this.#store.signUpload(order)
      const { status, text } = await send(url, headers, body, this.#options.ca).catch((cause: Error) => ({
        status: 0,
        text: cause.message,
      }))
      if (status === 200 || status === 201) return true
      if (status === 412) return false
      const isRetryable = status === 0 || status >= 500 || status === 429
      if (isRetryable && tries < TRIES_MAX) continue
      const reason = `${status === 0 ? '' : `${status} `}${text.slice(0, 200)}`
      throw new WeirError('WEIR_UPLOAD_FAILED', `${name} did not reach bucket ${bucket}: ${reason}`)
    }
  }
}

function send(
  url: string,
  headers: Record<string, string>,
  body: Buffer,
  ca: string | undefined,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const { request } = url.startsWith('https:') ? https : http
    const options = { method: 'PUT', headers, ...(ca === undefined ? {} : { ca }) }
    const sent = request(url, options, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
      )
      response.on('error', reject)
    })
    sent.on('error', reject)
    sent.setTimeout(60_000, () => sent.destroy(new Error('no answer within a minute')))
    sent.end(body)
  })
}
