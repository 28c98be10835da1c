import { execFileSync } from 'node:child_process'
import path from 'node:path'

/** The compiled programs, up to date: a test must never pass with yesterday's. */
export function ensureObject(): void {
  execFileSync(process.execPath, [path.resolve(import.meta.dirname, '../../scripts/build-bpf.mjs')], {
    stdio: 'pipe',
  })
}
