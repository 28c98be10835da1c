import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Expected, mutatedFrames, packetCorpus } from '../../test/support/packet-corpus.ts'
import { formatAddress } from '../model/ip-address.ts'
import { FragmentCache } from './fragment-cache.ts'
import { LINK, OUTCOME, PARSED, PARSED_WORDS, parsePacket } from './packet.ts'

for (const { name, frames } of packetCorpus()) {
  test(`packet: ${name}`, () => {
    const cache = new FragmentCache({ packetsMax: 64, seed: 1 })
    const found = frames.map(({ bytes, wireLength }) => meter(bytes, wireLength ?? bytes.length, cache))

    assert.deepEqual(
      found,
      frames.map((it) => it.expected),
    )
  })
}

test('the names of the corpus are unique', () => {
  const names = packetCorpus().map((it) => it.name)
  assert.equal(new Set(names).size, names.length)
})

test('a packet is the same under every link type', () => {
  const frame = packetCorpus().find((it) => it.name === 'IPv4 UDP')!.frames[0]!
  const ip = frame.bytes.subarray(14)
  const wrap = (size: number, typeAt?: number): Buffer => {
    const header = Buffer.alloc(size)
    if (typeAt !== undefined) header.writeUInt16BE(0x0800, typeAt)
    return Buffer.concat([header, ip])
  }
  const forms: [number, Buffer][] = [
    [LINK.raw, ip],
    [LINK.ipv4, ip],
    [LINK.linuxCooked, wrap(16, 14)],
    [LINK.linuxCooked2, wrap(20, 0)],
    [LINK.null, wrap(4)],
    [LINK.loop, wrap(4)],
  ]
  for (const [link, bytes] of forms)
    assert.deepEqual(meter(bytes, bytes.length, undefined, link), frame.expected, `link ${link}`)
  for (const [link] of forms)
    assert.deepEqual(
      meter(Buffer.alloc(0), 0, undefined, link).kind,
      link === LINK.ipv4 ? 'skipped' : 'not-ip',
    )
})

test('damaged packets never read outside their bytes and never grow', () => {
  const out = new Uint32Array(PARSED_WORDS)
  const wall = new Uint8Array(4096)
  for (const frame of mutatedFrames(11, 100_000)) {
    wall.set(frame, 64)
    wall.fill(0xa5, 64 + frame.length, 64 + frame.length + 300)
    parsePacket(wall, 64, frame.length, frame.length, out)
    const first = out.join()
    wall.fill(0x5a, 64 + frame.length, 64 + frame.length + 300)
    parsePacket(wall, 64, frame.length, frame.length, out)

    assert.equal(out.join(), first) // What lies behind the frame changes nothing.
    assert.ok(out[PARSED.octets]! <= frame.length)
  }
})

test('the fragment cache forgets the least recently used first', () => {
  const cache = new FragmentCache({ packetsMax: 8, seed: 5 })
  const corpus = packetCorpus()
    .find((it) => it.name === 'fragments in order')!
    .frames.map((it) => it.bytes)
  const withId = (bytes: Buffer, id: number): Buffer => {
    const copy = Buffer.from(bytes)
    copy.writeUInt16BE(id, 18)
    return copy
  }
  const isKnown = (id: number): boolean => {
    const it = meter(withId(corpus[1]!, id), corpus[1]!.length, cache)
    return it.kind === 'flow' && it.ports[0] === 3000
  }
  for (let id = 0; id < 8; id++) meter(withId(corpus[0]!, id), corpus[0]!.length, cache)
  assert.ok(isKnown(0))

  meter(withId(corpus[0]!, 8), corpus[0]!.length, cache)

  assert.deepEqual([0, 1, 2, 8].map(isKnown), [true, false, true, true])
})

function meter(bytes: Uint8Array, wireLength: number, cache?: FragmentCache, link?: number): Expected {
  const out = new Uint32Array(PARSED_WORDS)
  const outcome = parsePacket(bytes, 0, bytes.length, wireLength, out, link)
  assert.equal(outcome, out[PARSED.outcome])
  if (outcome === OUTCOME.notIp) return { kind: 'not-ip' }
  if (outcome === OUTCOME.unreadable) return { kind: 'skipped', octets: out[PARSED.octets]! }
  if (out[PARSED.fragment] !== 0) cache?.credit(out)
  const words = new Uint8Array(out.buffer)
  const size = outcome === OUTCOME.ipv4 ? 4 : 16
  const address = (word: number): string => formatAddress(words.subarray(word * 4, word * 4 + size))
  const ports = Buffer.from(words.buffer, PARSED.ports * 4, 4)
  return {
    kind: 'flow',
    source: address(PARSED.source),
    destination: address(PARSED.destination),
    ports: [ports.readUInt16BE(0), ports.readUInt16BE(2)],
    protocol: out[PARSED.protocol]!,
    octets: out[PARSED.octets]!,
    tcpFlags: out[PARSED.tcpFlags]!,
  }
}
