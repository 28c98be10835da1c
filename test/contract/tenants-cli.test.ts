import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CliResult, runWeir, ServerProcess } from '../support/server-process.ts'

const INVENTORY = `
datacenters:
  - name: shown
    location: x
    servers:
      - { name: s, cores: 1, ram: 256, nics: [{ name: web, lan: 1 }] }
  - name: hidden
    location: x
`
const BINDING = `
datacenters:
  - name: shown
    servers:
      - name: s
        nics: [{ name: web, binding: { host: hv-1, device: tap0, side: guest } }]
`
const PASSWORD = 'a long password'

function succeeded({ status, stdout, stderr }: CliResult): string {
  assert.equal(status, 0, stderr + stdout)
  return stdout.trim()
}

test('a tenant is let in, lets its members in, and they do what their groups allow', async () => {
  await using server = new ServerProcess()
  await server.start()
  const as = (email: string, args: string[], input = '') =>
    runWeir(args, {
      env: { WEIR_SERVER: server.origin, WEIR_USERNAME: email, WEIR_PASSWORD: PASSWORD },
      input,
    })
  const owner = (args: string[], input?: string) => succeeded(as('owner@example.org', args, input))
  const member = (...args: string[]) => as('member@example.org', args)
  const operatorEnv = { WEIR_DATA_DIR: server.dataDir }

  const made = ['contract', 'create', '--name', 'tenant', '--owner', 'owner@example.org']
  const number = succeeded(
    runWeir([...made, '--password-file', '-'], { env: operatorEnv, input: `${PASSWORD}\n` }),
  )
  owner(['inventory', 'apply', '-'], INVENTORY)
  owner(['bucket', 'create', 'tenant-logs'])
  const names = ['--firstname', 'M', '--lastname', 'N']
  owner(['user', 'create', 'member@example.org', ...names, '--password-file', '-'], PASSWORD)
  const before = member('nic', 'list', '--json')
  owner(['group', 'create', 'writers', '--privilege', 'createFlowLog'])
  owner(['group', 'join', 'writers', 'member@example.org'])
  owner(['group', 'share', 'writers', 'shown'])
  const flowLog = ['flowlog', 'create', '--nic', 'web', '--bucket', 'tenant-logs/web']
  const asReader = member(...flowLog)
  owner(['group', 'share', 'writers', 'shown', '--edit'])
  const asEditor = member(...flowLog)
  const [group] = JSON.parse(owner(['group', 'list', '--json'])) as Record<string, unknown>[]
  const exported = JSON.parse(succeeded(member('inventory', 'export', '--json')))
  const boundByOwner = as('owner@example.org', ['inventory', 'apply', '-'], BINDING)
  const apply = ['inventory', 'apply', '-', '--contract', number]
  const contracts = JSON.parse(succeeded(runWeir(['contract', 'list', '--json'], { env: operatorEnv })))
  const listedByOwner = as('owner@example.org', ['contract', 'list'])
  const bound = succeeded(runWeir(apply, { env: operatorEnv, input: BINDING }))
  const entered = JSON.parse(server.cli('contract', 'show', '--contract', number, '--json'))
  const foreign = as('owner@example.org', ['contract', 'create', '--name', 'x', '--owner', 'x@example.org'])
  owner(['user', 'delete', 'member@example.org'])
  const afterwards = member('nic', 'list')

  assert.deepEqual(JSON.parse(before.stdout), [])
  assert.deepEqual([asReader.status, asEditor.status], [1, 0], asEditor.stderr)
  assert.match(asReader.stderr, /HTTP 403/)
  assert.deepEqual(group, {
    id: group?.['id'],
    name: 'writers',
    privileges: ['createFlowLog'],
    users: ['member@example.org'],
    shares: [{ datacenter: 'shown', edit: true }],
  })
  assert.deepEqual(
    exported.datacenters.map((it: { name: string }) => it.name),
    ['shown'],
  )
  assert.match(boundByOwner.stderr, /HTTP 4\d\d/)
  assert.match(bound, /^~ datacenter shown › server s › nic web\n +binding: /)
  assert.deepEqual([entered.contractNumber, entered.owner], [Number(number), 'owner@example.org'])
  assert.match(foreign.stderr, /HTTP 403/)
  assert.equal(contracts.find((it: { name: string }) => it.name === 'tenant').owner, 'owner@example.org')
  assert.equal(contracts.length, 2)
  assert.match(listedByOwner.stderr, /HTTP 403/)
  assert.match(afterwards.stderr, /HTTP 401/)
})

test('a new password opens, the one before does not, and a made-up one is shown once', async () => {
  await using server = new ServerProcess()
  await server.start()
  const made = JSON.parse(
    server.cli('user', 'create', 'a@example.org', '--firstname', 'A', '--lastname', 'B', '--json'),
  ) as { password: string }
  const tryWith = (password: string) =>
    runWeir(['contract', 'show'], {
      env: { WEIR_SERVER: server.origin, WEIR_USERNAME: 'a@example.org', WEIR_PASSWORD: password },
    }).status

  const before = tryWith(made.password)
  const changed = server.cli('user', 'password', 'a@example.org')
  const listed = server.cli('user', 'list', '--json')

  assert.deepEqual([before, tryWith(made.password), tryWith(changed)], [0, 1, 0])
  assert.ok(!listed.includes(changed))
})
