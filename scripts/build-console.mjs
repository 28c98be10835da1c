#!/usr/bin/env node
// Builds console/ into build/console, where the server looks for it. Does nothing when the result is newer than
// every source.
//
//   node scripts/build-console.mjs
import { existsSync, globSync, statSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const result = path.join(root, 'build/console/index.html')

if (!isCurrent()) {
  process.stderr.write('building the console\n')
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
}

function isCurrent() {
  if (!existsSync(result)) return false
  const builtMs = statSync(result).mtimeMs
  const sources = globSync(['console/**/*', 'scripts/build-console.mjs', 'package-lock.json'], { cwd: root })
  return sources.every((file) => statSync(path.join(root, file)).mtimeMs < builtMs)
}
