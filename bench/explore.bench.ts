import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir, totalmem } from 'node:os'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { DirectorySource } from '../src/explore/directory-source.ts'
import { openDatabase } from '../src/explore/duckdb.ts'
import { Explorer } from '../src/explore/explorer.ts'
import { LocalExecutor } from '../src/explore/jobs.ts'
import type { Dimension, Metric } from '../src/explore/question.ts'
import { systemClock } from '../src/stdx/clock.ts'
import { median, parameter, random, report } from './bench.ts'

// Question: how long does a preset take over many objects, against DuckDB called directly on the same files and
// against `zcat | awk`? Cold is the first question ever: objects are unpacked, checked and kept as typed packs. Warm
// is every later one. Budget: both no slower than 1.2 times plain DuckDB, warm at least 20 times faster than awk.
// Left out: fetching from an object store, and the start of the process (0.2 s).
// `--logs=DIR` keeps the generated objects there for the next run; `--generate` does nothing else.

const objects = parameter('objects', { smoke: 4, full: 2_000 })
const recordsPerObject = parameter('records', { smoke: 2_000, full: 50_000 })
const rounds = parameter('rounds', { smoke: 1, full: 5 })
const START_S = 1_795_000_200
const WINDOW_SIZE_S = 600

const directory = mkdtempSync(path.join(tmpdir(), 'weir-explore-bench-'))
const kept = process.argv.find((it) => it.startsWith('--logs='))?.slice('--logs='.length)
const buckets = path.join(kept === undefined ? directory : path.resolve(kept), 'buckets')
interface Preset {
  name: string
  by: Dimension[]
  metric: Metric
  filter: string
  /** The same in SQL over the text, and in awk: key and number. */
  sql: string
  awk: string
}

const PRESETS: Preset[] = [
  {
    name: 'talkers',
    by: ['srcaddr'],
    metric: 'bytes',
    filter: '',
    sql: 'SELECT srcaddr AS key, sum(bytes) AS n FROM records GROUP BY ALL',
    awk: '{ n[$4] += $10 }',
  },
  {
    name: 'ports',
    by: ['protocol', 'dstport'],
    metric: 'bytes',
    filter: '',
    sql: "SELECT protocol || ' ' || dstport AS key, sum(bytes) AS n FROM records GROUP BY ALL",
    awk: '{ n[$8 " " $7] += $10 }',
  },
  {
    name: 'rejects',
    by: ['srcaddr'],
    metric: 'flows',
    filter: 'reject',
    sql: "SELECT srcaddr AS key, count(*) AS n FROM records WHERE action = 'REJECT' GROUP BY ALL",
    awk: '$13 == "REJECT" { n[$4]++ }',
  },
]

async function main(): Promise<void> {
  const folder = path.join(buckets, 'logs')
  mkdirSync(folder, { recursive: true })
  for (let object = 0; object < objects; object++) writeObject(folder, object)
  if (process.argv.includes('--generate')) return
  const names = readdirSync(folder)
  if (names.length !== objects) throw new Error(`${folder} holds ${names.length} objects, not ${objects}`)
  const gzipBytes = names.reduce((sum, name) => sum + statSync(path.join(folder, name)).size, 0)
  const database = await openDatabase({
    threads: availableParallelism(),
    memoryMaxMib: Math.floor(totalmem() / 2 ** 20 / 2),
    spillDirectory: path.join(directory, 'spill'),
    spillMaxMib: 16_384,
  })
  const explorer = new Explorer(
    { cacheDirectory: path.join(directory, 'cache'), cacheSizeMax: 64 * 2 ** 30, packsAtOnce: 4 },
    {
      store: new DirectorySource({ directory: buckets }),
      executor: new LocalExecutor(database),
      clock: systemClock,
    },
  )
  await explorer.start()
  const cold = new Timings()
  await cold.take(() => askWeir(explorer, PRESETS[0]!))
  for (const preset of PRESETS) await compare(explorer, folder, preset, { gzipBytes, cold })
  await explorer.stop()
}

async function compare(
  explorer: Explorer,
  folder: string,
  preset: Preset,
  { gzipBytes, cold }: { gzipBytes: number; cold: Timings },
): Promise<void> {
  const [warm, plain, awk] = [new Timings(), new Timings(), new Timings()]
  const tops = new Set<string>()
  for (let round = 0; round < rounds; round++) {
    tops.add(await warm.take(() => askWeir(explorer, preset)))
    tops.add(await plain.take(() => askPlain(folder, preset)))
    tops.add(await awk.take(async () => askAwk(folder, preset, awk)))
  }
  if (tops.size !== 1) throw new Error(`the three do not agree: ${[...tops].join(' | ')}`)
  report(`explore ${preset.name}`, {
    objects,
    records: objects * recordsPerObject,
    gzipMib: Math.round(gzipBytes / 2 ** 20),
    coldSeconds: cold.seconds,
    warmSeconds: warm.seconds,
    plainSeconds: plain.seconds,
    awkSeconds: awk.seconds,
    coldCpuSeconds: cold.cpuSeconds,
    warmCpuSeconds: warm.cpuSeconds,
    plainCpuSeconds: plain.cpuSeconds,
    awkCpuSeconds: awk.cpuSeconds,
    coldAgainstPlain: rounded(cold.median / plain.median),
    warmAgainstPlain: rounded(warm.median / plain.median),
    awkAgainstWarm: rounded(awk.median / warm.median),
    top: [...tops][0]!,
  })
}

function rounded(value: number): number {
  return Number(value.toPrecision(3))
}

/** Wall clock, and the processors' time, which tells more on a machine that has other work. */
class Timings {
  readonly seconds: number[] = []
  readonly cpuSeconds: number[] = []
  /** Of processes that were waited for. */
  childCpuSeconds = 0

  async take<T>(work: () => Promise<T>): Promise<T> {
    const begin = performance.now()
    const before = process.cpuUsage()
    const result = await work()
    const { user, system } = process.cpuUsage(before)
    this.seconds.push(rounded((performance.now() - begin) / 1000))
    this.cpuSeconds.push(rounded((user + system) / 1e6 + this.childCpuSeconds))
    this.childCpuSeconds = 0
    return result
  }

  get median(): number {
    return median(this.seconds)
  }
}

/** Returns the largest group as `key number`. */
async function askWeir(explorer: Explorer, { by, metric, filter }: Preset): Promise<string> {
  const since = String(START_S)
  const until = String(START_S + objects * WINDOW_SIZE_S)
  const access = { places: [{ bucket: 'logs', prefix: '' }], interfaces: [] }
  const { result } = await explorer.ask({ kind: 'top', by, metric, filter, since, until, limit: 10 }, access)
  const first = result.rows[0]!
  return `${by.map((it) => first.key[it]).join(' ')} ${first[metric]}`
}

/** As somebody would who has DuckDB and the documentation of the record. */
async function askPlain(folder: string, { sql }: Preset): Promise<string> {
  const database = await openDatabase({
    threads: availableParallelism(),
    memoryMaxMib: Math.floor(totalmem() / 2 ** 20 / 2),
    spillDirectory: path.join(directory, 'spill'),
    spillMaxMib: 16_384,
  })
  const connection = await database.connect()
  const types = {
    srcport: 'USMALLINT',
    dstport: 'USMALLINT',
    protocol: 'UTINYINT',
    packets: 'UBIGINT',
    bytes: 'UBIGINT',
  }
  const names =
    'version account_id interface_id srcaddr dstaddr srcport dstport protocol packets bytes start_s end_s action log_status'
  const columns = names
    .split(' ')
    .map((name) => `'${name}': '${(types as Record<string, string>)[name] ?? 'VARCHAR'}'`)
  await connection.run(`CREATE VIEW records AS SELECT *
    FROM read_csv('${folder}/*.log.gz', columns = {${columns.join(', ')}},
    auto_detect = false, header = false, delim = ' ', quote = '', escape = '', nullstr = '-')`)
  const reader = await connection.runAndReadAll(`${sql} ORDER BY n DESC, key LIMIT 10`)
  const [key, n] = reader.getRows()[0]!
  connection.closeSync()
  database.closeSync()
  return `${key} ${n}`
}

function askAwk(folder: string, { awk }: Preset, timings: Timings): string {
  const script = `zcat ${folder}/*.log.gz | awk '${awk} END { for (key in n) printf "%.0f %s\\n", n[key], key }' | sort -k1,1nr -k2 | head -1; times`
  const { stdout, status } = spawnSync('sh', ['-c', script], {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  })
  if (status !== 0) throw new Error('awk failed')
  const [top, , children] = stdout.trim().split('\n')
  for (const [, minutes, seconds] of children!.matchAll(/(\d+)m([\d.]+)s/g)) {
    timings.childCpuSeconds += Number(minutes) * 60 + Number(seconds)
  }
  const [n, ...key] = top!.split(' ')
  return `${key.join(' ')} ${n}`
}

function writeObject(folder: string, object: number): void {
  const next = random(object + 1)
  const windowS = START_S + object * WINDOW_SIZE_S
  const file = path.join(folder, `web-${windowS}.log.gz`)
  if (existsSync(file)) return
  const members: Buffer[] = []
  for (let from = 0; from < recordsPerObject; from += 8_192) {
    let text = ''
    for (let i = from; i < Math.min(from + 8_192, recordsPerObject); i++) text += line(next, windowS)
    members.push(gzipSync(text, { level: 1 }))
  }
  writeFileSync(file, Buffer.concat(members))
}

/** A few busy addresses and many quiet ones, as networks have. */
function line(next: () => number, windowS: number): string {
  const own = '10.0.0.7'
  const rank = next() % 3 === 0 ? next() % 16 : next() % 16_384
  const peer = `10.${1 + (rank >> 12)}.${(rank >> 6) & 63}.${1 + (rank & 63)}`
  const isIngress = next() % 2 === 0
  const service = [443, 443, 443, 80, 53, 22, 5432, 8443][next() % 8]!
  const client = 32_768 + (next() % 28_000)
  const packets = 1 + (next() % 200)
  const start = windowS + (next() % 590)
  const ends = isIngress ? `${peer} ${own} ${client} ${service}` : `${own} ${peer} ${service} ${client}`
  const action = next() % 20 === 0 ? 'REJECT' : 'ACCEPT'
  return `2 12345678 7ffd6527-ce80-4e57-a949-f9a45824ebe2 ${ends} ${service === 53 ? 17 : 6} ${packets} ${packets * (60 + (next() % 1200))} ${start} ${start + (next() % 10)} ${action} OK\n`
}

try {
  await main()
} finally {
  rmSync(directory, { recursive: true, force: true })
}
