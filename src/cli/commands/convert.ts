import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { WeirError } from '../../model/errors.ts'
import { parseDestination } from '../../model/flow-log.ts'
import { assert } from '../../stdx/assert.ts'
import { systemClock } from '../../stdx/clock.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { Converter, isUnreadable, type Summary } from '../convert/converter.ts'
import { createSink } from '../convert/create-sink.ts'
import { CONVERT_HELP, type ConvertOptions, readOptions } from '../convert/options.ts'
import type { RecordSink } from '../convert/record-sinks.ts'
import { formatBytes } from '../table.ts'

const PROGRESS_INTERVAL_MS = 250

export const convert: Command = {
  usage: `weir convert [options] FILE…
weir convert [options] -
weir convert [options] --before FILE --after FILE`,
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
    const isNothingRead = summary.packets === 0 && summary.refused.length + summary.faults.length > 0
    if (hasProgress(options, context)) context.stderr.write('\r\u001b[K')
    if (options.json) context.stderr.write(`${JSON.stringify(summary, bigintAsText)}\n`)
    else if (isNothingRead) context.stderr.write(damageLines(summary))
    else if (!options.quiet) context.stderr.write(summaryText(summary))
    return isNothingRead ? ExitCode.usage : ExitCode.ok
  },
}

async function convertTo(options: ConvertOptions, context: CommandContext): Promise<Summary> {
  const converter = new Converter(options, { context, sink: await openSink(options, context) })
  return converter.run(progressBar(options, context))
}

async function openSink(options: ConvertOptions, context: CommandContext): Promise<RecordSink> {
  const isFiles = options.out !== '-' && (options.out ?? options.bucket) !== undefined
  if (options.threads === 1 || !isFiles) return createSink(options, context)
  const { ThreadedSink } = await import('../convert/threaded-sink.ts')
  return new ThreadedSink(options, context)
}

/** By way of a directory of its own: an object is sent when it is whole, and its file removed. */
async function convertToS3(options: ConvertOptions, context: CommandContext): Promise<Summary> {
  const destination = parseDestination(options.bucket ?? '')
  if ('reason' in destination) throw new WeirError('WEIR_USAGE', destination.reason)
  assert(options.s3 !== undefined)
  const { S3Sink } = await import('../convert/s3-sink.ts') // The SDK takes a while to load.
  const directory = mkdtempSync(path.join(tmpdir(), 'weir-convert-'))
  const prefix = destination.prefix || options.interfaceId
  const inner = await openSink({ ...options, bucket: undefined, out: directory, prefix }, context)
  const sink = new S3Sink({ ...options.s3, destination, directory }, { inner })
  try {
    return await new Converter(options, { context, sink }).run(progressBar(options, context))
  } finally {
    sink.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

function hasProgress(options: ConvertOptions, context: CommandContext): boolean {
  const isRecordsThere = context.stdoutIsTerminal && (options.out ?? options.bucket) === undefined
  return !options.quiet && !options.json && context.stderrIsTerminal && !isRecordsThere
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
  count(it.undirectedPackets, 'whose capture does not tell which way they went: taken as INGRESS')
  count(it.unmatchedAfter, 'came out that had not gone in')
  return lines.map((line) => `${line}\n`).join('') + damageLines(it)
}

/** What could not be read, a line each. */
function damageLines(it: Summary): string {
  const [head, tail] = it.packets === 0 ? ['weir convert: ', ''] : ['', '; what came before it was read']
  return [
    ...it.refused.map(({ name, reason }) => (reason.startsWith(name) ? reason : `${name}: ${reason}`)),
    ...it.faults.map(({ name, fault }) => `${name}: ${fault}${tail}`),
  ]
    .map((line) => `${head}${line}\n`)
    .join('')
}

function bigintAsText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value
}
