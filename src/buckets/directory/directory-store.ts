import { createHash, randomUUID } from 'node:crypto'
import { createReadStream, type Dirent } from 'node:fs'
import {
  access,
  constants,
  link,
  mkdir,
  open,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { WeirError } from '../../model/errors.ts'
import { type Clock, systemClock } from '../../stdx/clock.ts'
import { DirectoryLifecycle } from './directory-lifecycle.ts'
import { newSecret, signPut, verifyPut } from './put-signature.ts'

// Bucket names begin with a letter or a digit, so nothing of ours can be taken for a bucket.
const OWN_DIRECTORY = '.weir'
const NAME_SIZE_MAX = 255 // NAME_MAX of every Linux file system that matters.
const LEFTOVER_AGE_MS = 3_600_000
const EXPIRY_INTERVAL_MS = 3_600_000
const FOUND_MS = 1_000 // Many flow logs are made at once, for few buckets.
const FOUND_MAX = 1_000

export interface StoreLog {
  info(fields: object, message: string): void
  error(fields: object, message: string): void
}

/**
 * Buckets as folders, objects as files: `<directory>/<bucket>/<object name>`, readable with plain `zcat`. An object
 * appears whole, once, and is never overwritten.
 */
export class DirectoryStore {
  readonly embedded = this
  readonly #directory: string
  readonly #clock: Clock
  readonly #log: StoreLog | undefined
  readonly lifecycle: DirectoryLifecycle
  readonly #foundUntilMs = new Map<string, number>()
  #secret: Buffer | undefined

  constructor(options: { directory: string }, dependencies: { clock?: Clock; log?: StoreLog } = {}) {
    this.#directory = path.resolve(options.directory)
    this.#clock = dependencies.clock ?? systemClock
    this.#log = dependencies.log
    this.lifecycle = new DirectoryLifecycle({ directory: this.#ownPath('lifecycle') }, { store: this })
  }

  /** Makes the directory and the secret that signs uploads, if they are not there. */
  async start(): Promise<void> {
    await mkdir(this.#ownPath('tmp'), { recursive: true, mode: 0o750 })
    this.#secret = await readOrMakeSecret(this.#ownPath('signing-secret'))
    for (const name of await readdir(this.#ownPath('tmp'))) {
      const file = this.#ownPath('tmp', name)
      const found = await stat(file).catch(() => undefined)
      if (found !== undefined && found.mtimeMs < this.#clock.nowMs() - LEFTOVER_AGE_MS)
        await rm(file, { force: true })
    }
    void this.#expire()
    setInterval(() => void this.#expire(), EXPIRY_INTERVAL_MS).unref()
  }

  /** Nothing waits for it: retention is a matter of days, and a failed round is followed by another. */
  async #expire(): Promise<void> {
    try {
      const objects = await this.lifecycle.expire(this.#clock.nowMs())
      if (objects > 0) this.#log?.info({ objects }, 'removed objects that were too old')
    } catch (error) {
      this.#log?.error({ err: error }, 'removing what is too old failed')
    }
  }

  async removeObject(bucket: string, objectName: string): Promise<void> {
    await rm(this.#objectPath(bucket, objectName), { force: true })
  }

  async createBucket(bucket: string): Promise<void> {
    await mkdir(this.#bucketPath(bucket), { recursive: true, mode: 0o755 })
    await syncDirectory(this.#directory)
  }

  async listBuckets(): Promise<string[]> {
    const found = await readdir(this.#directory, { withFileTypes: true })
    return found
      .filter((it) => it.isDirectory() && !it.name.startsWith('.'))
      .map((it) => it.name)
      .sort()
  }

  /** That all is well is remembered for a moment; a fault never is. */
  async findBucket(bucket: string): Promise<{ writeFault?: string } | undefined> {
    const nowMs = this.#clock.nowMs()
    if ((this.#foundUntilMs.get(bucket) ?? 0) > nowMs) return {}
    const found = await this.#lookForBucket(bucket)
    if (this.#foundUntilMs.size >= FOUND_MAX) this.#foundUntilMs.clear()
    if (found !== undefined && found.writeFault === undefined)
      this.#foundUntilMs.set(bucket, nowMs + FOUND_MS)
    else this.#foundUntilMs.delete(bucket)
    return found
  }

  async #lookForBucket(bucket: string): Promise<{ writeFault?: string } | undefined> {
    const folder = this.#bucketPath(bucket)
    const found = await stat(folder).catch(ignoreMissing)
    if (!found?.isDirectory()) return undefined
    if (found.dev !== (await this.#ownDevice())) {
      return {
        writeFault: "its folder must be on one file system with the store's own, .weir",
      }
    }
    const fault = await access(folder, constants.W_OK).catch((it: NodeJS.ErrnoException) => it.code)
    return fault === undefined ? {} : { writeFault: `its folder cannot be written (${fault})` }
  }

  /** The folder is made anew when somebody has tidied it away. */
  async #ownDevice(): Promise<number> {
    const drafts = this.#ownPath('tmp')
    const found = await stat(drafts).catch(ignoreMissing)
    if (found !== undefined) return found.dev
    await mkdir(drafts, { recursive: true, mode: 0o750 })
    return (await stat(drafts)).dev
  }

  nameFault(objectName: string): string | undefined {
    return objectNameFault(objectName)
  }

  async statObject(
    bucket: string,
    objectName: string,
  ): Promise<{ size: number; sha256: string } | undefined> {
    const file = this.#objectPath(bucket, objectName)
    const found = await stat(file).catch(ignoreMissing)
    if (found === undefined || !found.isFile()) return undefined
    const digest = createHash('sha256')
    for await (const chunk of createReadStream(file)) digest.update(chunk as Buffer)
    return { size: found.size, sha256: digest.digest('hex') }
  }

  async signUpload(order: {
    bucket: string
    objectName: string
    size: number
    sha256: string
    expiresAtMs: number
    origin: string
  }): Promise<{ url: string; headers: Record<string, string> }> {
    const { bucket, objectName, size, sha256, expiresAtMs } = order
    this.#objectPath(bucket, objectName)
    const target = `/buckets/${[bucket, ...objectName.split('/')].map(encodeURIComponent).join('/')}`
    const expiresAtS = Math.ceil(expiresAtMs / 1000)
    const { query, headers } = signPut(this.#key(), { path: target, size, sha256, expiresAtS })
    return { url: `${order.origin}${target}?${query}`, headers }
  }

  /** Takes a signed PUT. Answers only when the object would survive a power cut. */
  async receive(upload: {
    url: string
    headers: Record<string, string | string[] | undefined>
    body: Readable
  }): Promise<void> {
    const nowS = this.#clock.nowMs() / 1000
    const { path: target, size, sha256 } = verifyPut(this.#key(), upload, nowS)
    const [bucket, ...name] = decodeTarget(target)
    const file = this.#objectPath(bucket ?? '', name.join('/'))
    if ((await this.#lookForBucket(bucket ?? '')) === undefined) {
      throw new WeirError('WEIR_BUCKET_MISSING', `bucket '${bucket}' does not exist`)
    }
    const draft = this.#ownPath('tmp', randomUUID())
    try {
      await writeDraft(draft, upload.body, { size, sha256 })
      await publish(draft, file, this.#bucketPath(bucket ?? ''))
    } catch (cause) {
      throw cause instanceof WeirError ? cause : storeFault(file, cause)
    } finally {
      await rm(draft, { force: true })
    }
  }

  async listObjects(
    bucket: string,
    listing: { prefix: string; after: string; limit: number },
  ): Promise<{ name: string; size: number; modifiedAtMs: number }[]> {
    const root = this.#bucketPath(bucket)
    const objects = []
    for await (const name of objectNames(root, '', listing)) {
      const found = await stat(path.join(root, name)).catch(ignoreMissing)
      if (found !== undefined)
        objects.push({ name, size: found.size, modifiedAtMs: Math.round(found.mtimeMs) })
      if (objects.length === listing.limit) break
    }
    return objects
  }

  async readObject(bucket: string, objectName: string): Promise<Readable | undefined> {
    const file = await open(this.#objectPath(bucket, objectName), 'r').catch(ignoreMissing)
    if (file === undefined) return undefined
    if ((await file.stat()).isFile()) return file.createReadStream()
    await file.close()
    return undefined
  }

  #ownPath(...names: string[]): string {
    return path.join(this.#directory, OWN_DIRECTORY, ...names)
  }

  #bucketPath(bucket: string): string {
    const fault = bucket.includes('/') || bucket.startsWith('.') ? 'no bucket name' : objectNameFault(bucket)
    if (fault !== undefined) throw new WeirError('WEIR_INVALID', `bucket '${bucket}': ${fault}`)
    return path.join(this.#directory, bucket)
  }

  #objectPath(bucket: string, objectName: string): string {
    const fault = objectNameFault(objectName)
    if (fault !== undefined) throw new WeirError('WEIR_INVALID', `object name '${objectName}': ${fault}`)
    return path.join(this.#bucketPath(bucket), objectName)
  }

  #key(): Buffer {
    if (this.#secret === undefined) throw new Error('DirectoryStore used before start')
    return this.#secret
  }
}

/** Every part of the name becomes one file or folder below the bucket's, and cannot lead out of it. */
function objectNameFault(name: string): string | undefined {
  for (const part of name.split('/')) {
    if (part === '') return 'a part of the name is empty'
    if (part === '.' || part === '..') return `'${part}' is not a name`
    if (Buffer.byteLength(part) > NAME_SIZE_MAX) {
      return `a part of the name is longer than ${NAME_SIZE_MAX} bytes`
    }
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused here.
    if (/[\u0000-\u001f\u007f\\]/.test(part)) return 'it has control characters or backslashes'
  }
  return undefined
}

function decodeTarget(target: string): string[] {
  const encoded = target.slice('/buckets/'.length).split('/')
  try {
    return encoded.map(decodeURIComponent)
  } catch (cause) {
    throw new WeirError('WEIR_BAD_REQUEST', `'${target}' is not well encoded`, { cause })
  }
}

async function writeDraft(
  draft: string,
  body: Readable,
  expected: { size: number; sha256: string },
): Promise<void> {
  const file = await open(draft, 'wx', 0o644)
  try {
    const digest = createHash('sha256')
    let size = 0
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > expected.size) break
      digest.update(chunk)
      await file.writeFile(chunk)
    }
    if (size !== expected.size) {
      throw new WeirError('WEIR_BAD_REQUEST', `body has not the ${expected.size} bytes that were signed`)
    }
    if (digest.digest('hex') !== expected.sha256) {
      throw new WeirError('WEIR_BAD_REQUEST', 'body has not the SHA-256 that was signed')
    }
    await file.sync()
  } finally {
    await file.close()
  }
}

/** `link` refuses an existing name, which `rename` would overwrite. */
async function publish(draft: string, file: string, bucketDirectory: string): Promise<void> {
  const folder = path.dirname(file)
  if (folder !== bucketDirectory) await mkdir(folder, { recursive: true, mode: 0o755 })
  try {
    await link(draft, file)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
    throw new WeirError('WEIR_OBJECT_EXISTS', `object '${path.relative(bucketDirectory, file)}' exists`, {
      cause,
    })
  }
  for (let it = folder; ; it = path.dirname(it)) {
    await syncDirectory(it)
    if (it === bucketDirectory) return
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const file = await open(directory, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

async function readOrMakeSecret(file: string): Promise<Buffer> {
  const draft = `${file}.${randomUUID()}`
  await writeFile(draft, newSecret(), { mode: 0o600, flush: true })
  try {
    await link(draft, file) // Of several replicas that start at once, one wins and all read its secret.
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    await rm(draft, { force: true })
  }
  return readFile(file)
}

/** Walks in the order of full names, which is the order of a directory when folders count as `name/`. */
async function* objectNames(
  root: string,
  below: string,
  listing: { prefix: string; after: string },
): AsyncGenerator<string> {
  const entries = await readdir(path.join(root, below), { withFileTypes: true }).catch(ignoreMissing)
  const names = (entries ?? [])
    .filter(isFileOrFolder)
    .map((it) => `${below}${it.name}${it.isDirectory() ? '/' : ''}`)
  for (const name of names.sort(compareBytes)) {
    if (name.endsWith('/')) {
      const mayHold = name.startsWith(listing.prefix) || listing.prefix.startsWith(name)
      const isPast = compareBytes(`${name}\u{10ffff}`, listing.after) < 0
      if (mayHold && !isPast) yield* objectNames(root, name, listing)
    } else if (name.startsWith(listing.prefix) && compareBytes(name, listing.after) > 0) {
      yield name
    }
  }
}

function isFileOrFolder(it: Dirent): boolean {
  return it.isFile() || it.isDirectory()
}

function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
  throw error
}

function storeFault(file: string, cause: unknown): WeirError {
  const reason = (cause as NodeJS.ErrnoException).code ?? String(cause)
  return new WeirError('WEIR_STORE_UNAVAILABLE', `${path.basename(file)} cannot be written: ${reason}`, {
    cause,
  })
}
