import assert from 'node:assert/strict'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { runCommand } from '../../src/cli/main.ts'
import { generateRecords, NOW_S, World } from './world.ts'

// The commands as they are called, over a directory of objects and without any server.

const records = generateRecords(7)
const world = await World.make()
after(() => world[Symbol.asyncDispose]())
await world.deliver(records)
await world.put(`flowlogs/broken-${NOW_S - 600}.log.gz`, gzipSync('x'.repeat(10_000)).subarray(0, 20))

const flows = records.filter((it) => it.logStatus === 'OK')
const RANGE = ['--since', String(NOW_S - 3 * 3600), '--until', String(NOW_S)]
const FROM = ['--from', path.join(world.buckets, 'flowlogs')]

/** `onProgress` gets what a terminal would be told while the command works. */
async function weir(args: string[], onProgress?: (stderr: string, stop: () => void) => void) {
  const stop = new AbortController()
  const written = { stdout: '', stderr: '' }
  const sink = (name: 'stdout' | 'stderr') => new PassThrough().on('data', (it) => (written[name] += it))
  const stderr = sink('stderr').on('data', () => onProgress?.(written.stderr, () => stop.abort('SIGINT')))
  const home = { HOME: world.directory, WEIR_DATA_DIR: path.join(world.directory, 'none') }
  const code = await runCommand(args, {
    stdin: Readable.from([]),
    stdout: sink('stdout'),
    stderr,
    env: home,
    stdoutIsTerminal: false,
    stderrIsTerminal: onProgress !== undefined,
    signal: stop.signal,
  })
  return { code, ...written }
}

test('a query sees every record, typed, and names what it skipped', async () => {
  const sql =
    "SELECT count(*) AS n, sum(bytes) AS bytes, count(*) FILTER (in_network(srcaddr, '10.1.0.0/16')) AS inside FROM flows WHERE log_status = 'OK'"
  const { code, stdout, stderr } = await weir(['query', sql, '--json', ...FROM])

  const bytes = flows.reduce((sum, it) => sum + Number(it.bytes), 0)
  const inside = flows.filter((it) => it.srcaddr!.startsWith('10.1.')).length
  assert.equal(code, 0, stderr)
  assert.deepEqual(JSON.parse(stdout), { n: flows.length, bytes, inside })
  assert.match(stderr, /skipped: flowlogs\/broken-\d+\.log\.gz damaged/)
})

test('rows come as a table, CSV, JSON lines or Parquet', async () => {
  const sql =
    'SELECT srcaddr, dstport, start_time FROM flows WHERE dstport = 22 ORDER BY start_s, srcaddr LIMIT 3'
  const parquet = path.join(world.directory, 'rows.parquet')

  const table = await weir(['query', sql, ...FROM])
  const csv = await weir(['query', sql, '--format', 'csv', ...FROM])
  const json = await weir(['query', sql, '--json', ...FROM])
  const file = await weir(['query', sql, '--format', 'parquet', '--output', parquet, ...FROM])

  const lines = csv.stdout.trim().split('\n')
  const rows = json.stdout
    .trim()
    .split('\n')
    .map((it) => JSON.parse(it))
  assert.equal(lines[0], 'srcaddr,dstport,start_time')
  assert.equal(lines.length, 4)
  assert.equal(lines[1], `${rows[0].srcaddr},22,${rows[0].start_time.replace('.000Z', 'Z')}`)
  assert.match(table.stdout, /^srcaddr +dstport +start_time *\n/)
  assert.deepEqual([file.code, (await readFile(parquet)).subarray(0, 4).toString()], [0, 'PAR1'])
})

test('that there is nothing to ask about is said, not only counted as nothing', async () => {
  const none = ['--from', path.join(world.directory, 'none')]
  await mkdir(none[1]!)
  for (const args of [
    ['query', 'SELECT count(*) FROM flows', '--since', '1h', ...FROM],
    ['query', 'SELECT count(*) FROM flows', ...none],
    ['top', 'talkers', ...none],
  ]) {
    const { code, stderr } = await weir(args)
    assert.equal(code, 0)
    assert.match(stderr, /^no objects of this time \(\d+ of other times\); see --since and --from$/m)
  }
})

test('the example queries run', async () => {
  const directory = path.join(import.meta.dirname, '../../examples/queries')
  const names = (await readdir(directory)).filter((it) => it.endsWith('.sql'))

  assert.ok(names.length >= 5)
  for (const name of names) {
    const { code, stdout, stderr } = await weir(['query', '--file', path.join(directory, name), ...FROM])
    assert.equal(code, 0, `${name}: ${stderr}`)
    if (name !== 'scanners.sql') assert.ok(stdout.trim().split('\n').length > 1, name)
  }
})

test('what an answer shows as its SQL runs as a query, and gives the same', async () => {
  const asked = await weir([
    'top',
    'pairs',
    '--filter',
    'tcp or addr in 2001:db8::/32',
    '--json',
    ...RANGE,
    ...FROM,
  ])
  const { result, sql } = JSON.parse(asked.stdout)
  const { code, stdout } = await weir(['query', sql, '--json', ...FROM])

  const rows = stdout
    .trim()
    .split('\n')
    .map((it) => JSON.parse(it))
  assert.equal(code, 0)
  assert.deepEqual(
    rows.map((it) => [it.k0, it.k1, it.bytes]),
    result.rows.map((it: { key: { srcaddr: string; dstaddr: string }; bytes: number }) => [
      it.key.srcaddr,
      it.key.dstaddr,
      it.bytes,
    ]),
  )
})

test('the SQL of an answer about two addresses runs as a query, too', async () => {
  const { srcaddr, dstaddr } = flows[0]!

  const asked = await weir(['why', srcaddr!, dstaddr!, '--json', ...RANGE, ...FROM])
  const { code, stderr } = await weir(['query', JSON.parse(asked.stdout).sql, '--json', ...FROM])

  assert.equal(code, 0, stderr)
})

test('SQL that DuckDB refuses is a failure with its words', async () => {
  const { code, stderr } = await weir(['query', 'SELECT nothing FROM flows', ...FROM])

  assert.equal(code, 1)
  assert.match(stderr, /^weir query: .*"nothing"/)
})

test('top rejects ranks what was refused', async () => {
  const { code, stdout } = await weir([
    'top',
    'rejects',
    '--filter',
    'src in 10.0.0.0/8',
    '--limit',
    '3',
    '--json',
    ...RANGE,
    ...FROM,
  ])

  const refused = flows.filter((it) => it.action === 'REJECT' && it.srcaddr!.startsWith('10.'))
  const groups = [...Map.groupBy(refused, (it) => `${it.srcaddr} ${it.protocol} ${it.dstport}`).values()]
  const { result } = JSON.parse(stdout)
  assert.equal(code, 0)
  assert.deepEqual(
    result.rows.map((it: { flows: number }) => it.flows),
    groups
      .map((it) => it.length)
      .sort((a, b) => b - a)
      .slice(0, 3),
  )
})

test('why says in one line what happened, and by its exit code what happened last', async () => {
  const { code, stdout } = await weir(['why', '10.0.0.0/8', '10.0.0.7', 'tcp/https', ...RANGE, ...FROM])

  const way = flows.filter(
    (it) =>
      it.srcaddr!.startsWith('10.') && it.dstaddr === '10.0.0.7' && it.dstport === 443 && it.protocol === 6,
  )
  const last = way.toSorted((a, b) => a.start - b.start || (a.action! < b.action! ? -1 : 1)).at(-1)!
  assert.match(
    stdout,
    /^10\.0\.0\.0\/8 → 10\.0\.0\.7 on TCP https \(443\): allowed \(\d+ flows\) and refused at /,
  )
  assert.equal(code, last.action === 'REJECT' ? 1 : 0)
})

test('throughput tells rates per interface and direction', async () => {
  const { code, stdout } = await weir(['throughput', '--step', '5m', ...RANGE, ...FROM])

  assert.equal(code, 0)
  assert.match(stdout, /INTERFACE +DIRECTION +BYTES +MEAN +P50 +P95 +PEAK/)
  assert.equal(stdout.trim().split('\n').length, 5)
})

test('what was typed wrongly is a matter of usage', async () => {
  for (const args of [
    ['query'],
    ['query', ' /* nothing */'],
    ['query', 'SELECT 1', '--format', 'xml'],
    ['query', 'SELECT 1', '--format', 'parquet'],
    ['query', 'SELECT 1', '--since', 'soon'],
    ['query', 'SELECT 1', '--explain-for', 'excel'],
    ['top', 'models'],
    ['top', 'talkers', '--filter', 'src = nowhere'],
    ['top', 'talkers', '--since', 'soon'],
    ['why', '10.0.0.1'],
    ['why', '10.0.0.1', '10.0.0.2', 'doors'],
  ]) {
    const { code, stderr } = await weir([...args, ...(args[0] === 'query' ? [] : FROM)])
    assert.equal(code, 2, `${args.join(' ')}: ${stderr}`)
  }
})

test('a query is stopped by Ctrl-C', async () => {
  const { code } = await weir(
    ['query', 'SELECT count(*) FROM range(1000000) a, range(1000000) b, flows', ...FROM],
    (stderr, stop) => /asking.*asking/s.test(stderr) && stop(), // Said again while it is worked on.
  )

  assert.equal(code, 1)
})

test('all columns of flows are those that the documents name', async () => {
  const { stdout } = await weir(['query', 'SELECT * FROM flows LIMIT 1', '--json', ...FROM])

  const text = await readFile(path.resolve('docs/queries.md'), 'utf8')
  const table = text
    .slice(text.indexOf('## SQL'))
    .split('\n')
    .filter((line) => /^\| `\w+`.*\| .*\| .*\|$/.test(line))
  const named = table.flatMap((line) => [...line.split('|')[1]!.matchAll(/`(\w+)`/g)].map(([, it]) => it!))
  assert.deepEqual(Object.keys(JSON.parse(stdout)).sort(), named.sort())
})

test('odd characters of a prefix stand for themselves, in the words of each engine', async () => {
  const prefix = 'a[1]^b\\(c)'
  const places = ['--from', `s3://logs/${prefix}`]

  for (const engine of ['trino', 'athena']) {
    const { stdout } = await weir(['query', 'SELECT 1 FROM flows', '--explain-for', engine, ...places])
    const [, pattern] = /regexp_like\("\$path", '([^']+)'\)/.exec(stdout)!
    assert.match(`s3://logs/${prefix}-1795371000.log.gz`, new RegExp(pattern!))
    assert.doesNotMatch('s3://logs/a1b-1795371000.log.gz', new RegExp(pattern!))
  }
})

test('the same query is explained for engines of more than one machine', async () => {
  const sql = "SELECT srcaddr, sum(bytes) FROM flows WHERE in_network(dstaddr, '10.0.0.0/8') GROUP BY srcaddr"
  const texts = await Promise.all(
    ['clickhouse', 'trino', 'athena'].map(async (engine) => {
      const scope = [
        '--from',
        's3://logs/web',
        '--from',
        './logs',
        '--since',
        '1795000000',
        '--until',
        '1795003600',
      ]
      return (await weir(['query', sql, '--explain-for', engine, ...scope])).stdout
    }),
  )

  assert.match(texts[0]!, /FROM s3\('https:\/\/ENDPOINT\/logs\/web\*\*\.log\.gz'.*'CustomSeparated'/)
  assert.match(texts[0]!, /WHERE isIPAddressInRange\(dstaddr, '10\.0\.0\.0\/8'\)/)
  assert.match(texts[1]!, /external_location = 's3:\/\/logs\/', format = 'CSV', csv_separator = ' '/)
  assert.match(texts[1]!, /^-- .*hive\.recursive-directories=true/m)
  assert.match(texts[2]!, /CREATE EXTERNAL TABLE flow_logs_text .*LOCATION 's3:\/\/logs\/'/s)
  for (const text of texts.slice(1)) {
    assert.match(text, /contains\('10\.0\.0\.0\/8', CAST\(dstaddr AS IPADDRESS\)\)/)
  }
  for (const text of texts) {
    assert.ok(text.includes("'(^|/)logs/web(/.+)?-[0-9]+[.]log[.]gz$'"))
    assert.ok(text.includes('WHERE start_s >= 1795000000 AND start_s < 1795003600'))
    for (const column of ['protocol_name', 'service', 'window_start', 'interface', 'server', 'datacenter']) {
      assert.match(text, new RegExp(`AS ${column}\\b`))
    }
  }
})
