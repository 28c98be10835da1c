// Compiles the kernel side: bpf/flow.bpf.c -> build/bpf/flow.bpf.o. Does nothing when the output is newer than every
// source. Plain JavaScript on node's own modules, so that set-up can run it before anything is installed.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, renameSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const sourceDirectory = join(root, 'bpf')
const output = join(root, 'build', 'bpf', 'flow.bpf.o')
export const CLANG_OLDEST = 14
const CLANG_NEWEST = 30

/** The newest clang that is installed, by its command name. */
export function findClang() {
  const versions = Array.from(
    { length: CLANG_NEWEST - CLANG_OLDEST + 1 },
    (_, i) => `clang-${CLANG_NEWEST - i}`,
  )
  return ['clang', ...versions].find((name) => {
    const { status, stdout } = spawnSync(name, ['-dumpversion'], { encoding: 'utf8' })
    return status === 0 && Number.parseInt(stdout, 10) >= CLANG_OLDEST
  })
}

function modifiedMs(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs
}

function isUpToDate() {
  const outputMs = modifiedMs(output)
  if (outputMs === undefined) return false
  const sources = readdirSync(sourceDirectory).map((name) => join(sourceDirectory, name))
  return [...sources, fileURLToPath(import.meta.url)].every((path) => modifiedMs(path) < outputMs)
}

/** Builds what is not up to date; throws an Error that says what is missing. */
export function buildBpf({ say }) {
  if (isUpToDate()) return
  const compiler = findClang()
  if (compiler === undefined) throw new Error('no clang found: apt-get install clang-19 libbpf-dev')
  mkdirSync(dirname(output), { recursive: true })
  const temporary = `${output}.${process.pid}`
  const machine = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
  const options = ['-O2', '-g', '-target', 'bpf', '-mcpu=v3', '-Wall', '-Werror']
  const include = `-I/usr/include/${machine}-linux-gnu` // Where Debian keeps asm/types.h.
  const source = join(sourceDirectory, 'flow.bpf.c')
  const result = spawnSync(compiler, [...options, include, '-c', source, '-o', temporary], {
    stdio: ['ignore', 2, 2],
  })
  if (result.status !== 0) throw new Error(`${compiler} failed; it needs the headers of libbpf-dev`)
  renameSync(temporary, output)
  say(`compiled bpf/ with ${compiler}`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    buildBpf({ say: (line) => process.stderr.write(`build-bpf: ${line}\n`) })
  } catch (error) {
    process.stderr.write(`build-bpf: ${error.message}\n`)
    process.exitCode = 1
  }
}
