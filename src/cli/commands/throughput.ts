import { parseArgs } from 'node:util'
import type { Answer, ThroughputRow } from '../../explore/question.ts'
import { parseSpan } from '../../explore/time-range.ts'
import { WeirError } from '../../model/errors.ts'
import { askOnce, formatRate, named, timeText } from '../ask.ts'
import { type Command, ExitCode } from '../command.ts'
import { EXPLORE_HELP, EXPLORE_OPTIONS } from '../explore.ts'
import { type Column, formatBytes, printTable } from '../table.ts'

export const throughput: Command = {
  usage: 'weir throughput [--since TIME] [--filter FILTER] [--step LENGTH]',
  help: `  --filter FILTER   such as 'interface = eth0'; docs/queries.md has all of it
  --step LENGTH     rates are over steps of this length, such as 5m (default: fits the range)
  --json            print the whole answer as JSON
${EXPLORE_HELP}
Without --since: the last 24 hours. A record that spans several steps is spread evenly over its seconds.`,
  async run(args, context) {
    const { values } = parseArgs({
      args,
      options: { ...EXPLORE_OPTIONS, filter: { type: 'string' }, step: { type: 'string' } },
    })
    const answer = await askOnce(
      {
        kind: 'throughput' as const,
        since: values.since ?? '24h',
        ...(values.until === undefined ? {} : { until: values.until }),
        ...(values.filter === undefined ? {} : { filter: values.filter }),
        ...(values.step === undefined ? {} : { stepS: stepOf(values.step) }),
      },
      values,
      context,
    )
    if (values.json) context.stdout.write(`${JSON.stringify(answer)}\n`)
    else
      printTable(context.stdout, columnsOf(answer), answer.result.rows, { colours: context.stdoutIsTerminal })
    return ExitCode.ok
  },
}

function stepOf(text: string): number {
  const seconds = parseSpan(text)
  if (seconds !== undefined && seconds > 0) return seconds
  throw new WeirError('WEIR_USAGE', `--step '${text}' is not a length such as 60s or 5m`)
}

function columnsOf(answer: Answer<'throughput'>): Column<ThroughputRow>[] {
  return [
    { title: 'INTERFACE', value: (it) => named(answer, it.interface) },
    { title: 'DIRECTION', value: (it) => it.direction ?? 'unknown' },
    { title: 'BYTES', value: (it) => formatBytes(it.bytes), align: 'right' },
    { title: 'MEAN', value: (it) => formatRate(it.avg), align: 'right' },
    { title: 'P50', value: (it) => formatRate(it.p50), align: 'right' },
    { title: 'P95', value: (it) => formatRate(it.p95), align: 'right' },
    { title: 'PEAK', value: (it) => formatRate(it.max), align: 'right' },
    { title: 'PEAK AT', value: (it) => timeText(it.maxAtS) },
  ]
}
