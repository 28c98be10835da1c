import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { ensureObject } from '../support/bpf-object.ts'
import { KernelWorld } from '../support/kernel-world.ts'
import { said, TestNetwork, withoutRoot } from '../support/network.ts'
import { ethernet, ipv4, ipv6, tcp, udp } from '../support/packet-corpus.ts'
import { type Offload, PacketSocket } from '../support/packet-socket.ts'

// A sender leaves segmentation to its device; a router forwards what it got in one piece; only on the last link are
// there packets of ordinary size. Both points of the router must say what a capture there sees.

const SENDER = ['10.0.1.2', 'fd00:1::2']

before(ensureObject)

interface Place {
  network: TestNetwork
  world: KernelWorld
  router: string
  sender: string
  receiver: string
}

function topology(network: TestNetwork, world: KernelWorld): Place {
  const names = ['r', 's', 'd'].map((it) => network.namespace(it))
  const [router, sender, receiver] = names as [string, string, string]
  network.run(router, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
  for (const [name, end, net] of [['in', sender, 1] as const, ['out', receiver, 2] as const]) {
    network.veth({ namespace: router, device: name }, { namespace: end, device: 'eth0' })
    network.address(router, name, `10.0.${net}.1/24`, `fd00:${net}::1/64`)
    network.address(end, 'eth0', `10.0.${net}.2/24`, `fd00:${net}::2/64`)
    network.run(end, 'ip', 'route', 'add', 'default', 'via', `10.0.${net}.1`)
    network.run(end, 'ip', '-6', 'route', 'add', 'default', 'via', `fd00:${net}::1`)
  }
  network.run(sender, 'ethtool', '-K', 'eth0', 'tx', 'on', 'sg', 'on', 'tso', 'on', 'gso', 'on')
  world.attach(1, 'in', router)
  world.attach(2, 'out', router)
  return { network, world, router, sender, receiver }
}

/** Packets and octets of one protocol that left the sender, at a point. */
function counted(place: Place, point: number, protocol: number): { packets: number; octets: number } {
  const direction = point === 1 ? 'INGRESS' : 'EGRESS'
  const rows = place.world
    .rows()
    .filter((it) => it.point === point && it.direction === direction && it.protocol === protocol)
    .filter((it) => SENDER.includes(it.source))
  return sum(rows)
}

function sum(all: { packets?: number; octets: number }[]): { packets: number; octets: number } {
  return all.reduce<{ packets: number; octets: number }>(
    (total, it) => ({ packets: total.packets + (it.packets ?? 1), octets: total.octets + it.octets }),
    { packets: 0, octets: 0 },
  )
}

for (const [name, to, source] of [
  ['IPv4', '10.0.2.2', '10.0.1.2'] as const,
  ['IPv6', '[fd00:2::2]', 'fd00:1::2'] as const,
]) {
  test(`TCP segmentation offload is undone, ${name}`, { skip: withoutRoot }, async () => {
    await using network = new TestNetwork()
    using world = new KernelWorld()
    const place = topology(network, world)
    const listen = `TCP${name === 'IPv4' ? 4 : 6}-LISTEN:7000`
    const server = network.start(place.receiver, 'socat', '-d', '-d', '-u', listen, 'OPEN:/dev/null')
    await said(server, /listening on/)
    const capture = await network.capture(place.receiver, 'eth0')

    network.run(place.sender, 'bash', '-c', `head -c 3000000 /dev/zero | socat -u - TCP:${to}:7000`)
    const packets = (await capture.stop()).filter((it) => it.protocol === 6 && it.source === source)

    assert.ok(packets.length > 2000, `${packets.length} packets on the last link`)
    assert.deepEqual(counted(place, 1, 6), sum(packets))
    assert.deepEqual(counted(place, 2, 6), sum(packets))
  })
}

const PAYLOAD = 5000
const UDP4 = ipv4(udp(5000, 7000, PAYLOAD), { source: '10.0.1.2', destination: '10.0.2.2', id: 99 })
const UDP6 = ipv6(17, udp(5000, 7000, PAYLOAD), { source: 'fd00:1::2', destination: 'fd00:2::2' })
const TCP4 = ipv4(Buffer.concat([tcp(5000, 7000, 0x10), Buffer.alloc(PAYLOAD)]), {
  source: '10.0.1.2',
  destination: '10.0.2.2',
  protocol: 6,
})

const CASES: { name: string; packet: Buffer; protocol: number; offload: Offload }[] = [
  {
    name: 'UDP segmentation, IPv4',
    packet: UDP4,
    protocol: 17,
    offload: { gso: 'udp-segments', headerSize: 42, segmentSize: 1000, checksumStart: 34, checksumOffset: 6 },
  },
  {
    name: 'UDP segmentation, IPv6',
    packet: UDP6,
    protocol: 17,
    offload: { gso: 'udp-segments', headerSize: 62, segmentSize: 1100, checksumStart: 54, checksumOffset: 6 },
  },
  {
    name: 'UDP fragmentation, IPv4',
    packet: UDP4,
    protocol: 17,
    offload: {
      gso: 'udp4-fragments',
      headerSize: 42,
      segmentSize: 1480,
      checksumStart: 34,
      checksumOffset: 6,
    },
  },
  {
    name: 'TCP of a guest that does not say how many segments there are',
    packet: TCP4,
    protocol: 6,
    offload: { gso: 'tcp4', headerSize: 54, segmentSize: 999, checksumStart: 34, checksumOffset: 16 },
  },
]

for (const { name, packet, protocol, offload } of CASES) {
  test(`${name}: as on the wire`, { skip: withoutRoot }, async () => {
    await using network = new TestNetwork()
    using world = new KernelWorld()
    const place = topology(network, world)
    const mac = network.run(place.router, 'cat', '/sys/class/net/in/address').trim()
    network.run(place.router, 'bash', '-c', 'echo > /dev/udp/10.0.2.2/1; echo > /dev/udp/fd00:2::2/1') // Finds neighbours.
    const capture = await network.capture(place.receiver, 'eth0')
    using wire = new PacketSocket(place.sender, 'eth0', { offload: true })
    const frame = ethernet(packet[0]! >> 4 === 4 ? 0x0800 : 0x86dd, withChecksum(packet))
    frame.set(Buffer.from(mac.replaceAll(':', ''), 'hex'), 0)

    wire.send(frame, offload)
    const captured = await capture.stop()
    const packets = captured.filter((it) => it.protocol === protocol && SENDER.includes(it.source))

    assert.ok(packets.length > 3, `${packets.length} packets on the last link`)
    assert.deepEqual(counted(place, 1, protocol), sum(packets))
    assert.deepEqual(counted(place, 2, protocol), sum(packets))
  })
}

const SEGMENTED = 3_000 // bytes; one page is the most that bpf_prog_test_run takes
const SEGMENT_SIZE = 1400
/** Hop-by-hop options that the stack puts in front of what is larger than IPv6 can say, and takes away again. */
const JUMBO_TO_TCP = Buffer.from('0600c20400011170', 'hex')

for (const [family, header, packet] of [
  ['IPv4', 40, ipv4(tcp(5000, 7000, 0x10, 20 + SEGMENTED), { protocol: 6 })] as const,
  [
    'IPv4 without a length, as above 64 KiB',
    40,
    ipv4(tcp(5000, 7000, 0x10, 20 + SEGMENTED), { protocol: 6, totalLength: 0 }),
  ] as const,
  ['IPv6', 60, ipv6(6, tcp(5000, 7000, 0x10, 20 + SEGMENTED))] as const,
  [
    'IPv6 with a jumbo header, as above 64 KiB',
    60,
    ipv6(0, Buffer.concat([JUMBO_TO_TCP, tcp(5000, 7000, 0x10, 20 + SEGMENTED)]), { payloadLength: 0 }),
  ] as const,
]) {
  test(`TCP to be segmented counts the same whether its flow is new or known, ${family}`, {
    skip: withoutRoot,
  }, async () => {
    await using network = new TestNetwork()
    using world = new KernelWorld()
    const { router } = topology(network, world)
    const ifindex = Number(network.run(router, 'cat', '/sys/class/net/in/ifindex'))
    const frame = ethernet(packet[0]! >> 4 === 4 ? 0x0800 : 0x86dd, packet)
    const payload = SEGMENTED
    const segments = Math.ceil(payload / SEGMENT_SIZE)
    const expected = { packets: segments, octets: payload + segments * header }

    // New, known, and known without anybody having counted the segments: three ways through the program.
    for (const [round, said] of [segments, segments, 0].entries()) {
      assert.equal(
        world.run(router, ifindex, [frame], 'ingress', { size: SEGMENT_SIZE, segments: said }).length,
        1,
      )
      const row = world.rows().find((it) => it.ports[1] === 7000)!
      assert.equal(row.packets, (round + 1) * expected.packets)
      assert.equal(row.octets, (round + 1) * expected.octets)
    }
  })
}

/** With a right IPv4 header checksum, or no router takes it. */
function withChecksum(packet: Buffer): Buffer {
  if (packet[0]! >> 4 !== 4) return packet
  let total = 0
  for (let at = 0; at < 20; at += 2) total += at === 10 ? 0 : packet.readUInt16BE(at)
  while (total > 0xffff) total = (total & 0xffff) + (total >> 16)
  packet.writeUInt16BE(~total & 0xffff, 10)
  return packet
}
