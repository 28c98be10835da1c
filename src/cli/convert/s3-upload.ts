import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type S3Options, S3Store } from '../../buckets/s3/s3-store.ts'
import { WeirError } from '../../model/errors.ts'
import { type Destination, objectName } from '../../model/flow-log.ts'
import { systemClock } from '../../stdx/clock.ts'

const TRIES_MAX = 4
const EXPIRES_MS = 10 * 60_000
const NAME_TRIES_MAX = 3600

/** Objects made in a directory of its own go to an S3 bucket, by the same signed PUT as the agent's. */
export class S3Upload {
  /** Where objects are to be made: `<stem>-<window start>.log.gz`. */
  readonly directory = mkdtempSync(path.join(tmpdir(), 'weir-convert-'))
  readonly #options: S3Options
  readonly #destination: Destination

  constructor(options: S3Options, destination: Destination) {
    this.#options = options
    this.#destination = destination
  }

  /** Returns the names that the objects got. A name that is taken is raised by a second; nothing is overwritten. */
  async upload(files: string[]): Promise<string[]> {
    const store = new S3Store(this.#options)
    const names: string[] = []
    try {
      for (const file of files) names.push(await this.#uploadOne(store, file))
    } finally {
      store.stop()
    }
    return names.map((name) => `s3://${this.#destination.bucket}/${name}`)
  }

  async #uploadOne(store: S3Store, file: string): Promise<string> {
    const body = readFileSync(file)
    const [, stem, startS] = /^(.*)-(\d+)\.log\.gz$/.exec(path.relative(this.directory, file)) ?? []
    for (let i = 0; i < NAME_TRIES_MAX; i++) {
      const name = objectName(stem ?? '', Number(startS) + i)
      if (await this.#put(store, name, body)) return name
    }
    throw new WeirError('WEIR_OBJECT_EXISTS', `no free name for ${path.basename(file)} in an hour of names`)
  }

  /** Returns false when an object of this name is there. */
  async #put(store: S3Store, name: string, body: Buffer): Promise<boolean> {
    const { bucket } = this.#destination
    const sha256 = createHash('sha256').update(body).digest('hex')
    for (let tries = 1; ; tries++) {
      const expiresAtMs = systemClock.nowMs() + EXPIRES_MS
      const order = { bucket, objectName: name, size: body.length, sha256, expiresAtMs, origin: '' }
      const { url, headers } = await store.signUpload(order)
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

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true })
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
