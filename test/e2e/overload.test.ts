import assert from 'node:assert/strict'
import { renameSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import type { CapturedPacket } from '../support/capture.ts'
import { said, TestNetwork, withoutRoot } from '../support/network.ts'
import { WeirProcess } from '../support/weir-process.ts'

const FLOWS_MAX = 500
const FLOWS_SENT = 4_000

test('a scan from one guest is declared as skipped to the packet, and costs its neighbour no flow', {
  skip: withoutRoot,
}, async () => {
  await using network = new TestNetwork()
  await using weir = new WeirProcess()
  const [host, scanner, quiet] = ['h', 's', 'q'].map((name) => network.namespace(name)) as [
    string,
    string,
    string,
  ]
  for (const [guest, device, net] of [[scanner, 'tap-s', 0] as const, [quiet, 'tap-q', 1] as const]) {
    network.connect(host, device, guest, `10.7.${net}`)
  }
  await weir.start(['--window', '60', '--flows-per-nic', String(FLOWS_MAX)])
  for (const device of ['tap-s', 'tap-q']) {
    weir.cli('nic', 'add', '--name', device, '--device', device, '--netns', host, '--side', 'guest')
    weir.cli('flowlog', 'create', '--nic', device, '--bucket', `flowlogs/${device}`)
  }

  const captures = [await network.capture(scanner, 'eth0'), await network.capture(quiet, 'eth0')]
  await said(network.start(scanner, process.execPath, '-e', scan('10.7.0.1', FLOWS_SENT)), /sent/)
  await said(network.start(quiet, process.execPath, '-e', scan('10.7.1.1', 40)), /sent/)
  const [ofScanner, ofQuiet] = await Promise.all(captures.map((it) => it.stop()))
  assert.equal(await weir.stop(), 0)

  const scanned = records(weir, 'tap-s-')
  assert.deepEqual(sumOf(scanned), wireSum(ofScanner!))
  // A quota holds within a window, and the traffic may lie in two.
  const windows = weir.objects('flowlogs').filter((name) => name.startsWith('tap-s-')).length
  assert.ok(scanned.filter((it) => it.status === 'OK').length <= FLOWS_MAX * windows)
  assert.ok(scanned.some((it) => it.status === 'SKIPDATA' && it.packets > 1_000))
  const kept = records(weir, 'tap-q-')
  assert.deepEqual(sumOf(kept), wireSum(ofQuiet!))
  assert.ok(kept.every((it) => it.status === 'OK'))
})

test('what a full spool has to give up while the bucket is away is declared to the packet', {
  skip: withoutRoot,
}, async () => {
  await using network = new TestNetwork()
  await using weir = new WeirProcess()
  const [host, guest] = network.hostAndGuest('tap', '10.7.2')
  network.run(guest, 'ip', 'route', 'add', 'default', 'via', '10.7.2.1')
  const bucket = path.join(weir.dataDir, 'buckets/flowlogs')
  await weir.start(['--window', '2', '--spool-mib-max', '1'])
  weir.cli('nic', 'add', '--name', 'tap', '--device', 'tap', '--netns', host, '--side', 'guest')
  weir.cli('flowlog', 'create', '--nic', 'tap', '--bucket', 'flowlogs/tap')
  const capture = await network.capture(guest, 'eth0')

  renameSync(bucket, `${bucket}-away`)
  await said(network.start(guest, process.execPath, '-e', toAnywhere(100_000)), /sent/)
  await weir.stop()
  renameSync(`${bucket}-away`, bucket)
  await weir.start(['--window', '2'])
  await said(network.start(guest, process.execPath, '-e', scan('10.7.2.1', 40)), /sent/)
  const packets = await capture.stop()
  assert.equal(await weir.stop(), 0)

  const delivered = records(weir, 'tap-')
  assert.deepEqual(sumOf(delivered), wireSum(packets))
  const skipped = sumOf(delivered.filter((it) => it.status === 'SKIPDATA'))
  assert.ok(skipped.packets > 2_000 && skipped.packets < 95_000, `${skipped.packets} packets were given up`)
})

/** Sends so many datagrams to as many addresses, some 10,000 a second: records that no codec makes small. */
function toAnywhere(datagrams: number): string {
  return `
const { randomInt } = require('node:crypto')
const socket = require('node:dgram').createSocket('udp4')
socket.on('error', () => {})
const address = () => [11, randomInt(256), randomInt(256), 1 + randomInt(254)].join('.')
let sent = 0
const timer = setInterval(() => {
  for (let i = 0; i < 50; i++) socket.send('x', 10_000 + randomInt(50_000), address(), () => sent++)
  if (sent < ${datagrams}) return
  clearInterval(timer)
  setTimeout(() => { process.stdout.write('sent'); socket.close() }, 200)
}, 5)`
}

/** Sends one datagram to each of so many ports. */
function scan(to: string, flows: number): string {
  return `
const socket = require('node:dgram').createSocket('udp4')
socket.on('error', () => {})
let port = 10_000
const timer = setInterval(() => {
  for (let i = 0; i < 40; i++) socket.send('x', port++, '${to}')
  if (port < 10_000 + ${flows}) return
  clearInterval(timer)
  setTimeout(() => { process.stdout.write('sent'); socket.close() }, 200)
}, 5)`
}

interface Counted {
  packets: number
  octets: number
  status: string
}

function records(weir: WeirProcess, prefix: string): Counted[] {
  const objects = weir.objects('flowlogs').filter((name) => name.startsWith(prefix))
  return objects.flatMap((object) =>
    weir.records('flowlogs', object).map((line) => {
      const fields = line.split(' ')
      return { packets: Number(fields[8]), octets: Number(fields[9]), status: fields[13]! }
    }),
  )
}

function sumOf(counted: Counted[]): { packets: number; octets: number } {
  return {
    packets: counted.reduce((sum, it) => sum + it.packets, 0),
    octets: counted.reduce((sum, it) => sum + it.octets, 0),
  }
}

function wireSum(packets: CapturedPacket[]): { packets: number; octets: number } {
  return { packets: packets.length, octets: packets.reduce((sum, it) => sum + it.octets, 0) }
}
