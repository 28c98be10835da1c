import fs from 'node:fs'
import { open } from 'node:fs/promises'
import path from 'node:path'
import { isMissing } from './spool-error.ts'

/**
 * What the spool does to a disk, in steps small enough that a test can stop the world between any two of them.
 * Everything else about files is reading.
 */
export interface SpoolFiles {
  makeFolder(folder: string): void
  append(file: string, chunks: readonly Uint8Array[]): void
  /** Appends, and returns when file and contents are on the disk. */
  appendDurably(file: string, chunks: readonly Uint8Array[]): Promise<void>
  writeDurably(file: string, bytes: Uint8Array): void
  syncFolder(folder: string): void
  rename(from: string, to: string): void
  /** A missing file is fine: somebody finished what a crash had interrupted. */
  remove(file: string): void
  /** Likewise, on the thread pool. */
  removeAside(file: string): Promise<void>
  removeFolder(folder: string): void
}

export const systemFiles: SpoolFiles = {
  makeFolder: (folder) => fs.mkdirSync(folder, { mode: 0o700 }),
  append: (file, chunks) => {
    const fd = fs.openSync(file, 'a', 0o600)
    try {
      for (const chunk of chunks) fs.appendFileSync(fd, chunk)
    } finally {
      fs.closeSync(fd)
    }
  },
  appendDurably: async (file, chunks) => {
    const handle = await open(file, 'a', 0o600)
    try {
      for (const chunk of chunks) await handle.appendFile(chunk)
      await handle.sync()
    } finally {
      await handle.close()
    }
  },
  writeDurably: (file, bytes) => {
    const fd = fs.openSync(file, 'w', 0o600)
    try {
      fs.writeFileSync(fd, bytes)
      fs.fsyncSync(fd)
    } finally {
      fs.closeSync(fd)
    }
  },
  syncFolder: (folder) => {
    const fd = fs.openSync(folder, 'r')
    try {
      fs.fsyncSync(fd)
    } finally {
      fs.closeSync(fd)
    }
  },
  rename: (from, to) => fs.renameSync(from, to),
  remove: (file) => {
    try {
      fs.unlinkSync(file)
    } catch (error) {
      if (!isMissing(error)) throw error
    }
  },
  removeAside: (file) =>
    new Promise((resolve, reject) =>
      fs.unlink(file, (error) => (error === null || isMissing(error) ? resolve() : reject(error))),
    ),
  removeFolder: (folder) => fs.rmSync(folder, { recursive: true, force: true }),
}

/** Puts `bytes` in the place of `file` so that a reader, even after a crash, finds the old or the new, whole. */
export function replaceDurably(files: SpoolFiles, file: string, bytes: Uint8Array): void {
  files.writeDurably(`${file}.new`, bytes)
  files.rename(`${file}.new`, file)
  files.syncFolder(path.dirname(file))
}
