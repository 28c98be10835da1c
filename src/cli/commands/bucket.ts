import { parseArgs } from 'node:util'
import { WeirError } from '../../model/errors.ts'
import { connect, SERVER_HELP, SERVER_OPTIONS } from '../api-client.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { S3_HELP } from '../s3-options.ts'
import { type Column, printTable } from '../table.ts'
import { grantHelp } from './bucket-grant-help.ts'
import { lifecycle } from './bucket-lifecycle.ts'

const REGISTRATIONS = '/weir/v1/registrations'

export const bucket: Command = {
  usage: `weir bucket list [--registered]
weir bucket create NAME
weir bucket register NAME --contract N
weir bucket unregister NAME
weir bucket retry NAME
weir bucket lifecycle show NAME
weir bucket lifecycle set NAME --prefix P --days N
weir bucket lifecycle clear NAME --prefix P
weir bucket grant-help NAME [--technical-user ID]`,
  help: `${SERVER_HELP}

As the operator: 'register' says whose bucket it is where the object store does not, 'list --registered' shows what was said.

'retry' has the agents deliver at once what waits for a bucket that is mended, instead of within five minutes.

'lifecycle' is about the embedded store's buckets, or with --s3-endpoint about a bucket of yours in an object store,
with your own keys:
${S3_HELP}

'grant-help' is for --technical-user ID, or for the user whose keys are given with --s3-endpoint.`,
  async run(args, context) {
    const [verb, ...rest] = args
    if (verb === 'list') return list(rest, context)
    if (verb === 'create') return create(rest, context)
    if (verb === 'register') return register(rest, context)
    if (verb === 'unregister') return unregister(rest, context)
    if (verb === 'retry') return retry(rest, context)
    if (verb === 'lifecycle') return lifecycle(rest, context)
    if (verb === 'grant-help') return grantHelp(rest, context)
    const verbs = 'list, create, register, unregister, retry, lifecycle or grant-help'
    throw new WeirError('WEIR_USAGE', `expected ${verbs}, not '${verb ?? ''}'`)
  },
}

interface Bucket {
  name: string
}

interface Registration extends Bucket {
  contractNumber: number
  createdAt: string
  createdBy: string
}

const BUCKET: Column<Bucket> = { title: 'BUCKET', value: (it) => it.name }
const REGISTRATION: Column<Registration>[] = [
  BUCKET,
  { title: 'CONTRACT', value: (it) => `${it.contractNumber}` },
  { title: 'SINCE', value: (it) => it.createdAt },
  { title: 'BY', value: (it) => it.createdBy },
]

async function list(args: string[], context: CommandContext): Promise<ExitCode> {
  const options = { ...SERVER_OPTIONS, registered: { type: 'boolean', default: false } } as const
  const { values } = parseArgs({ args, options })
  const api = connect(values, context)
  const { items } = await api.get<{ items: Registration[] }>(
    values.registered ? REGISTRATIONS : '/weir/v1/buckets',
  )
  if (values.json) context.stdout.write(`${JSON.stringify(items)}\n`)
  else if (items.length === 0) context.stderr.write('no buckets\n')
  else {
    const columns = values.registered ? REGISTRATION : [BUCKET]
    printTable(context.stdout, columns, items, { colours: context.stdoutIsTerminal })
  }
  return ExitCode.ok
}

async function register(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseArgs({ args, options: SERVER_OPTIONS, allowPositionals: true })
  const name = nameFrom(positionals, 'register')
  const made = await connect(values, context).post<Registration>(REGISTRATIONS, { name })
  if (values.json) context.stdout.write(`${JSON.stringify(made)}\n`)
  else context.stderr.write(`bucket ${made.name} belongs to contract ${made.contractNumber}\n`)
  return ExitCode.ok
}

async function unregister(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseArgs({ args, options: SERVER_OPTIONS, allowPositionals: true })
  const name = nameFrom(positionals, 'unregister')
  await connect(values, context).mutate('DELETE', `${REGISTRATIONS}/${encodeURIComponent(name)}`)
  if (values.json) context.stdout.write(`${JSON.stringify({ name })}\n`)
  else context.stderr.write(`bucket ${name} is not registered any more\n`)
  return ExitCode.ok
}

async function retry(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseArgs({ args, options: SERVER_OPTIONS, allowPositionals: true })
  const name = nameFrom(positionals, 'retry')
  const url = `/weir/v1/buckets/${encodeURIComponent(name)}/retry`
  const told = await connect(values, context).post<{ name: string; hosts: string[] }>(url, {})
  if (values.json) context.stdout.write(`${JSON.stringify(told)}\n`)
  else if (told.hosts.length === 0) context.stderr.write(`no host has a flow log of bucket ${name} yet\n`)
  else context.stderr.write(`delivery to bucket ${name} is tried again on ${told.hosts.join(', ')}\n`)
  return ExitCode.ok
}

function nameFrom(positionals: string[], verb: string): string {
  const [name, ...others] = positionals
  if (name === undefined || others.length > 0)
    throw new WeirError('WEIR_USAGE', `${verb} takes one bucket name`)
  return name
}

async function create(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseArgs({ args, options: SERVER_OPTIONS, allowPositionals: true })
  const name = nameFrom(positionals, 'create')
  const created = await connect(values, context).post<Bucket>('/weir/v1/buckets', { name })
  context.stdout.write(values.json ? `${JSON.stringify(created)}\n` : `${created.name}\n`)
  return ExitCode.ok
}
