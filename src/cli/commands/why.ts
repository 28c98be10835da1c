import { parseArgs } from 'node:util'
import type { Answer, Tally } from '../../explore/question.ts'
import { portNumber, protocolNumber } from '../../explore/well-known.ts'
import { WeirError } from '../../model/errors.ts'
import { askOnce, named, timeText } from '../ask.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { EXPLORE_HELP, EXPLORE_OPTIONS } from '../explore.ts'
import { formatBytes, printTable } from '../table.ts'

export const why: Command = {
  usage: 'weir why SRC DST [PORT] [--since TIME] [--protocol P]',
  help: `  SRC, DST          an address, a network such as 10.0.0.0/8, or any
  PORT              destination port: 443, https, tcp/443
  --protocol P      tcp, udp, icmp or a number (default: all)
  --json            print the whole answer as JSON
${EXPLORE_HELP}
Without --since: the last 7 days. Exit code 1 when it was refused last.`,
  async run(args, context) {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { ...EXPLORE_OPTIONS, protocol: { type: 'string' } },
    })
    const [src, dst, service, ...excess] = positionals
    if (src === undefined || dst === undefined || excess.length > 0) {
      throw new WeirError('WEIR_USAGE', 'say a source, a destination and, if you like, a port')
    }
    const answer = await askOnce(
      {
        kind: 'reach' as const,
        since: values.since ?? '7d',
        ...(values.until === undefined ? {} : { until: values.until }),
        src,
        dst,
        ...serviceOf(service, values.protocol),
      },
      values,
      context,
    )
    if (values.json) context.stdout.write(`${JSON.stringify(answer)}\n`)
    else print(answer, context)
    const { changes } = answer.result
    return changes.at(-1)?.action === 'REJECT' ? ExitCode.failed : ExitCode.ok
  },
}

function serviceOf(
  text: string | undefined,
  protocolText: string | undefined,
): { port?: number; protocol?: number } {
  const [first, second] = text?.split('/') ?? []
  const name = protocolText ?? (second === undefined ? undefined : first)
  const portText = second ?? first
  const port = portText === undefined ? undefined : portNumber(portText)
  const protocol = name === undefined ? undefined : protocolNumber(name)
  if (portText !== undefined && port === undefined)
    throw new WeirError('WEIR_USAGE', `'${text}' is not a port`)
  if (name !== undefined && protocol === undefined)
    throw new WeirError('WEIR_USAGE', `'${name}' is not a protocol`)
  return { ...(port === undefined ? {} : { port }), ...(protocol === undefined ? {} : { protocol }) }
}

function print(answer: Answer<'reach'>, context: CommandContext): void {
  const { sentence, interfaces, answered, changes } = answer.result
  context.stdout.write(`${sentence}\n`)
  const rows = interfaces.flatMap(({ interface: id, accepted, refused }) => [
    ...(accepted.flows > 0 ? [{ verdict: 'ACCEPT', at: named(answer, id), tally: accepted }] : []),
    ...(refused.flows > 0 ? [{ verdict: 'REJECT', at: named(answer, id), tally: refused }] : []),
  ])
  if (answered.flows > 0) rows.push({ verdict: 'ANSWER', at: 'the way back', tally: answered })
  if (rows.length === 0) return
  context.stdout.write('\n')
  type Shown = { verdict: string; at: string; tally: Tally }
  printTable<Shown>(
    context.stdout,
    [
      {
        title: 'VERDICT',
        value: (it) => it.verdict,
        colour: (it) => (it.verdict === 'REJECT' ? '31' : '32'),
      },
      { title: 'SEEN AT', value: (it) => it.at },
      { title: 'FLOWS', value: (it) => String(it.tally.flows), align: 'right' },
      { title: 'PACKETS', value: (it) => String(it.tally.packets), align: 'right' },
      { title: 'BYTES', value: (it) => formatBytes(it.tally.bytes), align: 'right' },
      { title: 'FIRST', value: (it) => timeText(it.tally.firstS) },
      { title: 'LAST', value: (it) => timeText(it.tally.lastS) },
    ],
    rows,
    { colours: context.stdoutIsTerminal },
  )
  if (changes.length < 2) return
  const turns = changes.slice(-5).map(({ atS, action }) => `${timeText(atS)} ${action}`)
  context.stdout.write(`\nthe verdict turned: ${changes.length > 5 ? '… ' : ''}${turns.join(', ')}\n`)
}
