import type { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { type ByteSource, openFile, openStream } from '../../capture/pcap/byte-source.ts'
import { FIELD_NAMES } from '../../encode/record.ts'
import { readRecords } from '../../encode/record-stream.ts'
import { WeirError } from '../../model/errors.ts'
import { type Command, ExitCode } from '../command.ts'
import { parseCount } from '../options.ts'
import { counted } from '../table.ts'

const CHUNK_SIZE = 1 << 18
const SHOWN_MAX_DEFAULT = '20'

export const validate: Command = {
  usage: 'weir validate [--lenient] [--json] [--max N] FILE… | -',
  help: `options:
  --lenient   accept records of other writers too: further spaces and fields, '-' in more places
  --json      one JSON object per fault
  --max N     show at most N faults of a file (default ${SHOWN_MAX_DEFAULT}); all are counted

Reads text, plain or compressed with gzip or Zstandard; - is standard input. Exit status: 1 when a file has a fault or
cannot be read; all files are looked at.
`,
  async run(args, { stdin, stdout, stderr, signal }) {
    const { values, positionals } = parseArgs({
      args,
      options: {
        lenient: { type: 'boolean' },
        json: { type: 'boolean' },
        max: { type: 'string', default: SHOWN_MAX_DEFAULT },
      },
      allowPositionals: true,
    })
    if (positionals.length === 0) {
      throw new WeirError('WEIR_USAGE', "no flow log given; '-' is standard input")
    }
    const shownMax = parseCount('max', values.max, { min: 0, max: Number.MAX_SAFE_INTEGER })
    const isStrict = values.lenient !== true
    let faults = 0
    for (const file of positionals) {
      let faultsHere = 0
      const onFault = ({ line, field, reason }: FaultAt): void => {
        if (++faultsHere > shownMax) return
        const place = [
          reason.startsWith(file) ? '' : placeOf(file, line),
          field === undefined ? '' : `${field}: `,
        ]
        stdout.write(
          `${values.json ? JSON.stringify({ file, line, field, reason }) : place.join('') + reason}\n`,
        )
      }
      const records = await check(file, { stdin, signal, strict: isStrict }, onFault)
      stderr.write(`${file}: ${counted(records, 'record')}, ${counted(faultsHere, 'fault')}\n`)
      faults += faultsHere
    }
    return faults > 0 ? ExitCode.failed : ExitCode.ok
  },
}

function placeOf(file: string, line: number | undefined): string {
  return line === undefined ? `${file}: ` : `${file}:${line}: `
}

/** Without a line: the file cannot be read. */
interface FaultAt {
  line?: number
  field?: string | undefined
  reason: string
}

/** Returns how many records the file has. */
async function check(
  file: string,
  { stdin, signal, strict }: { stdin: Readable; signal: AbortSignal; strict: boolean },
  onFault: (fault: FaultAt) => void,
): Promise<number> {
  let source: ByteSource
  try {
    source = file === '-' ? openStream(stdin) : openFile(file)
  } catch (error) {
    if (!(error instanceof WeirError)) throw error
    onFault({ reason: error.message })
    return 0
  }
  const stop = (): void => source.close() // A pipe may be waited for.
  signal.addEventListener('abort', stop, { once: true })
  let records = 0
  let line = 0
  try {
    for await (const it of readRecords(chunks(source, signal), { strict })) {
      line = it.line
      if (it.kind === 'record') records++
      else onFault({ line, field: FIELD_NAMES[it.fault.field - 1], reason: it.fault.reason })
    }
  } finally {
    signal.removeEventListener('abort', stop)
    source.close()
  }
  if (source.fault !== undefined) onFault({ ...(line > 0 && { line }), reason: source.fault })
  return records
}

async function* chunks(source: ByteSource, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (;;) {
    await setImmediate() // Files are read without waiting: signals, and a pipe that is closed, get their turn here.
    const chunk = new Uint8Array(CHUNK_SIZE)
    const size = await source.read(chunk, 0, CHUNK_SIZE)
    signal.throwIfAborted()
    if (size === 0) return
    yield chunk.subarray(0, size)
  }
}
