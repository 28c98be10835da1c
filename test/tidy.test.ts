import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'

// Rules of the house that a reviewer should not have to repeat (docs/architecture.md has the reasons).

/** Which folder of src/ may import which. Every folder may import itself and stdx. */
const MAY_IMPORT: Record<string, string[]> = {
  stdx: [],
  model: [],
  telemetry: [],
  spool: [],
  capture: ['model'],
  meter: ['model'],
  encode: ['model'],
  store: ['model'],
  buckets: ['model'],
  explore: ['model'],
  deliver: ['spool', 'telemetry', 'model'],
  agent: ['capture', 'meter', 'encode', 'spool', 'deliver', 'telemetry', 'model'],
  api: ['store', 'buckets', 'explore', 'telemetry', 'model'],
  cli: ['agent', 'api', 'store', 'buckets', 'explore', 'capture', 'meter', 'encode', 'telemetry', 'model'],
}

/** Text that may stand in some places only. */
const ONLY_IN: { pattern: RegExp; what: string; allowed: RegExp; suffix?: RegExp }[] = [
  { pattern: /from 'koffi'/, what: 'FFI', allowed: /^src\/capture\/ebpf\/ffi\// },
  {
    pattern: /from 'kysely'|from 'node:sqlite'|from 'pg'/,
    what: 'SQL',
    allowed: /^(src\/store\/|test\/|bench\/)/,
  },
  { pattern: /from '@aws-sdk\//, what: 'the AWS SDK', allowed: /^(src\/buckets\/s3\/|test\/|bench\/)/ },
  { pattern: /\bprocess\.env\b/, what: 'process.env', allowed: /^(src\/cli\/|test\/|bench\/)/ },
  {
    pattern: /\bDate\.now\(\)|new Date\(\)/,
    what: 'the wall clock',
    allowed: /^(src\/stdx\/clock\.ts|test\/|bench\/|.*\.test\.ts)/,
  },
]

/** Layers that must stay free of I/O: time arrives as an argument, bytes leave as a return value. */
const PURE = /^src\/(meter|encode|model)\//
const IMPURE_IMPORT = /from 'node:(fs|net|http|timers|child_process|worker_threads)/

const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { encoding: 'utf8' })
  .trim()
  .split('\n')
const sources = files.filter((file) => /\.(ts|tsx)$/.test(file))
const textOf = (file: string): string => readFileSync(file, 'utf8')

test('no folder of src/ imports one that it may not', () => {
  const faults = sources
    .filter((file) => file.startsWith('src/'))
    .flatMap((file) => importsOf(file).filter(({ to }) => !mayImport(file, to)))
    .map(({ file, to }) => `${file} imports ${to}`)

  assert.deepEqual(faults, [])
})

test('the console takes nothing from src/ but the types of what goes over the wire', () => {
  const imports = sources
    .filter((file) => file.startsWith('console/'))
    .flatMap((file) => textOf(file).match(/^(?:import|export)[^;'"]*? from '[^']*\/src\/[^']*'/gm) ?? [])
  const faults = imports.filter((it) => !/^(import|export) type [^']*'[^']*explore\/question\.ts'$/.test(it))

  assert.ok(imports.length > 0)
  assert.deepEqual(faults, [])
})

test('system interfaces stay in the one place that owns them', () => {
  const faults = sources
    .filter((file) => file.startsWith('src/'))
    .flatMap((file) =>
      ONLY_IN.filter(({ pattern, allowed }) => !allowed.test(file) && pattern.test(code(file))).map(
        ({ what }) => `${file} uses ${what}`,
      ),
    )

  assert.deepEqual(faults, [])
})

test('metering, encoding and the model do no I/O', () => {
  const faults = sources
    .filter((file) => PURE.test(file) && !file.endsWith('.test.ts'))
    .filter((file) => IMPURE_IMPORT.test(textOf(file)))

  assert.deepEqual(faults, [])
})

test('source files keep to the house style that the linter does not know', () => {
  const faults = sources.flatMap((file) => {
    const text = textOf(file)
    return [
      ...(path.basename(file) === 'index.ts' ? [`${file}: import files, not folders`] : []),
      ...(/\bFIXME\b/.test(text) && file !== 'test/tidy.test.ts' ? [`${file}: FIXME`] : []),
      ...(/\bTODO\b(?! ?\(?#\d)/.test(text) && file !== 'test/tidy.test.ts'
        ? [`${file}: TODO without an issue`]
        : []),
      ...(/^export \* from/m.test(text) ? [`${file}: re-exports everything`] : []),
    ]
  })

  assert.deepEqual(faults, [])
})

test('every BPF source says that it is GPL-2.0', () => {
  const faults = files
    .filter((file) => /^bpf\/.*\.[ch]$/.test(file))
    .filter((file) => !/^(\/\/|\/\*) SPDX-License-Identifier: GPL-2\.0/.test(textOf(file)))

  assert.deepEqual(faults, [])
})

test('links between documents lead somewhere', () => {
  const faults = files
    .filter((file) => file.endsWith('.md'))
    .flatMap((file) =>
      [...textOf(file).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)]
        .map((match) => path.posix.join(path.posix.dirname(file), match[1]!))
        .filter((target) => !existsSync(target))
        .map((target) => `${file} links to ${target}`),
    )

  assert.deepEqual(faults, [])
})

test('nothing large or generated is kept in the repository', () => {
  const allowed = /^(package-lock\.json|docs\/img\/)/
  const faults = files.filter((file) => !allowed.test(file) && readFileSync(file).length > 100_000)

  assert.deepEqual(faults, [])
})

function importsOf(file: string): { file: string; to: string }[] {
  const found = textOf(file).matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)
  return [...found]
    .map((match) => path.posix.join(path.posix.dirname(file), match[1]!))
    .filter((to) => to.startsWith('src/'))
    .map((to) => ({ file, to }))
}

function mayImport(file: string, to: string): boolean {
  const [, from] = file.split('/')
  const [, folder] = to.split('/')
  if (from === folder || folder === 'stdx') return true
  const allowed = MAY_IMPORT[from!]
  assert.ok(allowed, `src/${from} is not in the table of folders`)
  return allowed.includes(folder!)
}

/** The file without comments: a sentence about Date.now() is no use of it. */
function code(file: string): string {
  return textOf(file).replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
}
