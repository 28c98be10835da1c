import { parseArgs } from 'node:util'
import { WeirError } from '../../model/errors.ts'
import { type Collection, connect, SERVER_HELP, SERVER_OPTIONS } from '../api-client.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { parseCount } from '../options.ts'
import { choosePassword, PASSWORD_HELP } from '../password.ts'
import { type Column, printTable } from '../table.ts'

const NUMBER_MAX = 2 ** 31 - 1

export const contract: Command = {
  usage: [
    'weir contract create --name NAME --owner EMAIL [--number N] [--password-file FILE]',
    'weir contract list',
    'weir contract show',
  ].join('\n'),
  help: `  --name NAME       of the tenant
  --owner EMAIL     the user who runs the contract
  --number N        the contract's number, which stands in records (default: Weir finds a free one)
${PASSWORD_HELP}
${SERVER_HELP}

Creating and listing are the operator's. The owner's own commands take WEIR_USERNAME and WEIR_PASSWORD, or a token.`,
  async run(args, context) {
    const [verb, ...rest] = args
    if (verb === 'create') return create(rest, context)
    if (verb === 'list') return list(rest, context)
    if (verb === 'show') return show(rest, context)
    throw new WeirError('WEIR_USAGE', `expected create, list or show, not '${verb ?? ''}'`)
  },
}

async function create(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values } = parseArgs({
    args,
    options: {
      ...SERVER_OPTIONS,
      name: { type: 'string' },
      owner: { type: 'string' },
      number: { type: 'string' },
      'password-file': { type: 'string' },
    },
  })
  const { name, owner: email, number } = values
  if (name === undefined) throw new WeirError('WEIR_USAGE', '--name is missing')
  if (email === undefined) throw new WeirError('WEIR_USAGE', '--owner is missing')
  const chosen =
    number === undefined ? {} : { contractNumber: parseCount('number', number, { min: 1, max: NUMBER_MAX }) }
  const { password, isNew } = await choosePassword(values['password-file'], context)
  const body = { ...chosen, name, owner: { email, password } }
  const made = await connect(values, context).post<{ contractNumber: number }>('/weir/v1/contracts', body)
  const { contractNumber } = made
  if (values.json) {
    const shown = { contractNumber, name, owner: email, ...(isNew ? { password } : {}) }
    context.stdout.write(`${JSON.stringify(shown)}\n`)
  } else {
    context.stdout.write(`${contractNumber}\n`)
    if (isNew) context.stderr.write(`password of ${email}, shown this once: ${password}\n`)
  }
  return ExitCode.ok
}

interface ListedContract {
  contractNumber: number
  name: string
  owner: string | null
  createdAt: string
}

async function list(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values } = parseArgs({ args, options: SERVER_OPTIONS })
  const { items = [] } = await connect(values, context).get<Collection<ListedContract>>('/weir/v1/contracts')
  if (values.json) {
    context.stdout.write(`${JSON.stringify(items)}\n`)
    return ExitCode.ok
  }
  const columns: Column<ListedContract>[] = [
    { title: 'CONTRACT', value: (it) => String(it.contractNumber) },
    { title: 'NAME', value: (it) => it.name },
    { title: 'OWNER', value: (it) => it.owner ?? '-' },
    { title: 'SINCE', value: (it) => it.createdAt },
  ]
  printTable(context.stdout, columns, items, { colours: false })
  return ExitCode.ok
}

interface Contract {
  properties: { contractNumber: number; owner: string | null; status: string }
}

async function show(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values } = parseArgs({ args, options: SERVER_OPTIONS })
  const { items = [] } = await connect(values, context).get<Collection<Contract>>('/contracts')
  const [{ contractNumber, owner, status }] = items.map((it) => it.properties) as [Contract['properties']]
  if (values.json) context.stdout.write(`${JSON.stringify({ contractNumber, owner, status })}\n`)
  else context.stdout.write(`${contractNumber}  ${owner ?? '-'}\n`)
  return ExitCode.ok
}
