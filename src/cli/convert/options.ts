import { parseArgs } from 'node:util'
import type { S3Options } from '../../buckets/s3/s3-store.ts'
import { ACCOUNT_SIZE_MAX, INTERFACE_SIZE_MAX, isRecordField } from '../../encode/record-text.ts'
import { FLOWS_MAX_LIMIT } from '../../meter/kernel.ts'
import { WeirError } from '../../model/errors.ts'
import { ACTIONS, type Action, DIRECTIONS, type Direction, parseDestination } from '../../model/flow-log.ts'
import { parseS3, S3_HELP, S3_OPTIONS } from '../s3-options.ts'
import { type LocalAddresses, parseLocal } from './local-addresses.ts'

export type Format = 'text' | 'json' | 'csv'

export interface ConvertOptions {
  files: string[]
  before: string | undefined
  after: string | undefined
  /** Undefined, without a bucket: standard output. */
  out: string | undefined
  prefix: string | undefined
  bucket: string | undefined
  dataDir: string | undefined
  /** The object store of `bucket`; undefined for the embedded one. */
  s3: S3Options | undefined
  format: Format
  codec: 'fused' | 'zlib'
  level: number
  kernel: 'wasm' | 'plain'
  threads: number
  accountId: string
  interfaceId: string
  windowSizeS: number
  lateS: number
  flowsMax: number
  action: Action
  direction: Direction
  local: LocalAddresses
  quiet: boolean
  json: boolean
}

export const CONVERT_HELP = `options:
  -o, --out PATH          a file (gzip where the name ends in .gz), or a directory when it exists or --prefix is given
      --prefix P          objects as in a bucket: PATH/P-<window start>.log.gz; nothing is overwritten
      --bucket NAME[/P]   objects in a bucket: of the embedded store (--data-dir), or of --s3-endpoint
      --format F          text (default), json (one object per line) or csv
      --account N         the record's account-id (default 0)
      --interface-id ID   the record's interface-id (default: the nil UUID)
      --window SECONDS    window size, a divisor of 3600 (default 600)
      --late SECONDS      how long a window waits for packets out of order (default 2); less than a window
      --local ADDRESS     what is local: an IP address, a CIDR block or a MAC address; may be repeated
      --direction D       INGRESS, EGRESS or BIDIRECTIONAL (default); relative to --local, or as the capture says
                          (pcapng flags, Linux cooked)
      --action A          ACCEPTED, REJECTED or ALL (default)
      --before FILE --after FILE
                          captures on both sides of a firewall: what goes in and does not come out is REJECT
      --flows-max N       flows in one window; what is beyond becomes a SKIPDATA record (default 4194302)
      --codec C           gzip by 'fused' (default) or 'zlib'; --level 1-9 is zlib's
      --kernel K          metering loop: 'wasm' (default) or 'plain' (TypeScript)
      --threads N         2: files are encoded and written by a second thread, which costs 50 MB and saves hardly any
                          time (default 1)
      --json              the summary on stderr as JSON
  -q, --quiet             no summary, no progress
${S3_HELP}

Reads pcap and pcapng, plain or compressed with gzip or Zstandard; - is standard input.
Exit status: 0 also when a capture was damaged (see the summary), 2 when nothing could be read.
`

const NIL_UUID = '00000000-0000-0000-0000-000000000000'

const OPTIONS = {
  out: { type: 'string', short: 'o' },
  prefix: { type: 'string' },
  bucket: { type: 'string' },
  'data-dir': { type: 'string' },
  ...S3_OPTIONS,
  format: { type: 'string', default: 'text' },
  account: { type: 'string', default: '0' },
  'interface-id': { type: 'string', default: NIL_UUID },
  window: { type: 'string', default: '600' },
  late: { type: 'string', default: '2' },
  local: { type: 'string', multiple: true },
  direction: { type: 'string', default: 'BIDIRECTIONAL' },
  action: { type: 'string', default: 'ALL' },
  before: { type: 'string' },
  after: { type: 'string' },
  'flows-max': { type: 'string', default: String(FLOWS_MAX_LIMIT) },
  codec: { type: 'string', default: 'fused' },
  level: { type: 'string', default: '1' },
  kernel: { type: 'string', default: 'wasm' },
  threads: { type: 'string', default: '1' },
  json: { type: 'boolean', default: false },
  quiet: { type: 'boolean', short: 'q', default: false },
} as const

export function readOptions(args: string[], env: Record<string, string | undefined> = {}): ConvertOptions {
  const { values, positionals } = parseArgs({ args, options: OPTIONS, allowPositionals: true })
  const options: ConvertOptions = {
    files: positionals,
    before: values.before,
    after: values.after,
    out: values.out === '-' ? undefined : values.out,
    prefix: values.prefix,
    bucket: values.bucket,
    dataDir: values['data-dir'],
    s3: parseS3(values, env),
    format: oneOf('format', values.format, ['text', 'json', 'csv']),
    codec: oneOf('codec', values.codec, ['fused', 'zlib']),
    level: integer('level', values.level, 1, 9),
    kernel: oneOf('kernel', values.kernel, ['wasm', 'plain']),
    threads: integer('threads', values.threads, 1, 2),
    accountId: field('account', values.account, ACCOUNT_SIZE_MAX),
    interfaceId: field('interface-id', values['interface-id'], INTERFACE_SIZE_MAX),
    windowSizeS: integer('window', values.window, 1, 3600),
    lateS: integer('late', values.late, 0, 3600),
    flowsMax: integer('flows-max', values['flows-max'], 1, FLOWS_MAX_LIMIT),
    action: oneOf('action', values.action.toUpperCase(), ACTIONS),
    direction: oneOf('direction', values.direction.toUpperCase(), DIRECTIONS),
    local: parseLocal(values.local ?? []),
    quiet: values.quiet,
    json: values.json,
  }
  checkTogether(options)
  return options
}

function checkTogether(it: ConvertOptions): void {
  if ((it.before === undefined) !== (it.after === undefined)) throw usage('--before and --after go together')
  if (it.before !== undefined && it.files.length > 0)
    throw usage('--before and --after are the only captures then')
  if (it.before === undefined && it.files.length === 0) throw usage("no capture given; '-' is standard input")
  if ([...it.files, it.before, it.after].filter((file) => file === '-').length > 1)
    throw usage('standard input can be read once')
  if (3600 % it.windowSizeS !== 0) throw usage(`--window ${it.windowSizeS} is not a divisor of 3600`)
  if (it.bucket !== undefined && (it.out !== undefined || it.prefix !== undefined)) {
    throw usage('--bucket says where the objects go: no --out, no --prefix with it')
  }
  if (it.s3 !== undefined && it.bucket === undefined) throw usage('--s3-endpoint needs --bucket')
  const isObjects = it.bucket !== undefined || it.prefix !== undefined
  if (isObjects && it.format !== 'text') throw usage('objects of a bucket are text')
  if (it.prefix !== undefined && it.out === undefined) throw usage('--prefix needs --out DIRECTORY')
  if (!isObjects) return
  const parsed = parseDestination(it.bucket ?? `bucket/${it.prefix}`)
  if ('reason' in parsed) throw usage(parsed.reason)
}

function oneOf<Word extends string>(name: string, value: string, words: readonly Word[]): Word {
  const word = words.find((it) => it === value)
  if (word === undefined) throw usage(`--${name} is one of ${words.join(', ')}, not '${value}'`)
  return word
}

function integer(name: string, text: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= min && value <= max))
    throw usage(`--${name} is a whole number from ${min} to ${max}, not '${text}'`)
  return value
}

function field(name: string, text: string, sizeMax: number): string {
  if (isRecordField(text, sizeMax)) return text
  const rule = `1 to ${sizeMax} printable ASCII characters without spaces, and not '-'`
  throw usage(`--${name} '${text}' cannot stand in a record: ${rule}`)
}

function usage(message: string): WeirError {
  return new WeirError('WEIR_USAGE', message)
}
