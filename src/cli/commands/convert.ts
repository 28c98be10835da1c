import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { createCodec } from '../../encode/codecs.ts'
import { RecordContext } from '../../encode/record-text.ts'
import { WeirError } from '../../model/errors.ts'
import { parseDestination } from '../../model/flow-log.ts'
import { systemClock } from '../../stdx/clock.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { Converter, isUnreadable, type Summary } from '../convert/converter.ts'
import { CONVERT_HELP, type ConvertOptions, readOptions } from '../convert/options.ts'
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
} from '../convert/record-sinks.ts'
import { dataDirectory } from '../data-dir.ts'
import { formatBytes } from '../table.ts'

const PROGRESS_INTERVAL_MS = 250

export const convert: Command = {
  usage: `weir convert [options] FILE…
weir convert [options] -
weir convert [options] --before FILE --after FILE`,
  summary: 'Turn packet captures into flow log records',
  help: CONVERT_HELP,
  async run(args, context) {
    const options = readOptions(args)
    const sink = createSink(options, context)
    const converter = new Converter(options, { context, sink })
    let summary: Summary
    try {
      summary = await converter.run(progressBar(options, context))
    } catch (error) {
      if (!isUnreadable(error)) throw error
      context.stderr.write(`weir convert: ${error.message}\n`)
      return ExitCode.usage
    }
    if (options.json) context.stderr.write(`${JSON.stringify(summary, bigintAsText)}\n`)
    else if (!options.quiet) context.stderr.write(summaryText(summary))
    return ExitCode.ok
  },
}

function createSink(options: ConvertOptions, context: CommandContext): RecordSink {
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
    return new ObjectSink(out, prefix ?? interfaceId, gzip())
  }
  const header = format === 'csv' ? CSV_HEADER : ''
  if (out !== undefined && out !== '-') {
    const isGzip = out.endsWith('.gz')
    const plain = plainEncode(options, records)
    const encode = !isGzip ? plain : format === 'text' ? gzip() : gzipped(plain, options.level)
    const head = Buffer.from(header)
    return new FileSink(out, encode, isGzip && head.length > 0 ? gzipSync(head) : head)
  }
  return new StreamSink(context.stdout, plainEncode(options, records), header)
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

function progressBar(options: ConvertOptions, context: CommandContext): (converter: Converter) => void {
  if (options.quiet || options.json || !context.stderrIsTerminal) return () => {}
  const beganMs = systemClock.nowMs()
  let shownMs = 0
  return (converter) => {
    const nowMs = systemClock.nowMs()
    if (nowMs - shownMs < PROGRESS_INTERVAL_MS) return
    shownMs = nowMs
    const { position, size } = converter.progress
    const share = size ? `${Math.floor((100 * position) / size)} %` : formatBytes(position)
    const rate = (converter.packets / Math.max(1, nowMs - beganMs) / 1000).toFixed(1)
    context.stderr.write(`\r\u001b[K${share}  ${converter.packets} packets  ${rate} M/s`)
    context.signal.addEventListener('abort', () => context.stderr.write('\n'), { once: true })
  }
}

function summaryText(it: Summary): string {
  const lines = [
    `${it.packets} packets, ${it.ipPackets} of them IP, ${it.octets} octets`,
    `${it.flows} flows in ${it.windows} windows, ${it.records} records`,
  ]
  const count = (packets: number | bigint, what: string): void => {
    if (BigInt(packets) > 0n) lines.push(`${packets} packets ${what}`)
  }
  count(it.rejectedPackets, 'rejected')
  count(it.notIpPackets, 'not IP: in no record')
  count(it.skippedPackets, `of ${it.skippedOctets} octets skipped: in SKIPDATA records`)
  count(it.cutPackets, 'cut short by the capture: counted with their length on the wire')
  count(it.unsupportedPackets, 'of a link type that cannot be metered: in no record')
  count(it.unmatchedAfter, 'came out that had not gone in')
  for (const { name, reason } of it.refused)
    lines.push(reason.startsWith(name) ? reason : `${name}: ${reason}`)
  for (const { name, fault } of it.faults) lines.push(`${name}: ${fault}; what came before it was read`)
  return lines.map((line) => `${line}\n`).join('')
}

function bigintAsText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value
}
