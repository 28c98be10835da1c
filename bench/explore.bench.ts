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
// `--logs=DIR` keeps the generated objects there for the next run; `--generate` does nothing else. `--presets=ports,why`
// compares these alone.

const objects = parameter('objects', { smoke: 4, full: 2_000 })
const recordsPerObject = parameter('records', { smoke: 2_000, full: 50_000 })
const rounds = parameter('rounds', { smoke: 1, full: 5 })
const START_S = 1_795_000_200
const WINDOW_SIZE_S = 600

const directory = mkdtempSync(path.join(tmpdir(), 'weir-explore-bench-'))
const kept = process.argv.find((it) => it.startsWith('--logs='))?.slice('--logs='.length)
const wanted = process.argv
  .find((it) => it.startsWith('--presets='))
  ?.slice('--presets='.length)
  .split(',')
const buckets = path.join(kept === undefined ? directory : path.resolve(kept), 'buckets')
interface Preset {
  name: string
  /** The first row of the answer as the others write it. */
  ask(explorer: Explorer): Promise<string>
  /** The same in SQL over the text, `key` and `n`, and in awk, `n` and the key. */
  sql: string
  awk: string
}

const SINCE_S = START_S
const UNTIL_S = START_S + objects * WINDOW_SIZE_S
const ACCESS = { places: [{ bucket: 'logs', prefix: '' }], interfaces: [] }
const SCOPE = { since: String(SINCE_S), until: String(UNTIL_S) }
/** One of the busy addresses, and the only one of the interface. */
const [PEER, OWN] = ['10.1.0.1', '10.0.0.7']
/** Divides the range: a step that its end cuts has a rate, but not the others' seconds. */
const STEP_S = WINDOW_SIZE_S

const PRINT = 'END { for (key in n) printf "%.0f %s\\n", n[key], key }'

const PRESETS: Preset[] = [
  {
    name: 'talkers',
    ask: (explorer) => askTop(explorer, { by: ['srcaddr'], metric: 'bytes' }),
    sql: 'SELECT srcaddr AS key, sum(bytes) AS n FROM records GROUP BY ALL',
    awk: `{ n[$4] += $10 } ${PRINT}`,
  },
  {
    name: 'ports',
    ask: (explorer) => askTop(explorer, { by: ['protocol', 'dstport'], metric: 'bytes' }),
    sql: "SELECT protocol || ' ' || dstport AS key, sum(bytes) AS n FROM records GROUP BY ALL",
    awk: `{ n[$8 " " $7] += $10 } ${PRINT}`,
  },
  {
    name: 'pairs',
    ask: (explorer) => askTop(explorer, { by: ['srcaddr', 'dstaddr'], metric: 'bytes' }),
    sql: "SELECT srcaddr || ' ' || dstaddr AS key, sum(bytes) AS n FROM records GROUP BY ALL",
    awk: `{ n[$4 " " $5] += $10 } ${PRINT}`,
  },
  {
    name: 'rejects',
    ask: (explorer) => askTop(explorer, { by: ['srcaddr'], metric: 'flows', filter: 'reject' }),
    sql: "SELECT srcaddr AS key, count(*) AS n FROM records WHERE action = 'REJECT' GROUP BY ALL",
    awk: `$13 == "REJECT" { n[$4]++ } ${PRINT}`,
  },
  {
    // The busiest step. SQL and awk are told which address is the interface's own; Weir finds it out.
    name: 'throughput',
    ask: async (explorer) => {
      const { result } = await explorer.ask({ kind: 'throughput', stepS: STEP_S, ...SCOPE }, ACCESS)
      const peak = result.rows.toSorted((a, b) => b.max - a.max)[0]!
      return `${peak.direction} ${peak.maxAtS} ${Math.round(peak.max * STEP_S)}`
    },
    sql: `SELECT key, round(sum(n)) AS n FROM (
      SELECT CASE srcaddr WHEN '${OWN}' THEN 'EGRESS' ELSE 'INGRESS' END || ' ' || step AS key,
        bytes * (least(end_s::BIGINT + 1, step + ${STEP_S}) - greatest(start_s::BIGINT, step)) / (end_s::BIGINT - start_s::BIGINT + 1) AS n
      FROM (SELECT *, unnest(range(start_s::BIGINT - start_s::BIGINT % ${STEP_S}, end_s::BIGINT + 1, ${STEP_S})) AS step FROM records))
      GROUP BY ALL`,
    awk: `{ d = $4 == "${OWN}" ? "EGRESS" : "INGRESS"; r = $10 / ($12 - $11 + 1)
      for (s = $11 - $11 % ${STEP_S}; s <= $12; s += ${STEP_S}) {
        from = s > $11 ? s : $11; to = s + ${STEP_S} < $12 + 1 ? s + ${STEP_S} : $12 + 1
        n[d " " s] += r * (to - from) } } ${PRINT}`,
  },
  {
    name: 'why',
    ask: async (explorer) => {
      const question = { kind: 'reach', src: PEER, dst: OWN, port: 443, ...SCOPE } as const
      const { result } = await explorer.ask(question, ACCESS)
      return `ACCEPT ${result.accepted.flows}`
    },
    sql: `SELECT action AS key, count(*) AS n FROM records
      WHERE srcaddr = '${PEER}' AND dstaddr = '${OWN}' AND dstport = 443 GROUP BY ALL`,
    awk: `$4 == "${PEER}" && $5 == "${OWN}" && $7 == 443 { n[$13]++ } ${PRINT}`,
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
  await cold.take(() => PRESETS[0]!.ask(explorer))
  for (const preset of PRESETS.filter(({ name }) => wanted?.includes(name) ?? true))
    await compare(explorer, folder, preset, { gzipBytes, cold })
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
    tops.add(await warm.take(() => preset.ask(explorer)))
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
async function askTop(
  explorer: Explorer,
  question: { by: Dimension[]; metric: Metric; filter?: string },
): Promise<string> {
  const { result } = await explorer.ask({ kind: 'top', ...question, ...SCOPE, limit: 10 }, ACCESS)
  const first = result.rows[0]!
  return `${question.by.map((it) => first.key[it]).join(' ')} ${first[question.metric]}`
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
  const script = `zcat ${folder}/*.log.gz | awk '${awk}' | sort -k1,1nr -k2 | head -1; times`
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
