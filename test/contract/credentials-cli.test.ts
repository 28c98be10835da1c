import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { test } from 'node:test'
import type { Command } from '../../src/cli/command.ts'
import { agent } from '../../src/cli/commands/agent.ts'
import { token } from '../../src/cli/commands/token.ts'
import { type ControlPlane, startControlPlane } from './support/control-plane.ts'

async function run(weir: ControlPlane, command: Command, args: string[]): Promise<string> {
  const stdout = new PassThrough()
  await command.run(args, {
    stdin: Readable.from([]),
    stdout,
    stderr: new PassThrough().resume(),
    env: { WEIR_SERVER: weir.origin, WEIR_TOKEN: weir.owner.token },
    stdoutIsTerminal: false,
    stderrIsTerminal: false,
    signal: new AbortController().signal,
  })
  stdout.end()
  return Buffer.concat(await stdout.toArray())
    .toString()
    .trim()
}

test('a token from the command line works until the command line revokes it', async () => {
  await using weir = await startControlPlane()
  const made = await run(weir, token, ['create', '--days', '1'])
  const contracts = () => weir.call('GET', '/contracts', undefined, { authorization: `Bearer ${made}` })

  const before = await contracts()
  const tokens = JSON.parse(await run(weir, token, ['list', '--json'])) as { id: string; purpose: string }[]
  await run(weir, token, ['revoke', tokens.find(({ purpose }) => purpose === 'generated')!.id])
  const after = await contracts()

  assert.deepEqual([before.status, after.status], [200, 401])
})

test('a host that enrols again has one agent: what it enrolled before is shut out', async () => {
  await using weir = await startControlPlane()
  const directory = mkdtempSync(path.join(tmpdir(), 'weir-enrol-'))
  const enrol = async (host: string, name: string): Promise<() => Promise<number>> => {
    const file = path.join(directory, name)
    const code = await run(weir, agent, ['invite', host])
    await run(weir, agent, ['enroll', '--server', weir.base, code, '--token-file', file])
    const authorization = `Bearer ${readFileSync(file, 'utf8').trim()}`
    return async () => (await weir.call('GET', '/agent/v1/assignments', undefined, { authorization })).status
  }

  const [first, other] = [await enrol('host-9', 'first'), await enrol('host-8', 'other')]
  const before = [await first(), await other()]
  const second = await enrol('host-9', 'second')

  assert.deepEqual(before, [200, 200])
  assert.deepEqual([await first(), await other(), await second()], [401, 200, 200])
  rmSync(directory, { recursive: true })
})

test('an invited host enrols once, into a file for its owner alone, and can be expelled', async () => {
  await using weir = await startControlPlane()
  const directory = mkdtempSync(path.join(tmpdir(), 'weir-enrol-'))
  const file = path.join(directory, 'token')

  const code = await run(weir, agent, ['invite', 'host-9'])
  await run(weir, agent, ['enroll', '--server', weir.base, code, '--token-file', file])
  const authorization = `Bearer ${readFileSync(file, 'utf8').trim()}`
  const assignments = () => weir.call('GET', '/agent/v1/assignments', undefined, { authorization })
  const before = await assignments()
  const again = run(weir, agent, ['enroll', code, '--token-file', path.join(directory, 'second')])
  await assert.rejects(again, { code: 'WEIR_SERVER_REFUSED' })
  await run(weir, agent, ['expel', 'host-9'])
  const after = await assignments()

  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.deepEqual([before.status, after.status], [200, 401])
  rmSync(directory, { recursive: true })
})
