import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { gunzipSync, gzipSync } from 'node:zlib'
import type { Locator } from 'playwright-core'
import { formatRecord } from '../../src/encode/record.ts'
import type { ControlPlane } from '../contract/support/control-plane.ts'
import { GATEWAY, generateRecords, NOW_S, WEB, WEB_ADDRESSES } from '../explore/world.ts'
import { LIGHT, Reader, withoutBrowser } from './support/browser.ts'
import { type ConsoleWorld, startConsole } from './support/console-world.ts'

// Every number that a chart draws is computed a second time here: from the lines of the objects in the bucket, with
// loops and maps and nothing of explore's code or the page's. Pages give their exact numbers in <data> and <time>.

const SKIP = withoutBrowser
const run = promisify(execFile)
const SINCE_S = NOW_S - 2 * 3600 - 77 // Not at a window's edge.
const UNTIL_S = NOW_S - 601
const RANGE = `since=${SINCE_S}&until=${UNTIL_S}`
const OWN_ADDRESSES: Record<string, string[]> = {}

interface Flow {
  interfaceId: string
  src: string
  dst: string
  srcport: number
  dstport: number
  protocol: number
  packets: number
  bytes: number
  start: number
  end: number
  action: string
}
type Fields = [string, string, string, string, string, ...string[]]
type Metric = 'bytes' | 'packets' | 'flows'

let world: ConsoleWorld
let weir: ControlPlane
let reader: Reader
let flows: Flow[]
let flowsBefore: Flow[]

before(async () => {
  if (SKIP) return
  world = await startConsole()
  weir = world.weir
  reader = world.reader
  const [web, gateway] = weir.owner.nics.map((nic) => nic.path.split('/').at(-1)!)
  OWN_ADDRESSES[web!] = WEB_ADDRESSES
  OWN_ADDRESSES[gateway!] = ['192.0.2.1', 'fd00::1']
  const directory = path.join(weir.directory, 'buckets', 'flowlogs')
  await mkdir(directory, { recursive: true })
  const ids: Record<string, string> = { [WEB]: web!, [GATEWAY]: gateway! }
  const records = generateRecords(7).map((it) => ({ ...it, interfaceId: ids[it.interfaceId]! }))
  for (const [object, some] of Map.groupBy(records, (it) => it.object)) {
    const lines = some.map((it) => `${formatRecord(it)}\n`).join('')
    await writeFile(path.join(directory, object.replace('flowlogs/', '')), gzipSync(lines))
  }
  const all = await linesOf(directory)
  const inRange = (since: number, until: number) => all.filter((it) => it.start >= since && it.start < until)
  flows = inRange(SINCE_S, UNTIL_S)
  flowsBefore = inRange(2 * SINCE_S - UNTIL_S, SINCE_S)
  await reader.signIn(weir.owner)
})
after(async () => {
  if (SKIP) return
  await world[Symbol.asyncDispose]()
})

/** The flows in a bucket as `zcat | awk` would see them. */
async function linesOf(directory: string): Promise<Flow[]> {
  const found: Flow[] = []
  for (const name of await readdir(directory)) {
    for (const line of gunzipSync(await readFile(path.join(directory, name)))
      .toString()
      .trim()
      .split('\n')) {
      const [, , interfaceId, src, dst, ...rest] = line.split(' ') as Fields
      const [srcport, dstport, protocol, packets, bytes, start, end] = rest.map(Number) as number[]
      const [action, status] = rest.slice(7)
      if (status !== 'OK') continue
      const numbers = {
        srcport: srcport!,
        dstport: dstport!,
        protocol: protocol!,
        packets: packets!,
        bytes: bytes!,
      }
      found.push({ interfaceId, src, dst, ...numbers, start: start!, end: end!, action: action! })
    }
  }
  return found
}

/** Cells of a page's table: exact numbers and Unix seconds where the page has them, else what is read. */
async function cells(name: string, within?: Locator): Promise<(number | string)[][]> {
  const table = (within ?? reader.page).getByRole('table', { name, exact: true })
  await table.waitFor()
  return table.evaluate((element) => {
    const rows = [...(element as unknown as PageElement).querySelectorAll('tbody tr')]
    return rows.map((row) =>
      [...row.querySelectorAll('td')].map((cell) => {
        const exact = cell.querySelector('data')?.getAttribute('value')
        const moment = cell.querySelector('time')?.getAttribute('datetime')
        if (exact) return Number(exact)
        return moment ? Date.parse(moment) / 1000 : (cell.textContent ?? '').trim()
      }),
    )
  })
}

/** Of the page's own types, which these tests do not have, what `cells` needs. */
interface PageElement {
  querySelector(selector: string): PageElement | null
  querySelectorAll(selector: string): Iterable<PageElement>
  getAttribute(name: string): string | null
  textContent: string | null
}

async function headings(name: string): Promise<string[]> {
  return reader.page.getByRole('table', { name, exact: true }).getByRole('columnheader').allTextContents()
}

async function open(target: string, ...disclosures: string[]): Promise<void> {
  await reader.goto(target)
  for (const summary of disclosures) await reader.page.getByText(summary, { exact: true }).first().click()
}

function sum(some: readonly Flow[], metric: Metric): number {
  return metric === 'flows' ? some.length : some.reduce((total, it) => total + it[metric], 0)
}

function serviceOf({ protocol, srcport, dstport }: Flow): string {
  if (protocol === 6 || protocol === 17)
    return `${protocol === 6 ? 'tcp' : 'udp'}/${Math.min(srcport, dstport)}`
  return protocol === 1 ? 'icmp' : 'icmpv6'
}

/** `https (tcp/443)` → `tcp/443`. */
const bare = (text: number | string): string => /\(([^)]*)\)$/.exec(String(text))?.[1] ?? String(text)

/** Groups with their sums, the largest first, equal ones by key. */
function ranked<T extends string>(some: readonly Flow[], keyOf: (it: Flow) => T, metric: Metric) {
  return [...Map.groupBy(some, keyOf)]
    .map(([key, group]) => ({ key, group, value: sum(group, metric) }))
    .sort((a, b) => b.value - a.value || (a.key < b.key ? -1 : 1))
}

/** Rates per step: a flow's octets and packets are spread over its seconds, a flow counts where it begins. */
function rates(some: readonly Flow[], metric: Metric, timesS: readonly number[]): number[] {
  const stepS = timesS[1]! - timesS[0]!
  return timesS.map((t) => {
    const from = Math.max(t, SINCE_S)
    const to = Math.min(t + stepS, UNTIL_S)
    let total = 0
    for (const it of some) {
      if (metric === 'flows') total += it.start >= from && it.start < to ? 1 : 0
      else {
        const overlap = Math.min(it.end + 1, to) - Math.max(it.start, from)
        if (overlap > 0) total += (it[metric] * overlap) / (it.end + 1 - it.start)
      }
    }
    return total / (to - from)
  })
}

/** Nearest rank. */
function percentile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.ceil(share * values.length) - 1]!
}

function assertNear(actual: unknown, wanted: number, what: string): void {
  assert.equal(typeof actual, 'number', `${what} is ${actual}`)
  const distance = Math.abs((actual as number) - wanted)
  assert.ok(distance <= 1e-9 * Math.max(1, Math.abs(wanted)), `${what}: ${actual} instead of ${wanted}`)
}

function assertAllNear(actual: readonly unknown[], wanted: readonly number[], what: string): void {
  assert.equal(actual.length, wanted.length, what)
  wanted.forEach((value, at) => {
    assertNear(actual[at], value, `${what}, ${at}`)
  })
}

const refused = (it: Flow): boolean => it.action === 'REJECT'

test('traffic over time: each step of each line, the sums beside it, and the period before', {
  skip: SKIP,
}, async () => {
  for (const metric of ['bytes', 'packets', 'flows'] as const) {
    await open(`/explore?${RANGE}&split=service&metric=${metric}&top=5&previous=1`, 'Every step as a table')
    const steps = await cells('Every step of the chart')
    const [, ...titles] = await headings('Every step of the chart')
    const totals = await cells('Numbers of the chart')

    const timesS = steps.map(([from]) => from as number)
    const groups = ranked(flows, serviceOf, metric)
    const rest = groups.slice(5).flatMap(({ group }) => group)
    const shiftS = UNTIL_S - SINCE_S
    const moved = flowsBefore.map((it) => ({ ...it, start: it.start + shiftS, end: it.end + shiftS }))
    const wanted: [string, Flow[]][] = [
      ...groups.slice(0, 5).map(({ key, group }): [string, Flow[]] => [key, group]),
      ['Other', rest],
      ['Total', flows],
      ['Period before', moved],
    ]
    assert.ok(rest.length > 0 && moved.length > 0)
    assert.deepEqual(
      titles.map(bare),
      wanted.map(([title]) => title),
    )
    assert.ok(timesS[0]! <= SINCE_S && timesS.at(-1)! < UNTIL_S)
    wanted.forEach(([title, some], at) => {
      const values = rates(some, metric, timesS)
      const what = `${metric} of ${title}`
      assertAllNear(
        steps.map((row) => row[at + 1]),
        values,
        what,
      )
      const [, total, average, p95, max] = totals[at]!
      assertNear(total, sum(some, metric), what)
      assertNear(average, sum(some, metric) / shiftS, what)
      assertNear(p95, percentile(values, 0.95), what)
      assertNear(max, Math.max(...values), what)
    })
  }
})

test('the tip of the chart says what was drawn, in the zone of the reader and in UTC', {
  skip: SKIP,
}, async () => {
  await open(`/explore?${RANGE}&metric=flows`, 'Every step as a table')
  const steps = await cells('Every step of the chart')
  const box = (await reader.page.locator('.chart-canvas').boundingBox())!
  const tip = reader.page.locator('.tip')
  await reader.painted()
  await reader.page.mouse.move(box.x + box.width / 2, box.y + box.height / 2)
  await tip.waitFor()
  const utc = (await tip.locator('.tip-note').textContent())!
  const rows = await tip.locator('.tip-row').allTextContents()

  const atS = Date.parse(utc.replace(' UTC', 'Z').replace(' ', 'T')) / 1000
  const [, accepted, rejected] = steps.find(([from]) => from === atS) as number[]
  const local = new Date(atS * 1000).toLocaleTimeString('en-GB', { timeZone: 'America/New_York' })
  assert.ok((await tip.locator('.tip-title').textContent())!.includes(local.slice(0, 5)))
  const number = (text: string | undefined) => Number(/([\d.]+)\sflows/.exec(text ?? '')?.[1])
  assert.equal(rows.length, 3)
  for (const [at, value] of [accepted!, rejected!, accepted! + rejected!].entries()) {
    assert.ok(Math.abs(number(rows[at]) - value) <= 0.006, `${rows[at]} for ${value}`)
  }
})

test('the table of flows: every row of a page, in its order', { skip: SKIP }, async () => {
  const tieless = (a: Flow, b: Flow) => b.bytes - a.bytes
  const sorted = flows.toSorted(tieless)
  for (const page of [1, 3]) {
    await open(`/explore?${RANGE}&view=flows&sort=bytes.desc&page=${page}`)
    const shown = await cells('Flows')

    const wanted = sorted.slice((page - 1) * 50, page * 50)
    const protocols: Record<number, string> = { 1: 'ICMP', 6: 'TCP', 17: 'UDP', 58: 'ICMPv6' }
    const end = (address: string, port: number) => `${address}${port === 0 ? '' : `:${port}`}`
    assert.deepEqual(
      shown.map((row) => row.slice(0, 8)),
      wanted.map((it) => [
        it.start,
        it.end,
        refused(it) ? 'Rejected' : 'Accepted',
        protocols[it.protocol],
        end(it.src, it.srcport),
        end(it.dst, it.dstport),
        it.packets,
        it.bytes,
      ]),
    )
  }
})

test('who talks to whom: each link', { skip: SKIP }, async () => {
  const columns: [string, (it: Flow) => string][] = [
    ['Source', (it) => it.src],
    ['Service', serviceOf],
    ['Destination', (it) => it.dst],
  ]
  const heads = columns.map(
    ([, keyOf]) =>
      new Set(
        ranked(flows, keyOf, 'packets')
          .slice(0, 12)
          .map(({ key }) => key),
      ),
  )
  const nodeOf = (it: Flow, column: number) => {
    const [title, keyOf] = columns[column]!
    return `${title} ${heads[column]!.has(keyOf(it)) ? keyOf(it) : 'Other'}`
  }
  const links = new Map<string, number>()
  for (const it of flows) {
    for (const column of [0, 1]) {
      const link = `${nodeOf(it, column)} → ${nodeOf(it, column + 1)}`
      links.set(link, (links.get(link) ?? 0) + it.packets)
    }
  }

  await open(`/explore?${RANGE}&view=sankey&metric=packets`, 'The links as a table')
  const shown = await cells('Links, largest first')

  const node = (text: number | string | undefined) => {
    const [, title, key] = /^(\w+) (.*)$/.exec(String(text))!
    return `${title} ${bare(key!)}`
  }
  assert.deepEqual(new Map(shown.map(([from, to, value]) => [`${node(from)} → ${node(to)}`, value])), links)
  const values = shown.map(([, , value]) => value as number)
  assert.deepEqual(
    values,
    values.toSorted((a, b) => b - a),
  )
})

test('ports over time: each cell and each sum', { skip: SKIP }, async () => {
  await open(`/explore?${RANGE}&view=heat&metric=bytes`, 'Every cell as a table', 'The sums as a table')
  const shown = await cells('Every cell of the map')
  const sums = await cells('Sums over the time range')

  const timesS = [...new Set(shown.map(([from]) => from as number))].sort((a, b) => a - b)
  const groups = ranked(flows, serviceOf, 'bytes').slice(0, 24)
  assert.deepEqual(
    sums.map(([service, total]) => [bare(service!), total]),
    groups.map(({ key, value }) => [key, value]),
  )
  const wanted = groups.flatMap(({ key, group }) =>
    rates(group, 'bytes', timesS).flatMap((value, at) =>
      value === 0 ? [] : [{ key, atS: timesS[at]!, value }],
    ),
  )
  const drawn = new Map(shown.map(([from, row, value]) => [`${bare(row!)} ${from}`, value]))
  assert.equal(drawn.size, wanted.length)
  for (const { key, atS, value } of wanted) assertNear(drawn.get(`${key} ${atS}`), value, `${key} at ${atS}`)

  // A cell is a row and a time, and so is what it filters by; one step back takes both away.
  const before = reader.page.url()
  const [fromS, row] = shown[0]!
  const firstCell = reader.page
    .getByRole('table', { name: 'Every cell of the map' })
    .getByRole('button')
    .first()
  await firstCell.press('Enter')
  await reader.page.waitForURL(/filter=/)
  const { searchParams } = new URL(reader.page.url())
  assert.equal(searchParams.get('filter'), `service = ${bare(row!)}`)
  assert.equal(Number(searchParams.get('since')), fromS)
  assert.equal(Number(searchParams.get('until')), Number(fromS) + timesS[1]! - timesS[0]!)
  await reader.page.goBack()
  assert.equal(reader.page.url(), before)
})

test('what was refused: over time, by whom, where, and what the answer to a question says', {
  skip: SKIP,
}, async () => {
  const own = WEB_ADDRESSES[0]!
  await open(`/firewall?${RANGE}&from=any&to=${own}&port=443`, 'Every step as a table')
  const steps = await cells('Every step of the chart')
  const lead = (await reader.page.locator('.lead').textContent())!
  const seen = await cells('What was seen')
  const tables = {
    source: await cells('Refused flows by source'),
    port: await cells('Refused flows by port'),
    destination: await cells('Refused flows by destination'),
    interface: await cells('Refused flows by interface'),
  }

  const some = flows.filter(refused)
  assert.ok(
    lead.startsWith(
      `${some.length.toLocaleString('en')} flows refused, ${((some.length / flows.length) * 100).toFixed(0)} % of all`,
    ),
    lead,
  )
  const timesS = steps.map(([from]) => from as number)
  assertAllNear(
    steps.map(([, value]) => value),
    rates(some, 'flows', timesS),
    'refused over time',
  )
  const times = (group: Flow[]) => [
    Math.min(...group.map((it) => it.start)),
    Math.max(...group.map((it) => it.end)),
  ]
  const keys: Record<keyof typeof tables, (it: Flow) => string> = {
    source: (it) => it.src,
    port: (it) => `${it.protocol} ${it.dstport}`,
    destination: (it) => it.dst,
    interface: (it) => it.interfaceId,
  }
  for (const [name, keyOf] of Object.entries(keys)) {
    const groups = [...Map.groupBy(some, keyOf).values()].sort(
      (a, b) => b.length - a.length || sum(b, 'packets') - sum(a, 'packets'),
    )
    assert.deepEqual(
      tables[name as keyof typeof tables].map((row) => row.slice(1)),
      groups.slice(0, 10).map((group) => [group.length, ...times(group)]),
      name,
    )
  }
  assert.deepEqual(
    tables.source.map(([source]) => source).sort(),
    ranked(some, keys.source, 'flows')
      .filter(({ key }) => tables.source.some(([it]) => it === key))
      .map(({ key }) => key)
      .sort(),
  )
  // The command beside the answer, as copied, finds the same.
  await reader.page.getByText('The same as a command').click()
  const command = (await reader.page.getByRole('region', { name: 'weir' }).textContent())!
  const env = { ...process.env, WEIR_SERVER: weir.origin, WEIR_TOKEN: weir.owner.token }
  const [, ...args] = [...command.split(' '), '--json']
  const { stdout } = await run(process.execPath, ['bin/weir.js', ...args], { env })
  const { result } = JSON.parse(stdout) as {
    result: Record<'accepted' | 'refused' | 'answered', { flows: number }>
  }
  assert.deepEqual(
    [result.accepted.flows, result.refused.flows, result.answered.flows],
    seen.map(([, count]) => count),
  )

  const to = flows.filter((it) => it.dst === own && it.dstport === 443)
  const back = flows.filter((it) => it.src === own && it.srcport === 443 && !refused(it))
  assert.deepEqual(
    seen,
    [to.filter((it) => !refused(it)), to.filter(refused), back].map((group, at) => [
      ['Allowed', 'Refused', 'Answered'][at],
      group.length,
      ...times(group),
    ]),
  )
})

test('throughput: median, 95 %, maximum, when it was, and who made it', { skip: SKIP }, async () => {
  await open(`/throughput?${RANGE}`, 'Every step as a table')
  const steps = await cells('Every step of the chart')
  const rows = await cells('Throughput by interface and direction')
  const timesS = steps.map(([from]) => from as number)

  const interfaces = ranked(flows, (it) => it.interfaceId, 'bytes')
  interfaces.forEach(({ key, group }, at) => {
    assertAllNear(
      steps.map((row) => row[at + 1]),
      rates(group, 'bytes', timesS),
      `interface ${key}`,
    )
  })
  assertAllNear(
    steps.map((row) => row.at(-1)),
    rates(flows, 'bytes', timesS),
    'all interfaces',
  )
  const directionOf = (it: Flow) => (OWN_ADDRESSES[it.interfaceId]!.includes(it.src) ? 'Egress' : 'Ingress')
  const groups = ranked(flows, (it) => `${it.interfaceId} ${directionOf(it)}`, 'bytes')
  assert.equal(rows.length, groups.length)
  groups.forEach(({ key, group, value: total }, at) => {
    const [, direction, , average, median, p95, max, bytes, peakS] = rows[at]!
    const values = rates(group, 'bytes', timesS)
    assert.equal(direction, key.split(' ')[1])
    assertNear(average, total / (UNTIL_S - SINCE_S), `${key}, average`)
    assertNear(median, percentile(values, 0.5), `${key}, median`)
    assertNear(p95, percentile(values, 0.95), `${key}, 95 %`)
    assertNear(max, Math.max(...values), `${key}, maximum`)
    assert.deepEqual([bytes, peakS], [total, timesS[values.indexOf(Math.max(...values))]], key)
  })

  // Who made the first peak: of that interface, in that direction, and of each flow what fell into the step.
  await reader.page.locator('tbody .button-text').first().click()
  const contributors = await cells('Contributors of the peak')
  const peakS = rows[0]!.at(-1) as number
  const stepS = timesS[1]! - timesS[0]!
  const then = groups[0]!.group.flatMap((it) => {
    const overlapS = Math.min(it.end + 1, peakS + stepS, UNTIL_S) - Math.max(it.start, peakS)
    return overlapS <= 0 ? [] : { ...it, bytes: Math.round((it.bytes * overlapS) / (it.end + 1 - it.start)) }
  })
  assert.ok(
    then.some((it) => it.start < peakS),
    'some began before',
  )
  const top = ranked(then, (it) => `${it.src} ${it.dst} ${serviceOf(it)}`, 'bytes').slice(0, 10)
  assert.deepEqual(
    contributors.map(([src, dst, service, bytes]) => [`${src} ${dst} ${bare(service!)}`, bytes]),
    top.map(({ key, value }) => [key, value]),
  )
  const allS = sum(then, 'bytes') / stepS
  assert.ok(Math.abs(allS - (rows[0]![6] as number)) < then.length, `${allS} B/s together are the peak`)
  assert.ok(contributors.some(([, , service]) => service === 'https (tcp/443)'))
})

test('objects of a flow log: every name, size and arrival', { skip: SKIP }, async () => {
  const nic = weir.owner.nics[0]!
  const properties = { name: 'all', action: 'ALL', direction: 'BIDIRECTIONAL', bucket: 'flowlogs/web' }
  await weir.post(`${nic.path}/flowlogs`, { properties })
  const directory = path.join(weir.directory, 'buckets', 'flowlogs')
  const names = (await readdir(directory))
    .filter((name) => name.startsWith('web-'))
    .sort()
    .reverse()

  await reader.page.clock.setFixedTime(NOW_S * 1000)
  await open('/delivery?span=21600')
  const shown = await cells('Objects, newest first')
  await reader.page.clock.setSystemTime(Date.now())

  const wanted = await Promise.all(
    names.map(async (name) => {
      const { size, mtimeMs } = await stat(path.join(directory, name))
      return [Number(/-(\d+)\.log/.exec(name)![1]), name, size, Math.floor(mtimeMs / 1000)]
    }),
  )
  assert.ok(wanted.length > 10)
  assert.deepEqual(
    shown.map(([window, name, size, arrived]) => [window, name, size, Math.floor(arrived as number)]),
    wanted,
  )
  assert.deepEqual(reader.faults, [])
})

test('files have the rows of the table, in its order, as CSV, JSON and Parquet', { skip: SKIP }, async () => {
  await open(`/explore?${RANGE}&view=flows&sort=bytes.desc&filter=dstport+%3D+443+and+bytes+>+900000`)
  const shown = await cells('Flows')
  const saved: Record<string, string> = {}
  for (const format of ['CSV', 'JSON', 'Parquet']) {
    const [download] = await Promise.all([
      reader.page.waitForEvent('download'),
      reader.page.getByRole('link', { name: format, exact: true }).click(),
    ])
    saved[format] = await download.path()
  }
  const { stdout } = await run(process.execPath, [
    path.resolve('bin/weir.js'),
    ...[
      'query',
      '--from',
      path.join(weir.directory, 'buckets'),
      '--json',
      `SELECT bytes FROM read_parquet('${saved['Parquet']}')`,
    ],
  ])

  const wanted = flows
    .filter((it) => it.dstport === 443 && it.bytes > 900_000)
    .map((it) => it.bytes)
    .sort((a, b) => b - a)
  const [header, ...lines] = (await readFile(saved['CSV']!, 'utf8')).trim().split('\n')
  const bytesAt = header!.split(',').indexOf('bytes')
  const bytesOf = (it: { bytes: number | string }): number => Number(it.bytes)
  assert.ok(wanted.length > 50)
  assert.deepEqual(
    lines.map((line) => Number(line.split(',')[bytesAt])),
    wanted,
  )
  assert.deepEqual(JSON.parse(await readFile(saved['JSON']!, 'utf8')).map(bytesOf), wanted)
  const rows = stdout.trim().split('\n')
  assert.deepEqual(
    rows.map((it) => bytesOf(JSON.parse(it))),
    wanted,
  )
  assert.deepEqual(
    shown.map((row) => row[7]),
    wanted.slice(0, 50),
  )
})

test('what is clicked filters, a link of two ends by both; a page that is not there is the last', {
  skip: SKIP,
}, async () => {
  const { page } = reader
  const filterOf = () => new URL(page.url()).searchParams.get('filter')
  await open(`/explore?${RANGE}&split=direction`)
  await page.getByRole('button', { name: 'Ingress', exact: true }).click()
  await page.waitForURL(/filter=/)
  assert.equal(filterOf(), 'direction = ingress')

  await open(`/explore?${RANGE}&view=sankey&path=interface&metric=packets`, 'The links as a table')
  await reader.painted()
  const box = (await page.locator('.chart-canvas').boundingBox())!
  for (let y = 10; y < box.height && filterOf() === null; y += 12) {
    await page.mouse.click(box.x + box.width * 0.55, box.y + y) // Between interfaces and services.
  }
  assert.match(filterOf()!, /^interface = [0-9a-f-]{36} and service = \S+$/)

  await open(`/throughput?${RANGE}`)
  await reader.painted()
  const chart = (await page.locator('.chart-canvas').boundingBox())!
  await page.mouse.click(chart.x + chart.width / 2, chart.y + chart.height - 40)
  await page.waitForURL(/filter=/)
  const [largest] = ranked(flows, (it) => it.interfaceId, 'bytes')
  assert.equal(filterOf(), `interface = ${largest!.key}`)

  await open(`/explore?${RANGE}&view=flows&sort=nonsense&page=9999`)
  await page.waitForURL((url) => url.searchParams.get('page') !== '9999')
  const pages = page.getByRole('navigation', { name: 'Pages of the table' }).getByRole('status')
  await pages.filter({ hasText: /–([\d,]+) of \1$/ }).waitFor()
  assert.deepEqual(reader.faults, [])
})

test('where the reader forces colours, lines are told apart and choices are seen', {
  skip: SKIP,
}, async () => {
  await using forced = await Reader.open(world.browser, weir.origin, { ...LIGHT, forcedColors: 'active' })
  const { page } = forced
  await forced.signIn(weir.owner)
  for (const target of [`/explore?${RANGE}&split=service`, `/explore?${RANGE}&view=heat`, '/firewall']) {
    await forced.goto(target)
    await forced.assertAccessible(`${target}, colours forced`)
  }
  await forced.goto(`/explore?${RANGE}&split=service`)
  await forced.painted()
  const swatches = await page.evaluate<string[]>(GROUNDS('.swatch'))
  const options = await page.evaluate<string[]>(GROUNDS('.range-presets button'))
  const painted = await page.evaluate<number>(PAINTED)

  assert.equal(new Set(swatches).size, 9, 'eight services and the others')
  assert.deepEqual(new Set(options.slice(0, -1)).size, 1)
  assert.notEqual(options.at(-1), options[0], 'the range that was chosen')
  assert.ok(painted > 8, `${painted} colours`)
  assert.deepEqual(forced.faults, [])
})

const GROUNDS = (selector: string) =>
  `[...document.querySelectorAll('${selector}')].map((it) => getComputedStyle(it).backgroundColor)`

/** Colours that cover more than lines and letters do. */
const PAINTED = `(() => {
  const canvas = document.querySelector('.chart-canvas canvas')
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
  const counts = new Map()
  for (let at = 0; at < data.length; at += 4) {
    const colour = data.slice(at, at + 3).join()
    counts.set(colour, (counts.get(colour) ?? 0) + 1)
  }
  return [...counts.values()].filter((count) => count > 1000).length
})()`
