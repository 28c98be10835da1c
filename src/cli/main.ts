import { WeirError } from '../model/errors.ts'
import { type Command, type CommandContext, ExitCode } from './command.ts'
import { packageVersion } from './package-version.ts'

/** A command is loaded when it is called, so that `weir tail` does not pay for the server. */
const COMMANDS: Record<string, () => Promise<Command>> = {
  up: async () => (await import('./commands/up.ts')).up,
  server: async () => (await import('./commands/server.ts')).server,
  agent: async () => (await import('./commands/agent.ts')).agent,
  flowlog: async () => (await import('./commands/flowlog.ts')).flowlog,
  discover: async () => (await import('./commands/discover.ts')).discover,
  inventory: async () => (await import('./commands/inventory.ts')).inventory,
  nic: async () => (await import('./commands/nic.ts')).nic,
  bucket: async () => (await import('./commands/bucket.ts')).bucket,
  live: async () => (await import('./commands/live.ts')).live,
  tail: async () => (await import('./commands/tail.ts')).tail,
  query: async () => (await import('./commands/query.ts')).query,
  top: async () => (await import('./commands/top.ts')).top,
  throughput: async () => (await import('./commands/throughput.ts')).throughput,
  why: async () => (await import('./commands/why.ts')).why,
  status: async () => (await import('./commands/status.ts')).status,
  contract: async () => (await import('./commands/contract.ts')).contract,
  user: async () => (await import('./commands/user.ts')).user,
  group: async () => (await import('./commands/group.ts')).group,
  token: async () => (await import('./commands/token.ts')).token,
  backup: async () => (await import('./commands/backup.ts')).backup,
  convert: async () => (await import('./commands/convert.ts')).convert,
  validate: async () => (await import('./commands/validate.ts')).validate,
}

export async function main(): Promise<void> {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort(signal))
  process.stdout.on('error', (error: Error & { code?: string }) => {
    // `weir tail | head` closes the pipe early: reason to stop, but no failure.
    if (error.code !== 'EPIPE') throw error
    stop.abort('EPIPE')
  })
  process.exitCode = await runCommand(process.argv.slice(2), {
    get stdin() {
      return process.stdin // Made when it is asked for: that takes a while.
    },
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    stdoutIsTerminal: process.stdout.isTTY === true && !process.env['NO_COLOR'],
    stderrIsTerminal: process.stderr.isTTY === true,
    signal: stop.signal,
  })
}

/** Runs one command; every failure ends as a sentence on stderr and an exit code. */
export async function runCommand(args: string[], context: CommandContext): Promise<ExitCode> {
  const [name, ...rest] = args
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    return printOverview(rest[0], context)
  }
  if (name === '--version' || name === '-v') {
    context.stdout.write(`weir ${packageVersion()}\n`)
    return ExitCode.ok
  }
  const load = COMMANDS[name]
  if (load === undefined) {
    context.stderr.write(`weir: '${name}' is not a command; 'weir --help' lists them\n`)
    return ExitCode.usage
  }
  const command = await load()
  if (rest.includes('--help') || rest.includes('-h')) return printHelp(command, context)
  try {
    return await command.run(rest, context)
  } catch (error) {
    return explain(error, name, context)
  }
}

function explain(error: unknown, name: string, context: CommandContext): ExitCode {
  if (context.signal.aborted) return ExitCode.failed // Asked to stop, and stopped: nothing to explain.
  if (isUsageFault(error)) {
    context.stderr.write(`weir ${name}: ${error.message}\n(see 'weir ${name} --help')\n`)
    return ExitCode.usage
  }
  if (!(error instanceof WeirError)) throw error // A bug: let it show its stack.
  context.stderr.write(`weir ${name}: ${error.message}\n`)
  return error.code === 'WEIR_UNSUPPORTED' ? ExitCode.unsupported : ExitCode.failed
}

function isUsageFault(error: unknown): error is Error {
  if (error instanceof WeirError) return error.code === 'WEIR_USAGE'
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')
}

export function allCommands(): Promise<(readonly [string, Command])[]> {
  return Promise.all(Object.entries(COMMANDS).map(async ([name, load]) => [name, await load()] as const))
}

async function printOverview(name: string | undefined, context: CommandContext): Promise<ExitCode> {
  const load = name === undefined ? undefined : COMMANDS[name]
  if (load !== undefined) return printHelp(await load(), context)
  const commands = await allCommands()
  const width = Math.max(...commands.map(([key]) => key.length))
  context.stdout.write('weir: flow logs for networks you run yourself\n\nusage: weir COMMAND [options]\n\n')
  for (const [key, { summary }] of commands) context.stdout.write(`  ${key.padEnd(width)}  ${summary}\n`)
  context.stdout.write("\n'weir COMMAND --help' shows a command's options.\n")
  return ExitCode.ok
}

function printHelp(command: Command, context: CommandContext): ExitCode {
  context.stdout.write(`${command.summary}\n\n${command.usage}\n`)
  if (command.help !== undefined) context.stdout.write(`\n${command.help}\n`)
  return ExitCode.ok
}
