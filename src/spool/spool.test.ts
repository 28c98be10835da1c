import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import { random } from '../stdx/prng.ts'
import { type SpoolFiles, systemFiles } from './files.ts'
import { Spool } from './spool.ts'
import { WindowWriter } from './window-writer.ts'

const log = { info() {}, warn() {}, error() {} }
const DAY_MS = 86_400_000
const LIMITS = { bytesMax: 1e12, ageMsMax: 1e15 }

class Disk implements Disposable {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weir-spool-'))
  nowMs = 0
  monotonicMs = 0

  spool(limits: Partial<typeof LIMITS> = {}, files?: SpoolFiles): Spool {
    const clock = { nowMs: () => this.nowMs, monotonicNs: () => BigInt(this.monotonicMs) * 1_000_000n }
    const options = { directory: this.folder, ...LIMITS, ...limits }
    const spool = new Spool(options, { clock, log, ...(files ? { files } : {}) })
    spool.start()
    return spool
  }

  /** Each flow log's destination is a bucket and a stem, `bucket/stem`; each line is a member of its own. */
  async write(index: number, linesOf: Record<string, string[]>, segmentSizeMax = 1 << 26): Promise<string> {
    const writer = new WindowWriter({ directory: this.folder, segmentSizeMax })
    const windowKey = `boot-${index}`
    writer.begin({ windowKey, windowStartS: index * 60, windowSizeS: 60 })
    for (const [destination, lines] of Object.entries(linesOf)) {
      const [bucket = '', stem = ''] = destination.split('/')
      for (const line of lines) {
        writer.append({ contractNumber: 1, bucket, stem }, gzipSync(line), {
          flowLogId: destination,
          records: 1,
          packets: 10,
          octets: 600,
        })
      }
    }
    await writer.commit()
    return windowKey
  }

  [Symbol.dispose](): void {
    fs.rmSync(this.folder, { recursive: true, force: true })
  }
}

async function textOf(spool: Spool, segmentId: string): Promise<string | undefined> {
  const loaded = await spool.load(segmentId)
  if (loaded !== 'damaged') return gunzipSync(loaded.bytes ?? fs.readFileSync(loaded.segment.path)).toString()
  const known = new Set(spool.segments().map((it) => it.segmentId))
  spool.salvage(segmentId)
  const salvaged = spool.segments().find((it) => !known.has(it.segmentId))
  return salvaged && textOf(spool, salvaged.segmentId)
}

test('committed segments come back oldest first, with their contents, and go when acknowledged', async () => {
  using disk = new Disk()
  await disk.write(2, { 'b/x': ['three\n'] })
  await disk.write(1, { 'b/x': ['one\n', 'two\n'], 'b/y': ['four\n'] })
  const spool = disk.spool()

  const segments = spool.segments()
  const texts = await Promise.all(segments.map(({ segmentId }) => textOf(spool, segmentId)))
  for (const { segmentId } of segments) {
    spool.upload(segmentId)
    await spool.acknowledge(segmentId)
  }

  assert.deepEqual(texts, ['one\ntwo\n', 'four\n', 'three\n'])
  assert.deepEqual(
    segments.map((it) => [it.windowStartS, it.stem, it.records]),
    [
      [60, 'x', 2],
      [60, 'y', 1],
      [120, 'x', 1],
    ],
  )
  assert.deepEqual(fs.readdirSync(disk.folder), ['damaged'])
})

test('a window without segments leaves nothing behind', async () => {
  using disk = new Disk()
  const spool = disk.spool()
  spool.addWindow(await disk.write(1, {}))

  assert.deepEqual(fs.readdirSync(disk.folder), ['damaged'])
})

test('a window that is committed twice is there once, as it was committed first', async () => {
  using disk = new Disk()
  const spool = disk.spool()
  spool.addWindow(await disk.write(1, { 'b/x': ['one\n'] }))

  spool.addWindow(await disk.write(1, { 'b/x': ['one\n', 'and more\n'] }))
  const texts = await Promise.all(spool.segments().map(({ segmentId }) => textOf(spool, segmentId)))

  assert.deepEqual(texts, ['one\n'])
  assert.deepEqual(fs.readdirSync(disk.folder).sort(), ['damaged', 'w-boot-1'])
})

test('a window that was not committed is removed by the next start', () => {
  using disk = new Disk()
  const writer = new WindowWriter({ directory: disk.folder })
  writer.begin({ windowKey: 'boot-1', windowStartS: 60, windowSizeS: 60 })

  const spool = disk.spool()

  assert.deepEqual(spool.committedWindows(), [])
  assert.deepEqual(fs.readdirSync(disk.folder), ['damaged'])
})

test('a destination larger than the limit becomes parts, each of whole members', async () => {
  using disk = new Disk()
  const lines = Array.from({ length: 10 }, (_, i) => `line ${i}\n`)
  await disk.write(1, { 'b/x': lines }, 70)
  const spool = disk.spool()

  const segments = spool.segments()
  const texts = await Promise.all(segments.map(({ segmentId }) => textOf(spool, segmentId)))

  assert.ok(segments.length > 2)
  assert.deepEqual(
    segments.map(({ part }) => part),
    segments.map((_, i) => i),
  )
  assert.ok(segments.every(({ size }) => size <= 70))
  assert.equal(new Set(segments.map(({ segmentId }) => segmentId)).size, segments.length)
  assert.equal(texts.join(''), lines.join(''))
})

test('the same window written twice has the same segment ids', async () => {
  using disk = new Disk()
  using other = new Disk()
  await disk.write(1, { 'b/x': ['one\n'], 'b/y': ['two\n'] })
  await other.write(1, { 'b/x': ['one\n'], 'b/y': ['two\n'] })

  const ids = (spool: Spool) => spool.segments().map(({ segmentId }) => segmentId)

  assert.deepEqual(ids(disk.spool()), ids(other.spool()))
})

test('a segment cut at any byte gives its whole members and counts the others as lost', async () => {
  const lines = ['one\n', 'two\n', 'three\n']
  const sizes = lines.map((line) => gzipSync(line).length)
  const size = sizes.reduce((sum, it) => sum + it, 0)
  for (let cut = 0; cut < size; cut++) {
    using disk = new Disk()
    const windowKey = await disk.write(1, { 'b/x': lines })
    const spool = disk.spool()
    fs.truncateSync(path.join(disk.folder, `w-${windowKey}`, '0.log.gz'), cut)
    const whole = sizes.filter((_, i) => sizes.slice(0, i + 1).reduce((sum, it) => sum + it, 0) <= cut).length

    const segment = spool.segments()[0]!
    const text = await textOf(spool, segment.segmentId)
    const [loss] = spool.takeGivenUp('b/x')

    assert.equal(text, whole === 0 ? undefined : lines.slice(0, whole).join(''), `cut at ${cut}`)
    assert.equal(loss?.packets, 10 * (lines.length - whole), `cut at ${cut}`)
    assert.equal(spool.stats().damagedSegments, 1)
  }
})

test('flipped bits anywhere in a spool lose at most the member they are in, and never go unnoticed', async () => {
  const lines = Array.from({ length: 6 }, (_, i) => `line ${i}\n`)
  for (let seed = 1; seed <= 300; seed++) {
    using disk = new Disk()
    const windowKey = await disk.write(1, { 'b/x': lines, 'b/y': lines })
    const next = random(seed)
    const folder = path.join(disk.folder, `w-${windowKey}`)
    const file = path.join(folder, ['0.log.gz', '1.log.gz', 'manifest'][next() % 3]!)
    const bytes = fs.readFileSync(file)
    const at = next() % bytes.length
    bytes[at] = bytes[at]! ^ (1 << (next() % 8))
    fs.writeFileSync(file, bytes)
    const spool = disk.spool()

    const found: string[] = []
    for (const { segmentId } of spool.segments()) found.push((await textOf(spool, segmentId)) ?? '')
    const { damagedSegments, damagedManifestLines } = spool.stats()
    const got = found.join('').split('\n').length - 1

    assert.ok(damagedSegments + damagedManifestLines > 0, `seed ${seed}: unnoticed`)
    if (damagedSegments > 0) {
      assert.equal(got, 2 * lines.length - 1, `seed ${seed}`)
      assert.equal(spool.flowLogsGivenUp().length, 1, `seed ${seed}`)
    } else {
      // A newline that became something else takes the next line with it.
      assert.ok(got >= 0 && got % lines.length === 0, `seed ${seed}: ${got}`)
      const aside = fs.readdirSync(path.join(disk.folder, 'damaged')).length
      assert.equal(aside, 2 - got / lines.length, `seed ${seed}`)
    }
  }
})

test('a manifest cut at any byte keeps the segments of its whole lines, and sets the files of the others aside', async () => {
  const destinations = { 'b/x': ['one\n'], 'b/y': ['two\n'] }
  using first = new Disk()
  const whole = fs.readFileSync(
    path.join(first.folder, `w-${await first.write(1, destinations)}`, 'manifest'),
    'utf8',
  )
  for (let cut = 0; cut < whole.length; cut++) {
    using disk = new Disk()
    const windowKey = await disk.write(1, destinations)
    fs.truncateSync(path.join(disk.folder, `w-${windowKey}`, 'manifest'), cut)
    const lines = whole.slice(0, cut).split('\n').slice(0, -1)
    const kept = lines.filter((line) => line.includes('segmentId')).length

    const spool = disk.spool()
    const texts = await Promise.all(spool.segments().map(({ segmentId }) => textOf(spool, segmentId)))

    assert.deepEqual(texts, ['one\n', 'two\n'].slice(0, kept), `cut at ${cut}`)
    assert.equal(spool.stats().setAsideFiles, 2 - kept, `cut at ${cut}`)
    assert.equal(fs.readdirSync(path.join(disk.folder, 'damaged')).length, 2 - kept, `cut at ${cut}`)
    assert.deepEqual(spool.committedWindows(), [windowKey], `cut at ${cut}`)
  }
})

test('a manifest or a ledger that the disk cannot read is a damaged one: its files are set aside, and the rest is delivered', async () => {
  using disk = new Disk()
  const windowKeys = [await disk.write(1, { 'b/x': ['one\n'] }), await disk.write(2, { 'b/x': ['two\n'] })]
  const manifest = path.join(disk.folder, `w-${windowKeys[0]}`, 'manifest')
  fs.rmSync(manifest)
  for (const name of [manifest, path.join(disk.folder, 'given-up.json')]) fs.mkdirSync(name) // Reading them fails.

  const spool = disk.spool()

  assert.deepEqual(
    spool.segments().map(({ windowStartS }) => windowStartS),
    [120],
  )
  assert.equal(spool.stats().damagedManifestLines, 2) // The ledger is counted like one.
  assert.deepEqual(fs.readdirSync(path.join(disk.folder, 'damaged')), [`${windowKeys[0]}-0.log.gz`])
  assert.deepEqual(spool.committedWindows(), windowKeys)
})

test('a ledger of losses that is damaged at any byte is noticed, and the spool goes on', async () => {
  using disk = new Disk()
  const spool = disk.spool()
  spool.addWindow(await disk.write(1, { 'b/x': ['line\n'] }))
  spool.makeRoom(1)
  spool.stop()
  const file = path.join(disk.folder, 'given-up.json')
  const whole = fs.readFileSync(file)
  for (let at = 0; at < whole.length; at++) {
    const flipped = Buffer.from(whole)
    flipped[at]! ^= 1 << (at % 8)
    const isNewline = at === whole.length - 1 // Says nothing.
    for (const bytes of isNewline ? [] : [flipped, whole.subarray(0, at)]) {
      fs.writeFileSync(file, bytes)

      const found = disk.spool()

      const untold = found.flowLogsGivenUp()
      const isNoticed = found.stats().damagedManifestLines === 1 && untold.length === 0
      // The case of a hexadecimal digit and the space behind them say nothing.
      assert.ok(isNoticed || (at <= 8 && untold.length === 1), `byte ${at}, ${bytes.length} bytes`)
    }
  }
})

test('a ledger of losses that was cut within the zeros of its checksum is noticed', () => {
  using disk = new Disk()
  disk.spool().stop()
  fs.writeFileSync(path.join(disk.folder, 'given-up.json'), '00')

  const found = disk.spool()

  assert.equal(found.stats().damagedManifestLines, 1)
})

test('losses of flow logs that are gone are forgotten in time, also on disk, and no others are', async () => {
  using disk = new Disk()
  const spool = disk.spool()
  spool.addWindow(await disk.write(1, { 'b/gone': ['line\n'], 'b/here': ['line\n'] }))
  spool.addWindow(await disk.write(9, { 'b/late': ['line\n'] }))
  spool.makeRoom(1e6)

  spool.forgetGivenUp(new Set(['b/here']), 300)

  assert.deepEqual(spool.flowLogsGivenUp().sort(), ['b/here', 'b/late'])
  assert.deepEqual(disk.spool().flowLogsGivenUp().sort(), ['b/here', 'b/late'])
})

test('a salvaged segment stays salvaged over a restart, and its loss is counted once', async () => {
  using disk = new Disk()
  const windowKey = await disk.write(1, { 'b/x': ['one\n', 'two\n'] })
  fs.truncateSync(path.join(disk.folder, `w-${windowKey}`, '0.log.gz'), gzipSync('one\n').length + 3)
  const first = disk.spool()
  await textOf(first, first.segments()[0]!.segmentId)

  const second = disk.spool()
  const segments = second.segments()
  const text = await textOf(second, segments[0]!.segmentId)

  assert.equal(segments.length, 1)
  assert.equal(text, 'one\n')
  assert.equal(second.stats().damagedSegments, 0)
  assert.deepEqual(
    second.takeGivenUp('b/x').map(({ packets, octets, startS, endS }) => ({ packets, octets, startS, endS })),
    [{ packets: 10, octets: 600, startS: 60, endS: 120 }],
  )
})

test('too many bytes: the oldest of the largest consumer go, and are counted by flow log', async () => {
  using disk = new Disk()
  const big = Array.from({ length: 30 }, (_, i) => `line ${i}\n`)
  const spool = disk.spool({ bytesMax: 2200 })
  for (let i = 1; i <= 4; i++)
    spool.addWindow(await disk.write(i, { 'big/x': big, 'big/y': ['a\n'], 'small/z': ['b\n'] }))

  spool.enforceLimits()

  const left = spool.segments().map(({ bucket, stem, windowStartS }) => `${bucket}/${stem} ${windowStartS}`)
  assert.ok(spool.stats().bytes <= 2200)
  assert.deepEqual(
    left.filter((it) => it.startsWith('big/x')),
    ['big/x 180', 'big/x 240'],
  )
  assert.equal(left.filter((it) => !it.startsWith('big/x')).length, 8)
  assert.deepEqual(spool.flowLogsGivenUp(), ['big/x'])
  const [loss] = spool.takeGivenUp('big/x')
  assert.equal(loss?.packets, 2 * 30 * 10)
  assert.deepEqual([loss?.startS, loss?.endS], [60, 180])
})

test('what is too old goes, but for what is on its way', async () => {
  using disk = new Disk()
  const spool = disk.spool({ ageMsMax: 600_000 })
  for (let i = 1; i <= 3; i++) {
    disk.nowMs = disk.monotonicMs = (i + 1) * 60_000
    spool.addWindow(await disk.write(i, { 'b/x': ['line\n'] }))
  }
  spool.upload(spool.segments()[0]!.segmentId)

  disk.monotonicMs += 600_000 - 1
  spool.enforceLimits()

  assert.deepEqual(
    spool.segments().map(({ windowStartS }) => windowStartS),
    [60, 180],
  )
})

test('neither a clock that is set forward nor a long time without power makes what is here too old', async () => {
  using disk = new Disk()
  const spool = disk.spool({ ageMsMax: DAY_MS })
  disk.nowMs = 120_000
  spool.addWindow(await disk.write(1, { 'b/x': ['line\n'] }))

  disk.nowMs += 3 * DAY_MS
  spool.enforceLimits()
  const stepped = spool.segments().length
  const next = disk.spool({ ageMsMax: DAY_MS })
  next.enforceLimits()
  disk.monotonicMs += 600_000
  next.enforceLimits()
  const started = next.segments().length
  disk.monotonicMs += 1
  next.enforceLimits()

  assert.deepEqual([stepped, started, next.segments().length], [1, 1, 0])
})

test('a loss is offered until a committed window tells it, also over restarts', async () => {
  using disk = new Disk()
  const spool = disk.spool()
  spool.addWindow(await disk.write(1, { 'b/x': ['line\n'] }))
  spool.makeRoom(1)
  const [first] = spool.takeGivenUp('b/x')
  const [again] = disk.spool().takeGivenUp('b/x')

  const writer = new WindowWriter({ directory: disk.folder })
  writer.begin({ windowKey: 'boot-2', windowStartS: 120, windowSizeS: 60 })
  writer.append({ contractNumber: 1, bucket: 'b', stem: 'x' }, gzipSync('SKIP\n'), {
    flowLogId: 'b/x',
    records: 1,
    packets: first!.packets,
    octets: first!.octets,
  })
  writer.tell([first!.id])
  await writer.commit()
  spool.addWindow('boot-2')

  assert.deepEqual(again, first)
  assert.deepEqual(spool.flowLogsGivenUp(), [])
  assert.deepEqual(disk.spool().flowLogsGivenUp(), [])
})

test('a full disk is told from a broken one, and leaves the window where it was', async () => {
  using disk = new Disk()
  const spool = disk.spool()
  for (const [errno, code] of [
    ['ENOSPC', 'WEIR_SPOOL_FULL'],
    ['EROFS', 'WEIR_SPOOL_UNWRITABLE'],
  ]) {
    const files: SpoolFiles = {
      ...systemFiles,
      appendDurably: () => Promise.reject(Object.assign(new Error('the disk says no'), { code: errno })),
    }
    const writer = new WindowWriter({ directory: disk.folder }, { files })
    writer.begin({ windowKey: 'boot-1', windowStartS: 60, windowSizeS: 60 })
    writer.append({ contractNumber: 1, bucket: 'b', stem: 'x' }, gzipSync('a\n'), {
      flowLogId: 'f',
      records: 1,
      packets: 1,
      octets: 1,
    })
    await assert.rejects(writer.commit(), { code })
    writer.abort()
  }

  assert.deepEqual(fs.readdirSync(disk.folder), ['damaged'])
  assert.deepEqual(spool.committedWindows(), [])
})

test('a spool that has become read-only still delivers, and forgets once it can', async () => {
  using disk = new Disk()
  await disk.write(1, { 'b/x': ['line\n'] })
  let readOnly = true
  const refuse = () => {
    if (readOnly) throw Object.assign(new Error('read-only file system'), { code: 'EROFS' })
  }
  const spool = disk.spool(
    {},
    {
      ...systemFiles,
      remove: (file) => {
        refuse()
        systemFiles.remove(file)
      },
    },
  )
  const { segmentId } = spool.segments()[0]!
  const text = await textOf(spool, segmentId)
  spool.upload(segmentId)
  await spool.acknowledge(segmentId)
  const offered = spool.segments()
  readOnly = false
  spool.enforceLimits()

  assert.equal(text, 'line\n')
  assert.deepEqual(offered, [])
  assert.deepEqual(fs.readdirSync(disk.folder), ['damaged'])
})

test('two thousand destinations are committed in well under seconds on a usual disk', async () => {
  using disk = new Disk()
  const destinations = Array.from({ length: 2_000 }, (_, i) => [`b/${i}`, [`line of ${i}\n`]])
  const begin = performance.now()
  const windowKey = await disk.write(1, Object.fromEntries(destinations))
  const spool = disk.spool()
  const ms = performance.now() - begin

  assert.equal(spool.segments().length, 2_000)
  assert.deepEqual(spool.committedWindows(), [windowKey])
  assert.ok(ms < 5_000, `${ms} ms`) // About 0.5 s here; a busy machine must not fail for it.
})
