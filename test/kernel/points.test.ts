import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { before, test } from 'node:test'
import { attachClassic, loadClassifier } from '../../src/capture/ebpf/ffi/libbpf.ts'
import { findDeviceByName, inNetns } from '../../src/capture/ebpf/ffi/libc.ts'
import { LinkWatcher } from '../../src/capture/ebpf/link-watcher.ts'
import type { Attachment } from '../../src/capture/ebpf/point-registry.ts'
import { random } from '../../src/stdx/prng.ts'
import { ensureObject } from '../support/bpf-object.ts'
import { eventually } from '../support/eventually.ts'
import { KernelWorld } from '../support/kernel-world.ts'
import { TestNetwork, withoutRoot } from '../support/network.ts'
import { ethernet, ipv4, ipv6, udp } from '../support/packet-corpus.ts'
import { PacketSocket } from '../support/packet-socket.ts'

const FRAME = ethernet(0x0800, ipv4(udp(1000, 53, 30)))
const GO_ON = Buffer.from('b4000000ffffffff9500000000000000', 'hex') // w0 = TC_ACT_UNSPEC; exit

before(ensureObject)

function pair(network: TestNetwork, netns: string, name = 'port'): void {
  network.run(netns, 'sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1') // Nobody speaks but the test.
  network.veth({ namespace: netns, device: name }, { namespace: netns, device: `${name}-peer` })
}

/** A port's peer sends: the port receives. */
function receive(netns: string, frame = FRAME, name = 'port'): void {
  using wire = new PacketSocket(netns, `${name}-peer`)
  wire.send(frame)
}

/** Packets from and to port 53 by point and direction. */
function counts(world: KernelWorld): string[] {
  const rows = world.rows().filter((it) => it.ports[1] === 53)
  return rows.map((it) => `${it.point} ${it.direction} ${it.packets}`).sort()
}

for (const attachment of ['tcx', 'classic'] as const satisfies Attachment[]) {
  test(`${attachment}: both directions are counted, mirrored for a guest's device`, {
    skip: withoutRoot,
  }, async () => {
    await using network = new TestNetwork()
    using world = new KernelWorld({ attachment })
    const netns = network.namespace('k')
    pair(network, netns)
    world.attach(1, 'port', netns)
    world.attach(2, 'port-peer', netns, { mirrored: true })

    receive(netns)

    assert.deepEqual(counts(world), ['1 INGRESS 1', '2 INGRESS 1'])
  })

  test(`${attachment}: detaching ends counting at once and keeps what was counted`, {
    skip: withoutRoot,
  }, async () => {
    await using network = new TestNetwork()
    using world = new KernelWorld({ attachment })
    const netns = network.namespace('k')
    pair(network, netns)
    world.attach(1, 'port', netns)
    receive(netns)

    world.meter.detach(1)
    receive(netns)

    assert.deepEqual(counts(world), ['1 INGRESS 1'])
    assert.deepEqual(world.meter.points(), [])
  })

  test(`${attachment}: a device that vanishes leaves its rows; one of its name is a new point`, {
    skip: withoutRoot,
  }, async () => {
    await using network = new TestNetwork()
    using world = new KernelWorld({ attachment })
    const netns = network.namespace('k')
    pair(network, netns)
    world.attach(1, 'port', netns)
    receive(netns)
    network.run(netns, 'ip', 'link', 'delete', 'port')
    assert.deepEqual(world.meter.points(), [])

    world.meter.detach(1)
    pair(network, netns)
    world.attach(2, 'port', netns)
    receive(netns)

    assert.deepEqual(counts(world), ['1 INGRESS 1', '2 INGRESS 1'])
  })

  test(`${attachment}: a renamed device stays observed`, { skip: withoutRoot }, async () => {
    await using network = new TestNetwork()
    using world = new KernelWorld({ attachment })
    const netns = network.namespace('k')
    pair(network, netns)
    world.attach(1, 'port', netns)
    for (const command of ['down', 'name other', 'up']) {
      network.run(netns, 'ip', 'link', 'set', command === 'up' ? 'other' : 'port', ...command.split(' '))
    }
    // Its peer had no carrier meanwhile, and sends again when the kernel has got round to it.
    const peer = () => network.run(netns, 'ip', 'link', 'show', 'port-peer')
    await eventually('the peer sends again', () => /state UP/.test(peer()) && !/qdisc noop /.test(peer()))

    receive(netns)

    assert.equal(world.meter.points().length, 1)
    assert.deepEqual(counts(world), ['1 INGRESS 1'])
  })

  test(`${attachment}: a namespace that vanishes takes its points along`, { skip: withoutRoot }, async () => {
    await using network = new TestNetwork()
    using world = new KernelWorld({ attachment })
    const netns = network.namespace('k')
    const doomed = `${netns}x`
    execFileSync('ip', ['netns', 'add', doomed])
    network.onEnd(() => rmSync(`/run/netns/${doomed}`, { force: true }))
    world.attach(1, 'lo', doomed)
    assert.equal(world.meter.points().length, 1)

    execFileSync('ip', ['netns', 'delete', doomed])

    assert.deepEqual(attachment === 'classic' ? world.meter.points() : [], [])
    world.meter.detach(1)
    assert.deepEqual(world.meter.points(), [])
  })
}

test('clsact filters that someone removes are noticed, and others’ programs stay', {
  skip: withoutRoot,
}, async () => {
  await using network = new TestNetwork()
  using world = new KernelWorld({ attachment: 'classic' })
  using other = loadClassifier('other', GO_ON)
  const netns = network.namespace('k')
  pair(network, netns)
  inNetns(netns, () => attachClassic(other.fd, findDeviceByName('port')!.ifindex, 'ingress', 9))
  const filters = () => network.run(netns, 'tc', 'filter', 'show', 'dev', 'port', 'ingress')

  world.attach(1, 'port', netns)
  assert.match(filters(), /tc_ingress/)
  world.meter.detach(1)
  assert.doesNotMatch(filters(), /tc_ingress/)
  assert.match(filters(), /other/)

  world.attach(2, 'port', netns)
  network.run(netns, 'tc', 'qdisc', 'delete', 'dev', 'port', 'clsact')
  assert.deepEqual(world.meter.points(), [])
  world.meter.detach(2)
  world.attach(3, 'port', netns)
  receive(netns)
  assert.deepEqual(counts(world), ['3 INGRESS 1'])
})

test('devices of the same number in two namespaces are two points', { skip: withoutRoot }, async () => {
  await using network = new TestNetwork()
  using world = new KernelWorld()
  const [one, two] = [network.namespace('a'), network.namespace('b')]
  for (const netns of [one, two]) {
    const ends = ['port', 'index', '77', 'type', 'veth', 'peer', 'name', 'port-peer']
    network.run(netns, 'ip', 'link', 'add', ...ends)
    for (const end of ['port', 'port-peer']) network.run(netns, 'ip', 'link', 'set', end, 'up')
    network.nft(
      netns,
      `table netdev t {
        chain c { type filter hook ingress device "port" priority 0; udp dport 54 drop; }
      }`,
    )
  }
  world.attach(1, 'port', one)
  world.attach(2, 'port', two)

  receive(one)
  receive(two)
  receive(two)
  receive(two, ethernet(0x0800, ipv4(udp(1000, 54, 30))))

  const refused = world.rows().filter((it) => it.action === 'REJECT')
  assert.deepEqual(counts(world), ['1 INGRESS 1', '2 INGRESS 2'])
  assert.deepEqual(
    refused.map((it) => [it.point, it.packets]),
    [[2, 1]],
  )

  world.meter.detach(1)
  receive(one)
  receive(two)
  assert.deepEqual(counts(world), ['1 INGRESS 1', '2 INGRESS 3'])
})

test('attaching tells what is in the way', { skip: withoutRoot }, async () => {
  await using network = new TestNetwork()
  using world = new KernelWorld()
  const netns = network.namespace('k')
  pair(network, netns)
  world.attach(1, 'port', netns)

  assert.throws(() => world.attach(2, 'nothing', netns), {
    code: 'WEIR_NOT_FOUND',
    message: /no device nothing in/,
  })
  assert.throws(() => world.attach(2, 'port', `${netns}-gone`), {
    code: 'WEIR_NOT_FOUND',
    message: /no network namespace/,
  })
  assert.throws(() => world.attach(2, 'port', netns), { code: 'WEIR_RESOURCE_EXISTS', message: /as point 1/ })
  assert.deepEqual(
    world.meter.points().map((it) => it.point),
    [1],
  )
})

test('a scan past its limit is counted as skipped and costs another point nothing', {
  skip: withoutRoot,
}, async () => {
  await using network = new TestNetwork()
  using world = new KernelWorld({ flowsMax: 400, flowsPerPointMax: 100 })
  const netns = network.namespace('k')
  for (const [point, name] of [[1, 'noisy'] as const, [2, 'quiet'] as const]) {
    pair(network, netns, name)
    world.attach(point, name, netns)
  }
  using noisy = new PacketSocket(netns, 'noisy-peer')
  using quiet = new PacketSocket(netns, 'quiet-peer')
  const next = random(7)
  let octets = 0

  for (let port = 1; port <= 1000; port++) {
    const size = next() % 100
    const packet = port % 2 === 0 ? ipv4(udp(port, 80, size)) : ipv6(17, udp(port, 80, size))
    octets += packet.length
    noisy.send(ethernet(port % 2 === 0 ? 0x0800 : 0x86dd, packet))
    if (port % 10 === 0) quiet.send(ethernet(0x0800, ipv4(udp(port, 443, 8))))
  }

  const of = (point: number) => world.rows().filter((it) => it.point === point && it.direction === 'INGRESS')
  const [flows, skipped] = [
    of(1).filter((it) => it.action === 'ACCEPT'),
    of(1).filter((it) => it.action === 'SKIPPED'),
  ]
  assert.equal(flows.length, 100)
  assert.equal(skipped.length, 1)
  assert.equal(flows.length + skipped[0]!.packets, 1000)
  assert.equal(
    of(1).reduce((sum, it) => sum + it.octets, 0),
    octets,
  )
  assert.equal(of(2).length, 100)
  assert.ok(of(2).every((it) => it.action === 'ACCEPT'))
  const counters = world.meter.stats().points.find((it) => it.point === 1)
  assert.deepEqual([counters?.flows, counters?.skippedPackets], [100, BigInt(skipped[0]!.packets)])
})

test('the host’s limit holds for all points together', { skip: withoutRoot }, async () => {
  await using network = new TestNetwork()
  using world = new KernelWorld({ flowsMax: 50, flowsPerPointMax: 50 })
  const netns = network.namespace('k')
  pair(network, netns, 'one')
  pair(network, netns, 'two')
  world.attach(1, 'one', netns)
  world.attach(2, 'two', netns)
  for (const name of ['one', 'two']) {
    using wire = new PacketSocket(netns, `${name}-peer`)
    for (let port = 1; port <= 40; port++) wire.send(ethernet(0x0800, ipv4(udp(port, 80))))
  }

  const rows = world.rows().filter((it) => it.direction === 'INGRESS')
  assert.equal(rows.filter((it) => it.action === 'ACCEPT').length, 50)
  assert.equal(
    rows.reduce((sum, it) => sum + it.packets, 0),
    80,
  )
  assert.equal(world.meter.stats().flows, 50)
})

test('devices are seen as they appear, are renamed and vanish, in every namespace', {
  skip: withoutRoot,
}, async () => {
  await using network = new TestNetwork()
  const watcher = new LinkWatcher({ log: { warn() {} } })
  network.onEnd(() => watcher.stop())
  let changes = 0
  watcher.onChange(() => changes++)
  const netns = network.namespace('k')
  const names = () =>
    watcher
      .list()
      .filter((it) => it.netns === netns)
      .map((it) => it.name)
      .sort()
  watcher.start()
  assert.deepEqual(names(), ['lo'])

  network.run(
    netns,
    'ip',
    'link',
    'add',
    'one',
    'address',
    '02:00:00:00:00:07',
    'type',
    'veth',
    'peer',
    'name',
    'two',
  )
  watcher.poll()
  assert.deepEqual(names(), ['lo', 'one', 'two'])
  assert.equal(watcher.list().find((it) => it.netns === netns && it.name === 'one')?.mac, '02:00:00:00:00:07')

  network.run(netns, 'ip', 'link', 'set', 'one', 'name', 'three')
  watcher.poll()
  assert.deepEqual(names(), ['lo', 'three', 'two'])

  network.run(netns, 'ip', 'link', 'delete', 'three')
  const before = changes
  watcher.poll()
  assert.deepEqual(names(), ['lo'])
  assert.ok(changes > before)

  const second = network.namespace('l')
  watcher.poll()
  assert.ok(watcher.list().some((it) => it.netns === second))

  for (const verb of ['delete', 'add']) execFileSync('ip', ['netns', verb, second])
  network.run(second, 'ip', 'link', 'add', 'new', 'type', 'veth', 'peer', 'name', 'peer')
  watcher.poll()
  const inSecond = watcher.list().filter((it) => it.netns === second)
  assert.deepEqual(inSecond.map((it) => it.name).sort(), ['lo', 'new', 'peer'])
})

test('pins that somebody removes are put back with what was counted, and lost hooks are told', {
  skip: withoutRoot,
}, async () => {
  await using network = new TestNetwork()
  using world = new KernelWorld()
  const netns = network.namespace('k')
  pair(network, netns)
  world.attach(1, 'port', netns)
  receive(netns)

  rmSync(world.options.pinPath, { recursive: true })
  const isHooked = () => network.run(netns, 'bpftool', 'net', 'show', 'dev', 'port').includes('tcx')
  await eventually('the kernel has let go of the hooks', () => !isHooked())
  world.meter.mend()
  const robbed = world.meter.robbed().map((it) => it.point)
  world.meter.detach(1)
  world.attach(2, 'port', netns)
  receive(netns)
  world.restart()

  assert.deepEqual(robbed, [1])
  assert.deepEqual(world.meter.robbed(), [])
  assert.deepEqual(counts(world), ['1 INGRESS 1', '2 INGRESS 1'])
})
