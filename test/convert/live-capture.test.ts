import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { convert } from '../../src/cli/commands/convert.ts'
import { said, stopCapture, TestNetwork, withoutRoot } from '../support/network.ts'
import { packetCorpus } from '../support/packet-corpus.ts'
import { PacketSocket } from '../support/packet-socket.ts'
import { runCommand } from '../support/run-command.ts'

const TRAFFIC = path.resolve('test/support/traffic.mjs')

/**
 * Cases of the corpus whose headers say what cannot be: tcpdump has its own opinion of those. And it does not look
 * behind 802.1ad tags in cooked captures.
 */
const NOT_SENT =
  /802.1ad|header length|total length|payload length|jumbogram|trailer|cut|short|longer|of one byte|of .9 bytes/

/** The same traffic, as tcpdump writes it in its many ways. */
const FORMS: Record<string, string[]> = {
  ethernet: ['-i', 'eth0'],
  nanoseconds: ['-i', 'eth0', '--time-stamp-precision=nano'],
  'cut to 60 bytes': ['-i', 'eth0', '-s', '60'],
  'linux cooked': ['-i', 'any', '-y', 'LINUX_SLL'],
  'linux cooked 2': ['-i', 'any', '-y', 'LINUX_SLL2'],
}

test('captures of real traffic have the packets and octets that tcpdump sees in them', {
  skip: withoutRoot,
}, async () => {
  await using network = new TestNetwork()
  const folder = mkdtempSync(path.join(tmpdir(), 'weir-live-'))
  const [here, there] = [network.namespace('a'), network.namespace('b')]
  connect(network, here, there)
  const captures = await Promise.all(
    Object.entries(FORMS).map(async ([form, args]) => {
      const file = path.join(folder, `${form.replaceAll(' ', '-')}.pcap`)
      return { form, file, child: await tcpdump(network, here, file, args) }
    }),
  )

  await traffic(network, here, there)

  await Promise.all(captures.map(({ child }) => stopCapture(child)))
  for (const { form, file } of captures) {
    const seen = seenByTcpdump(file)
    const { stdout, stderr } = await runCommand(convert, ['--json', file])
    const records = stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split(' '))
    assert.ok(seen.packets > 100, `${form}: ${JSON.stringify(seen)}`)
    assert.deepEqual({ packets: sum(records, 8), octets: sum(records, 9) }, seen, form)
    assert.equal(JSON.parse(stderr).ipPackets, seen.packets, form)
    if (form === 'ethernet') checkFlows(records)
  }
  rmSync(folder, { recursive: true })
})

test('what a real firewall lets through is ACCEPT, what it drops is REJECT, packet by packet', {
  skip: withoutRoot,
}, async () => {
  await using network = new TestNetwork()
  const folder = mkdtempSync(path.join(tmpdir(), 'weir-live-'))
  const [client, router, server] = ['a', 'b', 'c'].map((name) => network.namespace(name)) as [
    string,
    string,
    string,
  ]
  network.veth({ namespace: client, device: 'eth0' }, { namespace: router, device: 'eth0' })
  network.veth({ namespace: router, device: 'eth1' }, { namespace: server, device: 'eth0' })
  network.address(client, 'eth0', '10.91.0.1/24', 'fd91::1/64')
  network.address(router, 'eth0', '10.91.0.2/24', 'fd91::2/64')
  network.address(router, 'eth1', '10.92.0.2/24', 'fd92::2/64')
  network.address(server, 'eth0', '10.92.0.1/24', 'fd92::1/64')
  for (const [namespace, to, by] of [
    [client, 'default', '10.91.0.2'],
    [client, 'default', 'fd91::2'],
    [server, 'default', '10.92.0.2'],
    [server, 'default', 'fd92::2'],
  ] as const) {
    network.run(namespace, 'ip', by.includes(':') ? '-6' : '-4', 'route', 'add', to, 'via', by)
  }
  network.run(router, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
  network.nft(router, FIREWALL)
  const [before, afterwards] = ['before', 'after'].map((side) => path.join(folder, side)) as [string, string]
  const sides = await Promise.all([
    tcpdump(network, router, before, ['-i', 'eth0', '-Q', 'in']),
    tcpdump(network, router, afterwards, ['-i', 'any', '-Q', 'out', 'not', 'src', 'net', '10.92.0.0/24']),
  ])
  const serving = network.start(server, process.execPath, TRAFFIC, 'serve', '{"tcp":[80,81],"udp":[53]}')
  await said(serving, /serving/)
  for (const to of ['10.92.0.1', 'fd92::1']) {
    const sends = { to, tcp: [80, 81], udp: [53, 9], rounds: 2, size: 900 }
    network.run(client, process.execPath, TRAFFIC, 'send', JSON.stringify(sends))
    network.run(client, 'ping', '-c', '2', '-i', '0.1', '-s', '4000', to) // Put together by conntrack, and in fragments again.
  }
  await Promise.all(sides.map(stopCapture))

  const { stdout } = await runCommand(convert, ['-q', '--before', before, '--after', afterwards])

  const toServer = stdout
    .split('\n')
    .map((line) => line.split(' '))
    .filter((it) => it[4] === '10.92.0.1' || it[4] === 'fd92::1')
  const [accepted, rejected] = ['ACCEPT', 'REJECT'].map((it) =>
    toServer.filter((record) => record[12] === it),
  )
  const counter = network.run(router, 'nft', 'list', 'counter', 'inet', 'filter', 'refused')
  const [, packets, octets] = /packets (\d+) bytes (\d+)/.exec(counter) ?? []
  assert.ok(Number(packets) > 8, counter)
  assert.deepEqual([sum(rejected!, 8), sum(rejected!, 9)], [Number(packets), Number(octets)])
  const pings = ['1', '58'].map((protocol) => accepted!.filter((it) => it[7] === protocol))
  assert.deepEqual(
    pings.map((records) => sum(records, 8)),
    [6, 6],
  )
  rmSync(folder, { recursive: true })
})

const FIREWALL = `table inet filter {
  counter refused {}
  chain forward {
    type filter hook forward priority 0
    ct state invalid accept
    tcp dport 81 counter name refused drop
    udp dport 9 counter name refused drop
    udp dport 53 numgen inc mod 3 0 counter name refused drop
  }
}`

async function tcpdump(
  network: TestNetwork,
  namespace: string,
  file: string,
  args: string[],
): Promise<ChildProcess> {
  const child = network.start(
    namespace,
    'tcpdump',
    ...['-U', '--immediate-mode', '-Z', 'root', '-w', file],
    ...['-B', '8192', '-s', '2048'], // Room for a burst: each slot is as large as the longest packet may be.
    ...args,
  )
  await said(child, /listening on/)
  return child
}

function connect(network: TestNetwork, here: string, there: string): void {
  network.veth({ namespace: here, device: 'eth0' }, { namespace: there, device: 'eth0' })
  network.address(here, 'eth0', '10.90.0.1/24', 'fd90::1/64')
  network.address(there, 'eth0', '10.90.0.2/24', 'fd90::2/64')
}

async function traffic(network: TestNetwork, here: string, there: string): Promise<void> {
  const server = network.start(
    there,
    process.execPath,
    TRAFFIC,
    'serve',
    JSON.stringify({ tcp: [80], udp: [53] }),
  )
  await said(server, /serving/)
  for (const to of ['10.90.0.2', 'fd90::2']) {
    const sends = { to, tcp: [80], udp: [53, 9], rounds: 2, size: 900 } // Nobody listens on 9: ICMP errors.
    network.run(here, process.execPath, TRAFFIC, 'send', JSON.stringify(sends))
    network.run(here, 'ping', '-c', '2', '-i', '0.1', '-s', '4000', to) // In fragments.
  }
  network.run(here, 'ping', '-c', '2', '-i', '0.1', '-R', '10.90.0.2') // IPv4 options: record route.
  using socket = new PacketSocket(here, 'eth0')
  for (const { name, frames } of packetCorpus()) {
    if (!NOT_SENT.test(name)) for (const { bytes } of frames) socket.send(bytes)
  }
}

/** What tcpdump says of each packet's IP length; quoted packets inside ICMP errors stand on lines of their own. */
function seenByTcpdump(file: string): { packets: number; octets: number } {
  const text = execFileSync('tcpdump', ['-nn', '-tt', '-v', '-r', file], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 1 << 26,
  })
  const seen = { packets: 0, octets: 0 }
  for (const line of text.split('\n').filter((it) => /^\d+\.\d+ /.test(it))) {
    const four = /IP \(tos .*?, length (\d+)/.exec(line)
    const six = /IP6 \(.*?payload length: (\d+)\)/.exec(line)
    if (four === null && six === null) continue
    seen.packets++
    seen.octets += four === null ? 40 + Number(six![1]) : Number(four[1])
  }
  return seen
}

function checkFlows(records: string[][]): void {
  // The traffic may lie in two windows: a flow has one record in each.
  const flows = [...new Map(records.map((it) => [it.slice(3, 8).join(' '), it])).values()]
  const of = (source: string, protocol: string): string[][] =>
    flows.filter((it) => it[3] === source && it[7] === protocol)
  assert.equal(of('10.90.0.1', '1').length, 1) // One flow of pings, fragments and options included.
  assert.equal(of('fd90::1', '58').filter((it) => it[4] === 'fd90::2').length, 1)
  for (const host of ['10.90.0.1', 'fd90::1']) {
    assert.equal(of(host, '6').filter((it) => it[6] === '80').length, 2)
    assert.ok(of(host, '17').some((it) => it[6] === '53'))
  }
  assert.ok(records.every((it) => it[7] !== '44'))
}

function sum(records: string[][], field: number): number {
  return records.reduce((total, it) => total + Number(it[field]), 0)
}
