import type { Readable, Writable } from 'node:stream'

/** Exit codes that scripts can use. */
export const ExitCode = { ok: 0, failed: 1, usage: 2, unsupported: 3 } as const
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

/** What a command may touch of the world it runs in. Data goes to stdout, talk to stderr. */
export interface CommandContext {
  stdin: Readable
  stdout: Writable
  stderr: Writable
  env: Record<string, string | undefined>
  /** True where colours and progress bars are welcome: stdout (stderr for progress) is a terminal. */
  stdoutIsTerminal: boolean
  stderrIsTerminal: boolean
  /** Aborted on SIGINT or SIGTERM: end in good order. */
  signal: AbortSignal
}

export interface Command {
  /** One line or several, each beginning with `weir`. */
  usage: string
  /** The options, as `weir COMMAND --help` shows them below the usage. */
  help?: string
  run(args: string[], context: CommandContext): Promise<ExitCode>
}
