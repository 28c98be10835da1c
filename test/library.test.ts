import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import * as record from '../src/encode/library.ts'
import * as meter from '../src/meter/library.ts'
import { packetCorpus } from './support/packet-corpus.ts'

const LINE = '2 12345678 eni-1 192.0.2.1 198.51.100.7 4000 53 17 3 114 1700000401 1700000403 ACCEPT OK'

test('the entries of the package are compiled from files that are there', () => {
  const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    exports: Record<string, { default: string }>
  }
  for (const entry of ['./record', './meter']) {
    const source = exports[entry]!.default.replace(/^\.\/dist\/(.*)\.js$/, 'src/$1.ts')
    assert.ok(existsSync(source), source)
  }
})

test('an outside package compiles the examples of docs/library.md strictly and runs them as they stand', async (t) => {
  const home = mkdtempSync(path.join(tmpdir(), 'weir-library-'))
  t.after(() => rmSync(home, { recursive: true, force: true }))
  const weir = path.join(home, 'node_modules', 'weir')
  const bin = path.resolve('node_modules/.bin')
  const tsc = (...args: string[]): string => execFileSync(path.join(bin, 'tsc'), args, { encoding: 'utf8' })
  mkdirSync(path.join(home, 'node_modules', '@types'), { recursive: true })
  tsc('-p', 'tsconfig.build.json', '--outDir', path.join(weir, 'dist'))
  copyFileSync('package.json', path.join(weir, 'package.json'))
  for (const name of ['@types/node', 'undici-types']) {
    symlinkSync(path.resolve('node_modules', name), path.join(home, 'node_modules', name))
  }
  writeFileSync(path.join(home, 'package.json'), '{ "type": "module" }')
  const compilerOptions = {
    ...{
      module: 'nodenext',
      target: 'esnext',
      types: ['node'],
      noEmit: true,
      strict: true,
      skipLibCheck: false,
    },
    ...{ noUncheckedIndexedAccess: true, exactOptionalPropertyTypes: true, noUnusedLocals: true },
  }
  writeFileSync(path.join(home, 'tsconfig.json'), JSON.stringify({ compilerOptions }))
  const refused = LINE.replace('ACCEPT', 'REJECT')
  writeFileSync(path.join(home, 'web1-1700000400.log.gz'), gzipSync(`${LINE}\n${refused}\nnonsense\n`))
  const examples = [...readFileSync('docs/library.md', 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map(
    (it) => it[1]!,
  )
  for (const [i, example] of examples.entries()) writeFileSync(path.join(home, `example-${i}.ts`), example)

  tsc('-p', home)
  const said = examples.map((_, i) => {
    const run = spawnSync(path.join(bin, 'node'), [`example-${i}.ts`], { cwd: home, encoding: 'utf8' })
    assert.equal(run.status, 0, run.stderr)
    return run.stdout + run.stderr
  })

  assert.equal(said.length, 2)
  assert.match(said[0]!, /^114 octets refused\nline 3: /)
  assert.match(said[1]!, /^1700000400 \{[\s\S]*srcaddr: '192.0.2.1'[\s\S]*packets: 2n[\s\S]*1700000460 \{/)
})

test('packets become windows, rows, records, an object, and records again', async () => {
  const bytes = packetCorpus().find((it) => it.name === 'IPv4 UDP')!.frames[0]!.bytes
  const packets = [1, 2, 3, 700].map((s) => ({ bytes, timeS: 1_700_000_400 + s }))
  const context = { accountId: '12345678', interfaceId: 'eni-1' }

  const windows = await Array.fromAsync(meter.meterPackets(packets))
  const records = windows.flatMap(({ rows, count }) =>
    Array.from({ length: count }, (_, i) => record.rowToRecord(context, rows, i * record.ROW_SIZE)),
  )
  const object = await Array.fromAsync(record.writeObject(records))
  const read = await Array.fromAsync(record.readObject(object, { strict: true }))

  assert.deepEqual(
    windows.map((it) => it.startS),
    [1_700_000_400, 1_700_001_000],
  )
  assert.deepEqual(records.map(record.formatRecord)[0], LINE)
  assert.deepEqual(
    read.map((it) => (it.kind === 'record' ? it.record : it.fault)),
    records,
  )
})

test('a window comes with the packet that ends it, though few come before and none after', async () => {
  const bytes = packetCorpus().find((it) => it.name === 'IPv4 UDP')!.frames[0]!.bytes
  const given: number[] = []
  function* packets(): Generator<meter.MeteredPacket> {
    for (const timeS of [57, 59, 60, 61.9, 62, 130, 179, 181, 190]) {
      given.push(timeS)
      yield { bytes, timeS }
    }
  }

  const windows: [startS: number, lastGivenS: number][] = []
  for await (const { startS } of meter.meterPackets(packets(), { windowSizeS: 60, lateS: 2 })) {
    windows.push([startS, given.at(-1)!])
  }

  assert.deepEqual(windows, [
    [0, 62],
    [60, 130],
    [120, 190],
    [180, 190],
  ])
})

test('a link type that changes between packets keeps both', async () => {
  const bytes = packetCorpus().find((it) => it.name === 'IPv4 UDP')!.frames[0]!.bytes
  const packets = Array.from({ length: 10 }, (_, i) => {
    const isRaw = i % 2 === 1
    return {
      bytes: isRaw ? bytes.subarray(14) : bytes,
      link: isRaw ? meter.LINK.raw : meter.LINK.ethernet,
      timeS: 5,
    }
  })

  const [window] = await Array.fromAsync(meter.meterPackets(packets))

  assert.equal(window?.count, 1)
  assert.equal(Buffer.from(window!.rows.buffer).readBigUInt64LE(meter.ROW.packets), 10n)
})

test('a time that no record can hold becomes the nearest one', async () => {
  const bytes = packetCorpus().find((it) => it.name === 'IPv4 UDP')!.frames[0]!.bytes
  const times = [-5, 7.9, 2 ** 32 + 5]

  const windows = await Array.fromAsync(meter.meterPackets(times.map((timeS) => ({ bytes, timeS }))))

  const starts = windows.map(({ rows }) => Buffer.from(rows.buffer).readUInt32LE(meter.ROW.startS))
  assert.deepEqual(starts, [0, 0xffff_ffff])
})

test('what meterPackets cannot do is refused with its reason', async () => {
  const bytes = Buffer.alloc(60)
  const cases: [meter.MeteredPacket, Parameters<typeof meter.meterPackets>[1], RegExp][] = [
    [{ bytes, timeS: 5, link: 105 }, {}, /link type 105 cannot be metered/],
    [{ bytes, timeS: Number.NaN }, {}, /timeS is not a number/],
    [{ bytes: Buffer.alloc(5 << 20), timeS: 5 }, {}, /length of a packet .* to 4194304, not 5242880/],
    [{ bytes, timeS: 5 }, { windowSizeS: 0 }, /windowSizeS is a whole number from 1 to 65536, not 0/],
    [{ bytes, timeS: 5 }, { windowSizeS: 1.5 }, /windowSizeS/],
    [{ bytes, timeS: 5 }, { lateS: -1 }, /lateS/],
    [{ bytes, timeS: 5 }, { flowsMax: 2 ** 30 }, /flowsMax/],
  ]

  for (const [packet, options, message] of cases) {
    await assert.rejects(Array.fromAsync(meter.meterPackets([packet], options)), {
      name: 'RangeError',
      message,
    })
  }
})

test('a damaged object throws, and ends the reading', async () => {
  const object = Buffer.concat(await Array.fromAsync(record.writeObject([])))
  object[object.length - 6]! ^= 1

  await assert.rejects(Array.fromAsync(record.readObject([object])))
})
