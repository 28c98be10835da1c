import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { FragmentCache } from '../../src/meter/fragment-cache.ts'
import { FRAGMENT, OUTCOME, PARSED, PARSED_WORDS, parsePacket } from '../../src/meter/packet.ts'
import { formatAddress } from '../../src/model/ip-address.ts'
import { ensureObject } from '../support/bpf-object.ts'
import { flowTotals, KernelWorld, type ReadRow } from '../support/kernel-world.ts'
import { TestNetwork, withoutRoot } from '../support/network.ts'
import { type Expected, mutatedFrames, packetCorpus } from '../support/packet-corpus.ts'
import { PacketSocket } from '../support/packet-socket.ts'

const SEED = 20_261_122
const MUTATED_FRAMES = 20_000
const MUTATIONS_PER_READING = 200

before(ensureObject)

function device(network: TestNetwork): { netns: string; ifindex: number } {
  const netns = network.namespace('k')
  network.veth({ namespace: netns, device: 'port' }, { namespace: netns, device: 'peer' })
  return { netns, ifindex: Number(network.run(netns, 'cat', '/sys/class/net/port/ifindex')) }
}

function expectedRow(expected: Expected): ReadRow[] {
  const common = { point: 7, direction: 'INGRESS', reason: 0, packets: 1, startS: 0, endS: 0 } as const
  if (expected.kind === 'not-ip') return []
  const { octets } = expected
  if (expected.kind === 'flow') return [{ ...common, ...expected, action: 'ACCEPT' }]
  const nothing = { source: '', destination: '', ports: [0, 0] as [number, number], protocol: 0, tcpFlags: 0 }
  return [{ ...common, ...nothing, octets, action: 'SKIPPED' }]
}

test('the kernel makes of every packet of the corpus what the corpus says', {
  skip: withoutRoot,
}, async (t) => {
  await using network = new TestNetwork()
  const { netns } = device(network)
  using world = new KernelWorld()
  using wire = new PacketSocket(netns, 'peer')
  const expected: ReadRow[] = []
  world.attach(7, 'port', netns)
  for (const { name, frames } of packetCorpus()) {
    if (frames.some((it) => it.wireLength !== undefined)) continue
    await t.test(name, () => {
      expected.push(...frames.flatMap((it) => expectedRow(it.expected)))

      for (const { bytes } of frames) wire.send(bytes)

      const seen = world.rows().filter((it) => it.direction === 'INGRESS')
      assert.deepEqual(flowTotals(seen), flowTotals(expected))
    })
  }
})

test(`kernel and TypeScript agree on ${MUTATED_FRAMES} damaged packets, seed ${SEED}`, {
  skip: withoutRoot,
}, async () => {
  await using network = new TestNetwork()
  const { netns, ifindex } = device(network)
  const frames = mutatedFrames(SEED, MUTATED_FRAMES)
  const packet = new Uint32Array(PARSED_WORDS)
  using world = new KernelWorld()
  const cache = new FragmentCache({ packetsMax: 65_536, seed: 1 })
  const expected: ReadRow[] = []
  world.attach(7, 'port', netns)

  for (let at = 0; at < frames.length; at += MUTATIONS_PER_READING) {
    const some = frames.slice(at, at + MUTATIONS_PER_READING)
    const taken = world.run(netns, ifindex, some)
    assert.ok(taken.length > some.length / 2)
    for (const frame of taken) expected.push(...expectedRow(expectedOf(frame, packet, cache)))
    assert.deepEqual(
      flowTotals(world.rows()),
      flowTotals(expected),
      `frames ${at} to ${at + some.length - 1}`,
    )
  }
})

function expectedOf(frame: Buffer, packet: Uint32Array, cache: FragmentCache): Expected {
  const outcome = parsePacket(frame, 0, frame.length, frame.length, packet)
  const octets = packet[PARSED.octets]!
  if (outcome === OUTCOME.notIp) return { kind: 'not-ip' }
  if (outcome === OUTCOME.unreadable) return { kind: 'skipped', octets }
  if (packet[PARSED.fragment] !== FRAGMENT.none) cache.credit(packet)
  const bytes = Buffer.from(packet.buffer)
  const size = outcome === OUTCOME.ipv6 ? 16 : 4
  const address = (word: number) => formatAddress(bytes.subarray(word * 4, word * 4 + size))
  const portsAt = PARSED.ports * 4
  return {
    kind: 'flow',
    source: address(PARSED.source),
    destination: address(PARSED.destination),
    ports: [bytes.readUInt16BE(portsAt), bytes.readUInt16BE(portsAt + 2)],
    protocol: packet[PARSED.protocol]!,
    octets,
    tcpFlags: packet[PARSED.tcpFlags]!,
  }
}
