import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { ENGINES, type Engine, explainFor, withNetworks } from '../../explore/dialects.ts'
import { Session } from '../../explore/duckdb.ts'
import type { Access } from '../../explore/explorer.ts'
import { flowsSelect, literal, withDerived } from '../../explore/flows-view.ts'
import type { TimeRange } from '../../explore/object-name.ts'
import { parseTimeRange } from '../../explore/time-range.ts'
import { WeirError } from '../../model/errors.ts'
import { systemClock } from '../../stdx/clock.ts'
import { asUsage } from '../ask.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import {
  EXPLORE_HELP,
  EXPLORE_OPTIONS,
  type Exploring,
  isDirectory,
  openExploring,
  showReading,
  warnOfGaps,
} from '../explore.ts'
import { type Format, formatOf, writeRows } from '../explore-output.ts'
import { ProgressLine } from '../progress-line.ts'

const PROGRESS_INTERVAL_MS = 200

export const query: Command = {
  usage: `weir query 'SELECT …' [--from SOURCE] [--since TIME] [--until TIME] [--format table|csv|json|parquet]
weir query --file FILE …
weir query 'SELECT …' --explain-for clickhouse|trino|athena`,
  help: `  --file FILE, -f   read the query from a file
  --format F        table (default), csv, json (one object per line) or parquet
  --output FILE     write there instead of to stdout; parquet needs it
  --json            the same as --format json
  --explain-for E   print the table's definition and the same query for clickhouse, trino or athena
${EXPLORE_HELP}
Columns of flows: srcaddr dstaddr srcport dstport protocol protocol_name service packets bytes start_time end_time
start_s end_s action log_status interface_id interface server datacenter account_id object window_start, and
src_key dst_key pair_hash of both addresses (docs/queries.md).
in_network(srcaddr, '10.0.0.0/8') asks whether srcaddr (or dstaddr) lies in a network.`,
  async run(args, context) {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        ...EXPLORE_OPTIONS,
        file: { type: 'string', short: 'f' },
        format: { type: 'string' },
        output: { type: 'string' },
        'explain-for': { type: 'string' },
      },
    })
    const sql = sqlOf(positionals, values.file)
    const format = formatOf(values.format, values.json)
    if (format === 'parquet' && values.output === undefined) {
      throw new WeirError('WEIR_USAGE', '--format parquet needs --output FILE')
    }
    const engine = engineOf(values['explain-for'])
    const range = rangeOf(values)
    if (engine !== undefined) return explain(engine, { sql, range, sources: values.from ?? [] }, context)
    await using exploring = await openExploring(values, context)
    await run(exploring, { sql: networksOf(sql), format, range, output: values.output }, context)
    return ExitCode.ok
  },
}

function sqlOf(positionals: string[], file: string | undefined): string {
  if (positionals.length + (file === undefined ? 0 : 1) !== 1) {
    throw new WeirError('WEIR_USAGE', 'say one SQL query, in quotes, or --file')
  }
  if (file === undefined) return positionals[0]!
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new WeirError(
      'WEIR_USAGE',
      `--file ${file} cannot be read: ${(cause as NodeJS.ErrnoException).code}`,
      { cause },
    )
  }
}

function rangeOf({
  since,
  until,
}: {
  since?: string | undefined
  until?: string | undefined
}): TimeRange | undefined {
  if (since === undefined && until === undefined) return undefined
  try {
    return parseTimeRange(since ?? '1970-01-01', until, systemClock.nowMs())
  } catch (error) {
    throw asUsage(error)
  }
}

function networksOf(sql: string): string {
  try {
    return withNetworks(sql)
  } catch (error) {
    throw asUsage(error)
  }
}

function engineOf(text: string | undefined): Engine | undefined {
  const engine = ENGINES.find((it) => it === text)
  if (text !== undefined && engine === undefined) {
    throw new WeirError('WEIR_USAGE', `--explain-for '${text}' is not one of ${ENGINES.join(', ')}`)
  }
  return engine
}

function explain(
  engine: Engine,
  it: { sql: string; range: TimeRange | undefined; sources: string[] },
  context: CommandContext,
): ExitCode {
  // A directory of this machine is nowhere to other engines: its place is left to be filled in.
  const places = it.sources
    .filter((source) => !isDirectory(source))
    .map((source) => source.replace(/^s3:\/\//, ''))
    .map((source) => ({ bucket: source.split('/')[0]!, prefix: source.split('/').slice(1).join('/') }))
  context.stdout.write(explainFor(engine, it.sql, places, it.range))
  return ExitCode.ok
}

interface Run {
  sql: string
  format: Format
  range: TimeRange | undefined
  output: string | undefined
}

async function run(
  { explorer, database, access }: Exploring,
  it: Run,
  context: CommandContext,
): Promise<void> {
  const { signal } = context
  using progress = new ProgressLine(context)
  const prepared = await explorer.prepare(access.places, it.range, {
    signal,
    onProgress: showReading(progress),
  })
  using session = await Session.open(database, signal)
  await makeView(session, withDerived(flowsSelect(prepared.selection, it.range)), access)
  const timer = setInterval(() => {
    const { percentage } = session.connection.progress
    progress.write(percentage > 0 ? `asking  ${Math.round(percentage)} %` : 'asking')
  }, PROGRESS_INTERVAL_MS)
  try {
    await writeRows(session, it, { context, begin: () => progress[Symbol.dispose]() })
  } finally {
    clearInterval(timer)
    prepared.release()
  }
  progress[Symbol.dispose]()
  warnOfGaps(context, prepared.coverage, undefined)
}

/** `flows` as the console's questions see it, with the inventory's names. */
async function makeView(session: Session, select: string, { interfaces }: Access): Promise<void> {
  await session.run(
    'CREATE TEMP TABLE inventory(interface_id VARCHAR, interface VARCHAR, server VARCHAR, datacenter VARCHAR)',
  )
  await session.run('CREATE TEMP TABLE own_addresses(interface_id VARCHAR, address VARCHAR)')
  for (const { id, name, server, datacenter, addresses } of interfaces) {
    const names = [id, name, server ?? '', datacenter ?? ''].map(literal).join(', ')
    await session.run(`INSERT INTO inventory VALUES (${names})`)
    for (const address of addresses)
      await session.run(`INSERT INTO own_addresses VALUES (${literal(id)}, ${literal(address)})`)
  }
  const columns = '* EXCLUDE (window_s)' // Keys and hash stay: in_network and the SQL of answers need them.
  // Without an inventory there is nothing to join, and the columns are there all the same.
  const named =
    interfaces.length === 0
      ? `SELECT ${columns}, interface_id AS interface, NULL::VARCHAR AS server, NULL::VARCHAR AS datacenter
        FROM (${select})`
      : `SELECT records.${columns}, coalesce(inventory.interface, records.interface_id) AS interface, server, datacenter
          FROM (${select}) records LEFT JOIN inventory USING (interface_id)`
  await session.run(`CREATE TEMP VIEW flows AS ${named}`)
}
