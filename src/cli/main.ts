import { WeirError } from '../model/errors.ts'
import { type Command, type CommandContext, ExitCode } from './command.ts'
import { packageVersion } from './package-version.ts'

interface ListedCommand {
  /** One line, without a full stop. Here, so that the list of commands need not load them. */
  summary: string
  load(): Promise<Command>
}

/** A command is loaded when it is called, so that `weir tail` does not pay for the server. */
const COMMANDS: Record<string, ListedCommand> = {
  up: {
    summary: 'Run control plane and agent on this machine',
    load: async () => (await import('./commands/up.ts')).up,
  },
  server: {
    summary: 'Run the control plane alone',
    load: async () => (await import('./commands/server.ts')).server,
  },
  agent: {
    summary: 'Run the agent of a host alone, remove its traces from the kernel, let it in or shut it out',
    load: async () => (await import('./commands/agent.ts')).agent,
  },
  flowlog: {
    summary: 'List, create and delete flow logs',
    load: async () => (await import('./commands/flowlog.ts')).flowlog,
  },
  discover: {
    summary: "Propose an inventory from this machine's interfaces",
    load: async () => (await import('./commands/discover.ts')).discover,
  },
  inventory: {
    summary: 'Make the inventory match a file, or write one',
    load: async () => (await import('./commands/inventory.ts')).inventory,
  },
  nic: {
    summary: 'List and register network interfaces',
    load: async () => (await import('./commands/nic.ts')).nic,
  },
  bucket: {
    summary:
      'List, create and register buckets, set how long objects are kept, show what a bucket must permit',
    load: async () => (await import('./commands/bucket.ts')).bucket,
  },
  live: {
    summary: 'The flows of this moment, straight from the agents',
    load: async () => (await import('./commands/live.ts')).live,
  },
  tail: {
    summary: 'Show the newest flow log records',
    load: async () => (await import('./commands/tail.ts')).tail,
  },
  query: {
    summary: 'Ask delivered flow logs in SQL (DuckDB, view flows)',
    load: async () => (await import('./commands/query.ts')).query,
  },
  top: {
    summary: 'The largest sources, ports, pairs, or what was refused most',
    load: async () => (await import('./commands/top.ts')).top,
  },
  throughput: {
    summary: 'What each interface carried per direction: median, 95th percentile, peak',
    load: async () => (await import('./commands/throughput.ts')).throughput,
  },
  why: {
    summary: 'Was it allowed, where was it refused, since when',
    load: async () => (await import('./commands/why.ts')).why,
  },
  status: {
    summary: 'Show agents, interfaces, windows, spools and buckets; exit 1 if an agent is away',
    load: async () => (await import('./commands/status.ts')).status,
  },
  contract: {
    summary: 'Let a tenant in, list the tenants, show the contract that one acts in',
    load: async () => (await import('./commands/contract.ts')).contract,
  },
  user: {
    summary: "List and change a contract's users",
    load: async () => (await import('./commands/user.ts')).user,
  },
  group: {
    summary: 'Say what members of a contract may see and do',
    load: async () => (await import('./commands/group.ts')).group,
  },
  token: {
    summary: 'Make, list and revoke tokens of the API',
    load: async () => (await import('./commands/token.ts')).token,
  },
  backup: {
    summary: "Copy the control plane's database while it runs",
    load: async () => (await import('./commands/backup.ts')).backup,
  },
  convert: {
    summary: 'Turn packet captures into flow log records',
    load: async () => (await import('./commands/convert.ts')).convert,
  },
  validate: {
    summary: 'Say what is wrong with flow logs, line by line; exit 1 when something is',
    load: async () => (await import('./commands/validate.ts')).validate,
  },
}

/** Why a command is asked to stop when nobody reads its output any more. */
const PIPE_CLOSED = 'EPIPE'

export async function main(): Promise<void> {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort(signal))
  process.stdout.on('error', (error: Error & { code?: string }) => {
    // `weir tail | head` closes the pipe early: reason to stop, but no failure.
    if (error.code === 'EPIPE') return stop.abort(PIPE_CLOSED)
    process.stderr.write(`weir: standard output cannot be written (${error.code ?? error.message})\n`)
    process.exit(ExitCode.failed)
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
  const listed = COMMANDS[name]
  if (listed === undefined) {
    context.stderr.write(`weir: '${name}' is not a command; 'weir --help' lists them\n`)
    return ExitCode.usage
  }
  if (rest.includes('--help') || rest.includes('-h')) return printHelp(listed, context)
  const command = await listed.load()
  try {
    return await command.run(rest, context)
  } catch (error) {
    return explain(error, name, context)
  }
}

function explain(error: unknown, name: string, context: CommandContext): ExitCode {
  // Asked to stop, and stopped: nothing to explain.
  if (context.signal.aborted) return context.signal.reason === PIPE_CLOSED ? ExitCode.ok : ExitCode.failed
  if (isUsageFault(error)) {
    context.stderr.write(`weir ${name}: ${error.message}\n(see 'weir ${name} --help')\n`)
    return ExitCode.usage
  }
  if (!(error instanceof WeirError) && !isSystemFault(error)) throw error // A bug: let it show its stack.
  context.stderr.write(`weir ${name}: ${error.message}\n`)
  return error.code === 'WEIR_UNSUPPORTED' ? ExitCode.unsupported : ExitCode.failed
}

/** What the system refused: a full disk, a file that may not be read. */
function isSystemFault(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error && 'errno' in error
}

function isUsageFault(error: unknown): error is Error {
  if (error instanceof WeirError) return error.code === 'WEIR_USAGE'
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')
}

/** Every command by name, with what its help and docs/reference/cli.md say of it. */
export function allCommands(): Promise<(readonly [string, Command & { summary: string }])[]> {
  const entries = Object.entries(COMMANDS)
  return Promise.all(
    entries.map(async ([name, { summary, load }]) => [name, { ...(await load()), summary }] as const),
  )
}

async function printOverview(name: string | undefined, context: CommandContext): Promise<ExitCode> {
  const listed = name === undefined ? undefined : COMMANDS[name]
  if (listed !== undefined) return printHelp(listed, context)
  const width = Math.max(...Object.keys(COMMANDS).map((key) => key.length))
  context.stdout.write('weir: flow logs for networks you run yourself\n\nusage: weir COMMAND [options]\n\n')
  for (const [key, { summary }] of Object.entries(COMMANDS)) {
    context.stdout.write(`  ${key.padEnd(width)}  ${summary}\n`)
  }
  context.stdout.write("\n'weir COMMAND --help' shows a command's options.\n")
  return ExitCode.ok
}

async function printHelp({ summary, load }: ListedCommand, context: CommandContext): Promise<ExitCode> {
  const { usage, help } = await load()
  context.stdout.write(`${summary}\n\n${usage}\n`)
  if (help !== undefined) context.stdout.write(`\n${help}\n`)
  return ExitCode.ok
}
