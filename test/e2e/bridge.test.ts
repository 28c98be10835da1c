import assert from 'node:assert/strict'
import path from 'node:path'
import { test } from 'node:test'
import { type CapturedPacket, sorted, totalsOf } from '../support/capture.ts'
import { ended, said, TestNetwork, withoutRoot } from '../support/network.ts'
import { WeirProcess } from '../support/weir-process.ts'

const TRAFFIC = path.resolve('test/support/traffic.mjs')
const A = ['10.3.0.1', 'fd03::1']
const B = ['10.3.0.2', 'fd03::2']
const REFUSED_PORTS = [23, 69]
const RULES = `
table bridge filter {
  chain forward {
    type filter hook forward priority filter; policy accept;
    tcp dport 23 drop
    udp dport 69 drop
  }
}`

test('two guests on a bridge with a bridge-family firewall: records equal the captures', {
  skip: withoutRoot,
}, async () => {
  await using network = new TestNetwork()
  await using weir = new WeirProcess()
  const { host, a, b } = topology(network)
  network.nft(host, RULES)
  await weir.start(['--window', '2'])
  for (const guest of ['a', 'b']) {
    const tap = ['--device', `veth-${guest}`, '--netns', host, '--side', 'guest']
    weir.cli('nic', 'add', '--name', guest, ...tap)
    weir.cli('flowlog', 'create', '--nic', guest, '--bucket', `flowlogs/${guest}`)
  }

  const captures = [await network.capture(a, 'eth0'), await network.capture(b, 'eth0')]
  await traffic(network, a, b)
  const [ofA, ofB] = (await Promise.all(captures.map((it) => it.stop()))) as [
    CapturedPacket[],
    CapturedPacket[],
  ]
  assert.equal(await weir.stop(), 0)

  const kept = (sender: CapturedPacket[], addresses: string[]): CapturedPacket[] =>
    sender.filter((it) => addresses.includes(it.source) && isRefused(it))
  const withKept = (own: CapturedPacket[], peer: CapturedPacket[], peerAddresses: string[]) =>
    totalsOf([...own, ...kept(peer, peerAddresses)], (it) => (isRefused(it) ? 'REJECT' : 'ACCEPT'))
  assert.ok(kept(ofA, A).length > 10, 'the firewall had something to refuse')
  assert.deepEqual(sorted(weir.totals('flowlogs', 'a-')), sorted(withKept(ofA, ofB, B)))
  assert.deepEqual(sorted(weir.totals('flowlogs', 'b-')), sorted(withKept(ofB, ofA, A)))
})

function isRefused({ protocol, destinationPort }: CapturedPacket): boolean {
  return (protocol === 6 || protocol === 17) && REFUSED_PORTS.includes(destinationPort)
}

function topology(network: TestNetwork): { host: string; a: string; b: string } {
  const [host, a, b] = ['h', 'a', 'b'].map((name) => network.namespace(name)) as [string, string, string]
  network.run(host, 'ip', 'link', 'add', 'br0', 'type', 'bridge', 'mcast_snooping', '0', 'forward_delay', '0')
  network.run(host, 'sysctl', '-qw', 'net.ipv6.conf.br0.disable_ipv6=1')
  network.run(host, 'ip', 'link', 'set', 'br0', 'up')
  for (const [name, guest, addresses] of [['a', a, A] as const, ['b', b, B] as const]) {
    network.veth({ namespace: host, device: `veth-${name}` }, { namespace: guest, device: 'eth0' })
    network.run(host, 'sysctl', '-qw', `net.ipv6.conf.veth-${name}.disable_ipv6=1`)
    network.run(host, 'ip', 'link', 'set', `veth-${name}`, 'master', 'br0')
    network.address(guest, 'eth0', `${addresses[0]}/24`, `${addresses[1]}/64`)
  }
  return { host, a, b }
}

async function traffic(network: TestNetwork, a: string, b: string): Promise<void> {
  const serve = JSON.stringify({ tcp: [80], udp: [53] })
  const servers = [a, b].map((guest) => network.start(guest, process.execPath, TRAFFIC, 'serve', serve))
  await Promise.all(servers.map((it) => said(it, /serving/)))
  const ways = [...B.map((to) => ({ from: a, to })), ...A.map((to) => ({ from: b, to }))]
  const send = ways.map(({ from, to }) => {
    const options = JSON.stringify({ to, tcp: [80, 23], udp: [53, 69, 99], rounds: 5, size: 700 })
    return said(network.start(from, process.execPath, TRAFFIC, 'send', options), /"tcp":\d+/)
  })
  await Promise.all(send)
  for (const { from, to } of ways) network.run(from, 'ping', '-qc', '2', '-i', '0.1', to)
  await Promise.all(servers.map((it) => ended(it, 'SIGKILL')))
}
