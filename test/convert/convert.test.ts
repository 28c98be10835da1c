import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { PassThrough } from 'node:stream'
import { after, test } from 'node:test'
import { gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { writeCapture } from '../../bench/capture-generator.ts'
import { convert } from '../../src/cli/commands/convert.ts'
import { validate } from '../../src/cli/commands/validate.ts'
import { Converter } from '../../src/cli/convert/converter.ts'
import { createSink } from '../../src/cli/convert/create-sink.ts'
import { readOptions } from '../../src/cli/convert/options.ts'
import type { Clock } from '../../src/stdx/clock.ts'
import { random } from '../../src/stdx/prng.ts'
import { pcap, pcapngSection } from '../support/capture-writer.ts'
import { ethernet, ipv4, ipv6, packetCorpus, tcp, udp } from '../support/packet-corpus.ts'
import { type CommandResult, runCommand } from '../support/run-command.ts'

const directory = mkdtempSync(path.join(tmpdir(), 'weir-convert-'))
after(() => rmSync(directory, { recursive: true, force: true }))

const T0 = 1_700_000_400 // A multiple of 600.
const STAMP = BigInt(T0) * 1_000_000n
const DNS = ethernet(0x0800, ipv4(udp(4000, 53, 10)))
const WEB6 = ethernet(0x86dd, ipv6(6, tcp(50_000, 443, 2)))
const DNS_FLOW = '192.0.2.1 198.51.100.7 4000 53 17'
const WEB6_FLOW = '2001:db8::1 2001:db8:0:5::9 50000 443 6'
const HEAD = '2 0 00000000-0000-0000-0000-000000000000'
let files = 0

test('a capture becomes the records of its windows', async () => {
  const { status, stdout, stderr } = await convertBytes(
    pcap([
      { bytes: DNS, time: T0 + 1.5 },
      { bytes: WEB6, time: T0 + 2 },
      { bytes: DNS, time: T0 + 599.999999 },
      { bytes: ethernet(0x0806, Buffer.alloc(46)), time: T0 + 599.9999 },
      { bytes: DNS, time: T0 + 600 },
    ]),
  )

  assert.equal(status, 0)
  assert.deepEqual(lines(stdout), [
    `${HEAD} ${DNS_FLOW} 2 76 ${T0 + 1} ${T0 + 599} ACCEPT OK`,
    `${HEAD} ${WEB6_FLOW} 1 60 ${T0 + 2} ${T0 + 2} ACCEPT OK`,
    `${HEAD} ${DNS_FLOW} 1 38 ${T0 + 600} ${T0 + 600} ACCEPT OK`,
  ])
  assert.match(
    stderr,
    /^5 packets, 4 of them IP, 174 octets\n3 flows in 2 windows, 3 records\n1 packet not IP/,
  )
})

test('every byte order and resolution, plain, gzip and Zstandard, from files and from standard input', async () => {
  const packets = [1, 2, 3].map((i) => ({ bytes: i === 2 ? WEB6 : DNS, time: T0 + i + 0.25 }))
  const expected = (await convertBytes(pcap(packets))).stdout
  assert.equal(lines(expected).length, 2)
  const stamps = (units: bigint, offsetS = 0n): bigint[] =>
    packets.map((it) => (BigInt(Math.floor(it.time)) - offsetS) * units + units / 4n)
  const section = (
    bigEndian: boolean,
    resolution: number | undefined,
    units: bigint,
    offsetS?: bigint,
  ): Buffer =>
    pcapngSection(
      (blocks) => [
        blocks.interface({
          ...(resolution === undefined ? {} : { resolution }),
          ...(offsetS === undefined ? {} : { offsetS }),
        }),
        blocks.block(0xbad, Buffer.alloc(17)),
        ...packets.map((it, i) => blocks.packet(0, stamps(units, offsetS)[i]!, it.bytes)),
      ],
      { bigEndian },
    )
  const captures = [
    ...[true, false].flatMap((bigEndian) =>
      [true, false].map((nanoseconds) => pcap(packets, { bigEndian, nanoseconds })),
    ),
    ...[true, false].flatMap((bigEndian) => [
      section(bigEndian, undefined, 1_000_000n),
      section(bigEndian, 9, 1_000_000_000n),
      section(bigEndian, 0, 1n),
      section(bigEndian, 0x80 | 20, 1n << 20n),
      section(bigEndian, 6, 1_000_000n, 1_000_000_000n),
      section(bigEndian, 6, 1_000_000n, -5000n),
    ]),
  ]
  for (const [i, bytes] of captures.entries()) {
    for (const form of [bytes, gzipSync(bytes), zstdCompressSync(bytes)]) {
      assert.equal((await convertBytes(form)).stdout, expected, `capture ${i}`)
      const pieces = Array.from({ length: Math.ceil(form.length / 7) }, (_, k) =>
        form.subarray(k * 7, k * 7 + 7),
      )
      assert.equal((await runCommand(convert, ['-q', '-'], { stdin: pieces })).stdout, expected, `stdin ${i}`)
    }
  }
})

test('Zstandard is read in several frames, with frames to skip before, between and behind them', async () => {
  const bytes = pcap([1, 2, 3].map((s) => ({ bytes: DNS, time: T0 + s })))
  const skip = Buffer.from('5e2a4d1803000000010203', 'hex')
  const [first, second] = [bytes.subarray(0, 60), bytes.subarray(60)].map((it) => zstdCompressSync(it))

  for (const parts of [
    [skip, first!, second!],
    [skip, skip, first!, skip, second!, skip],
  ]) {
    const { stdout } = await convertBytes(Buffer.concat(parts))
    assert.deepEqual(lines(stdout), [`${HEAD} ${DNS_FLOW} 3 114 ${T0 + 1} ${T0 + 3} ACCEPT OK`])
  }
})

test('interfaces of one file have their own link types and clocks; sections begin anew', async () => {
  const ip = DNS.subarray(14)
  const first = pcapngSection((blocks) => [
    blocks.interface({ resolution: 9 }),
    blocks.interface({ link: 101, resolution: 3 }),
    blocks.packet(0, BigInt(T0) * 1_000_000_000n + 999_999_999n, DNS),
    blocks.packet(1, BigInt(T0) * 1000n, ip),
    blocks.packet(0, BigInt(T0 + 4) * 1_000_000_000n, DNS.subarray(0, 40), { wireLength: DNS.length }),
    blocks.simplePacket(DNS),
    blocks.oldPacket(1, BigInt(T0 + 7) * 1000n, ip),
    blocks.packet(9, 0n, DNS), // Of no interface.
  ])
  const second = pcapngSection(
    (blocks) => [blocks.interface({ link: 113 }), blocks.packet(0, BigInt(T0 + 9) * 1_000_000n, cooked(ip))],
    { bigEndian: true },
  )

  const { stdout, stderr } = await convertBytes(Buffer.concat([first, second]))

  assert.deepEqual(lines(stdout), [`${HEAD} ${DNS_FLOW} 6 228 ${T0} ${T0 + 9} ACCEPT OK`])
  assert.match(stderr, /1 packet cut short/)
  assert.match(stderr, /pcap: 1 packet of an interface that it does not describe: in no record/)
})

test('many files are read in the order of time, whatever the order of their names', async () => {
  const next = random(5)
  const all = Array.from({ length: 6000 }, (_, i) => ({
    bytes: next() % 2 === 0 ? DNS : WEB6,
    time: T0 + i / 2,
  }))
  const whole = (await convertBytes(pcap(all))).stdout
  const spread = [0, 1, 2].map((k) => all.filter((_, i) => i % 3 === k))
  const rotated = [0, 1, 2, 3].map((k) => all.slice(k * 1500, (k + 1) * 1500))
  for (const parts of [spread, rotated]) {
    const names = parts.map((it) => save(pcap(it))).reverse()
    const { stdout, stderr } = await runCommand(convert, names)
    assert.deepEqual(lines(stdout).sort(), lines(whole).sort())
    assert.match(stderr, /^6000 packets/)
  }
})

test('objects are named as in a bucket and never overwritten', async () => {
  const file = save(pcap([0, 300, 700].map((s) => ({ bytes: DNS, time: T0 + s }))))
  const out = path.join(directory, 'objects')

  for (let i = 0; i < 2; i++) await runCommand(convert, ['-q', '--out', out, '--prefix', 'a/b', file])

  assert.deepEqual(readdirSync(path.join(out, 'a')).sort(), [
    `b-${T0}.log.gz`,
    `b-${T0 + 1}.log.gz`,
    `b-${T0 + 600}.log.gz`,
    `b-${T0 + 601}.log.gz`,
  ])
  const object = gunzipSync(readFileSync(path.join(out, 'a', `b-${T0 + 1}.log.gz`))).toString()
  assert.equal(object, `${HEAD} ${DNS_FLOW} 2 76 ${T0} ${T0 + 300} ACCEPT OK\n`)
})

test('objects go into a bucket of the embedded store, and only into one that is there', async () => {
  const file = save(pcap([{ bytes: DNS, time: T0 }]))
  const dataDir = path.join(directory, 'data')
  mkdirSync(path.join(dataDir, 'buckets', 'netlogs'), { recursive: true })

  await runCommand(convert, ['-q', '--bucket', 'netlogs/web', '--data-dir', dataDir, file])

  assert.deepEqual(readdirSync(path.join(dataDir, 'buckets', 'netlogs')), [`web-${T0}.log.gz`])
  const missing = runCommand(convert, ['--bucket', 'other', '--data-dir', dataDir, file])
  await assert.rejects(missing, { code: 'WEIR_BUCKET_MISSING' })
})

test('objects go to an S3 bucket by signed PUT, each under a name that is free', async () => {
  const file = save(pcap([0, 700].map((s) => ({ bytes: DNS, time: T0 + s }))))
  const objects = new Map<string, Buffer>()
  const failures = { left: 1 }
  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>))
    const isSigned = request.headers.authorization?.startsWith('AWS4-HMAC-SHA256 ') === true
    const name = request.url ?? ''
    const status = failures.left-- > 0 ? 503 : !isSigned ? 403 : objects.has(name) ? 412 : 200
    if (status === 200 && request.headers['if-none-match'] === '*') objects.set(name, body)
    response.writeHead(status).end()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const env = { WEIR_S3_ACCESS_KEY_ID: 'key', WEIR_S3_SECRET_ACCESS_KEY: 'secret' }
  const args = ['--json', '--bucket', 'netlogs/web', '--s3-endpoint', endpoint, file]

  const first = await runCommand(convert, args, { env })
  const second = await runCommand(convert, [...args, '--threads', '2'], { env })
  server.close()

  const names = [T0, T0 + 600, T0 + 1, T0 + 601].map((s) => `/netlogs/web-${s}.log.gz`)
  assert.deepEqual([...objects.keys()], names)
  assert.deepEqual(
    [first, second].flatMap(({ stderr }) => JSON.parse(stderr).outputs as string[]),
    names.map((name) => `s3:/${name}`),
  )
  const record = `${HEAD} ${DNS_FLOW} 1 38 ${T0} ${T0} ACCEPT OK\n`
  for (const name of [names[0]!, names[2]!]) assert.equal(gunzipSync(objects.get(name)!).toString(), record)
})

test('text, JSON and CSV say the same, plain and gzip', async () => {
  const { file, records } = small('imix', 20_000)
  const names = ['log', 'json', 'csv'].flatMap((it) => [it, `${it}.gz`])
  const bytes: Record<string, string> = {}
  for (const name of names) {
    const out = path.join(directory, `formats.${name}`)
    const format = name.startsWith('log') ? 'text' : name.slice(0, name.startsWith('json') ? 4 : 3)
    for (const codec of ['zlib', 'fused']) {
      await runCommand(convert, ['-q', '--format', format, '--codec', codec, '-o', out, file])
      const raw = readFileSync(out)
      const text = (name.endsWith('.gz') ? gunzipSync(raw) : raw).toString()
      bytes[name] ??= text
      assert.equal(text, bytes[name])
    }
  }
  for (const it of ['log', 'json', 'csv']) assert.equal(bytes[`${it}.gz`], bytes[it])
  const fields = lines(bytes['log']!)
  assert.equal(fields.length, records)
  const fromCsv = lines(bytes['csv']!).slice(1)
  assert.deepEqual(
    fromCsv.map((line) => line.replaceAll(',', ' ')),
    fields,
  )
  const fromJson = lines(bytes['json']!).map((line) => Object.values(JSON.parse(line)).join(' '))
  assert.deepEqual(fromJson, fields)
})

test('a file that ends in .gz is gzip, also without a record', async () => {
  const out = path.join(directory, 'none.log.gz')

  await runCommand(convert, ['-q', '-o', out, save(pcap([]))])

  assert.equal(gunzipSync(readFileSync(out)).length, 0)
})

test('a thread for encoding changes nothing but the time', async () => {
  const { file } = small('imix', 60_000)
  for (const name of ['threads.log', 'threads.log.gz', 'threads.json']) {
    const written = await Promise.all(
      ['1', '2'].map(async (threads) => {
        const out = path.join(directory, `${threads}-${name}`)
        const format = name.endsWith('json') ? 'json' : 'text'
        const { stderr } = await runCommand(convert, [
          '--json',
          '--format',
          format,
          '--threads',
          threads,
          '-o',
          out,
          file,
        ])
        assert.deepEqual(JSON.parse(stderr).outputs, [out])
        return readFileSync(out)
      }),
    )
    assert.equal(written[0]!.compare(written[1]!), 0, name)
  }
  const nowhere = path.join(directory, 'absent', 'x.log')
  const failing = runCommand(convert, ['-q', '--threads', '2', '-o', nowhere, file])
  await assert.rejects(failing, { code: 'WEIR_CONFIG_INVALID', message: /cannot be written: ENOENT/ })
})

test('totals of generated captures equal their truth, with both kernels', async () => {
  for (const kind of ['imix', 'scan'] as const) {
    const { file, truth } = small(kind, 60_000)
    for (const kernel of ['wasm', 'plain']) {
      const { stdout, stderr } = await runCommand(convert, ['--json', '--kernel', kernel, file])
      const windows = new Map<number, { packets: number; octets: number; flows: number }>()
      for (const line of lines(stdout)) {
        const fields = line.split(' ')
        const startS = Number(fields[10]) - (Number(fields[10]) % 600)
        const sum = windows.get(startS) ?? { packets: 0, octets: 0, flows: 0 }
        const [packets, octets] = [sum.packets + Number(fields[8]), sum.octets + Number(fields[9])]
        windows.set(startS, { packets, octets, flows: sum.flows + 1 })
      }
      assert.deepEqual(
        [...windows].map(([startS, sum]) => ({ startS, ...sum })),
        truth.windows,
      )
      assert.equal(JSON.parse(stderr).ipPackets, truth.ipPackets)
    }
  }
})

test('what finds no room becomes SKIPDATA: packets are conserved', async () => {
  const { file, truth } = small('scan', 30_000)

  const { stdout } = await runCommand(convert, ['-q', '--flows-max', '100', file])

  const records = lines(stdout).map((line) => line.split(' '))
  assert.equal(records.filter((it) => it[13] === 'OK').length, 300)
  const skipped = records.filter((it) => it[13] === 'SKIPDATA')
  assert.deepEqual(
    skipped.map((it) => [it.slice(3, 8).join(), it[12]]),
    Array(3).fill(['-,-,-,-,-', '-']),
  )
  assert.equal(sum(records, 8), truth.ipPackets)
  assert.equal(sum(records, 9), truth.octets)
})

test('direction is relative to what is local, by address, block and MAC', async () => {
  const away = ethernet(0x0800, ipv4(udp(53, 4000, 20), { source: '198.51.100.7', destination: '192.0.2.1' }))
  const back = Buffer.from(away)
  back.set([2, 0, 0, 0, 0, 9], 6)
  const file = save(pcap([DNS, WEB6, back].map((bytes) => ({ bytes, time: T0 }))))
  const flows = async (...args: string[]): Promise<string[]> =>
    lines((await runCommand(convert, ['-q', ...args, file])).stdout).map((line) => line.split(' ')[5]!)

  assert.deepEqual(await flows('--local', '192.0.2.1', '--direction', 'EGRESS'), ['4000'])
  assert.deepEqual(await flows('--local', '192.0.2.0/24', '--direction', 'INGRESS'), ['53', '50000'])
  assert.deepEqual(await flows('--local', '2001:db8::/32', '--direction', 'egress'), ['50000'])
  assert.deepEqual(await flows('--local', '192.0.2.0/25', '--local', '::/0', '--direction', 'EGRESS'), [
    '4000',
    '50000',
  ])
  assert.deepEqual(await flows('--local', '02:00:00:00:00:09', '--direction', 'EGRESS'), ['53'])
  assert.deepEqual(await flows('--local', '02:00:00:00:00:09', '--direction', 'INGRESS'), ['4000', '50000'])
})

test('a MAC address is local in Linux cooked captures, too; links without any are counted', async () => {
  const mac = Buffer.from([2, 0, 0, 0, 0, 9])
  const frames = [cooked(DNS.subarray(14)), cooked2Of(DNS.subarray(14), 0)]
  mac.copy(frames[0]!, 6)
  mac.copy(frames[1]!, 12)
  const args = ['--local', '02:00:00:00:00:09', '--direction', 'EGRESS']

  for (const [i, bytes] of frames.entries()) {
    const capture = pcap([{ bytes, time: T0 }], { link: [113, 276][i]! })
    assert.equal(lines((await convertBytes(capture, '-q', ...args)).stdout).length, 1)
    capture[capture.length - bytes.length + [6, 12][i]!]! ^= 1
    assert.equal(lines((await convertBytes(capture, '-q', ...args)).stdout).length, 0)
  }
  const raw = await convertBytes(pcap([{ bytes: DNS.subarray(14), time: T0 }], { link: 101 }), ...args)
  assert.match(raw.stderr, /1 packet of which the capture does not tell the direction: taken as INGRESS/)
})

test('where addresses say the direction, what was skipped is told to either', async () => {
  const { file } = small('scan', 3000)
  const args = ['-q', '--local', '10.0.0.0/8', '--flows-max', '10', file]

  for (const direction of ['INGRESS', 'EGRESS']) {
    const { stdout } = await runCommand(convert, ['--direction', direction, ...args])
    assert.equal(lines(stdout).filter((it) => it.endsWith('SKIPDATA')).length, 3, direction)
  }
})

test('without --local the direction is what the capture says: pcapng flags, Linux cooked', async () => {
  const [in4, out4, in6] = [DNS, DNS, WEB6].map((it) => it.subarray(14)) as [Buffer, Buffer, Buffer]
  const flagged = pcapngSection((blocks) => {
    const packet = (bytes: Buffer, flags?: number): Buffer => blocks.packet(0, STAMP, bytes, { flags })
    return [blocks.interface(), packet(DNS, 1), packet(DNS, 2), packet(DNS, 2 | (7 << 2)), packet(WEB6)]
  })
  const cooked1 = pcap(
    [cooked(in4, 0), cooked(out4, 4), cooked(out4, 4), cooked(in6, 3, 0x86dd)].map((bytes) => ({
      bytes,
      time: T0,
    })),
    { link: 113 },
  )
  const cooked2 = pcap(
    [cooked2Of(in4, 0), cooked2Of(out4, 4), cooked2Of(out4, 4), cooked2Of(in6, 1, 0x86dd)].map((bytes) => ({
      bytes,
      time: T0,
    })),
    { link: 276 },
  )
  for (const capture of [flagged, cooked1, cooked2]) {
    const packets = async (direction: string): Promise<string[]> =>
      lines((await convertBytes(capture, '-q', '--direction', direction)).stdout)
        .map((line) => line.split(' '))
        .map((it) => `${it[6]} ${it[8]}`)
    assert.deepEqual(await packets('EGRESS'), ['53 2'])
    assert.deepEqual(await packets('INGRESS'), ['53 1', '443 1'])
    assert.deepEqual(await packets('BIDIRECTIONAL'), ['53 3', '443 1'])
  }

  const { stderr } = await convertBytes(flagged, '--direction', 'EGRESS')
  assert.match(stderr, /1 packet of which the capture does not tell the direction: taken as INGRESS/)
  const silent = await convertBytes(pcap([{ bytes: DNS, time: T0 }]), '--direction', 'EGRESS')
  assert.equal(silent.status, 2)
  assert.match(silent.stderr, /does not tell which way its packets went: say what is --local/)
})

test('the corpus as a capture equals the corpus as packets', async () => {
  const frames = packetCorpus().flatMap((it) => it.frames)
  const packets = frames.map((it) => ({
    bytes: it.bytes,
    time: T0,
    ...(it.wireLength ? { wireLength: it.wireLength } : {}),
  }))

  const { stderr, stdout } = await convertBytes(pcap(packets), '--json')

  const flows = frames.flatMap(({ expected }) => (expected.kind === 'flow' ? [expected] : []))
  const skipped = frames.flatMap(({ expected }) => (expected.kind === 'skipped' ? [expected] : []))
  const summary = JSON.parse(stderr)
  assert.equal(summary.notIpPackets, frames.length - flows.length - skipped.length)
  assert.equal(Number(summary.skippedPackets), skipped.length)
  const octets = [...flows, ...skipped].reduce((total, it) => total + it.octets, 0)
  assert.equal(
    sum(
      lines(stdout).map((line) => line.split(' ')),
      9,
    ),
    octets,
  )
})

test('damage is counted and told, what came before it is kept', async () => {
  const packets = [1, 2, 3].map((i) => ({ bytes: DNS, time: T0 + i }))
  const whole = pcap(packets)
  const absurd = Buffer.concat([whole, pcap([{ bytes: DNS, time: T0 }]).subarray(24)])
  absurd.writeUInt32LE(0x7fff_ffff, whole.length + 8)
  const endsInside = new RegExp(`ends inside the packet at byte ${whole.length - DNS.length - 16}; what came`)
  const claims = new RegExp(`claims 2147483647 captured bytes .at most 1048576., at byte ${whole.length};`)
  const cases: [Uint8Array, number, RegExp][] = [
    [whole.subarray(0, whole.length - 5), 2, endsInside],
    [whole.subarray(0, 24), 0, /^0 packets/],
    [absurd, 3, claims],
    [gzipSync(whole).subarray(0, -12), 2, /unexpected end of file; what came before it was read/],
    [Buffer.concat([whole, Buffer.alloc(16)]), 3, /^4 packets/], // A packet of no bytes in 1970.
  ]
  for (const [bytes, count, message] of cases) {
    const { status, stdout, stderr } = await convertBytes(bytes)
    assert.equal(status, 0, stderr)
    assert.match(stderr, message)
    const packetsKept = sum(
      lines(stdout).map((line) => line.split(' ')),
      8,
    )
    assert.equal(packetsKept, count)
  }
})

test('a pcapng capture of what cannot be metered is told by link type, with status 2 where it is all', async () => {
  const capture = (...links: number[]): Buffer =>
    pcapngSection((blocks) => [
      ...links.map((link) => blocks.interface({ link })),
      ...links.map((_, i) => blocks.packet(i, STAMP, DNS)),
    ])

  const some = await convertBytes(capture(1, 105, 127, 127))
  const none = await convertBytes(capture(127), '-q')

  assert.equal(some.status, 0)
  assert.match(some.stderr, /pcap: 1 packet of IEEE 802.11 \(link type 105\): in no record/)
  assert.match(some.stderr, /pcap: 2 packets of IEEE 802.11 \(radiotap\) \(link type 127\): in no record/)
  assert.equal(none.status, 2)
  assert.match(none.stderr, /^weir convert: .*radiotap.*Ethernet, raw IP, .* can be metered/)
})

test('what is no capture ends with status 2 and a reason', async () => {
  const cases: [Uint8Array, RegExp][] = [
    [Buffer.alloc(0), /empty/],
    [Buffer.from('2 0 eni 10.0.0.1 10.0.0.2'), /not a pcap or pcapng capture/],
    [Buffer.of(0xd4), /ends inside its header, at byte 1$/m],
    [Buffer.alloc(10, 7), /not a pcap or pcapng capture/],
    [pcap([]).subarray(0, 20), /ends inside its header/],
    [pcap([], { link: 127 }), /IEEE 802.11 \(radiotap\)/],
    [Buffer.from('a1b2cd3400020004000000000000000000000000', 'hex'), /Kuznetzov/],
  ]
  for (const [bytes, message] of cases) {
    const { status, stderr } = await convertBytes(bytes)
    assert.equal(status, 2, String(message))
    assert.match(stderr, message)
  }
  assert.equal((await runCommand(convert, [path.join(directory, 'absent')])).status, 2)
  const mixed = await runCommand(convert, [
    save(Buffer.from('nonsense')),
    save(pcap([{ bytes: DNS, time: T0 }])),
  ])
  assert.equal(mixed.status, 0)
  assert.match(mixed.stderr, /not a pcap/)
  assert.equal(lines(mixed.stdout).length, 1)
  const none = await runCommand(convert, [
    '-q',
    save(Buffer.from('nonsense')),
    path.join(directory, 'absent'),
  ])
  assert.equal(none.status, 2)
  assert.match(none.stderr, /not a pcap.*\n.*absent cannot be opened: ENOENT/)
  const first = pcap([{ bytes: DNS, time: T0 }]).subarray(0, 50)
  assert.equal((await convertBytes(first)).status, 2)
})

test('an output that is one of the captures is refused, and the capture stays', async () => {
  const bytes = pcap([{ bytes: DNS, time: T0 }])
  const file = save(bytes)

  await assert.rejects(runCommand(convert, ['-o', file, file]), { code: 'WEIR_USAGE' })

  assert.deepEqual(readFileSync(file), bytes)
})

test('options that do not fit are refused with a sentence', async () => {
  const file = save(pcap([]))
  const cases = [
    [],
    ['--window', '7', file],
    ['--format', 'xml', file],
    ['--account', 'a b', file],
    ['--after', file],
    ['-', '-'],
    ['--before', '-', '--after', '-'],
    ['--account', '-', file],
    ['--local', '10.0.0.1/33', file],
    ['--prefix', 'p', file],
    ['--prefix', '../p', '--out', directory, file],
    ['--level', '0', file],
    ['--format', 'csv', '--out', directory, file],
  ]
  for (const args of cases)
    await assert.rejects(runCommand(convert, args), { code: 'WEIR_USAGE' }, args.join(' '))
})

test('asked to stop while it waits for packets, it writes what it has', async () => {
  const stop = new AbortController()
  const stdin = new PassThrough()
  stdin.write(pcap([1, 2].map((s) => ({ bytes: DNS, time: T0 + s }))))
  const running = runCommand(convert, ['-'], { stdin, signal: stop.signal })
  while (stdin.readableLength > 0) await new Promise(setImmediate)
  await new Promise(setImmediate)

  stop.abort()

  const { status, stdout, stderr } = await running
  assert.equal(status, 0)
  assert.deepEqual(lines(stdout), [`${HEAD} ${DNS_FLOW} 2 76 ${T0 + 1} ${T0 + 2} ACCEPT OK`])
  assert.doesNotMatch(stderr, /what came before it/)
})

test('asked to stop before the first packet, it ends', async () => {
  for (const begun of [[], [pcap([])]]) {
    const stop = new AbortController()
    const stdin = new PassThrough()
    for (const bytes of begun) stdin.write(bytes)
    const running = runCommand(convert, ['-'], { stdin, signal: stop.signal })
    do await new Promise(setImmediate)
    while (stdin.readableLength > 0)

    stop.abort()

    const { status, stdout, stderr } = await running
    assert.deepEqual([status, stdout], [0, ''])
    assert.match(stderr, /^0 packets/)
  }
})

test('a live capture that falls silent has its windows written when they are over', async () => {
  let nowMs = (T0 + 599) * 1000
  const clock: Clock = { nowMs: () => nowMs, monotonicNs: () => 0n }
  const [live, past] = [599, -99_999].map((s) => {
    const [stdin, stdout] = [new PassThrough(), new PassThrough()]
    const context = {
      stdin,
      stdout,
      stderr: new PassThrough(),
      env: {},
      signal: new AbortController().signal,
    }
    const options = readOptions(['-'])
    const sink = createSink(options, context)
    const all = { ...context, stdoutIsTerminal: false, stderrIsTerminal: false }
    const converter = new Converter(options, { context: all, sink, clock })
    stdin.write(pcap([{ bytes: DNS, time: T0 + s }]))
    const written: string[] = []
    stdout.on('data', (chunk) => written.push(String(chunk)))
    return { stdin, stdout, written, s, converter, done: converter.run(() => {}) }
  })
  assert.ok(live !== undefined && past !== undefined)
  while (live.converter.packets + past.converter.packets < 2) await new Promise(setImmediate)

  nowMs = (T0 + 600 + 15) * 1000
  await once(live.stdout, 'data')
  for (const { stdin, s } of [live, past]) stdin.end(pcap([{ bytes: DNS, time: T0 + s }]).subarray(24))
  await Promise.all([live.done, past.done])

  const record = (s: number, counters: string): string =>
    `${HEAD} ${DNS_FLOW} ${counters} ${T0 + s} ${T0 + s} ACCEPT OK\n`
  assert.deepEqual(live.written, [record(599, '1 38'), record(599, '1 38')]) // What is late has a record of its own.
  assert.deepEqual(past.written, [record(-99_999, '2 76')])
})

test('what convert writes, validate accepts; what is damaged it names by line and field', async () => {
  const { file } = small('imix', 5000)
  const out = path.join(directory, 'valid.log.gz')
  await runCommand(convert, ['-q', '-o', out, file])
  const good = await runCommand(validate, [out])
  assert.equal(good.status, 0, good.stdout)

  const damaged = gunzipSync(readFileSync(out)).toString().replace(' 6 ', ' 600 ').replace('ACCEPT', 'accept')
  const log = path.join(directory, 'damaged.log')
  writeFileSync(log, damaged)
  const bad = await runCommand(validate, ['--json', log])

  assert.equal(bad.status, 1)
  const faults = lines(bad.stdout).map((line) => JSON.parse(line) as { line: number; field: string })
  assert.ok(
    faults.length >= 1 &&
      faults.every((it) => ['protocol', 'action', 'dstport', 'srcport'].includes(it.field)),
  )
  assert.match(bad.stderr, /records, \d+ faults?$/m)
  const cut = await runCommand(validate, ['-'], { stdin: [readFileSync(out).subarray(0, -20)] })
  assert.equal(cut.status, 1)
  assert.match(cut.stdout, /^-:\d+: .*unexpected end of file$/m)
  await assert.rejects(runCommand(validate, ['--max', 'many', log]), { code: 'WEIR_USAGE' })
})

test('validate ends when it is asked to, waiting for a pipe or reading a long file', async () => {
  const long = path.join(directory, 'long.log')
  writeFileSync(long, `${HEAD} ${DNS_FLOW} 1 38 ${T0} ${T0} ACCEPT OK\n`.repeat(10_000))

  for (const file of ['-', long]) {
    const stop = new AbortController()
    const running = runCommand(validate, [file], { stdin: new PassThrough(), signal: stop.signal })
    setImmediate(() => stop.abort())
    await assert.rejects(running, { name: 'AbortError' }, file)
  }
})

test('validate looks at all files, and says which cannot be read', async () => {
  const good = path.join(directory, 'good.log')
  writeFileSync(good, `${HEAD} ${DNS_FLOW} 1 38 ${T0} ${T0} ACCEPT OK\n`)
  const absent = path.join(directory, 'absent.log')

  const text = await runCommand(validate, [absent, good, directory, good])
  const json = await runCommand(validate, ['--json', absent])

  assert.equal(text.status, 1)
  assert.equal(text.stdout, `${absent} cannot be opened: ENOENT\n${directory} is a directory\n`)
  const [first, second, third, fourth] = lines(text.stderr)
  assert.deepEqual([second, fourth], [`${good}: 1 record, 0 faults`, second])
  assert.deepEqual([first, third], [`${absent}: 0 records, 1 fault`, `${directory}: 0 records, 1 fault`])
  assert.deepEqual(JSON.parse(json.stdout), { file: absent, reason: `${absent} cannot be opened: ENOENT` })
})

function save(bytes: Uint8Array): string {
  const file = path.join(directory, `${++files}.pcap`)
  writeFileSync(file, bytes)
  return file
}

async function convertBytes(bytes: Uint8Array, ...args: string[]): Promise<CommandResult> {
  const file = save(bytes)
  const result = await runCommand(convert, [...args, file])
  rmSync(file)
  return result
}

function small(kind: 'imix' | 'scan', packets: number) {
  const file = path.join(directory, `${kind}-${packets}.pcap`)
  const truth = writeCapture(file, kind, packets, 7)
  return { file, truth, records: truth.windows.reduce((total, it) => total + it.flows, 0) }
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '')
}

function sum(records: string[][], field: number): number {
  return records.reduce((total, it) => total + Number(it[field]), 0)
}

function cooked(ip: Uint8Array, packetType = 0, protocol = 0x0800): Buffer {
  const header = Buffer.alloc(16)
  header.writeUInt16BE(packetType, 0)
  header.writeUInt16BE(protocol, 14)
  return Buffer.concat([header, ip])
}

function cooked2Of(ip: Uint8Array, packetType: number, protocol = 0x0800): Buffer {
  const header = Buffer.alloc(20)
  header.writeUInt16BE(protocol, 0)
  header[10] = packetType
  return Buffer.concat([header, ip])
}
