import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** The compiled programs, up to date: a test must never pass with yesterday's. */
export function ensureObject(): void {
  execFileSync(process.execPath, [path.resolve(import.meta.dirname, '../../scripts/build-bpf.mjs')], {
    stdio: 'pipe',
  })
}

/** Compiles the programs with a part of their text replaced, as a later version would have it. Returns the object file. */
export function compileVariant(file: string, from: string, to: string): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'weir-bpf-'))
  const root = path.resolve(import.meta.dirname, '../..')
  for (const part of ['bpf', 'scripts/build-bpf.mjs'])
    cpSync(path.join(root, part), path.join(directory, part), { recursive: true })
  const source = path.join(directory, 'bpf', file)
  const text = readFileSync(source, 'utf8')
  if (!text.includes(from)) throw new Error(`${file} has no ${from}`)
  writeFileSync(source, text.replace(from, to))
  execFileSync(process.execPath, [path.join(directory, 'scripts/build-bpf.mjs')], { stdio: 'pipe' })
  return path.join(directory, 'build/bpf/flow.bpf.o')
}
