import { PassThrough, Readable } from 'node:stream'
import type { Command, CommandContext } from '../../src/cli/command.ts'

export interface CommandResult {
  status: number
  stdout: string
  stderr: string
}

/** Runs a CLI command in this process, with streams that the test holds. */
export async function runCommand(
  command: Command,
  args: string[],
  options: { stdin?: Uint8Array[] | Readable; signal?: AbortSignal; env?: Record<string, string> } = {},
): Promise<CommandResult> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const context: CommandContext = {
    stdin: options.stdin instanceof Readable ? options.stdin : Readable.from(options.stdin ?? []),
    stdout,
    stderr,
    env: options.env ?? {},
    stdoutIsTerminal: false,
    stderrIsTerminal: false,
    signal: options.signal ?? new AbortController().signal,
  }
  const texts = Promise.all([textOf(stdout), textOf(stderr)])
  let status: number
  try {
    status = await command.run(args, context)
  } finally {
    stdout.end()
    stderr.end()
  }
  const [out, err] = await texts
  return { status, stdout: out, stderr: err }
}

async function textOf(stream: PassThrough): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}
