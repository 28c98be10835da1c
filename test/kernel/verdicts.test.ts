import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import {
  attachClassic,
  attachTcx,
  type Descriptor,
  detachLink,
  type Hook,
  loadClassifier,
} from '../../src/capture/ebpf/ffi/libbpf.ts'
import { findDeviceByName, inNetns } from '../../src/capture/ebpf/ffi/libc.ts'
import { ensureObject } from '../support/bpf-object.ts'
import { KernelWorld, type ReadRow } from '../support/kernel-world.ts'
import { TestNetwork, withoutRoot } from '../support/network.ts'
import { ethernet, ipv4, tag, tcp, udp } from '../support/packet-corpus.ts'
import { PacketSocket } from '../support/packet-socket.ts'

// Who refuses a packet, and what the points on its way say of it. Points: 1 on the host's side of guest a, 2 on that of
// guest b (both mirrored), 3 the host's own eth0. Rows are "point direction source > destination protocol action".

before(ensureObject)

type Place = { host: string; a: string; b: string; network: TestNetwork; world: KernelWorld }

function routed(network: TestNetwork, world: KernelWorld): Place {
  const [host, a, b] = ['h', 'a', 'b'].map((it) => network.namespace(it)) as [string, string, string]
  network.run(host, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
  for (const [name, guest, net, point] of [['a', a, 1, 1] as const, ['b', b, 2, 2] as const]) {
    network.veth({ namespace: host, device: `to-${name}` }, { namespace: guest, device: 'eth0' })
    network.address(host, `to-${name}`, `10.0.${net}.1/24`, `fd00:${net}::1/64`)
    network.address(guest, 'eth0', `10.0.${net}.2/24`, `fd00:${net}::2/64`)
    network.run(guest, 'ip', 'route', 'add', 'default', 'via', `10.0.${net}.1`)
    network.run(guest, 'ip', '-6', 'route', 'add', 'default', 'via', `fd00:${net}::1`)
    world.attach(point, `to-${name}`, host, { mirrored: true })
  }
  return { host, a, b, network, world }
}

function bridged(network: TestNetwork, world: KernelWorld): Place {
  const [host, a, b] = ['h', 'a', 'b'].map((it) => network.namespace(it)) as [string, string, string]
  network.run(host, 'ip', 'link', 'add', 'br0', 'type', 'bridge', 'mcast_snooping', '0', 'forward_delay', '0')
  network.run(host, 'ip', 'link', 'set', 'br0', 'up')
  network.address(host, 'br0', '10.0.1.1/24')
  network.run(host, 'sysctl', '-qw', 'net.ipv4.ip_forward=1')
  for (const [name, guest, host4, point] of [['a', a, 2, 1] as const, ['b', b, 3, 2] as const]) {
    network.veth({ namespace: host, device: `to-${name}` }, { namespace: guest, device: 'eth0' })
    network.run(host, 'sysctl', '-qw', `net.ipv6.conf.to-${name}.disable_ipv6=1`)
    network.run(host, 'ip', 'link', 'set', `to-${name}`, 'master', 'br0')
    network.address(guest, 'eth0', `10.0.1.${host4}/24`)
    network.run(guest, 'ip', 'route', 'add', 'default', 'via', '10.0.1.1')
    world.attach(point, `to-${name}`, host, { mirrored: true })
  }
  return { host, a, b, network, world }
}

/** One datagram of `size` bytes; a sender that is told "not permitted" is fine. */
function send(place: Place, from: 'host' | 'a' | 'b', to: string, port: number, size = 3): void {
  const script = `head -c ${size} /dev/zero > /dev/udp/${to}/${port}`
  place.network.attempt(place[from], 'bash', '-c', script)
}

/** The rows about UDP and ICMP that are not a neighbour's or a router's, without source ports. */
function seen(world: KernelWorld): string[] {
  const isNoise = (it: ReadRow) => it.protocol === 58
  return world
    .rows()
    .filter((it) => !isNoise(it) && it.protocol !== 2)
    .map((it) => {
      const to = it.protocol === 17 ? `${it.destination}:${it.ports[1]}` : it.destination
      return `${it.point} ${it.direction} ${it.source} > ${to} ${it.packets}x${it.octets / it.packets} ${it.action}`
    })
    .sort()
}

interface Case {
  name: string
  topology?: (network: TestNetwork, world: KernelWorld) => Place
  arrange(place: Place): void
  act(place: Place): void
  expected: string[]
}

const A_TO_B = '10.0.1.2 > 10.0.2.2:9'
const REFUSED_ON_ITS_WAY = [`1 EGRESS ${A_TO_B} 1x31 REJECT`, `2 INGRESS ${A_TO_B} 1x31 REJECT`]
const udpFromA = (place: Place) => send(place, 'a', '10.0.2.2', 9)
const broadcastFromA = ({ network, a }: Place) =>
  network.run(a, 'socat', '-u', 'EXEC:printf abc', 'UDP4-DATAGRAM:10.0.1.255:9,broadcast')
const nft = (rules: string) => (place: Place) => place.network.nft(place.host, rules)
const chain = (family: string, hook: string, rule: string, extra = '') =>
  `table ${family} t { chain c { type filter hook ${hook} ${extra} priority filter; ${rule}; }; }`

const CASES: Case[] = [
  {
    name: 'nft drop in forward: the sender’s egress and the receiver’s ingress',
    arrange: nft(chain('inet', 'forward', 'udp dport 9 drop')),
    act: udpFromA,
    expected: REFUSED_ON_ITS_WAY,
  },
  {
    name: 'nft drop in forward, IPv6',
    arrange: nft(chain('inet', 'forward', 'udp dport 9 drop')),
    act: (place) => send(place, 'a', 'fd00:2::2', 9),
    expected: [
      '1 EGRESS fd00:1::2 > fd00:2::2:9 1x51 REJECT',
      '2 INGRESS fd00:1::2 > fd00:2::2:9 1x51 REJECT',
    ],
  },
  {
    name: 'nft reject in forward: refused, and its answer is accepted',
    arrange: nft(chain('inet', 'forward', 'udp dport 9 reject')),
    act: udpFromA,
    expected: [
      `1 EGRESS ${A_TO_B} 1x31 REJECT`,
      '1 INGRESS 10.0.1.1 > 10.0.1.2 1x59 ACCEPT',
      `2 INGRESS ${A_TO_B} 1x31 REJECT`,
    ],
  },
  {
    name: 'iptables DROP in FORWARD',
    arrange: ({ network, host }) =>
      network.run(host, 'iptables', '-A', 'FORWARD', '-p', 'udp', '--dport', '9', '-j', 'DROP'),
    act: udpFromA,
    expected: REFUSED_ON_ITS_WAY,
  },
  {
    name: 'before routing: no receiver was chosen yet',
    arrange: nft(chain('inet', 'prerouting', 'udp dport 9 drop')),
    act: udpFromA,
    expected: [`1 EGRESS ${A_TO_B} 1x31 REJECT`],
  },
  {
    name: 'after routing',
    arrange: nft(chain('inet', 'postrouting', 'udp dport 9 drop')),
    act: udpFromA,
    expected: REFUSED_ON_ITS_WAY,
  },
  {
    name: 'in input: for the host itself',
    arrange: nft(chain('inet', 'input', 'udp dport 9 drop')),
    act: (place) => send(place, 'a', '10.0.1.1', 9),
    expected: ['1 EGRESS 10.0.1.2 > 10.0.1.1:9 1x31 REJECT'],
  },
  {
    name: 'in output: what the host itself sends',
    arrange: nft(chain('inet', 'output', 'udp dport 9 drop')),
    act: (place) => send(place, 'host', '10.0.2.2', 9),
    expected: ['2 INGRESS 10.0.2.1 > 10.0.2.2:9 1x31 REJECT'],
  },
  {
    name: 'netdev ingress, before IP sees it',
    arrange: nft(chain('netdev', 'ingress', 'udp dport 9 drop', 'device "to-a"')),
    act: udpFromA,
    expected: [`1 EGRESS ${A_TO_B} 1x31 REJECT`],
  },
  {
    name: 'netdev egress, before our hook there',
    arrange: nft(chain('netdev', 'egress', 'udp dport 9 drop', 'device "to-b"')),
    act: udpFromA,
    expected: REFUSED_ON_ITS_WAY,
  },
  {
    name: 'a classifier on clsact ingress',
    arrange: ({ host }) => shoot(host, 'to-a', 'ingress'),
    act: udpFromA,
    expected: [`1 EGRESS ${A_TO_B} 1x31 REJECT`],
  },
  {
    name: 'a classifier that somebody put in front of our hook: what it refuses is not seen, and takes nothing from others',
    arrange: () => {},
    act: ({ network, world, host, a }) => {
      const udpFrom1000 = 'UDP4-DATAGRAM:10.0.2.2:9,bind=:1000'
      const sendOne = () => network.run(a, 'socat', '-u', 'EXEC:printf abc', udpFrom1000)
      sendOne()
      using program = loadShooter()
      using link = inNetns(host, () => attachTcx(program.fd, findDeviceByName('to-a')!.ifindex, 'ingress'))
      sendOne()
      detachLink(link.fd)
      assert.equal(world.meter.stats().unmatchedVerdicts, 1n)
    },
    expected: [
      `1 EGRESS ${A_TO_B} 1x31 ACCEPT`,
      '1 INGRESS 10.0.2.2 > 10.0.1.2 1x59 ACCEPT',
      '2 EGRESS 10.0.2.2 > 10.0.1.2 1x59 ACCEPT',
      `2 INGRESS ${A_TO_B} 1x31 ACCEPT`,
    ],
  },
  {
    name: 'a classifier on clsact egress, behind our hook',
    arrange: ({ host }) => shoot(host, 'to-b', 'egress'),
    act: udpFromA,
    expected: REFUSED_ON_ITS_WAY,
  },
  {
    name: 'destination translated before it is refused: each point with the addresses it sees',
    arrange: nft(`table ip t {
      chain nat { type nat hook prerouting priority dstnat; udp dport 9 dnat to 10.0.2.2:99; }
      chain c { type filter hook forward priority filter; udp dport 99 drop; }
    }`),
    act: (place) => send(place, 'a', '10.0.9.9', 9),
    expected: ['1 EGRESS 10.0.1.2 > 10.0.9.9:9 1x31 REJECT', '2 INGRESS 10.0.1.2 > 10.0.2.2:99 1x31 REJECT'],
  },
  {
    name: 'no route, no listener: lost, not refused',
    arrange: ({ network, host }) => network.run(host, 'ip', 'route', 'add', 'blackhole', '10.0.8.0/24'),
    act: (place) => {
      send(place, 'a', '10.0.8.8', 9)
      send(place, 'a', '10.0.2.2', 9)
    },
    expected: [
      `1 EGRESS ${A_TO_B} 1x31 ACCEPT`,
      '1 EGRESS 10.0.1.2 > 10.0.8.8:9 1x31 ACCEPT',
      '1 INGRESS 10.0.2.2 > 10.0.1.2 1x59 ACCEPT',
      `2 EGRESS 10.0.2.2 > 10.0.1.2 1x59 ACCEPT`,
      `2 INGRESS ${A_TO_B} 1x31 ACCEPT`,
    ],
  },
  {
    name: 'a guest’s own firewall is not the host’s',
    arrange: ({ network, b }) => network.nft(b, chain('inet', 'input', 'udp dport 9 drop')),
    act: udpFromA,
    expected: [`1 EGRESS ${A_TO_B} 1x31 ACCEPT`, `2 INGRESS ${A_TO_B} 1x31 ACCEPT`],
  },
  {
    name: 'fragments that conntrack put together before they were refused',
    arrange: nft(
      `table ip t { chain c { type filter hook forward priority filter; ct state new udp dport 9 drop; }; }`,
    ),
    act: (place) => send(place, 'a', '10.0.2.2', 9, 4000),
    expected: [
      `1 EGRESS ${A_TO_B} 3x${(4000 + 8 + 60) / 3} REJECT`,
      `2 INGRESS ${A_TO_B} 3x${(4000 + 8 + 60) / 3} REJECT`,
    ],
  },
  {
    name: 'IPv6 fragments that conntrack put together before they were refused',
    arrange: nft(
      `table ip6 t { chain c { type filter hook forward priority filter; ct state new udp dport 9 drop; }; }`,
    ),
    act: (place) => send(place, 'a', 'fd00:2::2', 9, 4000),
    expected: [
      `1 EGRESS fd00:1::2 > fd00:2::2:9 3x${(4000 + 8 + 3 * 48) / 3} REJECT`,
      `2 INGRESS fd00:1::2 > fd00:2::2:9 3x${(4000 + 8 + 3 * 48) / 3} REJECT`,
    ],
  },
  {
    name: 'fragments that came last first, and that conntrack put together: under the ports they were counted with',
    arrange: nft(chain('ip', 'input', 'ct state new udp dport 9 drop')),
    act: ({ network, host, a }) => {
      using socket = new PacketSocket(a, 'eth0')
      const datagram = udp(1000, 9, 40)
      const part = (from: number, to: number) =>
        ipv4(datagram.subarray(from, to), {
          ...{ source: '10.0.1.2', destination: '10.0.1.1', id: 7 },
          ...{ fragmentOffset: from / 8, moreFragments: to < datagram.length },
        })
      for (const bytes of [part(32, 48), part(16, 32), part(0, 16)]) {
        socket.send(frameTo(mac(network, host, 'to-a'), bytes))
      }
    },
    expected: ['1 EGRESS 10.0.1.2 > 10.0.1.1:0 2x36 REJECT', '1 EGRESS 10.0.1.2 > 10.0.1.1:9 1x36 REJECT'],
  },
  {
    name: 'fragments that the host itself put together before it refused them, without conntrack',
    arrange: nft(chain('ip', 'input', 'udp dport 9 drop')),
    act: (place) => send(place, 'a', '10.0.1.1', 9, 4000),
    expected: [`1 EGRESS 10.0.1.2 > 10.0.1.1:9 3x${(4000 + 8 + 60) / 3} REJECT`],
  },
  {
    name: 'a macvlan and the device below it, both observed: both say it',
    arrange: (place) => {
      macvlan(place, place.host)
      nft(chain('inet', 'input', 'udp dport 9 drop'))(place)
    },
    act: (place) => {
      for (const port of [9, 10]) send(place, 'a', '10.0.1.77', port)
    },
    expected: [
      ...['1 EGRESS', '3 INGRESS'].flatMap((at) =>
        ['10 1x31 ACCEPT', '9 1x31 REJECT'].map((it) => `${at} 10.0.1.2 > 10.0.1.77:${it}`),
      ),
      '1 INGRESS 10.0.1.77 > 10.0.1.2 1x59 ACCEPT',
      '3 EGRESS 10.0.1.77 > 10.0.1.2 1x59 ACCEPT',
    ],
  },
  {
    name: 'a macvlan in a guest’s namespace, both observed: the guest’s firewall is not that of the device below',
    arrange: (place) => {
      macvlan(place, place.b)
      place.network.nft(place.b, chain('inet', 'input', 'udp dport 9 drop'))
    },
    act: (place) => send(place, 'a', '10.0.1.77', 9),
    expected: ['1 EGRESS 10.0.1.2 > 10.0.1.77:9 1x31 ACCEPT', '3 INGRESS 10.0.1.2 > 10.0.1.77:9 1x31 REJECT'],
  },
  {
    name: 'routed into a macvlan, refused at netdev egress of the device below: only there',
    arrange: (place) => {
      const { network, host, b } = place
      above(place, 'link', 'to-b', 'type', 'macvlan')
      network.address(b, 'eth0', '10.0.5.2/24')
      const address = network.run(b, 'cat', '/sys/class/net/eth0/address').trim()
      network.run(host, 'ip', 'neigh', 'replace', '10.0.5.2', 'lladdr', address, 'dev', 'above')
      nft(chain('netdev', 'egress', 'udp dport 9 drop', 'device "to-b"'))(place)
    },
    act: (place) => send(place, 'a', '10.0.5.2', 9),
    expected: [
      '1 EGRESS 10.0.1.2 > 10.0.5.2:9 1x31 REJECT',
      '2 INGRESS 10.0.1.2 > 10.0.5.2:9 1x31 REJECT',
      '3 EGRESS 10.0.1.2 > 10.0.5.2:9 1x31 ACCEPT',
    ],
  },
  {
    name: 'a tunnel’s own packet, refused in output: at the device that it was to leave by, not at the tunnel',
    arrange: (place) => {
      const ends = ['remote', '10.0.2.2', 'local', '10.0.2.1', 'dstport', '4789']
      above(place, 'type', 'vxlan', 'id', '5', ...ends)
      place.network.run(
        place.host,
        'ip',
        'neigh',
        'replace',
        '10.0.5.2',
        'lladdr',
        '02:00:00:00:00:01',
        'dev',
        'above',
      )
      nft(chain('inet', 'output', 'udp dport 4789 drop'))(place)
    },
    act: (place) => send(place, 'a', '10.0.5.2', 9),
    expected: [
      '1 EGRESS 10.0.1.2 > 10.0.5.2:9 1x31 ACCEPT',
      '2 INGRESS 10.0.2.1 > 10.0.2.2:4789 1x81 REJECT',
      '3 EGRESS 10.0.1.2 > 10.0.5.2:9 1x31 ACCEPT',
    ],
  },
  {
    name: 'a host routes into a bridge: refused before the bridge, a packet has no port yet',
    topology: bridged,
    arrange: ({ network, world, host, a, b }) => {
      nft(chain('inet', 'forward', 'udp dport 9 drop'))({ network, world, host, a, b })
      network.run(host, 'ip', 'link', 'set', 'to-b', 'nomaster')
      network.address(host, 'to-b', '10.0.2.1/24')
      network.run(b, 'ip', 'address', 'flush', 'dev', 'eth0')
      network.address(b, 'eth0', '10.0.2.2/24')
      network.run(b, 'ip', 'route', 'add', 'default', 'via', '10.0.2.1')
      world.attach(3, 'br0', host)
    },
    act: (place) => send(place, 'b', '10.0.1.2', 9),
    expected: ['2 EGRESS 10.0.2.2 > 10.0.1.2:9 1x31 REJECT', '3 EGRESS 10.0.2.2 > 10.0.1.2:9 1x31 REJECT'],
  },
  ...['forward', 'postrouting'].map((hook) => ({
    name: `bridge family, ${hook}: both ports`,
    topology: bridged,
    arrange: nft(chain('bridge', hook, 'udp dport 9 drop')),
    act: (place: Place) => send(place, 'a', '10.0.1.3', 9),
    expected: ['1 EGRESS 10.0.1.2 > 10.0.1.3:9 1x31 REJECT', '2 INGRESS 10.0.1.2 > 10.0.1.3:9 1x31 REJECT'],
  })),
  {
    name: 'bridge family, a broadcast refused at one port is not refused at the sender',
    topology: bridged,
    arrange: nft(chain('bridge', 'forward', 'oifname "to-b" udp dport 9 drop')),
    act: broadcastFromA,
    expected: [
      '1 EGRESS 10.0.1.2 > 10.0.1.255:9 1x31 ACCEPT',
      '2 INGRESS 10.0.1.2 > 10.0.1.255:9 1x31 REJECT',
    ],
  },
  {
    name: 'a port of a bridge, refused by the IP firewall behind the bridge',
    topology: bridged,
    arrange: nft(chain('inet', 'input', 'udp dport 9 drop')),
    act: (place) => send(place, 'a', '10.0.1.1', 9),
    expected: ['1 EGRESS 10.0.1.2 > 10.0.1.1:9 1x31 REJECT'],
  },
  {
    name: 'a bridge and its port, both observed: both say it, and what passes before and after is accepted at both',
    topology: bridged,
    arrange: ({ network, host, world }) => {
      network.nft(host, chain('inet', 'input', 'udp dport 9 drop'))
      world.attach(3, 'br0', host)
    },
    act: (place) => {
      for (const port of [9, 10, 9, 10]) send(place, 'a', '10.0.1.1', port)
    },
    expected: [
      ...['1 EGRESS', '3 INGRESS'].flatMap((at) =>
        // Two flows each: every datagram has a source port of its own.
        ['10 1x31 ACCEPT', '9 1x31 REJECT'].flatMap((it) => Array(2).fill(`${at} 10.0.1.2 > 10.0.1.1:${it}`)),
      ),
      ...['1 INGRESS', '3 EGRESS'].map((at) => `${at} 10.0.1.1 > 10.0.1.2 2x59 ACCEPT`),
    ],
  },
  ...['prerouting', 'input'].map((hook) => ({
    name: `bridge family, ${hook}: no receiver was chosen, or it is the host`,
    topology: bridged,
    arrange: nft(chain('bridge', hook, 'udp dport 9 drop')),
    act: (place: Place) => send(place, 'a', '10.0.1.1', 9),
    expected: ['1 EGRESS 10.0.1.2 > 10.0.1.1:9 1x31 REJECT'],
  })),
  {
    name: 'bridge family, output: what the host itself sends',
    topology: bridged,
    arrange: nft(chain('bridge', 'output', 'udp dport 9 drop')),
    act: (place) => send(place, 'host', '10.0.1.3', 9),
    expected: ['2 INGRESS 10.0.1.1 > 10.0.1.3:9 1x31 REJECT'],
  },
  {
    name: 'bridged packets that are shown to the IP firewall',
    topology: bridged,
    arrange: (place) => {
      place.network.run(place.host, 'sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=1')
      nft(chain('inet', 'forward', 'udp dport 9 drop'))(place)
    },
    act: (place) => send(place, 'a', '10.0.1.3', 9),
    expected: ['1 EGRESS 10.0.1.2 > 10.0.1.3:9 1x31 REJECT', '2 INGRESS 10.0.1.2 > 10.0.1.3:9 1x31 REJECT'],
  },
  {
    name: 'a broadcast that the host refuses: refused where the host took it from the bridge, not at the sender',
    topology: bridged,
    arrange: ({ network, host, world }) => {
      network.nft(host, chain('inet', 'input', 'udp dport 9 drop'))
      world.attach(3, 'br0', host)
    },
    act: broadcastFromA,
    expected: [
      '1 EGRESS 10.0.1.2 > 10.0.1.255:9 1x31 ACCEPT',
      '2 INGRESS 10.0.1.2 > 10.0.1.255:9 1x31 ACCEPT',
      '3 INGRESS 10.0.1.2 > 10.0.1.255:9 1x31 REJECT',
    ],
  },
  {
    name: 'a broadcast to a routed port, refused in input',
    arrange: nft(chain('inet', 'input', 'udp dport 9 drop')),
    act: broadcastFromA,
    expected: ['1 EGRESS 10.0.1.2 > 10.0.1.255:9 1x31 REJECT'],
  },
  {
    name: 'a multicast to the host, refused in input',
    arrange: nft(chain('inet', 'input', 'udp dport 9 drop')),
    act: ({ network, a }) => network.run(a, 'socat', '-u', 'EXEC:printf abc', 'UDP4-DATAGRAM:224.0.0.1:9'),
    expected: ['1 EGRESS 10.0.1.2 > 224.0.0.1:9 1x31 REJECT'],
  },
  {
    name: 'iptables-legacy DROP in FORWARD',
    arrange: ({ network, host }) =>
      network.run(host, 'iptables-legacy', '-A', 'FORWARD', '-p', 'udp', '--dport', '9', '-j', 'DROP'),
    act: udpFromA,
    expected: REFUSED_ON_ITS_WAY,
  },
  {
    name: 'iptables REJECT with a TCP reset',
    arrange: ({ network, host }) => {
      const rule = '-p tcp --dport 9 -j REJECT --reject-with tcp-reset'
      network.run(host, 'iptables', '-A', 'FORWARD', ...rule.split(' '))
    },
    act: ({ network, a }) => network.attempt(a, 'bash', '-c', ': > /dev/tcp/10.0.2.2/9'),
    expected: [
      '1 EGRESS 10.0.1.2 > 10.0.2.2 1x60 REJECT',
      '1 INGRESS 10.0.2.2 > 10.0.1.2 1x40 ACCEPT',
      '2 INGRESS 10.0.1.2 > 10.0.2.2 1x60 REJECT',
    ],
  },
  {
    name: 'what connection tracking calls invalid',
    arrange: nft(chain('inet', 'forward', 'ct state invalid drop')),
    act: ({ network, a, host }) => {
      using socket = new PacketSocket(a, 'eth0')
      const bytes = ipv4(tcp(1000, 80, 0x11), { protocol: 6, source: '10.0.1.2', destination: '10.0.2.2' })
      socket.send(frameTo(mac(network, host, 'to-a'), bytes))
    },
    expected: ['1 EGRESS 10.0.1.2 > 10.0.2.2 1x40 REJECT', '2 INGRESS 10.0.1.2 > 10.0.2.2 1x40 REJECT'],
  },
  {
    name: 'a reverse path filter and martian addresses are routing, not a firewall',
    arrange: ({ network, host, a }) => {
      network.run(host, 'sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=1')
      network.address(a, 'eth0', '10.0.7.7/32')
      const mac = network.run(host, 'cat', '/sys/class/net/to-a/address').trim()
      network.run(a, 'ip', 'neigh', 'replace', '10.0.1.1', 'lladdr', mac, 'dev', 'eth0') // ARP is filtered, too.
    },
    act: ({ network, a }) => network.attempt(a, 'ping', '-c', '1', '-W', '0.1', '-I', '10.0.7.7', '10.0.2.2'),
    expected: ['1 EGRESS 10.0.7.7 > 10.0.2.2 1x84 ACCEPT'],
  },
  {
    name: 'source translated, and refused behind the translation',
    arrange: nft(`table ip t {
      chain nat { type nat hook postrouting priority srcnat; oifname "to-b" masquerade; }
      chain c { type filter hook postrouting priority 200; udp dport 9 drop; }
    }`),
    act: udpFromA,
    expected: [`1 EGRESS ${A_TO_B} 1x31 REJECT`, '2 INGRESS 10.0.2.1 > 10.0.2.2:9 1x31 REJECT'],
  },
  {
    name: 'the answer to a translated source, refused in forward',
    arrange: nft(`table ip t {
      chain nat { type nat hook postrouting priority srcnat; oifname "to-b" masquerade; }
      chain c { type filter hook forward priority filter; ct direction reply drop; }
    }`),
    act: ({ network, a, b }) => {
      network.start(b, 'socat', 'UDP4-RECVFROM:9', 'EXEC:cat')
      network.run(b, 'bash', '-c', 'until ss -lnu | grep -q :9; do sleep 0.01; done')
      network.attempt(a, 'bash', '-c', 'echo abc | socat -T 0.2 - UDP4:10.0.2.2:9,bind=:2000')
    },
    expected: [
      `1 EGRESS ${A_TO_B} 1x32 ACCEPT`,
      '1 INGRESS 10.0.2.2 > 10.0.1.2:2000 1x32 REJECT',
      '2 EGRESS 10.0.2.2 > 10.0.2.1:2000 1x32 REJECT',
      '2 INGRESS 10.0.2.1 > 10.0.2.2:9 1x32 ACCEPT',
    ],
  },
  {
    name: 'an ICMP error about a translated packet, refused in forward',
    arrange: nft(`table ip t {
      chain nat { type nat hook postrouting priority srcnat; oifname "to-b" masquerade; }
      chain c { type filter hook forward priority filter; ct state related drop; }
    }`),
    act: udpFromA,
    expected: [
      `1 EGRESS ${A_TO_B} 1x31 ACCEPT`,
      '1 INGRESS 10.0.2.2 > 10.0.1.2 1x59 REJECT',
      '2 EGRESS 10.0.2.2 > 10.0.2.1 1x59 REJECT',
      '2 INGRESS 10.0.2.1 > 10.0.2.2:9 1x31 ACCEPT',
    ],
  },
  {
    name: 'a datagram of the host that would have been fragmented, refused in output',
    arrange: nft(chain('inet', 'output', 'udp dport 9 drop')),
    act: (place) => send(place, 'host', '10.0.2.2', 9, 4000),
    expected: [`2 INGRESS 10.0.2.1 > 10.0.2.2:9 3x${(4000 + 8 + 60) / 3} REJECT`],
  },
  {
    name: 'fragments refused one by one before they are put together',
    arrange: nft(
      `table ip t { chain c { type filter hook prerouting priority -450; ip daddr 10.0.2.2 drop; }; }`,
    ),
    act: (place) => send(place, 'a', '10.0.2.2', 9, 4000),
    expected: [`1 EGRESS ${A_TO_B} 3x${(4000 + 8 + 60) / 3} REJECT`],
  },
  {
    name: 'too large for the next link: lost, not refused',
    arrange: ({ network, host }) => network.run(host, 'ip', 'link', 'set', 'to-b', 'mtu', '1000'),
    act: ({ network, a }) =>
      network.attempt(a, 'ping', '-c', '1', '-W', '0.1', '-M', 'do', '-s', '1200', '10.0.2.2'),
    expected: ['1 EGRESS 10.0.1.2 > 10.0.2.2 1x1228 ACCEPT', '1 INGRESS 10.0.1.1 > 10.0.1.2 1x576 ACCEPT'],
  },
  {
    name: 'frames with two tags inside, refused at netdev ingress',
    arrange: nft(chain('netdev', 'ingress', 'drop', 'device "to-a"')),
    act: ({ a }) => {
      using socket = new PacketSocket(a, 'eth0')
      const inner = ipv4(udp(1000, 9, 3), { source: '10.0.1.2', destination: '10.0.2.2' })
      socket.send(ethernet(0x88a8, tag(0x8100, tag(0x0800, inner))))
      socket.send(ethernet(0x8100, tag(0x0800, inner)))
    },
    expected: [`1 EGRESS ${A_TO_B} 2x31 REJECT`],
  },
]

/** On `to-a`, as point 3, with an address that guest a knows. */
function macvlan({ network, world, host, a }: Place, namespace: string): void {
  network.run(host, 'ip', 'link', 'add', 'mv', 'link', 'to-a', 'type', 'macvlan', 'mode', 'bridge')
  if (namespace !== host) network.run(host, 'ip', 'link', 'set', 'mv', 'netns', namespace)
  network.run(namespace, 'sysctl', '-qw', 'net.ipv6.conf.mv.disable_ipv6=1')
  network.run(namespace, 'ip', 'link', 'set', 'mv', 'up')
  network.address(namespace, 'mv', '10.0.1.77/32')
  network.run(namespace, 'ip', 'route', 'add', '10.0.1.2', 'dev', 'mv')
  const address = network.run(namespace, 'cat', '/sys/class/net/mv/address').trim()
  network.run(a, 'ip', 'neigh', 'replace', '10.0.1.77', 'lladdr', address, 'dev', 'eth0')
  world.attach(3, 'mv', namespace)
}

/** A device of the host's own, as point 3, with the host's address in 10.0.5.0/24. */
function above({ network, world, host }: Place, ...options: string[]): void {
  network.run(host, 'ip', 'link', 'add', 'above', ...options)
  network.run(host, 'sysctl', '-qw', 'net.ipv6.conf.above.disable_ipv6=1')
  network.run(host, 'ip', 'link', 'set', 'above', 'up')
  network.address(host, 'above', '10.0.5.1/24')
  world.attach(3, 'above', host)
}

function mac(network: TestNetwork, namespace: string, device: string): Buffer {
  const address = network.run(namespace, 'cat', `/sys/class/net/${device}/address`).trim()
  return Buffer.from(address.replaceAll(':', ''), 'hex')
}

/** An IPv4 packet, its checksum made right, for the device with this address. */
function frameTo(address: Buffer, packet: Buffer): Buffer {
  packet.writeUInt16BE(~onesSum(packet.subarray(0, 20)) & 0xffff, 10)
  const frame = ethernet(0x0800, packet)
  frame.set(address, 0)
  return frame
}

function onesSum(header: Buffer): number {
  let sum = 0
  for (let at = 0; at < header.length; at += 2) sum += header.readUInt16BE(at)
  return (sum & 0xffff) + (sum >>> 16)
}

/** Another's program on the device: IPv4 datagrams to port 9 are shot (TC_ACT_SHOT), all else goes on. */
function shoot(host: string, device: string, hook: Hook): void {
  using program = loadShooter()
  inNetns(host, () => attachClassic(program.fd, findDeviceByName(device)!.ifindex, hook, 1))
}

function loadShooter(): Descriptor {
  const instructions = [
    'bf16000000000000', // r6 = context
    '3000000017000000', // r0 = byte 23, the protocol
    '5500040011000000', // not 17: go on
    '2800000024000000', // r0 = bytes 36 and 37, the destination port
    '5500020009000000', // not 9: go on
    'b700000002000000', // return TC_ACT_SHOT
    '9500000000000000',
    'b7000000ffffffff', // return TC_ACT_UNSPEC
    '9500000000000000',
  ]
  return loadClassifier('shoot', Buffer.from(instructions.join(''), 'hex'))
}

for (const { name, topology = routed, arrange, act, expected } of CASES) {
  test(`verdict: ${name}`, { skip: withoutRoot }, async () => {
    await using network = new TestNetwork()
    using world = new KernelWorld()
    const place = topology(network, world)
    arrange(place)

    act(place)

    assert.deepEqual(seen(world), expected.toSorted())
  })
}
