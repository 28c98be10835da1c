import { parseArgs } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { type FlowLogRecord, isFault, parseRecord } from '../../encode/record.ts'
import { protocolName } from '../../explore/well-known.ts'
import { WeirError } from '../../model/errors.ts'
import { pause } from '../../stdx/wait.ts'
import { type ApiClient, connect, SERVER_HELP, SERVER_OPTIONS } from '../api-client.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { parseCount } from '../options.ts'
import { recordJson } from '../record-json.ts'
import { type Column, formatBytes, printTable } from '../table.ts'

const POLL_INTERVAL_MS = 1_000
const OBJECTS_PAGE = 1_000

export const tail: Command = {
  usage: 'weir tail [--bucket BUCKET[/PREFIX]] [--lines N] [--follow]',
  help: `  --bucket B[/P]    only objects of this bucket (and prefix); default: all buckets
  --lines N         how many records (default 20)
  --follow, -f      go on with new objects until Ctrl-C
${SERVER_HELP}`,
  async run(args, context) {
    const { values } = parseArgs({
      args,
      options: {
        ...SERVER_OPTIONS,
        bucket: { type: 'string' },
        lines: { type: 'string', short: 'n', default: '20' },
        follow: { type: 'boolean', short: 'f', default: false },
      },
    })
    const lines = parseCount('lines', values.lines, { min: 0, max: 1_000_000 })
    const objects = new NewestObjects(connect(values, context), values.bucket)
    const show = printer(context, values.json === true)
    const found = await objects.newest(lines)
    show(found)
    if (found.length === 0 && !values.follow) context.stderr.write('no records yet\n')
    while (values.follow && !context.signal.aborted) {
      await pause(POLL_INTERVAL_MS, context.signal)
      if (!context.signal.aborted) show(await objects.added())
    }
    return ExitCode.ok
  },
}

interface StoredObject {
  bucket: string
  name: string
  size: number
  modifiedAt: string
}

interface ShownRecord extends FlowLogRecord {
  object: string
}

/** Reads the newest objects first, and no more of them than the wanted number of records takes. */
class NewestObjects {
  readonly #api: ApiClient
  readonly #wanted: string | undefined
  readonly #seen = new Set<string>()

  constructor(api: ApiClient, wanted: string | undefined) {
    this.#api = api
    this.#wanted = wanted
  }

  async newest(count: number): Promise<ShownRecord[]> {
    const objects = await this.#list()
    for (const object of objects) this.#seen.add(keyOf(object))
    const found: ShownRecord[] = []
    for (const object of objects.reverse()) {
      if (found.length >= count) break
      found.unshift(...(await this.#read(object)))
    }
    return count === 0 ? [] : found.slice(-count)
  }

  /** Records of objects that were not there the last time. */
  async added(): Promise<ShownRecord[]> {
    const fresh = (await this.#list()).filter((object) => !this.#seen.has(keyOf(object)))
    for (const object of fresh) this.#seen.add(keyOf(object))
    const records = await Promise.all(fresh.map((object) => this.#read(object)))
    return records.flat()
  }

  /** All objects, the oldest window first. */
  async #list(): Promise<StoredObject[]> {
    const slash = this.#wanted?.indexOf('/') ?? -1
    const bucket = slash < 0 ? this.#wanted : this.#wanted!.slice(0, slash)
    const prefix = slash < 0 ? '' : this.#wanted!.slice(slash + 1)
    const buckets = bucket === undefined ? await this.#buckets() : [bucket]
    const objects: StoredObject[] = []
    for (const name of buckets) {
      for (let after = ''; ; ) {
        const query = new URLSearchParams({ bucket: name, prefix, after, limit: String(OBJECTS_PAGE) })
        const { items } = await this.#api.get<{ items: StoredObject[] }>(`/weir/v1/objects?${query}`)
        objects.push(...items)
        if (items.length < OBJECTS_PAGE) break
        after = items[items.length - 1]!.name
      }
    }
    return objects.sort((a, b) => windowStartOf(a) - windowStartOf(b))
  }

  async #buckets(): Promise<string[]> {
    const { items } = await this.#api.get<{ items: { name: string }[] }>('/weir/v1/buckets')
    return items.map((it) => it.name)
  }

  async #read(object: StoredObject): Promise<ShownRecord[]> {
    const query = new URLSearchParams({ bucket: object.bucket, name: object.name })
    const bytes = await this.#api.bytes(`/weir/v1/objects/content?${query}`)
    let text: string
    try {
      text = gunzipSync(bytes).toString()
    } catch (cause) {
      throw new WeirError('WEIR_INVALID', `${keyOf(object)} is not a gzip object`, { cause })
    }
    return (
      text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => parseRecord(line))
        // 'weir validate' tells what is wrong with a line that is no record.
        .flatMap((record) => (isFault(record) ? [] : [{ ...record, object: keyOf(object) }]))
        .sort((a, b) => a.start - b.start)
    )
  }
}

const COLUMNS: Column<ShownRecord>[] = [
  { title: 'START', value: (it) => clockTime(it.start) },
  { title: 'END', value: (it) => clockTime(it.end) },
  {
    title: 'ACTION',
    value: (it) => it.action ?? it.logStatus,
    colour: (it) => (it.action === 'ACCEPT' ? '32' : '31'),
  },
  {
    title: 'PROTO',
    value: (it) => (it.protocol === undefined ? '-' : protocolName(it.protocol).toUpperCase()),
  },
  { title: 'SOURCE', value: (it) => endpoint(it.srcaddr, it.srcport) },
  { title: 'DESTINATION', value: (it) => endpoint(it.dstaddr, it.dstport) },
  { title: 'PACKETS', value: (it) => String(it.packets ?? '-'), align: 'right' },
  {
    title: 'BYTES',
    value: (it) => (it.bytes === undefined ? '-' : formatBytes(Number(it.bytes))),
    align: 'right',
  },
  { title: 'INTERFACE', value: (it) => it.object.replace(/^.*\//, '').replace(/-\d+\.log\.gz$/, '') },
]

/** Prints batches of records; titles only above the first. */
function printer(context: CommandContext, json: boolean): (records: ShownRecord[]) => void {
  let titles = true
  return (records) => {
    if (json) {
      for (const it of records) context.stdout.write(`${recordJson(it)}\n`)
    } else if (records.length > 0) {
      printTable(context.stdout, COLUMNS, records, { colours: context.stdoutIsTerminal, titles })
      titles = false
    }
  }
}

function keyOf({ bucket, name }: StoredObject): string {
  return `${bucket}/${name}`
}

function windowStartOf({ name }: StoredObject): number {
  return Number(/-(\d+)\.log\.gz$/.exec(name)?.[1] ?? 0)
}

function clockTime(seconds: number | undefined): string {
  return seconds === undefined ? '-' : new Date(seconds * 1000).toISOString().slice(11, 19)
}

function endpoint(address: string | undefined, port: number | undefined): string {
  if (address === undefined) return '-'
  if (!port) return address
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}
