import { parseArgs } from 'node:util'
import type { Answer, Dimension, Metric, TopRow } from '../../explore/question.ts'
import { METRICS } from '../../explore/question.ts'
import { portLabel, protocolName } from '../../explore/well-known.ts'
import { WeirError } from '../../model/errors.ts'
import { askOnce, named, timeText } from '../ask.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { EXPLORE_HELP, EXPLORE_OPTIONS } from '../explore.ts'
import { parseCount } from '../options.ts'
import { type Column, formatBytes, printTable } from '../table.ts'

interface Preset {
  by: Dimension[]
  metric: Metric
  filter?: string
}

const PRESETS: Record<string, Preset> = {
  talkers: { by: ['srcaddr'], metric: 'bytes' },
  ports: { by: ['protocol', 'dstport'], metric: 'bytes' },
  rejects: { by: ['srcaddr', 'protocol', 'dstport'], metric: 'flows', filter: 'action = reject' },
  pairs: { by: ['srcaddr', 'dstaddr'], metric: 'bytes' },
}
const SINCE_DEFAULT = '24h'

export const top: Command = {
  usage: 'weir top talkers|ports|rejects|pairs [--since TIME] [--filter FILTER] [--by METRIC] [--limit N]',
  help: `  --filter FILTER   such as 'src in 10.0.0.0/8 and dstport = 443'; docs/queries.md has all of it
  --by METRIC       bytes, packets or flows (default: bytes; flows for rejects)
  --limit N         how many rows (default 10)
  --json            print the whole answer as JSON
${EXPLORE_HELP}
Without --since: the last 24 hours.`,
  async run(args, context) {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        ...EXPLORE_OPTIONS,
        filter: { type: 'string' },
        by: { type: 'string' },
        limit: { type: 'string', default: '10' },
      },
    })
    const name = positionals[0] ?? ''
    const preset = Object.hasOwn(PRESETS, name) ? PRESETS[name] : undefined
    if (preset === undefined || positionals.length !== 1) {
      throw new WeirError('WEIR_USAGE', `say one of ${Object.keys(PRESETS).join(', ')}`)
    }
    const limit = parseCount('limit', values.limit, { min: 1, max: 1_000 })
    const metric = metricOf(values.by) ?? preset.metric
    const question = {
      kind: 'top' as const,
      since: values.since ?? SINCE_DEFAULT,
      ...(values.until === undefined ? {} : { until: values.until }),
      filter: both(preset.filter, values.filter),
      by: preset.by,
      metric,
      limit,
    }
    const answer = await askOnce(question, values, context)
    if (values.json) context.stdout.write(`${JSON.stringify(answer)}\n`)
    else print(answer, preset, context)
    return ExitCode.ok
  },
}

function metricOf(text: string | undefined): Metric | undefined {
  const metric = METRICS.find((it) => it === text)
  if (text === undefined || metric !== undefined) return metric
  throw new WeirError('WEIR_USAGE', `--by '${text}' is not one of ${METRICS.join(', ')}`)
}

/** Both must hold; each is an expression of its own. */
function both(a: string | undefined, b: string | undefined): string {
  const parts = [a, b].filter((it) => it !== undefined && it.trim() !== '')
  return parts.length === 2 ? `(${parts[0]}) and (${parts[1]})` : (parts[0] ?? '')
}

function print(answer: Answer<'top'>, { by }: Preset, context: CommandContext): void {
  const titles: Partial<Record<Dimension, string>> = {
    srcaddr: 'SOURCE',
    dstaddr: 'DESTINATION',
    protocol: 'PROTO',
    dstport: 'PORT',
  }
  const columns: Column<TopRow>[] = [
    ...by.map((dimension) => ({
      title: titles[dimension] ?? dimension.toUpperCase(),
      value: ({ key }: TopRow) => keyText(answer, dimension, key[dimension] ?? null),
    })),
    { title: 'FLOWS', value: (it) => String(it.flows), align: 'right' },
    {
      title: 'REJECTED',
      value: (it) => String(it.rejectedFlows),
      align: 'right',
      colour: (it) => (it.rejectedFlows > 0 ? '31' : undefined),
    },
    { title: 'PACKETS', value: (it) => String(it.packets), align: 'right' },
    { title: 'BYTES', value: (it) => formatBytes(it.bytes), align: 'right' },
    { title: 'SHARE', value: (it) => `${(it.share * 100).toFixed(1)} %`, align: 'right' },
    { title: 'FIRST', value: (it) => timeText(it.firstS) },
    { title: 'LAST', value: (it) => timeText(it.lastS) },
  ]
  const { rows, count, rest } = answer.result
  printTable(context.stdout, columns, rows, { colours: context.stdoutIsTerminal })
  const { flows, bytes } = answer.totals
  if (rest.flows > 0) {
    context.stderr.write(`and ${count - rows.length} more: ${rest.flows} flows, ${formatBytes(rest.bytes)}\n`)
  }
  context.stderr.write(
    `${flows} flows, ${formatBytes(bytes)} from ${timeText(answer.range.sinceS)} to ${timeText(answer.range.untilS)} UTC\n`,
  )
}

function keyText(answer: Answer<'top'>, dimension: Dimension, key: string | number | null): string {
  if (key === null) return '-'
  if (dimension === 'protocol') return protocolName(Number(key)).toUpperCase()
  return dimension === 'dstport' ? portLabel(Number(key)) : named(answer, key)
}
