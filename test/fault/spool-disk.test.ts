import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { Spool } from '../../src/spool/spool.ts'
import { SpoolError } from '../../src/spool/spool-error.ts'
import { WindowWriter } from '../../src/spool/window-writer.ts'
import { withoutRoot } from '../support/network.ts'
import { runWeir } from '../support/server-process.ts'
import { silentLog } from '../support/spool-world.ts'

// What a real file system says when it is full or read-only, which no fake has thought of.

const FLOW_LOGS = ['a', 'b']
const PACKETS = 10

class TinyDisk implements Disposable {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weir-tiny-disk-'))

  constructor(size: string) {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', this.folder])
  }

  remount(mode: 'ro' | 'rw'): void {
    execFileSync('mount', ['-o', `remount,${mode}`, this.folder])
  }

  spool(): Spool {
    const options = { directory: path.join(this.folder, 'spool'), bytesMax: 1e12, ageMsMax: 1e15 }
    const spool = new Spool(options, { clock: { nowMs: () => 0, monotonicNs: () => 0n }, log: silentLog })
    spool.start()
    return spool
  }

  /** One member of a few kilobytes for each flow log. */
  async write(spool: Spool, index: number): Promise<void> {
    const writer = new WindowWriter({ directory: spool.directory })
    const windowKey = `boot-${index}`
    try {
      writer.begin({ windowKey, windowStartS: index * 60, windowSizeS: 60 })
      for (const flowLogId of FLOW_LOGS) {
        const member = gzipSync(randomBytes(6_000))
        const counts = { flowLogId, records: 1, packets: PACKETS, octets: 600 }
        writer.append({ contractNumber: 1, bucket: 'bucket', stem: flowLogId }, member, counts)
      }
      await writer.commit()
    } catch (error) {
      writer.abort()
      throw error
    }
    spool.addWindow(windowKey)
  }

  [Symbol.dispose](): void {
    execFileSync('umount', [this.folder])
    fs.rmdirSync(this.folder)
  }
}

/** Packets that a spool has, and those that it tells to have given up. */
async function packetsOf(spool: Spool): Promise<{ kept: number; lost: number }> {
  let kept = 0
  for (const { segmentId, records } of spool.segments()) {
    const loaded = await spool.load(segmentId)
    assert.notEqual(loaded, 'damaged', segmentId)
    kept += records * PACKETS
  }
  const losses = FLOW_LOGS.flatMap((it) => spool.takeGivenUp(it))
  return { kept, lost: losses.reduce((sum, { packets }) => sum + packets, 0) }
}

test('a full disk keeps every packet: in a segment, or told as given up, also after a restart', {
  skip: withoutRoot,
}, async () => {
  using disk = new TinyDisk('256k')
  const spool = disk.spool()
  const windows = 40
  let refusals = 0

  for (let i = 1; i <= windows; i++) {
    for (let tries = 0; ; tries++) {
      try {
        await disk.write(spool, i)
        break
      } catch (error) {
        // As the agent does: the window stays in the kernel, room is made, and it is tried again.
        assert.ok(error instanceof SpoolError && error.code === 'WEIR_SPOOL_FULL', String(error))
        assert.ok(tries < 3, `window ${i} does not fit`)
        refusals++
        spool.makeRoom(30_000)
      }
    }
  }
  const before = await packetsOf(spool)
  spool.stop()
  const after = await packetsOf(disk.spool())

  const made = windows * FLOW_LOGS.length * PACKETS
  assert.ok(refusals > 3, `${refusals}`)
  assert.ok(before.kept > 0 && before.lost > 0)
  assert.equal(before.kept + before.lost, made)
  assert.deepEqual(after, before)
  assert.deepEqual(
    fs.readdirSync(path.join(disk.folder, 'spool')).filter((name) => name.startsWith('tmp-')),
    [],
  )
})

test('a disk that became read-only still delivers, takes no window, and is in order when it is writable again', {
  skip: withoutRoot,
}, async () => {
  using disk = new TinyDisk('1m')
  const first = disk.spool()
  for (const i of [1, 2]) await disk.write(first, i)
  first.stop()
  disk.remount('ro')
  const spool = disk.spool()

  const found = await packetsOf(spool)
  const { segmentId } = spool.segments()[0]!
  spool.upload(segmentId)
  spool.acknowledge(segmentId)
  await assert.rejects(disk.write(spool, 3), { code: 'WEIR_SPOOL_UNWRITABLE' })
  const offered = spool.segments().length
  disk.remount('rw')
  spool.enforceLimits()
  await disk.write(spool, 3)
  spool.stop()
  const after = disk.spool()

  assert.deepEqual(found, { kept: 4 * PACKETS, lost: 0 })
  assert.equal(offered, 3)
  assert.equal(after.segment(segmentId), undefined)
  assert.equal(after.segments().length, 5)
  assert.deepEqual(after.committedWindows().sort(), ['boot-1', 'boot-2', 'boot-3'])
})

test('a server that finds its disk full says so in a sentence', { skip: withoutRoot }, () => {
  using disk = new TinyDisk('200k')
  const fill = path.join(disk.folder, 'fill')
  const start = (): string => runWeir(['server', '--data-dir', disk.folder, '--listen', 'localhost:0']).stderr

  fs.writeFileSync(fill, Buffer.alloc(200 * 1024 - fs.statfsSync(disk.folder).bsize))
  assert.match(start(), /^weir server: .*full\n$/)
  fs.truncateSync(fill, 100 * 1024) // Enough to begin.
  assert.match(start(), /^weir server: the disk does not take changes: database or disk is full\n$/)
})
