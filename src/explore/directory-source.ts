import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { WeirError } from '../model/errors.ts'
import type { ObjectStore } from './object-store.ts'

/** Buckets that are folders of this machine: read in place. `<directory>/<bucket>/<object name>`. */
export class DirectorySource implements ObjectStore {
  readonly #directory: string

  constructor(options: { directory: string }) {
    this.#directory = path.resolve(options.directory)
  }

  async listBuckets(): Promise<string[]> {
    const found = await readdir(this.#directory, { withFileTypes: true }).catch((cause) => {
      throw unreadable(this.#directory, cause)
    })
    return found
      .filter((it) => it.isDirectory() && !it.name.startsWith('.'))
      .map(({ name }) => name)
      .sort()
  }

  async listObjects(
    bucket: string,
    listing: { prefix: string; after: string; limit: number },
  ): Promise<{ name: string; size: number; modifiedAtMs: number }[]> {
    const root = path.join(this.#directory, bucket)
    const found = await readdir(root, { recursive: true, withFileTypes: true }).catch((cause) => {
      throw unreadable(root, cause)
    })
    const names = found
      .filter((it) => it.isFile())
      .map((it) => path.relative(root, path.join(it.parentPath, it.name)))
      .filter((name) => name.startsWith(listing.prefix) && name > listing.after)
      .sort()
      .slice(0, listing.limit)
    return Promise.all(
      names.map(async (name) => {
        // What vanishes right now is still listed: a short page would mean the end.
        const it = await stat(path.join(root, name)).catch(() => undefined)
        return { name, size: it?.size ?? 0, modifiedAtMs: Math.floor(it?.mtimeMs ?? 0) }
      }),
    )
  }

  async readObject(bucket: string, name: string): Promise<Readable | undefined> {
    return createReadStream(this.objectPath(bucket, name))
  }

  objectPath(bucket: string, name: string): string {
    return path.join(this.#directory, bucket, name)
  }
}

function unreadable(directory: string, cause: unknown): WeirError {
  const reason = (cause as NodeJS.ErrnoException).code ?? String(cause)
  return new WeirError('WEIR_NOT_FOUND', `${directory} cannot be read: ${reason}`, { cause })
}
