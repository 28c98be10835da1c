import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { NODE, WEIR, WeirChild } from './weir-child.ts'

export interface CliResult {
  status: number | null
  stdout: string
  stderr: string
}

/** A `weir server` of its own data directory and port, and commands run as others would run them against it. */
export class ServerProcess implements AsyncDisposable {
  readonly dataDir = mkdtempSync(path.join(tmpdir(), 'weir-server-'))
  /** Environment of the commands that `cli` runs. */
  readonly env: Record<string, string>
  readonly #child = new WeirChild()
  #url = ''

  constructor(options: { env?: Record<string, string> } = {}) {
    this.env = options.env ?? {}
  }

  /** Without the base path. */
  get origin(): string {
    return this.#url.replace('/cloudapi/v6', '')
  }

  /** Everything that it has printed, on both channels. */
  get output(): string {
    return this.#child.output
  }

  /** The port that the first start got is kept for later ones: agents know no other. */
  async start(...args: string[]): Promise<void> {
    const listen = this.#url === '' ? '127.0.0.1:0' : new URL(this.#url).host
    await this.#child.start(['server', '--data-dir', this.dataDir, '--listen', listen, ...args])
    this.#url = /^API +(\S+)$/m.exec(this.#child.output)![1]!
  }

  /** As service supervisors end it. Returns the exit code. */
  stop(): Promise<number | null> {
    return this.#child.end('SIGTERM')
  }

  /** The operator's command line, on the server's own machine. Throws when it fails. */
  cli(...args: string[]): string {
    const { status, stdout, stderr } = runWeir([...args, '--data-dir', this.dataDir], { env: this.env })
    if (status !== 0) throw new Error(`weir ${args.join(' ')} exited ${status}: ${stderr}${stdout}`)
    return stdout.trim()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.end('SIGKILL')
    rmSync(this.dataDir, { recursive: true, force: true })
  }
}

/** Runs `weir` as on another machine: what is not given here, it does not know. */
export function runWeir(
  args: string[],
  options: { env?: Record<string, string>; input?: string } = {},
): CliResult {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('WEIR_')))
  return spawnSync(NODE, [WEIR, ...args], {
    encoding: 'utf8',
    input: options.input ?? '',
    env: { ...env, ...options.env },
  })
}

/** `weir agent` without an option; nothing of it is left in the kernel at the end, but when it was only killed. */
export function startAgent(dataDir: string): { kill(): Promise<unknown> } & AsyncDisposable {
  const agent = spawn(NODE, [WEIR, 'agent'], {
    env: { ...process.env, WEIR_DATA_DIR: dataDir, WEIR_SERVER: '', WEIR_AGENT_TOKEN: '' },
    stdio: 'ignore',
  })
  const exit = new Promise((resolve) => agent.once('exit', resolve))
  return {
    kill() {
      agent.kill('SIGKILL')
      return exit
    },
    async [Symbol.asyncDispose]() {
      agent.kill('SIGTERM')
      await exit
      runWeir(['agent', '--detach-all', '--data-dir', dataDir])
    },
  }
}
