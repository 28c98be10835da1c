import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { TestNetwork, withoutRoot } from '../support/network.ts'
import { runWeir, ServerProcess } from '../support/server-process.ts'

interface FoundNic {
  name: string
  ips: string[]
  server: string
  binding: object
  flowLogIds: string[]
}

test("a machine's interfaces become an inventory that applies, with flow logs, and then holds", {
  skip: withoutRoot,
}, async () => {
  await using network = new TestNetwork()
  await using server = new ServerProcess()
  await server.start()
  const guest = network.namespace('g')
  const device = `wd${network.id}`.slice(0, 15)
  execFileSync('ip', ['link', 'add', device, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', guest])
  network.onEnd(() => execFileSync('ip', ['link', 'delete', device]))
  network.address(guest, 'eth0', '192.0.2.7/24')
  const env = { WEIR_DATA_DIR: server.dataDir }

  const found = runWeir(['discover', '--host', 'hv-1', '--bucket', 'flowlogs'])
  const applied = runWeir(['inventory', 'apply', '-', '--json'], { env, input: found.stdout })
  const again = runWeir(['inventory', 'apply', '-', '--dry-run'], { env, input: found.stdout })
  const nics = JSON.parse(server.cli('nic', 'list', '--json')) as FoundNic[]

  assert.deepEqual([found.status, applied.status, again.status], [0, 0, 0], applied.stderr + again.stdout)
  const nic = nics.find(({ name }) => name === device)
  assert.deepEqual(nic?.binding, { host: 'hv-1', device, side: 'guest' })
  assert.deepEqual([nic?.ips, nic?.server, nic?.flowLogIds.length], [['192.0.2.7'], 'hv-1', 1])
  assert.match(found.stdout, new RegExp(`# +${guest}:eth0: the guest's end of ${device}`))
})
