import { closeSync, existsSync, linkSync, openSync, statSync, unlinkSync, writeSync } from 'node:fs'
import path from 'node:path'
import type { Writable } from 'node:stream'
import type { GzipCodec } from '../../encode/gzip-codec.ts'
import { FIELD_NAMES, rowToRecord } from '../../encode/record.ts'
import { encodeText, RECORD_SIZE_MAX, type RecordContext } from '../../encode/record-text.ts'
import { WeirError } from '../../model/errors.ts'
import { objectName } from '../../model/flow-log.ts'
import { ROW_SIZE } from '../../model/flow-rows.ts'
import { makeDirectory } from '../data-dir.ts'
import { recordJson } from '../record-json.ts'

/** Takes the rows of windows, one window after the other, at most ROWS_MAX at a time. */
export interface RecordSink {
  beginWindow(startS: number): void
  write(rows: Uint8Array, count: number): void
  /** All rows of the window are there. */
  endWindow(): void
  end(): void
  /** For what takes time beside writing: called between batches, and when all is over. */
  settle?(isOver: boolean): Promise<void>
  /** What was written where, for the summary. */
  readonly outputs: string[]
}

export const ROWS_MAX = 8192

/** Turns rows into bytes of one output format. */
type Encode = (rows: Uint8Array, count: number) => Uint8Array

export function textEncode(context: RecordContext): Encode {
  const out = Buffer.allocUnsafeSlow(ROWS_MAX * RECORD_SIZE_MAX)
  return (rows, count) => out.subarray(0, encodeText(context, rows, 0, count, out, 0))
}

export function gzipEncode(context: RecordContext, codec: GzipCodec): Encode {
  const out = Buffer.allocUnsafeSlow(codec.sizeMax(ROWS_MAX))
  return (rows, count) => out.subarray(0, codec.encode(context, rows, 0, count, out, 0))
}

/** One JSON object per line, with the field names of `weir/record`. */
export function jsonEncode(context: RecordContext): Encode {
  return (rows, count) => {
    const lines: string[] = []
    for (let at = 0; at < count * ROW_SIZE; at += ROW_SIZE) {
      lines.push(`${recordJson(rowToRecord(context, rows, at))}\n`)
    }
    return Buffer.from(lines.join(''))
  }
}

export const CSV_HEADER = `${FIELD_NAMES.join(',')}\n`

/** The text with commas; no field can contain one (account and interface are quoted where they do). */
export function csvEncode(context: RecordContext): Encode {
  const quoted = (text: string): string => (/[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)
  return (rows, count) => {
    const lines: string[] = []
    for (let at = 0; at < count * ROW_SIZE; at += ROW_SIZE) {
      const it = rowToRecord(context, rows, at)
      const flow = [it.srcaddr, it.dstaddr, it.srcport, it.dstport, it.protocol]
      const all = [
        2,
        quoted(it.accountId),
        quoted(it.interfaceId),
        ...flow,
        it.packets,
        it.bytes,
        it.start,
        it.end,
      ]
      lines.push(`${[...all, it.action, it.logStatus].map((field) => field ?? '').join(',')}\n`)
    }
    return Buffer.from(lines.join(''))
  }
}

/** All windows behind one another: standard output. */
export class StreamSink implements RecordSink {
  readonly outputs: string[] = []
  readonly #out: Writable
  readonly #encode: Encode

  constructor(out: Writable, encode: Encode, header: string) {
    this.#out = out
    this.#encode = encode
    if (header !== '') out.write(header)
  }

  beginWindow(): void {}

  write(rows: Uint8Array, count: number): void {
    this.#out.write(Buffer.from(this.#encode(rows, count))) // A copy: a pipe may not take it at once.
  }

  endWindow(): void {}
  end(): void {}
}

/** All windows behind one another in one file, which begins with `head`, or is `whenEmpty` where nothing comes. */
export class FileSink implements RecordSink {
  readonly outputs: string[]
  readonly #file: string
  readonly #descriptor: number
  readonly #encode: Encode
  readonly #whenEmpty: Uint8Array
  #isEmpty = true

  constructor(file: string, encode: Encode, options: { head: Uint8Array; whenEmpty: Uint8Array }) {
    this.#file = file
    this.outputs = [file]
    this.#encode = encode
    this.#whenEmpty = options.whenEmpty
    this.#descriptor = attempt(file, () => openSync(file, 'w'))
    if (options.head.length > 0) this.#append(options.head)
  }

  beginWindow(): void {}

  write(rows: Uint8Array, count: number): void {
    this.#append(this.#encode(rows, count))
  }

  #append(bytes: Uint8Array): void {
    this.#isEmpty = false
    attempt(this.#file, () => writeAll(this.#descriptor, bytes))
  }

  endWindow(): void {}

  end(): void {
    if (this.#isEmpty) this.#append(this.#whenEmpty)
    closeSync(this.#descriptor)
  }
}

/** One object per window, named as in a bucket: whole, once, and never over another. */
export class ObjectSink implements RecordSink {
  readonly outputs: string[] = []
  readonly #directory: string
  readonly #stem: string
  readonly #encode: Encode
  #startS = 0
  #part = ''
  #descriptor = -1

  constructor(directory: string, stem: string, encode: Encode) {
    this.#directory = directory
    this.#stem = stem
    this.#encode = encode
    attempt(directory, () => makeDirectory(path.resolve(directory, path.dirname(stem)), 0o777))
  }

  beginWindow(startS: number): void {
    this.#startS = startS
  }

  write(rows: Uint8Array, count: number): void {
    if (this.#descriptor < 0) {
      const place = path.join(this.#directory, this.#stem)
      this.#part = path.join(path.dirname(place), `.${path.basename(place)}-${process.pid}.part`)
      this.#descriptor = attempt(this.#part, () => openSync(this.#part, 'w'))
    }
    attempt(this.#part, () => writeAll(this.#descriptor, this.#encode(rows, count)))
  }

  /** The number is raised by one second until the name is free. A window without rows has no object. */
  endWindow(): void {
    if (this.#descriptor < 0) return
    closeSync(this.#descriptor)
    this.#descriptor = -1
    let startS = this.#startS
    while (!this.#link(objectName(this.#stem, startS))) startS++
    unlinkSync(this.#part)
  }

  #link(name: string): boolean {
    const object = path.join(this.#directory, name)
    try {
      linkSync(this.#part, object)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
      throw cannotWrite(object, error)
    }
    this.outputs.push(object)
    return true
  }

  end(): void {
    if (this.#descriptor >= 0) closeSync(this.#descriptor)
    if (this.#part !== '' && existsSync(this.#part)) unlinkSync(this.#part)
  }
}

export function isDirectory(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false })?.isDirectory() === true
}

function writeAll(descriptor: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at)
}

function attempt<Result>(file: string, act: () => Result): Result {
  try {
    return act()
  } catch (error) {
    throw cannotWrite(file, error)
  }
}

function cannotWrite(file: string, cause: unknown): WeirError {
  const reason = (cause as NodeJS.ErrnoException).code ?? String(cause)
  return new WeirError('WEIR_CONFIG_INVALID', `${file} cannot be written: ${reason}`, { cause })
}
