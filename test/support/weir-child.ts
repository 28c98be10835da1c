import { type ChildProcess, spawn } from 'node:child_process'
import path from 'node:path'

export const NODE = path.resolve('node_modules/.bin/node')
export const WEIR = path.resolve('bin/weir.js')
const START_TIMEOUT_MS = 60_000

/** A `weir` that goes on until it is ended, and may be started again then. */
export class WeirChild {
  /** Everything that it has printed, on both channels, in all its lives. */
  output = ''
  #child: ChildProcess | undefined

  /** Returns when it has printed what `until` matches. */
  async start(
    args: readonly string[],
    { env, until = /^ready$/m }: { env?: NodeJS.ProcessEnv; until?: RegExp } = {},
  ): Promise<void> {
    const child = spawn(NODE, [WEIR, ...args], {
      ...(env === undefined ? {} : { env }),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    const startAt = this.output.length
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const read = (chunk: Buffer): void => {
      this.output += chunk.toString()
      if (until.test(this.output.slice(startAt))) resolve()
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    child.once('exit', (code, signal) =>
      reject(new Error(`weir ${args[0]} ended with ${code ?? signal}:\n${this.output}`)),
    )
    const timer = setTimeout(() => reject(new Error(`not ready in time:\n${this.output}`)), START_TIMEOUT_MS)
    try {
      await promise
    } finally {
      clearTimeout(timer)
    }
  }

  /** Returns the exit code; null for one that a signal ended, or that was not there. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) {
      return child?.exitCode ?? null
    }
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
    child.kill(signal)
    return ended
  }
}
