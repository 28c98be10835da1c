import { parseArgs } from 'node:util'
import { WeirError } from '../../model/errors.ts'
import {
  type ApiClient,
  connect,
  type Datacenter,
  type Resource,
  SERVER_HELP,
  SERVER_OPTIONS,
} from '../api-client.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { type Column, printTable } from '../table.ts'
import { findUser, type User } from './user.ts'

export const group: Command = {
  usage: [
    'weir group list',
    'weir group create NAME [--privilege PRIVILEGE …]',
    'weir group delete NAME',
    'weir group join NAME EMAIL…',
    'weir group leave NAME EMAIL…',
    'weir group share NAME DATACENTER [--edit]',
    'weir group unshare NAME DATACENTER',
  ].join('\n'),
  help: `  --privilege P   createFlowLog (make flow logs in what is shared to be edited), createDataCenter,
                  accessActivityLog (read the audit log); may be repeated
  --edit          share to be changed, not only to be read
${SERVER_HELP}

A member sees the data centers that are shared with its groups, and what hangs in them; owner and administrators see all.`,
  async run(args, context) {
    const [verb = '', ...rest] = args
    const run = VERBS[verb]
    if (run !== undefined) return run(rest, context)
    throw new WeirError('WEIR_USAGE', `expected ${Object.keys(VERBS).join(', ')}, not '${verb}'`)
  },
}

const VERBS: Record<string, (args: string[], context: CommandContext) => Promise<ExitCode>> = {
  list,
  create,
  delete: remove,
  join: (args, context) => changeMembers('join', args, context),
  leave: (args, context) => changeMembers('leave', args, context),
  share: (args, context) => changeShare('share', args, context),
  unshare: (args, context) => changeShare('unshare', args, context),
}

type Group = Resource<{ name: string } & Record<string, unknown>>

interface ShownGroup {
  id: string
  name: string
  privileges: string[]
  users: string[]
  shares: { datacenter: string; edit: boolean }[]
}

const COLUMNS: Column<ShownGroup>[] = [
  { title: 'GROUP', value: ({ name }) => name },
  { title: 'PRIVILEGES', value: ({ privileges }) => privileges.join(', ') || '-' },
  { title: 'USERS', value: ({ users }) => users.join(', ') || '-' },
  {
    title: 'SHARES',
    value: ({ shares }) =>
      shares.map(({ datacenter, edit }) => `${datacenter} (${edit ? 'edit' : 'read'})`).join(', ') || '-',
  },
]

async function list(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values } = parseArgs({ args, options: SERVER_OPTIONS })
  const api = connect(values, context)
  const datacenters = await api.list<Datacenter>('/datacenters?depth=1&limit=100')
  const shown: ShownGroup[] = []
  for (const { id, properties } of await listGroups(api)) {
    const users = await api.list<User>(`/um/groups/${id}/users?depth=1&limit=100`)
    const shares = await api.list<Resource<{ editPrivilege: boolean }>>(
      `/um/groups/${id}/shares?depth=1&limit=100`,
    )
    shown.push({
      id,
      name: properties.name,
      privileges: Object.keys(properties).filter((it) => properties[it] === true),
      users: users.map((it) => it.properties.email),
      shares: shares.map((it) => ({
        datacenter: datacenters.find((other) => other.id === it.id)?.properties.name ?? it.id,
        edit: it.properties.editPrivilege,
      })),
    })
  }
  if (values.json) context.stdout.write(`${JSON.stringify(shown)}\n`)
  else if (shown.length === 0) context.stderr.write('no groups\n')
  else printTable(context.stdout, COLUMNS, shown, { colours: context.stdoutIsTerminal })
  return ExitCode.ok
}

async function create(args: string[], context: CommandContext): Promise<ExitCode> {
  const options = { ...SERVER_OPTIONS, privilege: { type: 'string', multiple: true } } as const
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true })
  const [name] = expect(positionals, ['NAME'], 'create')
  const privileges = Object.fromEntries((values.privilege ?? []).map((it) => [it, true]))
  const properties = { name, ...privileges }
  const made = await connect(values, context).mutate<Group>('POST', '/um/groups', { properties })
  context.stdout.write(values.json ? `${JSON.stringify({ id: made!.id, name })}\n` : `${made!.id}\n`)
  return ExitCode.ok
}

async function remove(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseArgs({ args, options: SERVER_OPTIONS, allowPositionals: true })
  const [name] = expect(positionals, ['NAME'], 'delete')
  const api = connect(values, context)
  const { id } = await findGroup(api, name!)
  await api.mutate('DELETE', `/um/groups/${id}`)
  tell(values.json, context, { id }, `${name} deleted`)
  return ExitCode.ok
}

async function changeMembers(
  verb: 'join' | 'leave',
  args: string[],
  context: CommandContext,
): Promise<ExitCode> {
  const { values, positionals } = parseArgs({ args, options: SERVER_OPTIONS, allowPositionals: true })
  const [name, ...emails] = positionals
  if (name === undefined || emails.length === 0) {
    throw new WeirError('WEIR_USAGE', `${verb} takes a group and at least one user`)
  }
  const api = connect(values, context)
  const { id } = await findGroup(api, name)
  const users = await Promise.all(emails.map((email) => findUser(api, email)))
  for (const user of users) {
    if (verb === 'join') await api.mutate('POST', `/um/groups/${id}/users`, { id: user.id })
    else await api.mutate('DELETE', `/um/groups/${id}/users/${user.id}`)
  }
  const what = verb === 'join' ? 'joined' : 'left'
  tell(
    values.json,
    context,
    { group: id, users: users.map((it) => it.id) },
    `${emails.join(', ')} ${what} ${name}`,
  )
  return ExitCode.ok
}

async function changeShare(
  verb: 'share' | 'unshare',
  args: string[],
  context: CommandContext,
): Promise<ExitCode> {
  const options = { ...SERVER_OPTIONS, edit: { type: 'boolean', default: false } } as const
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true })
  const [name, wanted] = expect(positionals, ['NAME', 'DATACENTER'], verb)
  const api = connect(values, context)
  const { id } = await findGroup(api, name!)
  const datacenter = await findDatacenter(api, wanted!)
  const path = `/um/groups/${id}/shares/${datacenter.id}`
  if (verb === 'share') await api.mutate('PUT', path, { properties: { editPrivilege: values.edit } })
  else await api.mutate('DELETE', path)
  const what = verb === 'share' ? 'shared with' : 'no longer shared with'
  tell(values.json, context, { group: id, datacenter: datacenter.id }, `${wanted} ${what} ${name}`)
  return ExitCode.ok
}

function tell(
  json: boolean | undefined,
  { stdout, stderr }: CommandContext,
  shown: object,
  sentence: string,
): void {
  if (json) stdout.write(`${JSON.stringify(shown)}\n`)
  else stderr.write(`${sentence}\n`)
}

function expect(positionals: string[], names: string[], verb: string): string[] {
  if (positionals.length === names.length) return positionals
  throw new WeirError('WEIR_USAGE', `${verb} takes ${names.join(' and ')}`)
}

function listGroups(api: ApiClient): Promise<Group[]> {
  return api.list<Group>('/um/groups?depth=1&limit=100')
}

async function findGroup(api: ApiClient, wanted: string): Promise<Group> {
  const groups = await listGroups(api)
  return one(groups, wanted, { what: 'group', command: 'weir group list' })
}

async function findDatacenter(api: ApiClient, wanted: string): Promise<Datacenter> {
  const datacenters = await api.list<Datacenter>('/datacenters?depth=1&limit=100')
  return one(datacenters, wanted, { what: 'data center', command: 'weir inventory export' })
}

/** By name or UUID; names need not be unique. */
function one<It extends Resource<{ name: string }>>(
  all: It[],
  wanted: string,
  { what, command }: { what: string; command: string },
): It {
  const found = all.filter((it) => it.id === wanted || it.properties.name === wanted)
  if (found.length === 1) return found[0]!
  if (found.length === 0) {
    throw new WeirError('WEIR_NOT_FOUND', `no ${what} is called '${wanted}'; '${command}' shows all`)
  }
  const ids = found.map(({ id }) => id).join(', ')
  throw new WeirError('WEIR_USAGE', `'${wanted}' names ${found.length} of them, give the UUID: ${ids}`)
}
