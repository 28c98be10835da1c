import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { METERED_LINKS } from '../../capture/pcap/packet-batch.ts'
import { WeirError } from '../../model/errors.ts'
import { parseDestination } from '../../model/flow-log.ts'
import { assert } from '../../stdx/assert.ts'
import { systemClock } from '../../stdx/clock.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { Converter, isUnreadable, type Summary } from '../convert/converter.ts'
import { createSink } from '../convert/create-sink.ts'
import { CONVERT_HELP, type ConvertOptions, readOptions } from '../convert/options.ts'
import type { RecordSink } from '../convert/record-sinks.ts'
import { counted, formatBytes } from '../table.ts'

const PROGRESS_INTERVAL_MS = 250
/** Takes what the terminal's line shows away. */
const LINE_START = '\r\u001b[K'

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
    } finally {
      if (hasProgress(options, context)) context.stderr.write(LINE_START)
    }
    if (options.json) context.stderr.write(`${JSON.stringify(summary, bigintAsText)}\n`)
    else if (isNothingRead(summary)) context.stderr.write(damageLines(summary))
    else if (!options.quiet) context.stderr.write(summaryText(summary))
    return isNothingRead(summary) ? ExitCode.usage : ExitCode.ok
  },
}

async function convertTo(options: ConvertOptions, context: CommandContext): Promise<Summary> {
  const converter = new Converter(options, { context, sink: await openSink(options, context) })
  return converter.run(progressBar(options, context))
}

async function openSink(options: ConvertOptions, context: CommandContext): Promise<RecordSink> {
  if (options.threads === 1 || isToStdout(options)) return createSink(options, context)
  const { ThreadedSink } = await import('../convert/threaded-sink.ts')
  return new ThreadedSink(options, context)
}

function isToStdout(options: ConvertOptions): boolean {
  return options.out === undefined && options.bucket === undefined
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
  const isRecordsThere = context.stdoutIsTerminal && isToStdout(options)
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
    context.stderr.write(`${LINE_START}${share}  ${converter.packets} packets  ${rate} M/s`)
  }
}

function summaryText(it: Summary): string {
  const lines = [
    `${counted(it.packets, 'packet')}, ${it.ipPackets} of them IP, ${counted(it.octets, 'octet')}`,
    `${counted(it.flows, 'flow')} in ${counted(it.windows, 'window')}, ${counted(it.records, 'record')}`,
  ]
  const count = (packets: number | bigint, what: string): void => {
    if (BigInt(packets) > 0n) lines.push(`${counted(packets, 'packet')} ${what}`)
  }
  count(it.rejectedPackets, 'rejected')
  count(
    it.outsidePackets,
    'of them before the first that came out, or after the last: nothing may have been captured then',
  )
  count(it.notIpPackets, 'not IP: in no record')
  count(it.skippedPackets, `of ${counted(it.skippedOctets, 'octet')} skipped: in SKIPDATA records`)
  count(it.cutPackets, 'cut short by the capture: counted with the length on the wire')
  count(it.undirectedPackets, 'of which the capture does not tell the direction: taken as INGRESS')
  count(it.unmatchedAfter, 'came out that had not gone in')
  if (it.unmatchedAfter > 0 && it.matchedAfter === 0) {
    lines.push(
      'nothing that came out had gone in: are addresses translated, or the captures of different times?',
    )
  }
  count(it.unsurePackets, 'refused while more came out than is remembered: some may have come out')
  return lines.map((line) => `${line}\n`).join('') + damageLines(it)
}

/** What could not be read, a line each. */
function damageLines(it: Summary): string {
  const [head, tail] = isNothingRead(it) ? ['weir convert: ', ''] : ['', '; what came before it was read']
  return [
    ...it.refused.map(({ name, reason }) => (reason.startsWith(name) ? reason : `${name}: ${reason}`)),
    ...it.unsupported.map(({ name, link, packets }) => {
      return `${name}: ${counted(packets, 'packet')} of ${link}: in no record (${METERED_LINKS})`
    }),
    ...it.faults.map(({ name, fault }) => `${name}: ${fault}${tail}`),
  ]
    .map((line) => `${head}${line}\n`)
    .join('')
}

function isNothingRead(it: Summary): boolean {
  const isMetered = it.packets > it.unsupportedPackets
  return !isMetered && it.refused.length + it.unsupported.length + it.faults.length > 0
}

function bigintAsText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value
}
