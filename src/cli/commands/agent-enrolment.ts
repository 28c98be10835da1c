import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { WeirError } from '../../model/errors.ts'
import { connect, SERVER_OPTIONS } from '../api-client.ts'
import { type CommandContext, ExitCode } from '../command.ts'
import { parseCount } from '../options.ts'

export const ENROLMENT_USAGE = [
  'weir agent invite HOST [--minutes N]',
  'weir agent enroll --server URL --code CODE --token-file FILE',
  'weir agent expel HOST',
]

export const ENROLMENT_HELP = `  invite HOST        as the operator: print a code that lets the agent of this host in, once
  --minutes N        how long the code can be used (default 60)
  enroll             on that host: turn the code into the agent's token, in the token file (mode 0600), which must
                     not exist
  --code CODE        what invite printed (WEIR_ENROL_CODE)
  expel HOST         as the operator: end all tokens of a host, at once`

export const ENROLMENT: Record<string, (args: string[], context: CommandContext) => Promise<ExitCode>> = {
  invite,
  enroll,
  expel,
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
  const { values } = parseArgs({
    args,
    options: { server: { type: 'string' }, code: { type: 'string' }, 'token-file': { type: 'string' } },
  })
  const server = values.server ?? context.env['WEIR_SERVER']
  const code = values.code ?? context.env['WEIR_ENROL_CODE']
  const file = values['token-file']
  if (server === undefined) throw new WeirError('WEIR_USAGE', '--server is missing')
  if (code === undefined) throw new WeirError('WEIR_USAGE', '--code is missing')
  if (file === undefined) throw new WeirError('WEIR_USAGE', '--token-file is missing')
  // Made before the code is used up: a code is good for one token.
  writeNew(file, '')
  const made = await redeem(server.replace(/\/+(cloudapi\/v6\/?)?$/, ''), code, context)
  writeFileSync(file, `${made.token}\n`, { mode: 0o600 })
  context.stderr.write(`the token of host ${made.host} is in ${file}\n`)
  return ExitCode.ok
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
    throw new WeirError('WEIR_SERVER_UNREACHABLE', `${server} does not answer`, { cause })
  }
  if (response.ok) return (await response.json()) as { host: string; token: string }
  const { messages } = (await response.json()) as { messages: { message: string }[] }
  throw new WeirError('WEIR_SERVER_REFUSED', messages.map(({ message }) => message).join('; '))
}

async function expel(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseArgs({ args, options: SERVER_OPTIONS, allowPositionals: true })
  if (positionals.length !== 1) throw new WeirError('WEIR_USAGE', 'expel takes one host')
  await connect(values, context).mutate('DELETE', `/weir/v1/agents/${encodeURIComponent(positionals[0]!)}`)
  if (values.json) context.stdout.write(`${JSON.stringify({ host: positionals[0] })}\n`)
  else context.stderr.write(`host ${positionals[0]} has no tokens any more\n`)
  return ExitCode.ok
}
