import { parseArgs } from 'node:util'
import { WeirError } from '../../model/errors.ts'
import { connect, SERVER_HELP, SERVER_OPTIONS } from '../api-client.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { S3_HELP } from '../s3-options.ts'
import { printTable } from '../table.ts'
import { grantHelp } from './bucket-grant-help.ts'
import { lifecycle } from './bucket-lifecycle.ts'

export const bucket: Command = {
  usage: `weir bucket list
weir bucket create NAME
weir bucket lifecycle show NAME
weir bucket lifecycle set NAME --prefix P --days N
weir bucket lifecycle clear NAME --prefix P
weir bucket grant-help NAME`,
  summary: 'List and create buckets, set how long objects are kept, show what a bucket must permit',
  help: `${SERVER_HELP}

'lifecycle' is about the embedded store's buckets, or with --s3-endpoint about a bucket of yours in an object store,
with your own keys:
${S3_HELP}`,
  async run(args, context) {
    const [verb, ...rest] = args
    if (verb === 'list') return list(rest, context)
    if (verb === 'create') return create(rest, context)
    if (verb === 'lifecycle') return lifecycle(rest, context)
    if (verb === 'grant-help') return grantHelp(rest, context)
    throw new WeirError('WEIR_USAGE', `expected list, create, lifecycle or grant-help, not '${verb ?? ''}'`)
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
