#!/usr/bin/env node
// Builds console/ into build/console, where the server looks for it. Does nothing when the result is newer than
// every source; returns false then.
//
//   node scripts/build-console.mjs [--force]
import { existsSync, globSync, statSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const result = path.join(root, 'build/console/index.html')

export async function buildConsole({ say = () => {}, force = false } = {}) {
  if (!force && isCurrent()) return false
  say('building the console')
  const { build } = await import('vite') // Only now: mostly there is nothing to do.
  await build({
    configFile: false,
    root: path.join(root, 'console'),
    logLevel: 'warn',
    oxc: { jsx: { runtime: 'automatic' } },
    build: {
      outDir: path.join(root, 'build/console'),
      emptyOutDir: true,
      assetsInlineLimit: 0, // The content security policy knows no `data:`.
      modulePreload: { polyfill: false },
      target: 'es2023',
      chunkSizeWarningLimit: 700, // echarts, which only pages with charts load.
    },
  })
  return true
}

function isCurrent() {
  if (!existsSync(result)) return false
  const builtMs = statSync(result).mtimeMs
  const sources = globSync(['console/**/*', 'scripts/build-console.mjs', 'package-lock.json'], { cwd: root })
  return sources.every((file) => statSync(path.join(root, file)).mtimeMs < builtMs)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const say = (message) => process.stderr.write(`${message}\n`)
  await buildConsole({ say, force: process.argv.includes('--force') })
}
