import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { type FlowLogRecord, formatRecord } from '../../src/encode/record.ts'
import { DirectorySource } from '../../src/explore/directory-source.ts'
import { openDatabase } from '../../src/explore/duckdb.ts'
import { type Access, Explorer } from '../../src/explore/explorer.ts'
import { LocalExecutor } from '../../src/explore/jobs.ts'
import { WeirError } from '../../src/model/errors.ts'
import type { Clock } from '../../src/stdx/clock.ts'
import { random } from '../../src/stdx/prng.ts'

export const WEB = '7ffd6527-ce80-4e57-a949-f9a45824ebe2'
export const GATEWAY = '0c1f0d44-5f0c-4a53-8f0e-6d1f6b0f3a11'
export const WEB_ADDRESSES = ['10.0.0.7', '2001:db8::7']

/** Three hours of windows of 600 s end here. */
export const NOW_S = 1_795_372_200
export const WINDOW_SIZE_S = 600
const WINDOWS = 18
const RECORDS_PER_OBJECT = 400

export type TestRecord = FlowLogRecord & { object: string }

/** Traffic that has a bit of everything: two interfaces, both families, refused flows, protocols without ports. */
export function generateRecords(seed: number): TestRecord[] {
  const next = random(seed)
  const pick = <T>(choices: readonly T[]): T => choices[next() % choices.length]!
  const records: TestRecord[] = []
  for (let window = 0; window < WINDOWS; window++) {
    const windowS = NOW_S - (WINDOWS - window) * WINDOW_SIZE_S
    for (const [stem, interfaceId] of [
      ['web', WEB],
      [GATEWAY, GATEWAY],
    ] as const) {
      const object = `flowlogs/${stem}-${windowS}.log.gz`
      for (let i = 0; i < RECORDS_PER_OBJECT; i++) records.push({ ...flow(), object })
      if (window % 5 === 2) records.push({ ...skipped(), object })

      function flow(): FlowLogRecord {
        const v6 = next() % 4 === 0
        const own = interfaceId === WEB ? WEB_ADDRESSES[v6 ? 1 : 0]! : v6 ? 'fd00::1' : '192.0.2.1'
        const peer = v6
          ? `2001:db8:${['', '1:', '2:'][next() % 3]}:${(1 + (next() % 30)).toString(16)}`
          : `10.${next() % 3}.${next() % 4}.${1 + (next() % 40)}`
        const isIngress = next() % 2 === 0
        const protocol = pick([6, 6, 6, 17, 17, v6 ? 58 : 1])
        const service = pick([22, 53, 80, 443, 443, 3306, 8443])
        const client = 32_768 + (next() % 500)
        const hasPorts = protocol !== 1 && protocol !== 58
        const isAnswer = next() % 3 === 0
        const start = windowS + (next() % WINDOW_SIZE_S)
        return {
          version: 2,
          accountId: '12345678',
          interfaceId,
          srcaddr: isIngress ? peer : own,
          dstaddr: isIngress ? own : peer,
          srcport: hasPorts ? (isAnswer ? service : client) : 0,
          dstport: hasPorts ? (isAnswer ? client : service) : 0,
          protocol,
          packets: BigInt(1 + (next() % 1000)),
          bytes: BigInt(40 + (next() % 1_000_000)),
          start,
          end: Math.min(
            start + (next() % 3 === 0 ? next() % WINDOW_SIZE_S : next() % 5),
            windowS + WINDOW_SIZE_S - 1,
          ),
          action: next() % 6 === 0 ? 'REJECT' : 'ACCEPT',
          logStatus: 'OK',
        }
      }

      function skipped(): FlowLogRecord {
        const none = {
          srcaddr: undefined,
          dstaddr: undefined,
          srcport: undefined,
          dstport: undefined,
          protocol: undefined,
        }
        const packets = BigInt(next() % 500)
        const times = { start: windowS, end: windowS + WINDOW_SIZE_S - 1 }
        return {
          version: 2,
          accountId: '12345678',
          interfaceId,
          ...none,
          packets,
          bytes: packets * 100n,
          ...times,
          action: undefined,
          logStatus: 'SKIPDATA',
        }
      }
    }
  }
  return records
}

/** With a bucket called `locked`, as object stores have. */
class LockableSource extends DirectorySource {
  override async listObjects(bucket: string, listing: { prefix: string; after: string; limit: number }) {
    if (bucket === 'locked') throw new WeirError('WEIR_FORBIDDEN', 'not yours')
    return super.listObjects(bucket, listing)
  }
}

/** A directory with a bucket, and an explorer over it. */
export class World implements AsyncDisposable {
  readonly directory: string
  readonly buckets: string
  readonly explorer: Explorer
  nowMs = NOW_S * 1000

  private constructor(directory: string, explorer: (clock: Clock) => Explorer) {
    this.directory = directory
    this.buckets = path.join(directory, 'buckets')
    this.explorer = explorer({ nowMs: () => this.nowMs, monotonicNs: () => process.hrtime.bigint() })
  }

  static async make(options: { cacheSizeMax?: number } = {}): Promise<World> {
    const directory = await mkdtemp(path.join(tmpdir(), 'weir-explore-'))
    await mkdir(path.join(directory, 'buckets', 'flowlogs'), { recursive: true })
    const spillDirectory = path.join(directory, 'spill')
    const database = await openDatabase({ threads: 2, memoryMaxMib: 512, spillDirectory, spillMaxMib: 512 })
    const world = new World(directory, (clock) => {
      const store = new LockableSource({ directory: path.join(directory, 'buckets') })
      const { cacheSizeMax = 1 << 30 } = options
      return new Explorer(
        { cacheDirectory: path.join(directory, 'cache'), cacheSizeMax },
        { store, executor: new LocalExecutor(database), clock },
      )
    })
    await world.explorer.start()
    return world
  }

  get access(): Access {
    return {
      places: [{ bucket: 'flowlogs', prefix: '' }],
      interfaces: [
        { id: WEB, name: 'eth0', server: 'web', addresses: WEB_ADDRESSES },
        { id: GATEWAY, name: 'uplink', server: 'gateway', addresses: ['192.0.2.1', 'fd00::1'] },
      ],
    }
  }

  /** Puts records into the objects that they name, in two gzip members each, as the agent does. */
  async deliver(records: readonly TestRecord[]): Promise<void> {
    for (const [object, some] of Map.groupBy(records, (it) => it.object)) {
      const lines = some.map((it) => `${formatRecord(it)}\n`)
      const half = lines.length >> 1
      const members = [lines.slice(0, half), lines.slice(half)].map((it) => gzipSync(it.join('')))
      await this.put(object, Buffer.concat(members))
    }
  }

  async put(object: string, content: Uint8Array): Promise<void> {
    const file = path.join(this.buckets, object)
    await mkdir(path.dirname(file), { recursive: true })
    await writeFile(file, content)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.explorer.stop()
    await rm(this.directory, { recursive: true, force: true })
  }
}
