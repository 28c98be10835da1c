import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { before, test } from 'node:test'
import { LAYOUT_VERSION } from '../../src/capture/ebpf/layout.ts'
import { compileVariant, ensureObject } from '../support/bpf-object.ts'
import { eventually } from '../support/eventually.ts'
import { KernelWorld } from '../support/kernel-world.ts'
import { TestNetwork, withoutRoot } from '../support/network.ts'
import { ethernet, ipv4, udp } from '../support/packet-corpus.ts'
import { PacketSocket } from '../support/packet-socket.ts'

const WINDOW_S = 600
const REFUSE_PORT_54 =
  'table netdev t { chain c { type filter hook ingress device "port" priority 0; udp dport 54 drop; }; }'
const FRAME = ethernet(0x0800, ipv4(udp(1000, 53, 30)))

before(ensureObject)

interface Bed {
  world: KernelWorld
  /** Lets a device receive so many packets. */
  receive(packets: number): void
  /** The wall clock steps, and the agent tells the kernel so, as it does every second. */
  step(seconds: number): void
}

function bed(network: TestNetwork, world: KernelWorld): Bed {
  const netns = network.namespace('k')
  network.veth({ namespace: netns, device: 'port' }, { namespace: netns, device: 'peer' })
  const ifindex = Number(network.run(netns, 'cat', '/sys/class/net/port/ifindex'))
  world.attach(7, 'port', netns)
  return {
    world,
    receive: (packets) =>
      void world.run(
        netns,
        ifindex,
        Array.from({ length: packets }, () => FRAME),
      ),
    step: (seconds) => {
      world.clock.stepMs += seconds * 1000
      world.meter.syncClock()
    },
  }
}

/** The same over a wire: what a device received goes on to the firewall. */
function wired(network: TestNetwork, world: KernelWorld) {
  const netns = network.namespace('k')
  network.veth({ namespace: netns, device: 'port' }, { namespace: netns, device: 'peer' })
  world.attach(7, 'port', netns)
  const receive = (frame: Buffer, count: number): void => {
    using wire = new PacketSocket(netns, 'peer')
    for (let i = 0; i < count; i++) wire.send(frame)
  }
  return { netns, receive }
}

/** Packets of our flow in each window, oldest first. */
function packets(world: KernelWorld): number[] {
  return world.meter.windows().map(({ generation }) =>
    world
      .rows(generation)
      .filter((it) => it.ports[1] === 53)
      .reduce((sum, it) => sum + it.packets, 0),
  )
}

function check(name: string, run: (it: Bed) => void): void {
  test(name, { skip: withoutRoot }, async () => {
    await using network = new TestNetwork()
    using world = new KernelWorld({ windowSizeS: WINDOW_S })
    run(bed(network, world))
  })
}

check('windows are cut by the clock, aligned, and each keeps its own packets', ({ world, receive, step }) => {
  receive(1)
  step(WINDOW_S)
  receive(2)
  step(WINDOW_S)
  receive(4)

  const windows = world.meter.windows()

  assert.deepEqual(packets(world), [1, 2, 4])
  for (const { startS, endS, generation } of windows) {
    assert.equal(startS % WINDOW_S, 0)
    assert.equal(endS - startS, WINDOW_S)
    for (const row of world.rows(generation)) {
      assert.ok(startS <= row.startS && row.startS <= row.endS && row.endS < endS)
    }
  }
  assert.deepEqual(
    windows.map((it) => it.startS - windows[0]!.startS),
    [0, WINDOW_S, 2 * WINDOW_S],
  )
})

check('first and last second of a flow are those of its packets', ({ world, receive, step }) => {
  step(WINDOW_S - ((world.clock.nowMs() / 1000) % WINDOW_S) + 0.25) // A quarter of a second into a window.
  const before = Math.floor(world.clock.nowMs() / 1000)
  receive(1)
  const after = Math.floor(world.clock.nowMs() / 1000)

  const row = world.rows().find((it) => it.ports[1] === 53)

  assert.ok(
    row !== undefined && before - 1 <= row.startS && row.endS <= after,
    JSON.stringify({ before, row, after }),
  )
})

check(
  'with nobody to drain, three windows are kept apart and the newest goes on',
  ({ world, receive, step }) => {
    for (let window = 0; window < 8; window++) {
      receive(1)
      step(WINDOW_S)
    }

    assert.deepEqual(packets(world), [1, 1, 1, 5])
    const [oldest, , , newest] = world.meter.windows()
    assert.equal(newest!.state, 'open')
    assert.ok(newest!.endS - newest!.startS > 4 * WINDOW_S)

    world.meter.clearWindow(oldest!.generation)
    step(newest!.endS - world.clock.nowMs() / 1000 + 1)
    receive(1)
    assert.deepEqual(packets(world), [1, 1, 5, 1])
  },
)

check('a clock set back within a window neither loses nor repeats one', ({ world, receive, step }) => {
  receive(1)
  const [before] = world.meter.windows()
  step(-(WINDOW_S / 2))
  receive(1)
  const [after, ...others] = world.meter.windows()

  assert.deepEqual([after!.generation, after!.startS, others], [before!.generation, before!.startS, []])
  assert.deepEqual(packets(world), [2])

  step(WINDOW_S)
  receive(1)
  step(WINDOW_S)
  const starts = world.meter.windows().map((it) => it.startS)
  assert.deepEqual(
    starts,
    starts.toSorted((a, b) => a - b),
  )
  assert.equal(new Set(starts).size, starts.length)
})

check('a clock set far back ends the window and begins one of its own time', ({ world, receive, step }) => {
  receive(1)
  step(-10 * WINDOW_S)
  receive(2)

  const [before, after] = world.meter.windows()

  assert.deepEqual(packets(world), [1, 2])
  assert.equal(after!.startS, Math.floor(world.clock.nowMs() / 1000 / WINDOW_S) * WINDOW_S)
  assert.ok(after!.endS < before!.startS)
})

check('a machine that slept for hours goes on in the window of now', ({ world, receive, step }) => {
  receive(1)
  step(5 * 3600)
  receive(2)

  const windows = world.meter.windows()

  assert.deepEqual(packets(world), [1, 2])
  assert.equal(windows[1]!.startS, Math.floor(world.clock.nowMs() / 1000 / WINDOW_S) * WINDOW_S)
})

check(
  'a smaller window size begins at its next edge, a larger one after the open window',
  ({ world, step }) => {
    world.meter.setWindowSize(60)
    const nowS = () => world.clock.nowMs() / 1000
    const [open] = world.meter.windows()
    assert.equal(open!.endS, (Math.floor(nowS() / 60) + 1) * 60)

    step(60)
    world.meter.setWindowSize(WINDOW_S)
    const [, second] = world.meter.windows()
    assert.equal(second!.startS, open!.endS)
    assert.equal(second!.endS - second!.startS, 60)

    step(60)
    const third = world.meter.windows()[2]
    assert.equal(third!.startS, second!.endS)
    assert.equal(third!.endS % WINDOW_S, 0)
  },
)

check('clearing forgets a window, once; clearing it again changes nothing', ({ world, receive, step }) => {
  receive(3)
  step(WINDOW_S)
  receive(1)
  const [first] = world.meter.windows()

  world.meter.clearWindow(first!.generation)
  world.meter.clearWindow(first!.generation)

  assert.deepEqual(packets(world), [1])
})

check('an orderly exit closes what was counted and leaves nothing to drain', ({ world, receive }) => {
  receive(3)
  world.meter.detach(7)
  receive(5) // Nobody's: not observed any more.

  world.meter.closeWindows()

  const windows = world.meter.windows()
  assert.deepEqual(
    windows.map((it) => it.state),
    ['closed'],
  )
  assert.deepEqual(packets(world), [3])
  for (const { generation } of windows) world.meter.clearWindow(generation)
  assert.deepEqual(world.meter.windows(), [])
})

check('the next agent adopts points, windows and counters, and nothing was missed between', (it) => {
  const { world, receive, step } = it
  receive(1)
  step(WINDOW_S)
  const { bootId } = world.meter
  const points = world.meter.points()
  world.meter.stop()
  receive(2) // No agent is running.

  world.restart()

  assert.equal(world.meter.bootId, bootId)
  assert.deepEqual(world.meter.points(), points)
  assert.deepEqual(packets(world), [1, 2])
})

for (const attachment of ['tcx', 'classic'] as const) {
  test(`a later version puts its programs in place over the same windows, ${attachment}`, {
    skip: withoutRoot,
  }, async (t) => {
    await using network = new TestNetwork()
    using world = new KernelWorld({ windowSizeS: WINDOW_S, attachment })
    const { netns, receive } = wired(network, world)
    const objectPath = compileVariant(
      'flow.bpf.c',
      'flow_add(flow, packets, octets,',
      'flow_add(flow, 100, octets,',
    )
    t.after(() => rmSync(path.resolve(objectPath, '../../..'), { recursive: true }))
    network.nft(netns, REFUSE_PORT_54)
    receive(FRAME, 2)

    world.restart({ objectPath })
    receive(FRAME, 3)
    receive(ethernet(0x0800, ipv4(udp(1000, 54))), 1)

    assert.deepEqual(packets(world), [2 + 300])
    const refused = world.rows().filter((it) => it.action === 'REJECT')
    assert.deepEqual(
      refused.map((it) => it.packets),
      [1],
    )
    assert.equal(world.meter.points().length, 1)
  })
}

test('a packet that was seen in one window and refused in the next is refused in the first', {
  skip: withoutRoot,
}, async () => {
  await using network = new TestNetwork()
  using world = new KernelWorld({ windowSizeS: WINDOW_S })
  const { netns, receive } = wired(network, world)
  const mac = network.run(netns, 'cat', '/sys/class/net/port/address').trim()
  network.address(netns, 'port', '10.0.0.1/24')
  network.nft(
    netns,
    'table ip t { chain c { type filter hook input priority filter; ct state new udp dport 9 drop; }; }',
  )
  const [first, last] = [
    ipv4(udp(7, 9, 16), { source: '10.0.0.2', destination: '10.0.0.1', id: 5, moreFragments: true }),
    ipv4(Buffer.alloc(100), { source: '10.0.0.2', destination: '10.0.0.1', id: 5, fragmentOffset: 3 }),
  ].map((packet) => toHost(packet, mac))

  receive(first!, 1) // Held by connection tracking until the rest has come.
  world.clock.stepMs += WINDOW_S * 1000
  world.meter.syncClock()
  receive(last!, 1)

  const verdicts = world.meter.windows().map(({ generation }) =>
    world
      .rows(generation)
      .filter((it) => it.source === '10.0.0.2' && it.protocol === 17)
      .map(({ ports, packets, octets, action }) => [...ports, packets, octets, action]),
  )
  assert.deepEqual(verdicts, [[[7, 9, 1, 44, 'REJECT']], [[7, 9, 1, 120, 'REJECT']]])
})

/** A frame that the host will take: to its address, with a right checksum. */
function toHost(packet: Buffer, mac: string): Buffer {
  let total = 0
  for (let at = 0; at < 20; at += 2) total += at === 10 ? 0 : packet.readUInt16BE(at)
  while (total > 0xffff) total = (total & 0xffff) + (total >> 16)
  packet.writeUInt16BE(~total & 0xffff, 10)
  const frame = ethernet(0x0800, packet)
  frame.set(Buffer.from(mac.replaceAll(':', ''), 'hex'), 0)
  return frame
}

test('flows in another layout are neither read wrongly nor dropped', { skip: withoutRoot }, () => {
  using world = new KernelWorld()
  const { pinPath } = world.options
  world.meter.stop()
  renameSync(`${pinPath}/v${LAYOUT_VERSION}`, `${pinPath}/v999`)

  assert.throws(() => world.meter.start(), { code: 'WEIR_UNSUPPORTED', message: /layout v999/ })

  assert.ok(existsSync(`${pinPath}/v999/windows4`))
})

test('an agent that died while it loaded left nothing that the next one adopts', {
  skip: withoutRoot,
}, () => {
  using world = new KernelWorld()
  const { pinPath } = world.options
  const { bootId } = world.meter
  world.meter.stop()
  renameSync(`${pinPath}/v${LAYOUT_VERSION}`, `${pinPath}/unpublished`)

  world.meter.start()

  assert.notEqual(world.meter.bootId, bootId)
  assert.ok(!existsSync(`${pinPath}/unpublished`))
})

test('pins of which somebody has removed a part are begun anew, or removed', { skip: withoutRoot }, () => {
  using world = new KernelWorld()
  const { pinPath } = world.options
  const { bootId } = world.meter
  const stopAndRemove = (name: string): void => {
    world.meter.stop()
    rmSync(`${pinPath}/v${LAYOUT_VERSION}/${name}`)
  }

  stopAndRemove('fragments')
  world.meter.start()
  assert.notEqual(world.meter.bootId, bootId)
  stopAndRemove('tc_egress')
  world.meter.detachAll()

  assert.ok(!existsSync(pinPath))
})

test('the switch of an agent that was killed while it attached is set back', {
  skip: withoutRoot,
}, async () => {
  using world = new KernelWorld()
  world.meter.stop()
  mkdirSync(`${world.options.pinPath}/expedited`)
  writeFileSync('/sys/kernel/rcu_expedited', '1')

  world.meter.start()

  // The switch is the machine's: another test may be attaching in this moment.
  await eventually('the switch is off', () => {
    return readFileSync('/sys/kernel/rcu_expedited', 'utf8').trim() === '0'
  })
})
