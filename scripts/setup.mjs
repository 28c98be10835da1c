#!/usr/bin/env node
// Sets up what Weir needs on this machine: npm packages, Debian packages, the compiled BPF object, the console.
// Runs before any package is there, so it uses nothing but Node's own modules and stays readable to Node 18.
//
//   node scripts/setup.mjs [--for run|test]
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildBpf, CLANG_OLDEST, findClang } from './build-bpf.mjs'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const isRoot = process.getuid?.() === 0
const NPM_CI = ['ci', '--no-audit', '--no-fund', '--loglevel=error']
/** Half a gigabyte for one test: a package of its own, so that nobody who only runs Weir has it. */
const CLICKHOUSE = path.join(root, 'test/explore/clickhouse')

/** What is looked for, and the Debian package that brings it. */
const NEEDS = {
  run: [
    { package: 'libbpf1', what: 'libbpf, which loads BPF programs', found: () => hasLibrary('libbpf.so.1') },
    {
      package: 'libbpf-dev',
      what: 'the BPF helper headers',
      found: () => existsSync('/usr/include/bpf/bpf_helpers.h'),
    },
    {
      package: 'linux-libc-dev',
      what: "the kernel's headers for programs",
      found: () => existsSync('/usr/include/linux/bpf.h'),
    },
    {
      package: 'clang-19',
      what: `clang ${CLANG_OLDEST} or newer, which compiles bpf/`,
      found: () => findClang() !== undefined,
    },
    { package: 'iproute2', what: 'ip', found: () => onPath('ip') },
  ],
  test: [
    { package: 'nftables', what: 'nft', found: () => onPath('nft') },
    { package: 'iptables', what: 'iptables', found: () => onPath('iptables') },
    { package: 'tcpdump', what: 'tcpdump', found: () => onPath('tcpdump') },
    { package: 'iperf3', what: 'iperf3', found: () => onPath('iperf3') },
    { package: 'bpftool', what: 'bpftool', found: () => onPath('bpftool') },
    { package: 'ethtool', what: 'ethtool', found: () => onPath('ethtool') },
    { package: 'iputils-ping', what: 'ping', found: () => onPath('ping') },
    {
      package: 'postgresql',
      what: 'PostgreSQL, for the tests of several replicas',
      found: () => existsSync('/usr/lib/postgresql'),
    },
    { package: 'procps', what: 'sysctl', found: () => onPath('sysctl') },
    { package: 'ceph-mon', what: 'a Ceph monitor, for a real S3 server', found: () => onPath('ceph-mon') },
    { package: 'ceph-osd', what: 'a Ceph OSD, for a real S3 server', found: () => onPath('ceph-osd') },
    { package: 'radosgw', what: 'radosgw, a real S3 server', found: () => onPath('radosgw') },
    { package: 'awscli', what: 'aws, which the owners of buckets use', found: () => onPath('aws') },
    { package: 'chromium', what: 'a browser for the console', found: () => onPath('chromium') },
  ],
}

/** Returns what could not be set up, one sentence each; empty when everything is there. */
export function setUp(purpose) {
  const missing = []
  if (!packagesAreCurrent(root) || !existsSync(path.join(root, 'node_modules/.bin/node'))) {
    say('installing npm packages (npm ci)')
    run('npm', NPM_CI)
  }
  if (purpose === 'test' && !packagesAreCurrent(CLICKHOUSE)) {
    say('installing ClickHouse from npm, for one test (npm ci)')
    try {
      run('npm', [...NPM_CI, '--ignore-scripts', '--prefix', CLICKHOUSE])
    } catch (error) {
      missing.push(`ClickHouse could not be installed: ${error.message}`)
    }
  }
  const needs = purpose === 'test' ? [...NEEDS.run, ...NEEDS.test] : NEEDS.run
  const absent = needs.filter((need) => !need.found())
  if (absent.length > 0) installDebianPackages(absent)
  for (const need of needs.filter((it) => !it.found())) {
    missing.push(`${need.what} is missing: install it with 'apt-get install ${need.package}' as root`)
  }
  try {
    run(path.join(root, 'node_modules/.bin/node'), ['scripts/build-console.mjs'])
  } catch (error) {
    missing.push(`the console could not be built, everything else works: ${error.message}`)
  }
  if (findClang() !== undefined && existsSync('/usr/include/bpf/bpf_helpers.h')) buildBpf({ say })
  return missing
}

/** The lock that npm ci leaves behind tells which packages are installed. */
function packagesAreCurrent(folder) {
  const installed = path.join(folder, 'node_modules/.package-lock.json')
  if (!existsSync(installed)) return false
  const wanted = JSON.parse(readFileSync(path.join(folder, 'package-lock.json'), 'utf8')).packages
  const present = JSON.parse(readFileSync(installed, 'utf8')).packages
  return Object.entries(wanted).every(
    ([name, entry]) => name === '' || entry.optional || present[name]?.version === entry.version,
  )
}

function installDebianPackages(needs) {
  const names = needs.map((need) => need.package)
  if (!isRoot || !onPath('apt-get')) return
  say(`installing from apt: ${needs.map((need) => `${need.package} (${need.what})`).join(', ')}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const install = ['install', '-y', '-qq', '--no-install-recommends', ...names]
  if (spawnSync('apt-get', install, { env, stdio: 'ignore' }).status === 0) return
  run('apt-get', ['update', '-qq'], env) // A fresh machine has no package lists yet.
  run('apt-get', install, env)
}

function run(command, args, env = process.env) {
  // Set-up talks on stderr: stdout belongs to the command that follows.
  const { status, error } = spawnSync(command, args, { cwd: root, env, stdio: ['ignore', 2, 2] })
  if (status === 0) return
  throw new Error(
    `'${command} ${args.join(' ')}' failed${error ? `: ${error.message}` : ` (exit ${status})`}`,
  )
}

function hasLibrary(name) {
  const { stdout } = spawnSync('/sbin/ldconfig', ['-p'], { encoding: 'utf8' })
  return stdout?.includes(`${name} `) ?? false
}

function onPath(name) {
  return `${process.env.PATH}:/usr/sbin:/sbin`.split(':').some((folder) => {
    try {
      accessSync(path.join(folder, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

function say(message) {
  process.stderr.write(`setup: ${message}\n`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const at = process.argv.indexOf('--for')
  try {
    for (const sentence of setUp(at > 0 ? process.argv[at + 1] : 'run')) say(sentence)
  } catch (error) {
    say(error.message)
    process.exitCode = 1
  }
}
