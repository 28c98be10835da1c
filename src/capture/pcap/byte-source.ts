import { once } from 'node:events'
import { closeSync, createReadStream, fstatSync, openSync, readSync, statSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { constants, createGunzip, createZstdDecompress, type Gunzip, type ZstdDecompress } from 'node:zlib'
import { WeirError } from '../../model/errors.ts'

/** Where the bytes of a capture come from: a file, standard input, and what a decompressor makes of them. */
export interface ByteSource {
  /** Reads up to `sizeMax` bytes to `into[at]`. Returns how many; 0 at the end. */
  read(into: Uint8Array, at: number, sizeMax: number): number | Promise<number>
  close(): void
  /** Bytes read so far, before decompression, and how many there are, where that is known. */
  readonly position: number
  readonly size: number | undefined
  /** Why the bytes ended before their end. */
  readonly fault: string | undefined
}

const GZIP = 0x1f8b
const ZSTD = 0x28b52ffd
/** Zstandard's skippable frames, with which pzstd begins; their magics differ in four bits (RFC 8878, section 3.1.2). */
const ZSTD_SKIPPABLE = 0x502a4d18
const CHUNK_SIZE = 1 << 20
/** What a decompressor hands out at a time. When it fails it forgets up to three of them. */
const MADE_SIZE = 1 << 16

/** Opens a file; plain ones are read without streams, straight to where they are wanted. */
export function openFile(file: string): ByteSource {
  let descriptor: number
  try {
    descriptor = openSync(file, 'r')
  } catch (cause) {
    throw cannotOpen(file, cause)
  }
  const status = fstatSync(descriptor)
  if (status.isDirectory()) {
    closeSync(descriptor)
    throw new WeirError('WEIR_CAPTURE_UNREADABLE', `${file} is a directory`)
  }
  if (!status.isFile()) {
    // Not opened again: a named pipe may have all its bytes, and no writer any more.
    return new StreamSource(createReadStream(file, { fd: descriptor, highWaterMark: CHUNK_SIZE }), undefined)
  }
  const head = Buffer.alloc(4)
  const headSize = readSync(descriptor, head, 0, 4, 0)
  if (compressionOf(head.subarray(0, headSize)) === undefined)
    return new FileSource(file, descriptor, status.size)
  closeSync(descriptor)
  return new StreamSource(createReadStream(file, { highWaterMark: CHUNK_SIZE }), status.size)
}

/** Whether a file can be opened again from its start: not a pipe, which gives its bytes once. */
export function isReopenable(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false })?.isFile() !== false
}

export function openStream(stream: Readable): ByteSource {
  return new StreamSource(stream, undefined)
}

function cannotOpen(file: string, cause: unknown): WeirError {
  const reason = (cause as NodeJS.ErrnoException).code ?? String(cause)
  return new WeirError('WEIR_CAPTURE_UNREADABLE', `${file} cannot be opened: ${reason}`, { cause })
}

function compressionOf(head: Uint8Array): 'gzip' | 'zstd' | undefined {
  const bytes = Buffer.from(head)
  if (bytes.length >= 2 && bytes.readUInt16BE(0) === GZIP) return 'gzip'
  if (bytes.length < 4) return undefined
  const magic = bytes.readUInt32BE(0)
  return magic === ZSTD || (magic & 0xf0ff_ffff) === ZSTD_SKIPPABLE ? 'zstd' : undefined
}

class FileSource implements ByteSource {
  position = 0
  readonly size: number
  fault: string | undefined
  readonly #file: string
  #descriptor: number

  constructor(file: string, descriptor: number, size: number) {
    this.#file = file
    this.#descriptor = descriptor
    this.size = size
  }

  read(into: Uint8Array, at: number, sizeMax: number): number {
    if (this.fault !== undefined) return 0
    try {
      const size = readSync(this.#descriptor, into, at, sizeMax, null)
      this.position += size
      return size
    } catch (cause) {
      this.fault = `reading ${this.#file} failed: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`
      return 0
    }
  }

  close(): void {
    if (this.#descriptor >= 0) closeSync(this.#descriptor)
    this.#descriptor = -1
  }
}

/** A stream, decompressed when it begins as gzip or Zstandard do. */
class StreamSource implements ByteSource {
  position = 0
  readonly size: number | undefined
  fault: string | undefined
  readonly #stream: Readable
  #chunks: AsyncIterator<Uint8Array> | undefined
  #rest: Uint8Array = new Uint8Array(0)

  constructor(stream: Readable, size: number | undefined) {
    this.#stream = stream
    this.size = size
  }

  async read(into: Uint8Array, at: number, sizeMax: number): Promise<number> {
    if (this.fault !== undefined) return 0
    try {
      this.#chunks ??= await this.#decompressed()
      while (this.#rest.length === 0) {
        const { done, value } = await this.#chunks.next()
        if (done === true) return 0
        this.#rest = value
      }
    } catch (cause) {
      this.fault = `${(cause as NodeJS.ErrnoException).code ?? ''} ${(cause as Error).message}`.trim()
      return 0
    }
    const size = Math.min(sizeMax, this.#rest.length)
    into.set(this.#rest.subarray(0, size), at)
    this.#rest = this.#rest.subarray(size)
    return size
  }

  async #decompressed(): Promise<AsyncIterator<Uint8Array>> {
    const chunks = this.#counted()
    const head: Uint8Array[] = []
    while (head.reduce((sum, it) => sum + it.length, 0) < 4) {
      const { done, value } = await chunks.next()
      if (done === true) break
      head.push(value)
    }
    const first = Buffer.concat(head)
    const all = prepend(first, chunks)
    const compression = compressionOf(first)
    if (compression === undefined) return all
    const options = { chunkSize: MADE_SIZE }
    return compression === 'gzip'
      ? decompressed(all, createGunzip(options), constants.Z_SYNC_FLUSH)
      : decompressed(all, createZstdDecompress(options), constants.ZSTD_e_flush)
  }

  async *#counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of this.#stream) {
      this.position += (chunk as Uint8Array).length
      yield chunk as Uint8Array
    }
  }

  close(): void {
    this.#stream.destroy()
  }
}

/** A stream that was cut gives all that it has, and only then the error that says so. */
async function* decompressed(
  from: AsyncIterable<Uint8Array>,
  engine: Gunzip | ZstdDecompress,
  flushKind: number,
): AsyncGenerator<Uint8Array> {
  let isFlushed = false
  const endWhenRead = (): void => {
    if (isFlushed && engine.readableLength === 0) engine.end()
  }
  const feed = async (): Promise<void> => {
    for await (const chunk of from) if (!engine.write(chunk)) await once(engine, 'drain')
    engine.flush(flushKind, () => {
      isFlushed = true
      endWhenRead()
    })
  }
  feed().catch((error: Error) => engine.destroy(error))
  for await (const chunk of engine) {
    yield chunk as Uint8Array
    endWhenRead()
  }
}

async function* prepend(first: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (first.length > 0) yield first
  yield* rest
}
