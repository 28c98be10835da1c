import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { connect } from 'node:tls'
import { makeCertificate } from '../support/certificate.ts'
import { eventually } from '../support/eventually.ts'
import { withoutRoot } from '../support/network.ts'
import { runWeir, ServerProcess, startAgent } from '../support/server-process.ts'
import { postgresPrograms, startPostgres } from './support/postgres.ts'

const programs = postgresPrograms()

function temporaryDirectory(): { directory: string } & Disposable {
  const directory = mkdtempSync(path.join(tmpdir(), 'weir-host-'))
  return { directory, [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }) }
}

test('over TLS an enrolled agent needs no options, and a restart of the control plane does not shut it out', {
  skip: withoutRoot,
}, async () => {
  using host = temporaryDirectory()
  const { certFile, keyFile } = makeCertificate(host.directory)
  const tls = ['--tls-cert', certFile, '--tls-key', keyFile]
  await using server = new ServerProcess({ env: { WEIR_CA_FILE: certFile } })
  await server.start(...tls)
  const hostName = `hv-${process.pid}`

  const code = server.cli('agent', 'invite', hostName)
  const unusable = runWeir(['nic', 'list', '--server', server.origin, '--ca-file', keyFile], {
    env: { WEIR_TOKEN: 'x' },
  })
  const enrol = ['agent', 'enroll', '--server', server.origin, code, '--data-dir', host.directory]
  const distrusted = runWeir(enrol)
  const enrolled = runWeir([...enrol, '--ca-file', certFile])
  await using _agent = startAgent(host.directory)
  const isRunning = (): boolean => agentsOf(server).some((it) => it.host === hostName && it.live)
  await eventually('the agent reports', isRunning, 60_000)
  const stopped = await server.stop()
  await server.start(...tls)
  const seenBefore = lastSeen(server, hostName)
  await eventually('the agent reports again', () => lastSeen(server, hostName) > seenBefore, 60_000)
  server.cli('agent', 'expel', hostName)

  assert.match(distrusted.stderr, /does not answer .*--ca-file \(WEIR_CA_FILE\)/)
  assert.match(unusable.stderr, /--ca-file \S+ cannot be used/)
  assert.equal(enrolled.status, 0, enrolled.stderr)
  assert.match(server.origin, /^https:/)
  assert.equal(statSync(path.join(host.directory, 'agent.json')).mode & 0o777, 0o600)
  assert.equal(stopped, 0)
  assert.deepEqual(agentsOf(server), [])
})

test('a renewed certificate is served without a restart, and one that cannot be used is not', async () => {
  using host = temporaryDirectory()
  const { certFile, keyFile } = makeCertificate(host.directory)
  const renewed = makeCertificate(host.directory, 'renewed')
  await using server = new ServerProcess()
  await server.start('--tls-cert', certFile, '--tls-key', keyFile)
  const before = await certificateName(server.origin)

  renameSync(renewed.certFile, certFile) // Not the key's any more.
  await eventually('the mismatch is told', () => /the certificate stays as it was/.test(server.output))
  const between = await certificateName(server.origin)
  renameSync(renewed.keyFile, keyFile)
  await eventually('the new one is served', async () => (await certificateName(server.origin)) === 'renewed')

  assert.deepEqual([before, between], ['tls', 'tls'])
})

/** Of whom the certificate says that it is. */
async function certificateName(origin: string): Promise<string | undefined> {
  const { hostname, port } = new URL(origin)
  const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false })
  try {
    await once(socket, 'secureConnect')
    const name = socket.getPeerCertificate().subject.CN
    return Array.isArray(name) ? name[0] : name
  } finally {
    socket.destroy()
  }
}

interface AgentLine {
  host: string
  live: boolean
  lastSeenAt: string
}

function agentsOf(server: ServerProcess): AgentLine[] {
  return JSON.parse(server.cli('agent', 'list', '--json')) as AgentLine[]
}

function lastSeen(server: ServerProcess, host: string): string {
  return agentsOf(server).find((it) => it.host === host)?.lastSeenAt ?? ''
}

test('a server ends at once and in good order while agents wait for news and clients keep connections', async () => {
  await using server = new ServerProcess()
  await server.start()
  using host = temporaryDirectory()
  const code = server.cli('agent', 'invite', 'hv-1')
  runWeir(['agent', 'enroll', '--server', server.origin, code, '--data-dir', host.directory])
  const { token } = JSON.parse(readFileSync(path.join(host.directory, 'agent.json'), 'utf8'))
  const headers = { authorization: `Bearer ${token}` }
  const ask = async (query: string) => {
    const response = await fetch(`${server.origin}/agent/v1/assignments?${query}`, { headers })
    return (await response.json()) as { version: string }
  }

  const { version } = await ask('')
  const news = ask(`version=${version}&waitS=30`)
  await fetch(`${server.origin}/healthz`)
  const startMs = performance.now()
  const exitCode = await server.stop()

  assert.equal(exitCode, 0)
  assert.ok(performance.now() - startMs < 10_000)
  assert.equal((await news).version, version)
})

test('commands work from another machine with a token, and never show a local one to another server', async () => {
  await using here = new ServerProcess()
  await using elsewhere = new ServerProcess()
  await Promise.all([here.start(), elsewhere.start()])
  const token = here.cli('token', 'create', '--days', '1')
  using nowhere = temporaryDirectory()
  const env = { WEIR_SERVER: here.origin, WEIR_TOKEN: token, WEIR_DATA_DIR: nowhere.directory }

  const added = ['nic', 'add', '--name', 'web', '--host', 'hv-7', '--device', 'tap0', '--side', 'guest']
  const unknownHost = runWeir(added, { env })
  const made = runWeir([...added, '--new-host'], { env })
  const listed = runWeir(['nic', 'list', '--json'], { env })
  const wrongToken = runWeir(['nic', 'list'], { env: { ...env, WEIR_TOKEN: 'weir_user_other' } })
  const foreign = runWeir(['nic', 'list', '--server', 'http://192.0.2.1:8080', '--data-dir', here.dataDir])

  assert.deepEqual([unknownHost.status, made.status, listed.status, foreign.status], [1, 0, 0, 1])
  assert.match(unknownHost.stderr, /no server called 'hv-7'/)
  assert.match(wrongToken.stderr, /HTTP 401.*: http:\S+ does not know this token; see WEIR_TOKEN/)
  const [nic] = JSON.parse(listed.stdout) as { server: string; binding: object }[]
  assert.deepEqual([nic?.server, nic?.binding], ['hv-7', { host: 'hv-7', device: 'tap0', side: 'guest' }])
  assert.match(foreign.stderr, /no token for http:\/\/192\.0\.2\.1:8080/)
})

test('a backup of a running server, put into an empty data directory, is that server again', async () => {
  await using server = new ServerProcess()
  await server.start()
  using elsewhere = temporaryDirectory()
  const file = path.join(elsewhere.directory, 'copy.db')
  const token = server.cli('token', 'create', '--days', '1')
  server.cli(
    'nic',
    'add',
    '--name',
    'web',
    '--host',
    'hv-7',
    '--new-host',
    '--device',
    'tap0',
    '--side',
    'guest',
  )
  const nicsBefore = server.cli('nic', 'list', '--json')

  const written = JSON.parse(server.cli('backup', file, '--json'))
  const overwritten = runWeir(['backup', file, '--data-dir', server.dataDir])
  await using restored = new ServerProcess()
  renameSync(file, path.join(restored.dataDir, 'weir.db'))
  await restored.start()
  const env = { WEIR_SERVER: restored.origin, WEIR_TOKEN: token }
  const nicsAfter = runWeir(['nic', 'list', '--json'], { env }).stdout.trim()

  assert.equal(written.file, file)
  assert.equal(overwritten.status, 2)
  assert.equal(nicsAfter, nicsBefore)
})

test('servers share a PostgreSQL; the first has the credentials, even if it could not listen', {
  skip: programs === undefined ? 'PostgreSQL is not installed' : false,
}, async () => {
  await using postgres = await startPostgres(programs!)
  await using blocker = new ServerProcess()
  await blocker.start()
  await using first = new ServerProcess()
  await using second = new ServerProcess()
  const database = ['--database', postgres.url]

  const inUse = ['server', '--data-dir', first.dataDir, '--listen', new URL(blocker.origin).host, ...database]
  const refused = runWeir(inUse)
  await first.start(...database)
  await second.start(...database)
  const token = first.cli('token', 'create', '--days', '1')
  const added = ['nic', 'add', '--name', 'web', '--host', 'hv-7', '--new-host', '--mac', '02:00:00:00:00:07']
  const id = first.cli(...added, '--side', 'guest')
  const env = { WEIR_SERVER: second.origin, WEIR_TOKEN: token }
  const listed = JSON.parse(runWeir(['nic', 'list', '--json'], { env }).stdout) as { id: string }[]

  assert.equal(refused.status, 1)
  assert.match(refused.stderr, /cannot listen/)
  assert.deepEqual(
    listed.map((it) => it.id),
    [id],
  )
  assert.ok(!existsSync(path.join(second.dataDir, 'credentials.json')))
})
