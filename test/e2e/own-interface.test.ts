import assert from 'node:assert/strict'
import path from 'node:path'
import { test } from 'node:test'
import { type CapturedPacket, sorted, totalsOf } from '../support/capture.ts'
import { ended, said, TestNetwork, withoutRoot } from '../support/network.ts'
import { WeirProcess } from '../support/weir-process.ts'

const TRAFFIC = path.resolve('test/support/traffic.mjs')
const HOST = ['10.4.0.1', 'fd04::1']
const PEER = ['10.4.0.2', 'fd04::2']

// The machine's own firewall: nftables for what comes in, iptables for what goes out.
const RULES = `
table inet filter {
  chain input {
    type filter hook input priority filter; policy accept;
    tcp dport 23 drop
    udp dport 69 reject
  }
}`
const REFUSED_IN = [23, 69]
const REFUSED_OUT = [2323, 6969]

test("the machine's own interface: input and output verdicts, and no verdict for what merely got lost", {
  skip: withoutRoot,
}, async () => {
  await using network = new TestNetwork()
  await using weir = new WeirProcess()
  const [host, peer] = [network.namespace('h'), network.namespace('p')]
  network.veth({ namespace: host, device: 'eth0' }, { namespace: peer, device: 'eth0' })
  network.address(host, 'eth0', '10.4.0.1/24', 'fd04::1/64')
  network.address(peer, 'eth0', '10.4.0.2/24', 'fd04::2/64')
  // The peer takes this machine for a router; it does not forward, and has no route: lost, not refused.
  network.run(peer, 'ip', 'route', 'add', '192.0.2.0/24', 'via', HOST[0]!)
  network.nft(host, RULES)
  for (const iptables of ['iptables', 'ip6tables']) {
    for (const [protocol, port] of [['tcp', '2323'] as const, ['udp', '6969'] as const]) {
      network.run(host, iptables, '-A', 'OUTPUT', '-p', protocol, '--dport', port, '-j', 'DROP')
    }
  }
  await weir.start(['--window', '2'])
  weir.cli('nic', 'add', '--name', 'wan', '--device', 'eth0', '--netns', host, '--side', 'own')
  weir.cli('flowlog', 'create', '--nic', 'wan', '--bucket', 'flowlogs/wan')

  const capture = await network.capture(host, 'eth0')
  await traffic(network, host, peer)
  const seen = await capture.stop()
  assert.equal(await weir.stop(), 0)

  const totals = weir.totals('flowlogs', 'wan-')
  const isRefusedOut = (key: string): boolean => {
    const [source, , , port] = key.split(' ')
    return HOST.includes(source!) && REFUSED_OUT.includes(Number(port))
  }
  const onWire = [...totals].filter(([key]) => !isRefusedOut(key))
  const refusedOut = [...totals].filter(([key]) => isRefusedOut(key))
  assert.deepEqual(sorted(new Map(onWire)), sorted(totalsOf(seen, inputAction)))
  assert.equal(refusedOut.length > 0 && refusedOut.every(([key]) => key.endsWith(' REJECT')), true)
  const datagrams = refusedOut.filter(([key]) => key.includes(' 6969 17 '))
  // Three datagrams to each of the two addresses, from a new port each: 28 or 48 octets of headers and 300 of payload.
  assert.deepEqual(datagrams.map(([, sum]) => sum.octets).sort(), [328, 328, 328, 348, 348, 348])
  const lost = [...totals.keys()].filter((key) => key.includes('192.0.2.7'))
  assert.ok(
    lost.length > 0 && lost.every((key) => key.endsWith(' ACCEPT')),
    `no route is no verdict: ${lost}`,
  )
})

function inputAction({ destination, destinationPort, protocol }: CapturedPacket): string {
  const isTransport = protocol === 6 || protocol === 17
  const isRefused = HOST.includes(destination) && isTransport && REFUSED_IN.includes(destinationPort)
  return isRefused ? 'REJECT' : 'ACCEPT'
}

async function traffic(network: TestNetwork, host: string, peer: string): Promise<void> {
  const serve = JSON.stringify({ tcp: [80], udp: [53] })
  const servers = [host, peer].map((it) => network.start(it, process.execPath, TRAFFIC, 'serve', serve))
  await Promise.all(servers.map((it) => said(it, /serving/)))
  const ways = [
    ...HOST.map((to) => ({ from: peer, to, tcp: [80, 23, 81], udp: [53, 69, 99] })),
    ...PEER.map((to) => ({ from: host, to, tcp: [80, 2323], udp: [53, 6969] })),
  ]
  const send = ways.map(({ from, ...options }) => {
    const json = JSON.stringify({ ...options, rounds: 3, size: 300 })
    return said(network.start(from, process.execPath, TRAFFIC, 'send', json), /"tcp":\d+/)
  })
  await Promise.all(send)
  network.attempt(peer, 'ping', '-qc', '3', '-i', '0.1', '-W', '0.2', '192.0.2.7')
  network.run(peer, 'ping', '-qc', '3', '-i', '0.1', HOST[1]!)
  await Promise.all(servers.map((it) => ended(it, 'SIGKILL')))
}
