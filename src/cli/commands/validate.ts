import { parseArgs } from 'node:util'
import { openFile, openStream } from '../../capture/pcap/byte-source.ts'
import { FIELD_NAMES } from '../../encode/record.ts'
import { type RecordLine, readRecords } from '../../encode/record-stream.ts'
import { WeirError } from '../../model/errors.ts'
import { type Command, ExitCode } from '../command.ts'
import { parseCount } from '../options.ts'

const CHUNK_SIZE = 1 << 18
const SHOWN_MAX_DEFAULT = '20'

export const validate: Command = {
  usage: 'weir validate [--lenient] [--json] [--max N] FILE… | -',
  help: `options:
  --lenient   accept records of other writers too: further spaces and fields, '-' in more places
  --json      one JSON object per fault
  --max N     show at most N faults of a file (default ${SHOWN_MAX_DEFAULT}); all are counted

Reads text, plain or compressed with gzip or Zstandard; - is standard input.
`,
  async run(args, { stdin, stdout, stderr }) {
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
    let faults = 0
    for (const name of positionals) {
      const source = name === '-' ? openStream(stdin) : openFile(name)
      let records = 0
      let faultsHere = 0
      const show = (line: number, field: number, reason: string): void => {
        if (++faultsHere > shownMax) return
        const fieldName = field === 0 ? undefined : FIELD_NAMES[field - 1]
        if (values.json) stdout.write(`${JSON.stringify({ file: name, line, field: fieldName, reason })}\n`)
        else stdout.write(`${name}:${line}: ${fieldName === undefined ? '' : `${fieldName}: `}${reason}\n`)
      }
      let line = 0
      for await (const it of lines(source, values.lenient !== true)) {
        line = it.line
        if (it.kind === 'record') records++
        else show(it.line, it.fault.field, it.fault.reason)
      }
      if (source.fault !== undefined) show(line, 0, source.fault)
      stderr.write(`${name}: ${records} records, ${faultsHere} faults\n`)
      faults += faultsHere
      source.close()
    }
    return faults > 0 ? ExitCode.failed : ExitCode.ok
  },
}

async function* lines(source: ReturnType<typeof openFile>, strict: boolean): AsyncGenerator<RecordLine> {
  yield* readRecords(chunks(source), { strict })
}

async function* chunks(source: ReturnType<typeof openFile>): AsyncGenerator<Uint8Array> {
  for (;;) {
    const chunk = new Uint8Array(CHUNK_SIZE)
    const size = await source.read(chunk, 0, CHUNK_SIZE)
    if (size === 0) return
    yield chunk.subarray(0, size)
  }
}
