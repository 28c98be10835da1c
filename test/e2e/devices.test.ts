import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { pinPath } from '../../src/agent/create-agent.ts'
import { layoutPath } from '../../src/capture/ebpf/pins.ts'
import { eventually } from '../support/eventually.ts'
import { TestNetwork, withoutRoot } from '../support/network.ts'
import { WeirProcess } from '../support/weir-process.ts'

interface Status {
  agents: { points: { state: string; device?: string; message?: string }[] }[]
}

test('a device is waited for, observed while it is there, let go when it vanishes, and found again', {
  skip: withoutRoot,
}, async () => {
  await using network = new TestNetwork()
  await using weir = new WeirProcess()
  const [host, guest] = [network.namespace('h'), network.namespace('g')]
  await weir.start(['--window', '2'])
  weir.cli('nic', 'add', '--name', 'late', '--device', 'tap7', '--netns', host, '--side', 'guest')
  weir.cli('flowlog', 'create', '--nic', 'late', '--bucket', 'flowlogs/late')
  const point = (): Status['agents'][0]['points'][0] =>
    (JSON.parse(weir.cli('status', '--json')) as Status).agents[0]!.points[0]!
  assert.equal(point().state, 'waiting')
  assert.match(point().message!, /no device tap7 in network namespace/)

  const appear = (): Promise<true> => {
    network.connect(host, 'tap7', guest, '10.6.0')
    return eventually('tap7 is observed', () => point().state === 'attached')
  }
  const pings = 4
  const ping = (): string => network.run(guest, 'ping', '-qc', String(pings), '-i', '0.05', '10.6.0.1')
  await appear()
  ping()
  network.run(host, 'ip', 'link', 'delete', 'tap7')
  await eventually('tap7 is waited for', () => point().state === 'waiting')
  await appear()
  ping()
  network.run(host, 'ip', 'link', 'set', 'tap7', 'down')
  network.run(host, 'ip', 'link', 'set', 'tap7', 'name', 'renamed')
  await eventually('the renamed device is let go', () => point().state === 'waiting')
  assert.equal(await weir.stop(), 0)

  const total = weir.totals('flowlogs', 'late-').get('10.6.0.2 10.6.0.1 0 0 1 ACCEPT')
  assert.deepEqual(total, { packets: 2 * pings, octets: 2 * pings * 84 })
})

test("a guest's tap is found by its MAC address alone", { skip: withoutRoot }, async () => {
  await using network = new TestNetwork()
  await using weir = new WeirProcess()
  const [host, guest] = network.hostAndGuest('vnet0', '10.6.1')
  const tail = process.pid
    .toString(16)
    .padStart(6, '0')
    .replace(/(..)(..)(..)/, '$1:$2:$3')
  network.run(host, 'ip', 'link', 'set', 'vnet0', 'address', `fe:54:00:${tail}`)
  await weir.start(['--window', '2'])

  weir.cli('nic', 'add', '--name', 'vm', '--mac', `52:54:00:${tail}`, '--side', 'guest')
  weir.cli('flowlog', 'create', '--nic', 'vm', '--bucket', 'flowlogs/vm')
  network.run(guest, 'ping', '-qc', '2', '-i', '0.05', '10.6.1.1')
  assert.equal(await weir.stop(), 0)

  const total = weir.totals('flowlogs', 'vm-').get('10.6.1.1 10.6.1.2 0 0 1 ACCEPT')
  assert.deepEqual(total, { packets: 2, octets: 168 })
})

test('hooks that somebody removes are put back within seconds, and what was counted stays', {
  skip: withoutRoot,
}, async () => {
  await using network = new TestNetwork()
  await using weir = new WeirProcess()
  const [host, guest] = network.hostAndGuest('tap0', '10.6.2')
  await weir.start(['--window', '60'])
  weir.cli('nic', 'add', '--name', 'vm', '--device', 'tap0', '--netns', host, '--side', 'guest')
  weir.cli('flowlog', 'create', '--nic', 'vm', '--bucket', 'flowlogs/vm')
  const links = path.join(layoutPath(pinPath(weir.dataDir)), 'links')
  const ping = (): string => network.run(guest, 'ping', '-qc', '3', '-i', '0.05', '10.6.2.1')

  ping()
  const [ingress] = readdirSync(links).filter((name) => name.endsWith('-ingress'))
  execFileSync('bpftool', ['link', 'detach', 'pinned', path.join(links, ingress!)])
  const isReplaced = (): boolean =>
    readdirSync(links).some((name) => name.endsWith('-ingress') && name !== ingress)
  await eventually('the hooks are back', isReplaced)
  ping()
  assert.equal(await weir.stop(), 0)

  assert.deepEqual(weir.totals('flowlogs', 'vm-').get('10.6.2.2 10.6.2.1 0 0 1 ACCEPT'), {
    packets: 6,
    octets: 504,
  })
  assert.match(weir.output, /somebody has removed hooks/)
})

test('a NIC whose side is changed has its directions turned, from then on', {
  skip: withoutRoot,
}, async () => {
  await using network = new TestNetwork()
  await using weir = new WeirProcess()
  const [host, guest] = network.hostAndGuest('tap0', '10.6.3')
  await weir.start(['--window', '60'])
  weir.cli('nic', 'add', '--name', 'vm', '--device', 'tap0', '--netns', host, '--side', 'guest')
  weir.cli('flowlog', 'create', '--nic', 'vm', '--bucket', 'flowlogs/vm', '--direction', 'INGRESS')
  const links = path.join(layoutPath(pinPath(weir.dataDir)), 'links')
  const ping = (count: number): string =>
    network.run(guest, 'ping', '-qc', `${count}`, '-i', '0.05', '10.6.3.1')

  ping(2)
  const inventory = path.join(weir.dataDir, 'inventory.yaml')
  writeFileSync(inventory, weir.cli('inventory', 'export').replace('side: guest', 'side: own'))
  weir.cli('inventory', 'apply', inventory)
  const isTurned = (): boolean => readdirSync(links).includes('2-ingress')
  await eventually('the device is observed by a new point', isTurned)
  ping(3)
  assert.equal(await weir.stop(), 0)

  const totals = weir.totals('flowlogs', 'vm-')
  assert.equal(
    totals.get('10.6.3.1 10.6.3.2 0 0 1 ACCEPT')?.packets,
    2,
    'towards the guest, which is ingress',
  )
  assert.equal(
    totals.get('10.6.3.2 10.6.3.1 0 0 1 ACCEPT')?.packets,
    3,
    'towards the host, which is ingress now',
  )
})
