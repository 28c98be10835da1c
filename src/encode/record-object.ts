import { Readable } from 'node:stream'
import { createGunzip, createGzip } from 'node:zlib'
import { type FlowLogRecord, formatRecord, type ParseOptions } from './record.ts'
import { type RecordLine, readRecords } from './record-stream.ts'

const CHUNK_SIZE = 64 << 10

/**
 * The records of an object (gzip, as it lies in a bucket), read as its bytes come. Damaged gzip throws at
 * its place.
 */
export async function* readObject(
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: ParseOptions = {},
): AsyncGenerator<RecordLine> {
  const compressed = Readable.from(bytes, { objectMode: false })
  const gunzip = createGunzip()
  compressed.on('error', (error) => gunzip.destroy(error))
  try {
    yield* readRecords(compressed.pipe(gunzip), options)
  } finally {
    compressed.destroy()
    gunzip.destroy()
  }
}

/** The bytes of an object with these records, compressed as they come, at zlib's level 1 (docs/convert.md says why). */
export async function* writeObject(
  records: AsyncIterable<FlowLogRecord> | Iterable<FlowLogRecord>,
  options: { level?: number } = {},
): AsyncGenerator<Uint8Array> {
  const gzip = createGzip({ level: options.level ?? 1 })
  const text = Readable.from(textOf(records), { objectMode: false })
  text.on('error', (error) => gzip.destroy(error))
  try {
    yield* text.pipe(gzip) as AsyncIterable<Uint8Array>
  } finally {
    text.destroy()
    gzip.destroy()
  }
}

async function* textOf(
  records: AsyncIterable<FlowLogRecord> | Iterable<FlowLogRecord>,
): AsyncGenerator<string> {
  let text = ''
  for await (const record of records) {
    text += `${formatRecord(record)}\n`
    if (text.length < CHUNK_SIZE) continue
    yield text
    text = ''
  }
  if (text !== '') yield text
}
