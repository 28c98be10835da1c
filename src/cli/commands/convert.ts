import { WeirError } from '../../model/errors.ts'
import { parseDestination } from '../../model/flow-log.ts'
import { assert } from '../../stdx/assert.ts'
import { systemClock } from '../../stdx/clock.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { Converter, isUnreadable, type Summary } from '../convert/converter.ts'
import { createSink } from '../convert/create-sink.ts'
import { CONVERT_HELP, type ConvertOptions, readOptions } from '../convert/options.ts'
import { ThreadedSink } from '../convert/threaded-sink.ts'
import { formatBytes } from '../table.ts'

const PROGRESS_INTERVAL_MS = 250

export const convert: Command = {
  usage: `weir convert [options] FILE…
weir convert [options] -
weir convert [options] --before FILE --after FILE`,
  summary: 'Turn packet captures into flow log records',
  help: CONVERT_HELP,
  async run(args, context) {
    const options = readOptions(args, context.env)
    let summary: Summary
    try {
      summary = await (options.s3 === undefined ? convertTo(options, context) : convertToS3(options, context))
    } catch (error) {
      if (!isUnreadable(error)) throw error
      context.stderr.write(`weir convert: ${error.message}\n`)
      return ExitCode.usage
    }
    if (hasProgress(options, context)) context.stderr.write('\r\u001b[K')
    if (options.json) context.stderr.write(`${JSON.stringify(summary, bigintAsText)}\n`)
    else if (!options.quiet) context.stderr.write(summaryText(summary))
    return ExitCode.ok
  },
}

async function convertTo(options: ConvertOptions, context: CommandContext): Promise<Summary> {
  const isFiles = options.out !== '-' && (options.out ?? options.bucket) !== undefined
  const isThreaded = options.threads > 1 && isFiles
  const sink = isThreaded ? new ThreadedSink(options, context) : createSink(options, context)
  const converter = new Converter(options, { context, sink })
  try {
    return await converter.run(progressBar(options, context))
  } finally {
    if (sink instanceof ThreadedSink) await sink.finish()
  }
}

/** By way of a directory of its own: an object is sent when it is whole. */
async function convertToS3(options: ConvertOptions, context: CommandContext): Promise<Summary> {
  const destination = parseDestination(options.bucket ?? '')
  if ('reason' in destination) throw new WeirError('WEIR_USAGE', destination.reason)
  assert(options.s3 !== undefined)
  const { S3Upload } = await import('../convert/s3-upload.ts') // The SDK takes a while to load.
  const upload = new S3Upload(options.s3, destination)
  try {
    const prefix = destination.prefix || options.interfaceId
    const summary = await convertTo({ ...options, bucket: undefined, out: upload.directory, prefix }, context)
    return { ...summary, outputs: await upload.upload(summary.outputs) }
  } finally {
    upload.remove()
  }
}

function hasProgress(options: ConvertOptions, context: CommandContext): boolean {
  return !options.quiet && !options.json && context.stderrIsTerminal
}

function progressBar(options: ConvertOptions, context: CommandContext): (converter: Converter) => void {
  if (!hasProgress(options, context)) return () => {}
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
