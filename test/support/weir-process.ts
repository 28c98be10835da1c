import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { listObjects, readRecords, readTotals, type Totals } from './capture.ts'
import { NODE, WEIR, WeirChild } from './weir-child.ts'

/** A `weir up` of its own data directory and port, ended and removed when the test ends. */
export class WeirProcess implements AsyncDisposable {
  readonly dataDir = mkdtempSync(path.join(tmpdir(), 'weir-e2e-'))
  readonly #child = new WeirChild()

  /** Everything that the process has printed, on both channels. */
  get output(): string {
    return this.#child.output
  }

  /** Starts it and waits until the API answers. */
  async start(args: string[] = []): Promise<void> {
    await this.#child.start(['up', '--data-dir', this.dataDir, '--listen', '127.0.0.1:0', ...args])
  }

  /** Ends it as Ctrl-C does: what it has is delivered. Returns the exit code. */
  async stop(): Promise<number | null> {
    return this.#child.end('SIGINT')
  }

  async kill(): Promise<void> {
    await this.#child.end('SIGKILL')
  }

  /** Runs a CLI command against this process and returns what it printed, parsed when `--json` is among the arguments. */
  cli(...args: string[]): string {
    const { status, stdout, stderr } = spawnSync(NODE, [WEIR, ...args, '--data-dir', this.dataDir], {
      encoding: 'utf8',
      env: { ...process.env, WEIR_SERVER: '', WEIR_TOKEN: '' },
    })
    if (status !== 0) throw new Error(`weir ${args.join(' ')} exited ${status}: ${stderr}${stdout}`)
    return stdout.trim()
  }

  /** Names of the objects in a bucket, in order. */
  objects(bucket: string): string[] {
    return listObjects(path.join(this.dataDir, 'buckets', bucket))
  }

  /** The record lines of one object. */
  records(bucket: string, object: string): string[] {
    return readRecords(path.join(this.dataDir, 'buckets', bucket, object))
  }

  /** Sums over all objects whose name begins with `prefix`, in the form of `totalsOf`. */
  totals(bucket: string, prefix: string): Totals {
    return readTotals(path.join(this.dataDir, 'buckets', bucket), prefix)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    spawnSync(NODE, [WEIR, 'agent', '--detach-all', '--data-dir', this.dataDir])
    rmSync(this.dataDir, { recursive: true, force: true })
  }
}
