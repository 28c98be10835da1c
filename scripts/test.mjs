#!/usr/bin/env node
// `npm test`: set up, lint, check types, run the tests. With CI=true a missing piece is a failure; elsewhere the
// tests that need it are skipped and say so. Arguments are test files (default: all).
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { setUp } from './setup.mjs'

const TESTS = ['src/**/*.test.ts', 'test/**/*.test.ts']
const TEST_TIMEOUT_MS = 240_000

const inCi = Boolean(process.env.CI)

function main(files) {
  const missing = setUp('test')
  if (process.getuid?.() !== 0) missing.push('not root: the tests that need the kernel are skipped')
  for (const sentence of missing) process.stderr.write(`test: ${sentence}\n`)
  if (inCi && missing.length > 0) return 1
  if (files.length === 0) {
    if (run('node_modules/.bin/biome', ['ci', '--colors=off', '--error-on-warnings', '.']) !== 0) return 1
    if (run('node_modules/.bin/tsc', ['-p', '.']) !== 0) return 1
    if (run('node_modules/.bin/tsc', ['-p', 'console']) !== 0) return 1
  }
  return run('node_modules/.bin/node', [
    '--test',
    '--test-concurrency=2',
    `--test-timeout=${TEST_TIMEOUT_MS}`,
    ...(files.length > 0 ? files : globSync(TESTS).sort()),
  ])
}

function run(command, args) {
  return spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'] }).status ?? 1
}

process.exitCode = main(process.argv.slice(2))
