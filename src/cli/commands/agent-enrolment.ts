import { accessSync, constants, writeFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { WeirError } from '../../model/errors.ts'
import { connect, originOf, refusal, SERVER_OPTIONS, unreachable } from '../api-client.ts'
import { CA_OPTION, trustAuthorities } from '../authorities.ts'
import { type CommandContext, ExitCode } from '../command.ts'
import {
  dataDirectory,
  type Enrolment,
  enrolmentPath,
  makeDataDirectory,
  writeEnrolment,
} from '../data-dir.ts'
import { parseCount } from '../options.ts'
import { type Column, printTable } from '../table.ts'

export const ENROLMENT_USAGE = [
  'weir agent enroll --server URL [CODE] [--ca-file FILE] [--data-dir DIR]',
  'weir agent invite HOST [--minutes N]',
  'weir agent expel HOST',
  'weir agent list',
]

export const ENROLMENT_HELP = `  enroll CODE        on a host: turn the code into the agent's token, and keep server, token and --ca-file in
                     <data-dir>/agent.json (mode 0600); 'weir agent' needs no options then. The code may also come
                     from WEIR_ENROL_CODE, or with '-' from standard input
  --token-file FILE  keep the token here instead; the file must not exist
  invite HOST        as the operator: print a code that lets the agent of this host in, once
  --minutes N        how long the code can be used (default 60)
  expel HOST         as the operator: end all tokens of a host, at once
  list               as the operator: the hosts that are let in, and when they were last seen`

export const ENROLMENT: Record<string, (args: string[], context: CommandContext) => Promise<ExitCode>> = {
  invite,
  enroll,
  expel,
  list,
}

async function invite(args: string[], context: CommandContext): Promise<ExitCode> {
  const options = { ...SERVER_OPTIONS, minutes: { type: 'string', default: '60' } } as const
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true })
  if (positionals.length !== 1) throw new WeirError('WEIR_USAGE', 'invite takes one host')
  const minutes = parseCount('minutes', values.minutes, { min: 1, max: 10_080 })
  const body = { host: positionals[0], minutes }
  const made = await connect(values, context).post<{ code: string }>('/weir/v1/enrolments', body)
  context.stdout.write(values.json ? `${JSON.stringify(made)}\n` : `${made.code}\n`)
  return ExitCode.ok
}

/** Needs no credentials but the code. */
async function enroll(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseArgs({
    args,
    options: {
      server: { type: 'string' },
      'data-dir': { type: 'string' },
      'token-file': { type: 'string' },
      ...CA_OPTION,
      json: { type: 'boolean' },
    },
    allowPositionals: true,
  })
  if (positionals.length > 1) throw new WeirError('WEIR_USAGE', 'enroll takes one code')
  const server = values.server ?? (context.env['WEIR_SERVER'] || undefined)
  if (server === undefined) throw new WeirError('WEIR_USAGE', '--server is missing')
  const origin = originOf(server)
  const caFile = trustAuthorities(values, context.env)
  const code = await codeFrom(positionals[0], context)
  const store = prepareStore(values, context) // Before the code is used up: it is good for one token.
  const { host, token } = await redeem(origin, code, context)
  const file = store({ server: origin, host, token, ...(caFile === undefined ? {} : { caFile }) })
  if (values.json) context.stdout.write(`${JSON.stringify({ host, server: origin, file })}\n`)
  else context.stderr.write(`this machine is host ${host}; its token is in ${file}\n`)
  return ExitCode.ok
}

async function codeFrom(given: string | undefined, context: CommandContext): Promise<string> {
  const code = (given === '-' ? await text(context.stdin) : (given ?? context.env['WEIR_ENROL_CODE']))?.trim()
  if (!code) throw new WeirError('WEIR_USAGE', "the code is missing: it is what 'weir agent invite' printed")
  return code
}

/** Makes sure that the token can be kept; returns what keeps it and says where. */
function prepareStore(
  values: { 'data-dir'?: string | undefined; 'token-file'?: string | undefined },
  context: CommandContext,
): (enrolment: Enrolment) => string {
  const file = values['token-file']
  if (file !== undefined) {
    writeNew(file, '')
    return ({ token }) => {
      writeFileSync(file, `${token}\n`, { mode: 0o600 })
      return file
    }
  }
  const directory = dataDirectory(values['data-dir'], context.env)
  makeDataDirectory(directory)
  const reached = accessible(directory)
  if (reached !== undefined) {
    throw new WeirError('WEIR_CONFIG_INVALID', `${directory} cannot be written (${reached})`)
  }
  return (enrolment) => {
    writeEnrolment(directory, enrolment)
    return enrolmentPath(directory)
  }
}

function accessible(directory: string): string | undefined {
  try {
    accessSync(directory, constants.W_OK | constants.X_OK)
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}

function writeNew(file: string, content: string): void {
  try {
    writeFileSync(file, content, { mode: 0o600, flag: 'wx' })
  } catch (cause) {
    throw new WeirError('WEIR_CONFIG_INVALID', `token file ${file} cannot be made: ${String(cause)}`, {
      cause,
    })
  }
}

async function redeem(
  server: string,
  code: string,
  { signal }: CommandContext,
): Promise<{ host: string; token: string }> {
  let response: Response
  try {
    response = await fetch(`${server}/agent/v1/enroll`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ code }),
      signal,
    })
  } catch (cause) {
    throw unreachable(server, cause)
  }
  if (response.ok) return (await response.json()) as { host: string; token: string }
  throw new WeirError('WEIR_SERVER_REFUSED', await refusal(response, 'POST', response.url))
}

async function expel(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseArgs({ args, options: SERVER_OPTIONS, allowPositionals: true })
  if (positionals.length !== 1) throw new WeirError('WEIR_USAGE', 'expel takes one host')
  await connect(values, context).mutate('DELETE', `/weir/v1/agents/${encodeURIComponent(positionals[0]!)}`)
  if (values.json) context.stdout.write(`${JSON.stringify({ host: positionals[0] })}\n`)
  else context.stderr.write(`host ${positionals[0]} has no tokens any more\n`)
  return ExitCode.ok
}

interface AdmittedHost {
  host: string
  live: boolean
  /** Two machines report with its token. */
  twin: boolean
  lastSeenAt: string | null
  agentVersion: string | null
  points: { state: string }[]
}

const COLUMNS: Column<AdmittedHost>[] = [
  { title: 'HOST', value: ({ host }) => host },
  {
    title: 'AGENT',
    value: ({ live, twin, lastSeenAt }) => {
      if (live) return twin ? 'running twice' : 'running'
      return lastSeenAt === null ? 'never seen' : 'away'
    },
    colour: ({ live, twin }) => (live && !twin ? '32' : '33'),
  },
  { title: 'LAST SEEN', value: ({ lastSeenAt }) => lastSeenAt ?? '-' },
  { title: 'VERSION', value: ({ agentVersion }) => agentVersion ?? '-' },
  {
    title: 'ATTACHED',
    value: ({ points }) => String(points.filter(({ state }) => state === 'attached').length),
    align: 'right',
  },
]

async function list(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values } = parseArgs({ args, options: SERVER_OPTIONS })
  const { agents } = await connect(values, context).get<{ agents: AdmittedHost[] }>('/weir/v1/status')
  if (values.json) {
    const hosts = agents.map(({ host, live, twin, lastSeenAt, agentVersion }) => ({
      host,
      live,
      twin,
      lastSeenAt,
      agentVersion,
    }))
    context.stdout.write(`${JSON.stringify(hosts)}\n`)
  } else if (agents.length === 0) context.stderr.write('no hosts\n')
  else printTable(context.stdout, COLUMNS, agents, { colours: context.stdoutIsTerminal })
  return ExitCode.ok
}
