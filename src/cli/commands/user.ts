import { parseArgs } from 'node:util'
import { WeirError } from '../../model/errors.ts'
import { type ApiClient, connect, type Resource, SERVER_HELP, SERVER_OPTIONS } from '../api-client.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { choosePassword, PASSWORD_HELP } from '../password.ts'
import { type Column, printTable } from '../table.ts'

export const user: Command = {
  usage: [
    'weir user list',
    'weir user create EMAIL --firstname NAME --lastname NAME [--administrator] [--password-file FILE]',
    'weir user password EMAIL [--password-file FILE]',
    'weir user delete EMAIL…',
  ].join('\n'),
  help: `  --administrator   may do all that the owner may; others need groups ('weir group')
${PASSWORD_HELP}
${SERVER_HELP}`,
  async run(args, context) {
    const [verb, ...rest] = args
    if (verb === 'list') return list(rest, context)
    if (verb === 'create') return create(rest, context)
    if (verb === 'password') return changePassword(rest, context)
    if (verb === 'delete') return remove(rest, context)
    throw new WeirError('WEIR_USAGE', `expected list, create, password or delete, not '${verb ?? ''}'`)
  },
}

export type User = Resource<{
  firstname: string
  lastname: string
  email: string
  administrator: boolean
  active: boolean
}>

const COLUMNS: Column<User>[] = [
  { title: 'USER', value: ({ id }) => id },
  { title: 'EMAIL', value: ({ properties: { email } }) => email },
  { title: 'NAME', value: ({ properties: { firstname, lastname } }) => `${firstname} ${lastname}` },
  {
    title: 'ROLE',
    value: ({ properties: { administrator } }) => (administrator ? 'administrator' : 'member'),
  },
]

async function list(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values } = parseArgs({ args, options: SERVER_OPTIONS })
  const users = await listUsers(connect(values, context))
  if (values.json) context.stdout.write(`${JSON.stringify(users.map(summary))}\n`)
  else printTable(context.stdout, COLUMNS, users, { colours: context.stdoutIsTerminal })
  return ExitCode.ok
}

async function create(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseArgs({
    args,
    options: {
      ...SERVER_OPTIONS,
      firstname: { type: 'string' },
      lastname: { type: 'string' },
      administrator: { type: 'boolean', default: false },
      'password-file': { type: 'string' },
    },
    allowPositionals: true,
  })
  const { firstname, lastname, administrator } = values
  const email = only(positionals, 'create')
  if (firstname === undefined) throw new WeirError('WEIR_USAGE', '--firstname is missing')
  if (lastname === undefined) throw new WeirError('WEIR_USAGE', '--lastname is missing')
  const { password, isNew } = await choosePassword(values['password-file'], context)
  const properties = { firstname, lastname, email, administrator, password }
  const made = (await connect(values, context).mutate<User>('POST', '/um/users', { properties }))!
  const shown = isNew ? { ...summary(made), password } : summary(made)
  if (values.json) context.stdout.write(`${JSON.stringify(shown)}\n`)
  else context.stdout.write(`${made.id}\n`)
  if (isNew && !values.json) context.stderr.write(`password of ${email}, shown this once: ${password}\n`)
  return ExitCode.ok
}

async function changePassword(args: string[], context: CommandContext): Promise<ExitCode> {
  const options = { ...SERVER_OPTIONS, 'password-file': { type: 'string' } } as const
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true })
  const api = connect(values, context)
  const found = await findUser(api, only(positionals, 'password'))
  const { firstname, lastname, email } = found.properties
  const { password, isNew } = await choosePassword(values['password-file'], context)
  const properties = { firstname, lastname, email, password }
  await api.mutate('PUT', `/um/users/${found.id}`, { properties })
  if (values.json) context.stdout.write(`${JSON.stringify({ email, ...(isNew ? { password } : {}) })}\n`)
  else if (isNew) context.stdout.write(`${password}\n`)
  else context.stderr.write(`${email} has a new password\n`)
  return ExitCode.ok
}

async function remove(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseArgs({ args, options: SERVER_OPTIONS, allowPositionals: true })
  if (positionals.length === 0) throw new WeirError('WEIR_USAGE', 'delete takes at least one user')
  const api = connect(values, context)
  const found = await Promise.all(positionals.map((wanted) => findUser(api, wanted)))
  for (const { id, properties } of found) {
    await api.mutate('DELETE', `/um/users/${id}`)
    if (!values.json) context.stderr.write(`${properties.email} deleted\n`)
  }
  if (values.json) context.stdout.write(`${JSON.stringify(found.map(({ id }) => id))}\n`)
  return ExitCode.ok
}

function only(positionals: string[], verb: string): string {
  if (positionals.length === 1) return positionals[0]!
  throw new WeirError('WEIR_USAGE', `${verb} takes one EMAIL`)
}

function listUsers(api: ApiClient): Promise<User[]> {
  return api.list<User>('/um/users?depth=1&limit=100')
}

/** By address or UUID. */
export async function findUser(api: ApiClient, wanted: string): Promise<User> {
  const users = await listUsers(api)
  const found = users.find((it) => it.id === wanted || it.properties.email === wanted)
  if (found !== undefined) return found
  throw new WeirError('WEIR_NOT_FOUND', `the contract has no user '${wanted}'; 'weir user list' shows all`)
}

function summary({ id, properties }: User): object {
  const { email, firstname, lastname, administrator, active } = properties
  return { id, email, firstname, lastname, administrator, active }
}
