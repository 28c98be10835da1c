#!/usr/bin/env node
// Adds to package-lock.json the optional platform packages that a registry mirror did not offer when the lock was
// made. `npm ci` refuses a lock without them, and users on other platforms need them. Run after each dependency change.
//
//   node scripts/complete-lockfile.mjs
import { readFileSync, writeFileSync } from 'node:fs'

const PLATFORMS = /\b(aix|android|darwin|freebsd|linux|netbsd|openbsd|openharmony|sunos|win32)\b/
const ARCHITECTURES = /\b(arm64|arm|ia32|loong64|mips64el|ppc64|riscv64|s390x|x64)\b/

const file = 'package-lock.json'
const lock = JSON.parse(readFileSync(file, 'utf8'))
const absent = Object.values(lock.packages).flatMap((parent) =>
  Object.entries(parent.optionalDependencies ?? {})
    .map(([name, version]) => ({ key: `node_modules/${name}`, name, version, parent }))
    .filter(({ key, name }) => !lock.packages[key] && PLATFORMS.test(name) && ARCHITECTURES.test(name)),
)
for (const { key, name, version, parent } of absent) {
  lock.packages[key] = {
    version,
    cpu: [name.match(ARCHITECTURES)[1]],
    ...(parent.dev ? { dev: true } : {}),
    optional: true,
    os: [name.match(PLATFORMS)[1]],
  }
}
const sorted = Object.keys(lock.packages).sort()
lock.packages = Object.fromEntries(sorted.map((key) => [key, lock.packages[key]]))
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)
process.stderr.write(`${absent.length} platform packages added to ${file}\n`)
