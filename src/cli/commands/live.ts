import { parseArgs } from 'node:util'
import { type Answer, type Dimension, METRICS, type Metric, type TopRow } from '../../explore/question.ts'
import { protocolName } from '../../explore/well-known.ts'
import { WeirError } from '../../model/errors.ts'
import { pause } from '../../stdx/wait.ts'
import { type ApiClient, connect, SERVER_HELP, SERVER_OPTIONS } from '../api-client.ts'
import { formatRate, named, timeText } from '../ask.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { parseCount } from '../options.ts'
import { type Column, formatBytes, printable, printTable } from '../table.ts'

const FLOW: Dimension[] = ['action', 'protocol', 'srcaddr', 'srcport', 'dstaddr', 'dstport']
/** Rates are over so long a time: agents tell every few seconds, and not in step with us. */
const RATE_SPAN_MS = 10_000

export const live: Command = {
  usage: 'weir live [NIC] [--filter FILTER] [--by METRIC] [--limit N] [--since TIME] [--every S] [--once]',
  help: `  NIC               only this one: name, device or UUID
  --filter FILTER   such as 'src in 10.0.0.0/8 and action = reject'; docs/queries.md has all of it
  --by METRIC       what is largest comes first: bytes, packets or flows (default bytes)
  --limit N         how many flows (default 20)
  --since TIME      with what was delivered since then (default 15m)
  --every S         seconds between two looks (default 2)
  --once            one look and no more
${SERVER_HELP}

On a terminal the table is painted anew each time, until Ctrl-C. In a pipe, or with --json, each look is one line of JSON:
the answer to the question (docs/reference/explore.md).`,
  async run(args, context) {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        ...SERVER_OPTIONS,
        filter: { type: 'string' },
        by: { type: 'string', default: 'bytes' },
        limit: { type: 'string', default: '20' },
        since: { type: 'string', default: '15m' },
        every: { type: 'string', default: '2' },
        once: { type: 'boolean', default: false },
      },
    })
    if (positionals.length > 1) throw new WeirError('WEIR_USAGE', 'live takes one NIC')
    const metric = METRICS.find((it) => it === values.by)
    if (metric === undefined) {
      throw new WeirError('WEIR_USAGE', `--by '${values.by}' is not one of ${METRICS.join(', ')}`)
    }
    const limit = parseCount('limit', values.limit, { min: 1, max: 1_000 })
    const everyS = parseCount('every', values.every, { min: 1, max: 3_600 })
    const api = connect(values, context)
    const filter = await filterOf(api, positionals[0], values.filter)
    const question = { kind: 'top', live: true, since: values.since, by: FLOW, metric, limit, ...filter }
    const isTable = values.json !== true && (context.stdoutIsTerminal || values.once)
    const screen = new Screen(context, metric, { isPaintedAnew: !values.once })
    while (!context.signal.aborted) {
      const answer = await look(api, question, context.signal)
      if (answer === undefined) break
      if (isTable) screen.show(answer)
      else context.stdout.write(`${JSON.stringify(answer)}\n`)
      if (values.once) break
      await pause(everyS * 1000, context.signal)
    }
    return ExitCode.ok
  },
}

async function filterOf(
  api: ApiClient,
  nic: string | undefined,
  filter: string | undefined,
): Promise<{ filter?: string }> {
  const parts = [
    ...(nic === undefined ? [] : [`interface = ${(await api.nic(nic)).nic.id}`]),
    ...(filter === undefined || filter.trim() === '' ? [] : [`(${filter})`]),
  ]
  return parts.length === 0 ? {} : { filter: parts.join(' and ') }
}

/** Undefined when the user has ended it meanwhile. */
async function look(
  api: ApiClient,
  question: object,
  signal: AbortSignal,
): Promise<Answer<'top'> | undefined> {
  try {
    return await api.post<Answer<'top'>>('/weir/v1/explore', question)
  } catch (error) {
    if (signal.aborted) return undefined
    throw error
  }
}

interface Look {
  atMs: number
  bytes: Map<string, number>
}

/** A table that is painted again and again, and knows from before how fast things grow. */
class Screen {
  readonly #context: CommandContext
  readonly #metric: Metric
  readonly #isPaintedAnew: boolean
  readonly #looks: Look[] = []

  constructor(context: CommandContext, metric: Metric, options: { isPaintedAnew: boolean }) {
    this.#context = context
    this.#metric = metric
    this.#isPaintedAnew = options.isPaintedAnew
  }

  show(answer: Answer<'top'>): void {
    const { stdout, stdoutIsTerminal } = this.#context
    const atMs = performance.now()
    this.#looks.push({ atMs, bytes: new Map(answer.result.rows.map((row) => [keyOf(row), row.bytes])) })
    while (this.#looks.length > 2 && atMs - this.#looks[1]!.atMs >= RATE_SPAN_MS) this.#looks.shift()
    if (this.#isPaintedAnew) stdout.write('\u001b[H\u001b[2J')
    for (const line of headOf(answer)) stdout.write(`${printable(line)}\n`)
    stdout.write('\n')
    printTable(stdout, this.#columns(answer), answer.result.rows, { colours: stdoutIsTerminal })
    const { rest, count, rows } = answer.result
    if (rest.flows > 0) {
      const sum = this.#metric === 'packets' ? `${rest.packets} packets` : formatBytes(rest.bytes)
      stdout.write(`and ${count - rows.length} more, ${sum}\n`)
    }
  }

  #columns(answer: Answer<'top'>): Column<TopRow>[] {
    const end = (row: TopRow, side: 'src' | 'dst'): string => {
      const address = named(answer, row.key[`${side}addr`])
      const port = row.key[`${side}port`]
      if (!port) return address
      return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
    }
    return [
      {
        title: 'ACTION',
        value: ({ key }) => String(key.action ?? '-'),
        colour: ({ key }) => (key.action === 'REJECT' ? '31' : '32'),
      },
      {
        title: 'PROTO',
        value: ({ key }) => (key.protocol == null ? '-' : protocolName(Number(key.protocol)).toUpperCase()),
      },
      { title: 'SOURCE', value: (row) => end(row, 'src') },
      { title: 'DESTINATION', value: (row) => end(row, 'dst') },
      { title: 'PACKETS', value: (row) => String(row.packets), align: 'right' },
      { title: 'BYTES', value: (row) => formatBytes(row.bytes), align: 'right' },
      { title: 'RATE', value: (row) => this.#rate(row), align: 'right' },
      { title: 'LAST', value: (row) => timeText(row.lastS).slice(11) },
    ]
  }

  #rate(row: TopRow): string {
    const [first] = this.#looks
    const last = this.#looks.at(-1)!
    const before = first?.bytes.get(keyOf(row))
    if (first === undefined || first === last || before === undefined) return '-'
    return formatRate(Math.max(0, row.bytes - before) / ((last.atMs - first.atMs) / 1000))
  }
}

function keyOf({ key }: TopRow): string {
  return FLOW.map((dimension) => key[dimension]).join(' ')
}

/** How fresh it is, how much there is, and what is missing. */
function headOf(answer: Answer<'top'>): string[] {
  const { totals, range, live } = answer
  const lines = [
    `${totals.flows} flow records, ${formatBytes(totals.bytes)} in ${totals.packets} packets since ${timeText(range.sinceS)} UTC; refused: ${totals.rejected.flows}`,
  ]
  if (live === undefined) return lines
  const asOf = live.ageS === null ? '' : `, as of ${timeText(Math.round(range.untilS - live.ageS)).slice(11)}`
  lines.unshift(`live from ${live.answering} of ${live.flowLogs} flow logs${asOf}`)
  for (const { interface: id, reason, host } of live.silent) {
    lines.push(`not live: ${named(answer, id)}: ${reason}${host === undefined ? '' : ` (${host})`}`)
  }
  if (live.underway.windows > 0) lines.push(`not shown yet: ${live.underway.windows} windows on their way`)
  if (live.left.flows > 0) {
    lines.push(`not shown: ${live.left.flows} smaller flows, ${formatBytes(live.left.bytes)}`)
  }
  return lines
}
