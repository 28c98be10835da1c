#!/usr/bin/env node
// Completes package-lock.json with the optional platform packages that this machine's registry did not offer, so that
// `npm ci` accepts the lock here and installs the right binary on every other platform.
// usage: node complete-lockfile.mjs [package-lock.json]
import { readFileSync, writeFileSync } from 'node:fs'

const path = process.argv[2] ?? 'package-lock.json'
const lock = JSON.parse(readFileSync(path, 'utf8'))
let added = 0
for (const parent of Object.values({ ...lock.packages })) {
  for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`
    const platform = name.match(
      /(android|darwin|freebsd|linux|openbsd|sunos|win32)-(arm64|arm|ia32|x64|riscv64|ppc64|s390x|loong64)/,
    )
    if (lock.packages[key] || !platform) continue
    lock.packages[key] = {
      version,
      cpu: [platform[2]],
      ...(parent.dev && { dev: true }),
      optional: true,
      os: [platform[1]],
    }
    added++
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)))
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`)
console.log(`${added} platform packages added to ${path}`)
