import { statSync } from 'node:fs'
import path from 'node:path'
import type { Writable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { createCodec } from '../../encode/codecs.ts'
import { RecordContext } from '../../encode/record-text.ts'
import { WeirError } from '../../model/errors.ts'
import { parseDestination } from '../../model/flow-log.ts'
import { assert } from '../../stdx/assert.ts'
import { dataDirectory } from '../data-dir.ts'
import type { ConvertOptions } from './options.ts'
import {
  CSV_HEADER,
  csvEncode,
  FileSink,
  gzipEncode,
  isDirectory,
  jsonEncode,
  ObjectSink,
  type RecordSink,
  StreamSink,
  textEncode,
} from './record-sinks.ts'

/** Where the records go: a bucket, objects in a directory, a file, or a stream, as the options say. */
export function createSink(
  options: ConvertOptions,
  context: { env: Record<string, string | undefined>; stdout: Writable | undefined },
): RecordSink {
  const { accountId, interfaceId, out, prefix, bucket, format } = options
  const records = new RecordContext({ accountId, interfaceId })
  const gzip = (): ((rows: Uint8Array, count: number) => Uint8Array) =>
    gzipEncode(records, createCodec(options.codec, options.level))
  if (bucket !== undefined) {
    const destination = parseDestination(bucket)
    if ('reason' in destination) throw new WeirError('WEIR_USAGE', destination.reason)
    const directory = path.join(dataDirectory(options.dataDir, context.env), 'buckets', destination.bucket)
    if (!isDirectory(directory)) {
      throw new WeirError(
        'WEIR_BUCKET_MISSING',
        `bucket ${destination.bucket} is not in the store (${directory})`,
      )
    }
    return new ObjectSink(directory, destination.prefix || interfaceId, gzip())
  }
  if (out !== undefined && (prefix !== undefined || isDirectory(out) || out.endsWith('/'))) {
    if (format !== 'text')
      throw new WeirError(
        'WEIR_USAGE',
        `objects are text: --format ${format} needs a file, and ${out} is a directory`,
      )
    return new ObjectSink(out, prefix ?? interfaceId, gzip())
  }
  const header = format === 'csv' ? CSV_HEADER : ''
  if (out !== undefined) {
    const inputs = [...options.files, options.before, options.after].filter((it) => it !== undefined)
    if (inputs.some((file) => isSameFile(file, out))) {
      throw new WeirError('WEIR_USAGE', `${out} is a capture to read: it would be overwritten`)
    }
    const isGzip = out.endsWith('.gz')
    const plain = plainEncode(options, records)
    const encode = !isGzip ? plain : format === 'text' ? gzip() : gzipped(plain, options.level)
    const head = isGzip && header !== '' ? gzipSync(header) : Buffer.from(header)
    return new FileSink(out, encode, { head, whenEmpty: isGzip ? gzipSync('') : Buffer.alloc(0) })
  }
  assert(context.stdout !== undefined, 'standard output is not for a thread')
  return new StreamSink(context.stdout, plainEncode(options, records), header)
}

function isSameFile(a: string, b: string): boolean {
  const [first, second] = [a, b].map((file) => statSync(file, { throwIfNoEntry: false }))
  return first?.isFile() === true && first.dev === second?.dev && first.ino === second.ino
}

function plainEncode(
  { format }: ConvertOptions,
  records: RecordContext,
): (rows: Uint8Array, count: number) => Uint8Array {
  if (format === 'json') return jsonEncode(records)
  return format === 'csv' ? csvEncode(records) : textEncode(records)
}

/** JSON and CSV, which the codecs do not write, a gzip member at a time. */
function gzipped(
  plain: (rows: Uint8Array, count: number) => Uint8Array,
  level: number,
): (rows: Uint8Array, count: number) => Uint8Array {
  return (rows, count) => gzipSync(plain(rows, count), { level })
}
