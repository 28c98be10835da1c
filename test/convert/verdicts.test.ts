import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { PassThrough } from 'node:stream'
import { after, test } from 'node:test'
import { writeCapture } from '../../bench/capture-generator.ts'
import { openStream } from '../../src/capture/pcap/byte-source.ts'
import { CaptureReader, READER_SIZE_MIN } from '../../src/capture/pcap/capture-reader.ts'
import { convert } from '../../src/cli/commands/convert.ts'
import { Verdicts } from '../../src/cli/convert/verdicts.ts'
import { PACKET, PACKET_REJECT, PACKET_WORDS } from '../../src/meter/kernel.ts'
import { random } from '../../src/stdx/prng.ts'
import { pcap, type WrittenPacket } from '../support/capture-writer.ts'
import { ethernet, ipv4, udp } from '../support/packet-corpus.ts'
import { runCommand } from '../support/run-command.ts'

const directory = mkdtempSync(path.join(tmpdir(), 'weir-verdicts-'))
after(() => rmSync(directory, { recursive: true, force: true }))

const T0 = 1_700_000_400
let files = 0

interface Counts {
  rejectedPackets: string
  unmatchedAfter: number
  outsidePackets: number
}

test('what goes into a firewall and does not come out is REJECT', async () => {
  const packets = Array.from({ length: 400 }, (_, i): WrittenPacket => {
    const payload = udp(1000 + (i % 4), 53, 40)
    payload.writeUInt32BE(i, 8)
    return { bytes: ethernet(0x0800, ipv4(payload, { id: i })), time: T0 + i / 50 }
  })
  const passed = packets.filter((_, i) => i % 4 !== 2)
  const forwarded = passed.map(({ bytes, time }) => {
    const copy = Buffer.from(bytes)
    copy.set([2, 0, 0, 0, 9, 9, 2, 0, 0, 0, 9, 8], 0) // Other MAC addresses,
    copy[22] = 63 // a hop less to live,
    copy.writeUInt16BE(0x1234, 40) // and a checksum that is left to the network card.
    return { bytes: copy, time: time + 0.3 }
  })
  const own = { bytes: ethernet(0x0800, ipv4(udp(9, 9, 5), { id: 9999 })), time: T0 + 3 }
  const [before, afterwards] = [
    save(pcap(packets)),
    save(pcap([...forwarded, own].sort((a, b) => a.time - b.time))),
  ]

  const { stdout, stderr } = await runCommand(convert, ['--before', before, '--after', afterwards])

  const actions = linesOf(stdout)
    .map((line) => line.split(' '))
    .map((it) => [it[5], it[8], it[12]])
  assert.deepEqual(actions, [
    ['1000', '100', 'ACCEPT'],
    ['1001', '100', 'ACCEPT'],
    ['1002', '100', 'REJECT'],
    ['1003', '100', 'ACCEPT'],
  ])
  assert.match(stderr, /100 packets rejected/)
  assert.match(stderr, /1 packet came out that had not gone in/)
  const only = await runCommand(convert, [
    '-q',
    '--action',
    'REJECTED',
    '--before',
    before,
    '--after',
    afterwards,
  ])
  assert.equal(linesOf(only.stdout).length, 1)
})

test('a short packet is known again without the padding that it had on one side', async () => {
  const bytes = ethernet(0x0800, ipv4(udp(1000, 53, 4), { id: 7 }))
  const padded = Buffer.concat([bytes, Buffer.alloc(60 - bytes.length, 0xee)])
  const [before, afterwards] = [padded, bytes].map((it) => save(pcap([{ bytes: it, time: T0 }])))

  const { stdout } = await runCommand(convert, ['-q', '--before', before!, '--after', afterwards!])

  assert.match(stdout, / ACCEPT OK$/m)
})

test('a checksum that was left to the network card on one side does not hide a packet', async () => {
  const checksums = [
    [1, 2, 2],
    [6, 16, 2],
    [17, 6, 2],
    [58, 2, 2],
    [132, 8, 4],
    [136, 6, 2],
  ] as const
  const packets = checksums.flatMap(([protocol, at, size]) =>
    [0, size].map((changed) => {
      const payload = Buffer.alloc(40, 7).fill(9, at, at + changed)
      return { bytes: ethernet(0x0800, ipv4(payload, { protocol, id: protocol })), time: T0 }
    }),
  )
  const [finished, left] = [0, 1].map((odd) => save(pcap(packets.filter((_, i) => i % 2 === odd))))

  const summary = await summaryOf(finished!, left!)

  assert.equal(summary.rejectedPackets, '0')
})

test('packets that look the same are accepted as often as they came out, whatever pauses there are', async () => {
  const next = random(7)
  const frames = Array.from({ length: 20 }, (_, i) => ethernet(0x0800, ipv4(udp(1000 + i, 53, 40))))
  const packets: WrittenPacket[] = []
  const passed: WrittenPacket[] = []
  let time = T0
  for (let i = 0; i < 20_000; i++) {
    time += (next() % 20) / 1000 + (i === 10_000 ? 3600 : 0)
    const bytes = frames[i % frames.length]!
    packets.push({ bytes, time })
    if (next() % 10 !== 0) passed.push({ bytes, time: time + 0.004 })
  }

  const summary = await summaryOf(save(pcap(packets)), save(pcap(passed)))

  assert.equal(summary.rejectedPackets, String(packets.length - passed.length))
  assert.equal(summary.unmatchedAfter, 0)
})

test('what all comes out again is not refused in one packet', async () => {
  const file = path.join(directory, 'imix.pcap')
  writeCapture(file, 'imix', 50_000, 7)

  const summary = await summaryOf(file, file)

  assert.equal(summary.rejectedPackets, '0')
  assert.equal(summary.unmatchedAfter, 0)
})

test('what is refused while nothing was captured on the other side is counted', async () => {
  const packets = Array.from({ length: 100 }, (_, i): WrittenPacket => {
    return { bytes: ethernet(0x0800, ipv4(udp(1000, 53, 40), { id: i })), time: T0 + i }
  })
  const passed = packets.filter((_, i) => i >= 10 && i < 80 && i % 7 !== 0)
  const [before, afterwards, none] = [packets, passed, []].map((it) => save(pcap(it)))

  const summary = await summaryOf(before!, afterwards!)

  assert.equal(summary.rejectedPackets, '40')
  assert.equal(summary.outsidePackets, 30)
  assert.equal((await summaryOf(before!, none!)).outsidePackets, 100)
  const { stderr } = await runCommand(convert, ['--before', before!, '--after', afterwards!])
  assert.match(
    stderr,
    /^40 packets rejected\n30 packets of them before the first that came out, or after the last/m,
  )
})

test('what came out behind the last packet that went in is counted, and captures that do not fit are told', async () => {
  const packet = (port: number, time: number): WrittenPacket => {
    return { bytes: ethernet(0x0800, ipv4(udp(port, 53, 4))), time }
  }
  const before = save(pcap([packet(1, T0)]))
  const args = (...times: number[]): string[] => {
    return ['--before', before, '--after', save(pcap(times.map((it) => packet(2, it))))]
  }

  const { status, stderr } = await runCommand(convert, args(T0, T0 + 100, T0 + 200))

  assert.equal(status, 0)
  assert.match(
    stderr,
    /^1 packet rejected\n3 packets came out that had not gone in\nnothing that came out had/m,
  )
})

test('at most so many packets are remembered; what is judged meanwhile is counted', async () => {
  const frame = (i: number): Buffer => ethernet(0x0800, ipv4(udp(1000 + i, 53, 4)))
  const stream = new PassThrough()
  stream.end(pcap(Array.from({ length: 100 }, (_, i) => ({ bytes: frame(i), time: T0 }))))
  const memory = new Uint8Array(READER_SIZE_MIN)
  const place = { name: 'after', memory, from: 0, limit: memory.length }
  const reader = new CaptureReader(place, { source: openStream(stream) })
  await reader.open()
  const verdicts = new Verdicts({ memory, delayS: 2, rememberedMax: 50 }, { after: reader })
  const bytes = Buffer.concat([frame(7), frame(60)])
  const size = frame(0).length
  const words = Uint32Array.of(0, size, size, T0, size, size, size, T0)

  await verdicts.judge(bytes, { words, count: 2, countMax: 2, link: 1 })

  const isRejected = [0, 1].map((i) => words[i * PACKET_WORDS + PACKET.captured]! >= PACKET_REJECT)
  assert.deepEqual(isRejected, [false, true]) // The 61st is not known: the first 50 fill the room.
  assert.equal(verdicts.unsure, 1)
})

test('asked to stop while it waits for what comes out, it ends', async () => {
  const stdin = new PassThrough()
  stdin.write(pcap([]))
  const stop = new AbortController()
  const before = save(pcap([{ bytes: ethernet(0x0800, ipv4(udp(1, 53, 4))), time: T0 }]))

  const result = runCommand(convert, ['--before', before, '--after', '-'], { stdin, signal: stop.signal })
  setImmediate(() => stop.abort())

  assert.equal((await result).stdout, '') // What is not judged is in no record.
})

async function summaryOf(before: string, afterwards: string): Promise<Counts> {
  const { stderr } = await runCommand(convert, ['--json', '--before', before, '--after', afterwards])
  return JSON.parse(stderr) as Counts
}

function save(bytes: Uint8Array): string {
  const file = path.join(directory, `${++files}.pcap`)
  writeFileSync(file, bytes)
  return file
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '')
}
