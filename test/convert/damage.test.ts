import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { convert } from '../../src/cli/commands/convert.ts'
import { validate } from '../../src/cli/commands/validate.ts'
import { random } from '../../src/stdx/prng.ts'
import { pcap, pcapngSection } from '../support/capture-writer.ts'
import { ethernet, ipv4, ipv6, mutatedFrames, tcp, udp } from '../support/packet-corpus.ts'
import { type CommandResult, runCommand } from '../support/run-command.ts'

// What damage does to a capture: it is told, what came before it is kept, nothing is lost uncounted.

const T0 = 1_700_000_400 // A multiple of 600.
const DNS = ethernet(0x0800, ipv4(udp(4000, 53, 10)))
const WEB6 = ethernet(0x86dd, ipv6(6, tcp(50_000, 443, 2)))
const PACKETS_MUTATED = 1_000_000
const PACKETS_COMPRESSED = 4

test('a capture cut at any byte gives the packets that are whole, and says so', async () => {
  const packets = [DNS, WEB6, DNS].map((bytes, i) => ({ bytes, time: T0 + i }))
  const stamp = (i: number): bigint => BigInt(T0 + i) * 1_000_000n
  const ng = pcapngSection((blocks) => [
    blocks.interface(),
    ...packets.map((it, i) => blocks.packet(0, stamp(i), it.bytes)),
  ])
  const ends = (whole: Buffer, head: number, tail: number): number[] => {
    let at = head
    return packets.map((it) => (at += tail + it.bytes.length + (whole === ng ? -it.bytes.length & 3 : 0)))
  }
  const classic = pcap(packets)
  const ngHead = pcapngSection((blocks) => [blocks.interface()]).length
  for (const [whole, wholeEnds, headSize] of [
    [classic, ends(classic, 24, 16), 24] as const,
    [ng, ends(ng, ngHead, 32), ngHead] as const,
  ]) {
    assert.equal(wholeEnds.at(-1), whole.length)
    for (let size = 0; size <= whole.length; size++) {
      const count = wholeEnds.filter((end) => end <= size).length
      const isClean = size === headSize || wholeEnds.includes(size) || (whole === ng && size === 28)
      const { status, stdout, stderr } = await convertBytes(whole.subarray(0, size))
      assert.equal(status, count === 0 && !isClean ? 2 : 0, `${size}: ${stderr}`)
      assert.equal(sumOf(stdout, 8), count, `${size}`)
      assert.equal(/ends inside|empty|not a pcap/.test(stderr), !isClean, `${size}: ${stderr}`)
    }
  }
})

test('a compressed capture cut at any byte keeps what can be decompressed', async () => {
  const whole = pcap(Array.from({ length: PACKETS_COMPRESSED }, (_, i) => ({ bytes: DNS, time: T0 + i })))
  for (const compressed of [gzipSync(whole, { level: 0 }), zstdCompressSync(whole)]) {
    let before = 0
    for (let size = 0; size <= compressed.length; size++) {
      const { status, stdout, stderr } = await convertBytes(compressed.subarray(0, size))
      const packets = sumOf(stdout, 8)
      assert.ok(packets >= before, `${size}`)
      if (size < compressed.length)
        assert.match(stderr, /unexpected end|ends inside|not a pcap|empty/, `${size}`)
      assert.ok(
        status === 0 || (status === 2 && stderr !== '' && packets === 0),
        `${size}: ${status} ${stderr}`,
      )
      before = packets
    }
    assert.equal(before, PACKETS_COMPRESSED)
  }
})

test('a compressed capture that is damaged, or followed by something else, is read up to there', async () => {
  const count = 40_000
  const next = random(1)
  const noise = (): Buffer => Buffer.concat([DNS, Buffer.from([next() & 255, next() & 255])]) // Padding.
  const whole = pcap(Array.from({ length: count }, (_, i) => ({ bytes: noise(), time: T0 + i / 1_000 })))
  const lostMax = Math.ceil((3 * 65_536) / (DNS.length + 18)) + 1
  for (const compress of [(bytes: Buffer) => gzipSync(bytes, { level: 0 }), zstdCompressSync]) {
    const compressed = compress(whole)
    const followed = await convertBytes(Buffer.concat([compressed, Buffer.from('no gzip')]))
    const damaged = Buffer.from(compressed)
    damaged.fill(0xff, damaged.length - 2_000)
    const cut = await convertBytes(damaged)

    assert.deepEqual([followed.status, cut.status], [0, 0], followed.stderr + cut.stderr)
    assert.ok(sumOf(followed.stdout, 8) >= count - lostMax, `${sumOf(followed.stdout, 8)} of ${count}`)
    assert.ok(sumOf(cut.stdout, 8) > count / 2, `${sumOf(cut.stdout, 8)} of ${count}`)
    assert.notEqual(cut.stderr, '')
  }
})

test('lengths that cannot be end the reading of a capture, wherever they stand', async () => {
  const stamp = BigInt(T0) * 1_000_000n
  const ng = (size: number): Buffer => {
    const bytes = pcapngSection((blocks) => [
      blocks.interface(),
      blocks.packet(0, stamp, DNS),
      blocks.packet(0, stamp, DNS),
    ])
    const second = bytes.length - 32 - DNS.length
    bytes.writeUInt32LE(size, second + 4)
    return bytes
  }
  for (const size of [0, 4, 8, 11, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff]) {
    const { status, stdout, stderr } = await convertBytes(ng(size))
    assert.equal(status, 0, stderr)
    assert.equal(sumOf(stdout, 8), 1, `${size}: ${stderr}`)
    assert.match(stderr, /claims|ends inside/, String(size))
  }
  for (const captured of [(1 << 20) + 1, 0x7fff_ffff, 0xffff_ffff]) {
    const bytes = pcap([0, 1].map(() => ({ bytes: DNS, time: T0 })))
    bytes.writeUInt32LE(captured, bytes.length - DNS.length - 8)
    const { stdout, stderr } = await convertBytes(bytes)
    assert.equal(sumOf(stdout, 8), 1)
    assert.match(stderr, new RegExp(`claims ${captured} captured bytes`))
  }
})

test('times from 1970 to 2106, forwards and backwards: each packet in the window of its own time', async () => {
  const times = [T0, T0 + 700, T0 + 100, 0, T0 + 1300, 0xffff_ffff, 1, T0 + 2000, 599, 0xffff_ffff - 700]
  const { stdout, status } = await convertBytes(pcap(times.map((time) => ({ bytes: DNS, time }))))

  const records = stdout
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
  const found = records.flatMap((it) => (it[8] === '1' ? [it[10]] : [it[10], it[11]]))
  assert.equal(status, 0)
  assert.equal(sumOf(stdout, 8), times.length)
  assert.deepEqual(found.sort(), times.map(String).sort())
  const checked = await runCommand(validate, ['-'], { stdin: [Buffer.from(stdout)] })
  assert.equal(checked.status, 0, checked.stdout)
})

test(`captures of ${PACKETS_MUTATED} mutated packets, mutated themselves, neither throw nor lose count`, async () => {
  const next = random(77)
  let packets = 0
  for (let seed = 0; packets < PACKETS_MUTATED; seed++) {
    const frames = mutatedFrames(seed, 5000)
    const isNg = seed % 2 === 1
    const bytes = isNg
      ? pcapngSection((blocks) => [
          blocks.interface({ resolution: 9 }),
          ...frames.map((frame, i) => blocks.packet(0, BigInt(T0 + i) * 1_000_000_000n, frame)),
        ])
      : pcap(frames.map((frame, i) => ({ bytes: frame, time: T0 + (i % 1500) })))
    for (let k = next() % 4; k > 0; k--)
      bytes[Math.floor(bytes.length * Math.sqrt(next() / 2 ** 32))] = next()
    const size = next() % 5 === 0 ? next() % bytes.length : bytes.length
    const args = ['--json', '--flows-max', '1000', '--kernel', seed % 4 === 3 ? 'plain' : 'wasm']
    const { status, stdout, stderr } = await convertBytes(bytes.subarray(0, size), ...args)
    if (status === 2) continue
    const summary = JSON.parse(stderr) as { packets: number; ipPackets: number; octets: string }
    assert.equal(sumOf(stdout, 8), summary.ipPackets, `seed ${seed}`)
    assert.equal(sumOf(stdout, 9), Number(summary.octets), `seed ${seed}`)
    packets += summary.packets
  }
})

function convertBytes(bytes: Uint8Array, ...args: string[]): Promise<CommandResult> {
  return runCommand(convert, [...args, '-'], { stdin: [bytes] })
}

function sumOf(text: string, field: number): number {
  const records = text.split('\n').filter((line) => line !== '')
  return records.reduce((total, line) => total + Number(line.split(' ')[field]), 0)
}
