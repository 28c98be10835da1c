import assert from 'node:assert/strict'
import { PassThrough, Readable } from 'node:stream'
import { test } from 'node:test'
import { sql } from 'kysely'
import { ApiClient, type Datacenter } from '../../src/cli/api-client.ts'
import { ExitCode } from '../../src/cli/command.ts'
import { inventory } from '../../src/cli/commands/inventory.ts'
import { type ControlPlane, startControlPlane } from './support/control-plane.ts'

const FILE = `
datacenters:
  - name: edge
    location: local
    lans:
      - name: LAN 1
    servers:
      - name: hv-1
        cores: 8
        ram: 16384
        nics:
          - name: web
            lan: 1
            binding: { host: host-1, device: tap0, side: guest }
            flowlog: { name: web, action: all, direction: bidirectional, bucket: s3://flowlogs/web }
          - name: db
            lan: 1
    natgateways:
      - name: nat
        publicIps: [192.0.2.1]
        binding: { host: host-1, device: wan0, side: own }
        flowlog: { name: nat, action: REJECTED, direction: INGRESS, bucket: flowlogs/nat }
    applicationloadbalancers:
      - name: alb
        listenerLan: 1
        targetLan: 2
        flowlog: { name: alb, action: ALL, direction: INGRESS, bucket: flowlogs/alb }
`

async function run(
  weir: ControlPlane,
  args: string[],
  file = '',
): Promise<{ code: ExitCode; lines: string[]; text: string }> {
  const stdout = new PassThrough()
  const code = await inventory.run(args, {
    stdin: Readable.from([file]),
    stdout,
    stderr: new PassThrough().resume(),
    env: { WEIR_SERVER: weir.origin, WEIR_TOKEN: weir.owner.token },
    stdoutIsTerminal: false,
    stderrIsTerminal: false,
    signal: new AbortController().signal,
  })
  stdout.end()
  const text = Buffer.concat(await stdout.toArray()).toString()
  return { code, text, lines: text.split('\n').filter((it) => it !== '') }
}

test('a file becomes an inventory, and applying it again changes nothing', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 0 })

  const dry = await run(weir, ['apply', '-', '--dry-run'], FILE)
  const first = await run(weir, ['apply', '-'], FILE)
  const second = await run(weir, ['apply', '-', '--dry-run'], FILE)

  assert.equal(dry.code, ExitCode.failed)
  assert.deepEqual(dry.lines, first.lines)
  assert.equal(first.lines.length, 10)
  assert.ok(first.lines.includes('+ datacenter edge › server hv-1 › nic web › flowlog web'))
  assert.deepEqual(second, { code: ExitCode.ok, lines: [], text: '' })
})

test('what differs is changed in place where it can be, and made anew where it cannot', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 0 })
  await run(weir, ['apply', '-'], FILE)
  const changed = FILE.replace('cores: 8', 'cores: 16')
    .replace('device: tap0', 'device: tap7')
    .replace('action: REJECTED', 'action: ALL')
    .replace('          - name: db\n            lan: 1\n', '')

  const kept = await run(weir, ['apply', '-', '--dry-run'], changed)
  const pruned = await run(weir, ['apply', '-', '--prune'], changed)
  const again = await run(weir, ['apply', '-', '--prune', '--dry-run'], changed)

  assert.ok(!kept.lines.some((it) => it.startsWith('- ') && it.includes('nic db')))
  assert.deepEqual(pruned.lines, [
    '~ datacenter edge › server hv-1',
    '    cores: 8 → 16',
    '- datacenter edge › server hv-1 › nic db',
    '~ datacenter edge › server hv-1 › nic web',
    '    binding: {"host":"host-1","device":"tap0","side":"guest"} → {"host":"host-1","device":"tap7","side":"guest"}',
    '- datacenter edge › natgateway nat › flowlog nat',
    '+ datacenter edge › natgateway nat › flowlog nat',
  ])
  assert.deepEqual(again.lines, [])
  // The data center that the file does not name is nobody's to prune.
  assert.equal((await weir.get('/datacenters')).body.items.length, 2)
})

test('an exported inventory applies without a change, and makes the same in another place', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 0 })
  await using other = await startControlPlane({ attachGraceMs: 0 })
  await run(weir, ['apply', '-'], FILE)

  const { text } = await run(weir, ['export'])
  const here = await run(weir, ['apply', '-', '--prune', '--dry-run'], text)
  await run(other, ['apply', '-'], text)
  const there = await run(other, ['apply', '-', '--dry-run'], text)

  assert.deepEqual([here.lines, there.lines], [[], []])
})

test('what is wrong with a file is said with its place, before anything is changed', async () => {
  await using weir = await startControlPlane()
  const before = (await weir.get('/datacenters?depth=9')).body
  const server = (more: string) =>
    `datacenters:\n  - name: a\n    location: x\n    servers:\n      - name: s\n        cores: 1\n${more}`
  const nic = (more: string) =>
    server(`        ram: 256\n        nics:\n          - name: n\n            lan: 1\n            ${more}\n`)
  const cases: [file: string, message: RegExp][] = [
    ['servers: []', /^stdin:1: 'servers' is not known/],
    ['datacenters: {}', /^stdin:1: 'datacenters' is not a list/],
    ['datacenters:\n  - location: x', /^stdin:2: this datacenter has no 'name'/],
    ['datacenters:\n- { name: a }\n- { name: a }', /^stdin:3: 'a' is here twice/],
    ['datacenters:\n  - name: a\n    servers:\n      - 1', /^stdin:4: this is not a mapping/],
    ['datacenters:\n  - name: a\n    nam: b', /^stdin:3: 'nam' is not known; a datacenter has name, /],
    ['datacenters:\n  - name: a\n    name: b', /^stdin:3: Map keys must be unique/],
    ['datacenters:\n  - name: a\n    lans:\n      - { name: l, flowlog: {} }', /^stdin:4: 'flowlog' is not/],
    ['datacenters:\n  - name: a', /^stdin:2: 'location' is missing/],
    [server('        ram: 1g\n'), /^stdin:7: 'ram' must be integer/],
    [server(''), /^stdin:5: 'ram' is missing/],
    [nic('binding:\n              side: own\n              sied: own'), /^stdin:13: 'binding\.sied'/],
    [nic('flowlog: { name: f, action: most }'), /^stdin:11: 'action' must be .*: ACCEPTED, REJECTED, ALL/],
    ['{', /^stdin:1: /],
  ]

  for (const [file, message] of cases) {
    await assert.rejects(run(weir, ['apply', '-'], file), { code: 'WEIR_CONFIG_INVALID', message }, file)
  }
  assert.deepEqual((await weir.get('/datacenters?depth=9')).body, before)
})

test('what one answer cannot hold is refused, and read in parts by who asks for less', async () => {
  await using weir = await startControlPlane()
  const datacenters = [weir.owner.datacenterId]
  const made = await weir.post('/datacenters', { properties: { location: 'x' } })
  datacenters.push(made.body.id)
  const lans = 50_001
  await weir.store.change(async ({ tx }) => {
    for (const id of datacenters) {
      await sql`insert into resources (id, type, contract_number, parent_id, path, properties, state, pending, deleting,
          version, etag, created_at, created_by, created_by_id, modified_at, modified_by, modified_by_id)
        with recursive numbers (n) as (select 100 union all select n + 1 from numbers where n < ${99 + lans})
        select ${`${id} `} || n, 'lan', contract_number, id, path || '/lans/' || n, '{}', state, 0, 0, 1, etag, 0, '', '', 0, '', ''
        from numbers, resources where id = ${id}`.execute(tx)
    }
  })

  const tooMuch = await weir.get('/datacenters?depth=2')
  const { token } = weir.owner
  const api = new ApiClient({ origin: weir.origin, token, signal: AbortSignal.timeout(60_000) })
  const all = await api.datacenters<Datacenter>(2)

  assert.equal(tooMuch.status, 422)
  assert.match(
    tooMuch.body.messages[0].message,
    /^\[\(root\)\.depth\] .* more than 100000 resources: ask for less/,
  )
  assert.deepEqual(
    all.map((it) => [it.id, it.entities!['lans']!.items!.length >= lans]),
    datacenters.map((id) => [id, true]),
  )
})
