import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { test } from 'node:test'
import { type CapturedPacket, sorted, type Totals, totalsOf } from '../support/capture.ts'
import { eventually } from '../support/eventually.ts'
import { ended, said, TestNetwork, withoutRoot } from '../support/network.ts'
import { WeirProcess } from '../support/weir-process.ts'

const NODE = process.execPath
const TRAFFIC = path.resolve('test/support/traffic.mjs')
const ADDRESSES = { a: ['10.1.0.2', 'fd01::2'], b: ['10.2.0.2', 'fd02::2'] } as const

// What the firewall of the tests lets through, drops and rejects, by destination port (of the packet that opens the
// flow: answers to accepted packets pass by connection tracking).
const OPEN = { tcp: [80], udp: [53] }
const DROPPED = { tcp: [23], udp: [69] }
const REFUSED = { tcp: [25], udp: [123] }
const RULES = `
table inet filter {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    tcp dport 23 drop
    udp dport 69 drop
    tcp dport 25 reject with tcp reset
    udp dport 123 reject
    icmp type echo-request ip length 128 drop
    icmpv6 type echo-request ip6 length 108 drop
    tcp dport 80 accept
    udp dport { 53, 99 } accept
    meta l4proto { icmp, ipv6-icmp } accept
  }
}`

/** The action that RULES take on a packet that is to be forwarded. */
function actionOf(packet: CapturedPacket): string {
  const { protocol, destinationPort, octets, destination } = packet
  const refusedPorts = [...DROPPED.tcp, ...REFUSED.tcp, ...DROPPED.udp, ...REFUSED.udp]
  if ((protocol === 6 || protocol === 17) && refusedPorts.includes(destinationPort)) return 'REJECT'
  const isForwarded = [...ADDRESSES.a, ...ADDRESSES.b].includes(destination as never)
  const isMarkedPing = (protocol === 1 && octets === 128) || (protocol === 58 && octets === 148)
  return isForwarded && isMarkedPing ? 'REJECT' : 'ACCEPT'
}

test('every packet of two guests behind a firewall is in the records once, with its verdict', {
  skip: withoutRoot,
}, async () => {
  await using network = new TestNetwork()
  await using weir = new WeirProcess()
  const { host, a, b } = topology(network)
  network.nft(host, RULES)
  await weir.start(['--window', '2'])
  weir.cli('bucket', 'create', 'flowlogs2')
  const nics = ['a', 'b'].map((guest) => enable(weir, host, guest))

  const captures = [await network.capture(a, 'eth0'), await network.capture(b, 'eth0')]
  await traffic(network, a, b)
  const [fromA, fromB] = await Promise.all(captures.map((it) => it.stop()))
  assert.equal(await weir.stop(), 0)

  const macOf = (namespace: string): string =>
    network.run(namespace, 'cat', '/sys/class/net/eth0/address').trim()
  assert.deepEqual(
    sorted(weir.totals('flowlogs2', `a-`)),
    sorted(expected(fromA!, fromB!, macOf(a), macOf(b))),
  )
  assert.deepEqual(
    sorted(weir.totals('flowlogs2', `b-`)),
    sorted(expected(fromB!, fromA!, macOf(b), macOf(a))),
  )
  assert.equal(nics.length, 2)
  const windows = new Set(weir.objects('flowlogs2').map((name) => /-(\d+)\.log\.gz$/.exec(name)?.[1]))
  assert.ok(windows.size >= 3, `traffic lay in ${windows.size} windows`)
})

test('a kill -9 in mid-window loses and doubles nothing', { skip: withoutRoot }, async () => {
  await using network = new TestNetwork()
  await using weir = new WeirProcess()
  const { host, a, b } = topology(network)
  network.nft(host, RULES)
  await weir.start(['--window', '5'])
  enable(weir, host, 'a', 'flowlogs')

  const capture = await network.capture(a, 'eth0')
  for (let kills = 0; kills < 3; kills++) {
    await traffic(network, a, b, 1)
    await weir.kill()
    await traffic(network, a, b, 1)
    await weir.start(['--window', '5'])
  }
  const packets = await capture.stop()
  assert.equal(await weir.stop(), 0)

  const sent = packets.filter((it) => it.source === ADDRESSES.a[0] || it.source === ADDRESSES.a[1])
  const own = [...weir.totals('flowlogs', 'a-')].filter(([key]) => {
    const [source] = key.split(' ')
    return source === ADDRESSES.a[0] || source === ADDRESSES.a[1]
  })
  assert.deepEqual(sorted(new Map(own)), sorted(totalsOf(sent, actionOf)))
})

/** All packets on the guest's wire, and those that the firewall kept from it. */
function expected(own: CapturedPacket[], peer: CapturedPacket[], ownMac: string, peerMac: string): Totals {
  const addresses = own.some((it) => it.source === ADDRESSES.a[0] && it.sourceMac === ownMac)
    ? ADDRESSES.a
    : ADDRESSES.b
  const kept = peer.filter(
    (it) =>
      it.sourceMac === peerMac && addresses.includes(it.destination as never) && actionOf(it) === 'REJECT',
  )
  const sent = own.filter((it) => it.sourceMac === ownMac)
  const received = own.filter((it) => it.sourceMac !== ownMac)
  const totals = totalsOf(sent, actionOf)
  for (const [key, sum] of totalsOf(received, () => 'ACCEPT')) totals.set(key, sum)
  for (const [key, sum] of totalsOf(kept, () => 'REJECT')) totals.set(key, sum)
  return totals
}

/** Two guests, each on a veth of its own to the forwarding host. */
function topology(network: TestNetwork): { host: string; a: string; b: string } {
  const [host, a, b] = ['h', 'a', 'b'].map((name) => network.namespace(name)) as [string, string, string]
  for (const [name, guest, net] of [['a', a, 1] as const, ['b', b, 2] as const]) {
    network.veth({ namespace: host, device: `veth-${name}` }, { namespace: guest, device: 'eth0' })
    network.address(host, `veth-${name}`, `10.${net}.0.1/24`, `fd0${net}::1/64`)
    network.address(guest, 'eth0', `10.${net}.0.2/24`, `fd0${net}::2/64`)
    network.run(guest, 'ip', 'route', 'add', 'default', 'via', `10.${net}.0.1`)
    network.run(guest, 'ip', 'route', 'add', 'default', 'via', `fd0${net}::1`)
  }
  network.run(host, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
  return { host, a, b }
}

/** Registers a guest's interface and enables its flow log; returns the NIC's UUID. */
function enable(weir: WeirProcess, host: string, guest: string, bucket = 'flowlogs2'): string {
  const nic = weir.cli(
    ...[
      'nic',
      'add',
      '--name',
      `guest-${guest}`,
      '--device',
      `veth-${guest}`,
      '--netns',
      host,
      '--side',
      'guest',
    ],
  )
  weir.cli('flowlog', 'create', '--nic', nic, '--bucket', `${bucket}/${guest}`)
  return nic
}

/** Connections, datagrams and pings in both directions, allowed, dropped and rejected. */
async function traffic(network: TestNetwork, a: string, b: string, rounds = 6): Promise<void> {
  const servers = [a, b].map((guest) => network.start(guest, NODE, TRAFFIC, 'serve', JSON.stringify(OPEN)))
  await Promise.all(servers.map((it) => said(it, /serving/)))
  const ports = {
    tcp: [...OPEN.tcp, ...DROPPED.tcp, ...REFUSED.tcp],
    udp: [...OPEN.udp, ...DROPPED.udp, ...REFUSED.udp, 99], // 99: let through, and nobody listens.
  }
  const senders = [
    ...ADDRESSES.b.map((to) => ({ from: a, to })),
    ...ADDRESSES.a.map((to) => ({ from: b, to })),
  ].map(async ({ from, to }) => {
    const options = JSON.stringify({ to, ...ports, rounds, size: 1200 })
    const sender = network.start(from, NODE, TRAFFIC, 'send', options)
    const answered = said(sender, /"tcp":\d+/)
    await answered
    network.run(from, 'ping', '-qc', '3', '-i', '0.1', to)
    network.attempt(from, 'ping', '-qc', '2', '-i', '0.1', '-W', '0.2', '-s', '100', to)
  })
  await Promise.all(senders)
  await Promise.all(servers.map((it) => ended(it, 'SIGKILL')))
}

test('a flow log counts from its creation to its deletion, and leaves nothing in the kernel', {
  skip: withoutRoot,
}, async () => {
  await using network = new TestNetwork()
  await using weir = new WeirProcess()
  const { host, a } = topology(network)
  await weir.start(['--window', '2'])

  enable(weir, host, 'a', 'flowlogs')
  const [flowLog] = JSON.parse(weir.cli('flowlog', 'list', '--json')) as { id: string; state: string }[]
  assert.equal(flowLog!.state, 'AVAILABLE')
  network.run(a, 'ping', '-qc', '3', '-i', '0.1', '10.1.0.1')
  weir.cli('flowlog', 'delete', flowLog!.id)
  network.run(a, 'ping', '-qc', '5', '-i', '0.1', '10.1.0.1')

  const device = network.run(host, 'bpftool', 'net', 'show', 'dev', 'veth-a')
  assert.doesNotMatch(device, /weir/)
  const counted = (): { packets: number; octets: number } | undefined =>
    weir.totals('flowlogs', 'a-').get('10.1.0.2 10.1.0.1 0 0 1 ACCEPT')
  // The packets may lie in two windows, which come one after the other.
  await eventually('what was counted is delivered', () => counted()?.packets === 3)
  assert.equal(await weir.stop(), 0)
  assert.deepEqual(counted(), { packets: 3, octets: 252 })
  assert.equal(
    execFileSync('bpftool', ['link', 'show'], { encoding: 'utf8' }).includes(path.basename(weir.dataDir)),
    false,
  )
})
