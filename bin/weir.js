#!/usr/bin/env -S node --max-semi-space-size=16
// The `weir` command. Published packages run the compiled dist/; a checkout runs src/ as it is, on the Node that the
// repository pins. Kept readable to old versions of Node, which get a sentence instead of a syntax error. New objects get half
// the space that Node gives them by itself: a busy server would fill it, and gains nothing by it.
import { existsSync } from 'node:fs'
import module from 'node:module'
import { fileURLToPath } from 'node:url'

const NODE_MIN = [24, 5]
const compiled = new URL('../dist/cli/main.js', import.meta.url)
const source = new URL('../src/cli/main.ts', import.meta.url)
const pinned = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url))

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])) {
  module.enableCompileCache?.() // A third of the time and two thirds of the memory of a start without it.
  const { main } = await import(existsSync(source) ? source.href : compiled.href)
  await main()
} else if (existsSync(pinned)) {
  const { spawn } = await import('node:child_process') // Few need it, and all would pay for it.
  const child = spawn(pinned, process.argv.slice(1), { stdio: 'inherit' })
  process.on('SIGINT', () => {}) // A terminal sends it to the child as well, which ends in good order.
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  child.on('exit', (code) => {
    process.exitCode = code ?? 1
  })
} else {
  process.stderr.write(`weir needs Node.js ${NODE_MIN.join('.')} or newer; this is ${process.version}\n`)
  process.exitCode = 3
}
