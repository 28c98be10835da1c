import { parseArgs } from 'node:util'
import { WeirError } from '../../model/errors.ts'
import { connect, SERVER_HELP, SERVER_OPTIONS } from '../api-client.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { printTable } from '../table.ts'

export const bucket: Command = {
  usage: 'weir bucket list\nweir bucket create NAME',
  summary: 'List and create buckets of the embedded store',
  help: SERVER_HELP,
  async run(args, context) {
    const [verb, ...rest] = args
    if (verb === 'list') return list(rest, context)
    if (verb === 'create') return create(rest, context)
    throw new WeirError('WEIR_USAGE', `expected list or create, not '${verb ?? ''}'`)
  },
}

interface Bucket {
  name: string
}

async function list(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values } = parseArgs({ args, options: SERVER_OPTIONS })
  const { items } = await connect(values, context).get<{ items: Bucket[] }>('/weir/v1/buckets')
  if (values.json) context.stdout.write(`${JSON.stringify(items)}\n`)
  else if (items.length === 0) context.stderr.write('no buckets\n')
  else {
    const columns = [{ title: 'BUCKET', value: (it: Bucket) => it.name }]
    printTable(context.stdout, columns, items, { colours: context.stdoutIsTerminal })
  }
  return ExitCode.ok
}

async function create(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseArgs({ args, options: SERVER_OPTIONS, allowPositionals: true })
  const [name, ...others] = positionals
  if (name === undefined || others.length > 0)
    throw new WeirError('WEIR_USAGE', 'create takes one bucket name')
  const created = await connect(values, context).post<Bucket>('/weir/v1/buckets', { name })
  context.stdout.write(values.json ? `${JSON.stringify(created)}\n` : `${created.name}\n`)
  return ExitCode.ok
}
