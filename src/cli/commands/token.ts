import { parseArgs } from 'node:util'
import { WeirError } from '../../model/errors.ts'
import { connect, SERVER_HELP, SERVER_OPTIONS } from '../api-client.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { parseCount } from '../options.ts'
import { type Column, printTable } from '../table.ts'

export const token: Command = {
  usage: ['weir token create [--days N]', 'weir token list', 'weir token revoke TOKEN-ID…'].join('\n'),
  help: `  --days N   how long the token lives (default 365)
${SERVER_HELP}

The token itself is shown once, when it is made; the server keeps only its digest. It acts for the user who made it.`,
  async run(args, context) {
    const [verb, ...rest] = args
    if (verb === 'create') return create(rest, context)
    if (verb === 'list') return list(rest, context)
    if (verb === 'revoke') return revoke(rest, context)
    throw new WeirError('WEIR_USAGE', `expected create, list or revoke, not '${verb ?? ''}'`)
  },
}

interface Token {
  id: string
  purpose: string
  createdDate: string
  expirationDate: string | null
}

const COLUMNS: Column<Token>[] = [
  { title: 'TOKEN ID', value: ({ id }) => id },
  { title: 'PURPOSE', value: ({ purpose }) => purpose },
  { title: 'CREATED', value: ({ createdDate }) => createdDate },
  { title: 'EXPIRES', value: ({ expirationDate }) => expirationDate ?? 'never' },
]

async function create(args: string[], context: CommandContext): Promise<ExitCode> {
  const options = { ...SERVER_OPTIONS, days: { type: 'string', default: '365' } } as const
  const { values } = parseArgs({ args, options })
  const days = parseCount('days', values.days, { min: 1, max: 9_999 })
  const made = await connect(values, context).get<{ token: string }>(`/auth/v1/tokens/generate?days=${days}`)
  context.stdout.write(values.json ? `${JSON.stringify(made)}\n` : `${made.token}\n`)
  return ExitCode.ok
}

async function list(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values } = parseArgs({ args, options: SERVER_OPTIONS })
  const { tokens } = await connect(values, context).get<{ tokens: Token[] }>('/auth/v1/tokens')
  if (values.json) context.stdout.write(`${JSON.stringify(tokens)}\n`)
  else printTable(context.stdout, COLUMNS, tokens, { colours: context.stdoutIsTerminal })
  return ExitCode.ok
}

async function revoke(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseArgs({ args, options: SERVER_OPTIONS, allowPositionals: true })
  if (positionals.length === 0) throw new WeirError('WEIR_USAGE', 'revoke takes at least one token id')
  const api = connect(values, context)
  for (const id of positionals) {
    await api.mutate('DELETE', `/auth/v1/tokens/${encodeURIComponent(id)}`)
    if (!values.json) context.stderr.write(`${id} revoked\n`)
  }
  if (values.json) context.stdout.write(`${JSON.stringify(positionals)}\n`)
  return ExitCode.ok
}
