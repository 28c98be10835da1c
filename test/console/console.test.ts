import assert from 'node:assert/strict'
import { readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import type { Page } from 'playwright-core'
import { eventually } from '../support/eventually.ts'
import { withoutRoot } from '../support/network.ts'
import { DARK, LIGHT, NARROW, Reader, startBrowser, withoutBrowser } from './support/browser.ts'
import { addressOf, GatewayWorld } from './support/gateway.ts'

const SKIP = withoutRoot || withoutBrowser
const REFUSED = { tcp: [23] }
const REACH = new URLSearchParams({ from: addressOf('office'), to: addressOf('db'), port: '5432' })
const ALLOWED = { tcp: [80, 443], udp: [53] }

test('from the sign-in to a refused connection, its shared URL, and the end of the flow log', {
  skip: SKIP,
}, async () => {
  await using world = await new GatewayWorld().start(2)
  await using browser = await startBrowser()
  await using reader = await Reader.open(browser, world.origin)
  const { page } = reader
  await reader.signIn(world.credentials)

  // Nothing is there yet, and every page says so.
  for (const target of ['/explore', '/firewall', '/throughput']) {
    await reader.goto(target)
    await page.getByText('No flows yet').first().waitFor()
    await reader.assertAccessible(`${target}, empty`)
  }
  await page.getByRole('link', { name: 'To the resources' }).first().click()

  // Enable, and see that it delivers.
  await page.getByRole('button', { name: 'Enable a flow log on web' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Enable' }).click()
  const row = page.getByRole('listitem').filter({ has: page.getByText('web', { exact: true }) })
  await row.getByText('Capturing').waitFor()
  assert.deepEqual(await world.send('office', 'web', ALLOWED, { rounds: 5, patienceMs: 20_000 }), {
    tcp: 10,
    udp: 5,
  })
  assert.deepEqual(await world.send('office', 'web', REFUSED, { rounds: 3 }), { tcp: 0, udp: 0 })
  await row.getByText('Delivering').waitFor()
  await quiet(world)

  // Explore: the chart's table has both actions; a click on one filters by it.
  await row.getByRole('link', { name: 'Explore web' }).click()
  await page.getByRole('button', { name: 'Accepted', exact: true }).waitFor()
  await page.getByRole('button', { name: 'Rejected', exact: true }).click()
  await page.getByRole('group', { name: 'View' }).getByRole('radio', { name: 'Flows' }).check()
  const flows = page.getByRole('table', { name: 'Flows' })
  await flows.getByText(addressOf('office')).first().waitFor()
  await reader.settled()
  const shown = await flows.getByRole('row').allTextContents()
  await reader.assertAccessible('flows')

  // The records themselves, read without anything of the console's, say the same.
  const refused = recordsOf(world).filter((it) => it.action === 'REJECT')
  assert.equal(shown.length - 1, refused.length)
  assert.ok(refused.length > 0)
  for (const text of shown.slice(1)) assert.match(text, /Rejected.*TCP10\.3\.0\.2:\d+10\.1\.0\.2:23/)

  // Whoever gets the URL sees the same.
  const shared = page.url()
  assert.match(shared, /filter=.*action\+=\+reject|filter=.*action\+%3D\+reject/)
  await using other = await Reader.open(browser, world.origin, NARROW)
  await other.signIn(world.credentials)
  await other.page.goto(shared)
  const otherFlows = other.page.getByRole('table', { name: 'Flows' })
  await otherFlows.getByText(addressOf('office')).first().waitFor()
  assert.equal(await otherFlows.getByRole('row').count(), shown.length)
  await other.assertFits('flows')

  // Disable: the flow log goes, its objects stay.
  const objects = world.weir.objects('flowlogs').length
  await page.getByRole('link', { name: 'Resources' }).first().click()
  await page.getByRole('button', { name: 'Disable the flow log on web' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).click()
  await page.getByRole('button', { name: 'Enable a flow log on web' }).waitFor()
  assert.ok(world.weir.objects('flowlogs').length >= objects)
  assert.deepEqual(world.weir.cli('flowlog', 'list', '--json'), '[]')
  assert.deepEqual([...reader.faults, ...other.faults], [])
})

test('pages full of real traffic answer the three questions, accessibly and in any width', {
  skip: SKIP,
}, async () => {
  await using world = await new GatewayWorld().start(2)
  for (const guest of ['web', 'db']) {
    world.weir.cli('flowlog', 'create', '--nic', guest, '--bucket', `flowlogs/${guest}`)
  }
  await world.send('office', 'web', ALLOWED, { rounds: 4 })
  await world.send('web', 'db', { tcp: [5432] }, { rounds: 3, size: 40_000 })
  await world.send('office', 'db', { tcp: [5432, 23] }, { rounds: 2 })
  await delivered(world, (it) => it.action === 'REJECT' && it.dstaddr === addressOf('db'))
  await quiet(world)
  await using browser = await startBrowser()

  {
    await using reader = await Reader.open(browser, world.origin)
    await reader.signIn(world.credentials)
    await reader.goto('/explore')
    // All traffic has ended: what the page sums up is what lies in the bucket.
    const records = recordsOf(world)
    const packets = records.reduce((sum, it) => sum + it.packets, 0)
    const refused = records.filter((it) => it.action === 'REJECT').length
    await reader.page.getByText(`${records.length.toLocaleString('en')} flow records`).waitFor()
    await reader.page.getByText(`in ${packets.toLocaleString('en')} packets`).waitFor()
    await reader.goto('/firewall')
    await reader.page.getByText(`${refused} flows`, { exact: true }).waitFor()
    await assertDelivered(world, reader)
  }
  for (const options of [LIGHT, DARK, NARROW]) {
    await using reader = await Reader.open(browser, world.origin, options)
    await reader.signIn(world.credentials)
    for (const target of [
      '/explore?split=service&previous=1',
      '/explore?view=flows',
      '/explore?view=sankey',
      '/explore?view=heat',
      `/firewall?${REACH}`,
      '/throughput',
      '/delivery',
    ]) {
      await reader.goto(target)
      const failures = await reader.page.getByRole('alert').allTextContents()
      assert.deepEqual(
        failures.filter((it) => it !== ''),
        [],
        target,
      )
      await reader.assertStill(target)
      await reader.assertAccessible(target)
      await reader.assertFits(target)
    }
    assert.deepEqual(reader.faults, [])
  }

  await using reader = await Reader.open(browser, world.origin)
  const { page } = reader
  await reader.signIn(world.credentials)
  await reader.goto(`/firewall?${REACH}`)
  await page.locator('.reach-answer').getByText('No', { exact: true }).waitFor()
  await page.getByRole('textbox', { name: 'Can' }).fill(addressOf('web'))
  await page.getByRole('button', { name: 'Ask' }).click()
  await page.locator('.reach-answer').getByText('Yes', { exact: true }).waitFor()
  await reader.assertAccessible('an answer')

  // Times are the reader's until they want UTC.
  await reader.goto('/explore?view=flows')
  const start = page.getByRole('table', { name: 'Flows' }).locator('time').first()
  const utc = (await start.getAttribute('datetime'))!.slice(11, 16)
  assert.ok(!(await start.textContent())!.includes(utc))
  await page.getByLabel(/^Account/).press('Enter')
  await page.getByLabel('UTC').press('Space')
  assert.ok((await start.textContent())!.includes(utc))

  assert.deepEqual(reader.faults, [])
})

test('the filter line completes, says what is wrong with it, and filters', { skip: SKIP }, async () => {
  await using started = await startWithRecords()
  const { world, reader } = started
  const { page } = reader
  await reader.goto('/explore?view=flows')

  const line = page.getByRole('combobox', { name: 'Filter' })
  await line.pressSequentially('dstp')
  await page.getByRole('option', { name: /dstport/ }).waitFor()
  await reader.assertAccessible('completion')
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('Enter')
  await line.pressSequentially('= 443x')
  await page.getByText(/At character \d+/).waitFor()
  await page.locator('.filter-fault mark', { hasText: /^443x$/ }).waitFor()
  await reader.assertAccessible('a fault in the filter')
  await page.getByRole('button', { name: 'Go there' }).press('Enter')
  assert.equal(await page.evaluate('getSelection().toString()'), '443x')
  await page.keyboard.press('End')
  await page.keyboard.press('Backspace')
  await page.getByText(/At character \d+/).waitFor({ state: 'detached' })
  await page.keyboard.press('Escape')
  await page.keyboard.press('Enter')
  await page.waitForURL(/filter=dstport/)
  await reader.settled()
  const rows = (await page.getByRole('table', { name: 'Flows' }).getByRole('row').allTextContents()).slice(1)

  const matching = recordsOf(world).filter((it) => it.dstport === '443')
  assert.equal(rows.length, matching.length)
  assert.ok(rows.every((it) => it.includes(':443')))

  // The same rows as a file, and a click that narrows further.
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('link', { name: 'CSV' }).click(),
  ])
  const lines = readFileSync(await download.path(), 'utf8')
    .trim()
    .split('\n')
  assert.equal(lines.length, matching.length + 1, lines[0]!)
  await page
    .getByRole('button', { name: addressOf('web') })
    .first()
    .click()
  await page.waitForURL(/filter=dstport.*and\+(src|dst)/)
  await page.goBack()
  await page.waitForURL((url) => !url.search.includes('and'))

  // Values that were seen, interfaces by their names.
  await line.fill('src = 10.3')
  await page.getByRole('option', { name: addressOf('office') }).waitFor()
  await line.fill('interface = we')
  await page.getByRole('option', { name: 'web' }).click()
  assert.match(await line.inputValue(), /^interface = [0-9a-f-]{36} $/)
  assert.deepEqual(reader.faults, [])
})

test('a stretch of time is chosen with the mouse, and live goes on by itself', { skip: SKIP }, async () => {
  await using started = await startWithRecords()
  const { world, reader } = started
  const { page } = reader
  await reader.goto('/explore?since=15m')

  const box = (await page.locator('.chart-canvas').boundingBox())!
  await reader.painted()
  await page.mouse.move(box.x + box.width * 0.5, box.y + box.height / 2)
  await page.mouse.down()
  await page.mouse.move(box.x + box.width * 0.97, box.y + box.height / 2, { steps: 8 })
  await page.mouse.up()
  await page.waitForURL(/since=\d{10}&until=\d{10}/)
  const query = new URL(page.url()).searchParams
  const spanS = Number(query.get('until')) - Number(query.get('since'))
  assert.ok(spanS > 300 && spanS < 600, `${spanS} s of 900 s`)

  await page.getByRole('button', { name: 'Live' }).click()
  await page.waitForURL(/live=1/)
  await page.getByText(/^\d+ flow records/).waitFor()
  const before = recordsOf(world).length
  await world.send('office', 'web', ALLOWED, { rounds: 3 })
  await delivered(world, () => recordsOf(world).length > before)
  await expectMore(page, before)
  assert.deepEqual(reader.faults, [])
})

/** A gateway whose web server has a flow log and delivered records, and a reader who is signed in. */
async function startWithRecords(): Promise<{ world: GatewayWorld; reader: Reader } & AsyncDisposable> {
  await using started = new AsyncDisposableStack()
  const world = started.use(await new GatewayWorld().start(2))
  world.weir.cli('flowlog', 'create', '--nic', 'web', '--bucket', 'flowlogs/web')
  await world.send('office', 'web', ALLOWED, { rounds: 2 })
  await delivered(world, (it) => it.dstport === '443')
  const browser = started.use(await startBrowser())
  const reader = started.use(await Reader.open(browser, world.origin))
  await reader.signIn(world.credentials)
  return Object.assign(started.move(), { world, reader })
}

/** What the delivery page counts is what lies in the bucket. */
async function assertDelivered(world: GatewayWorld, reader: Reader): Promise<void> {
  await reader.goto('/delivery')
  const rows = reader.page.getByRole('table', { name: 'Flow logs', exact: true }).locator('tbody tr')
  for (const [at, guest] of ['web', 'db'].entries()) {
    const names = world.weir.objects('flowlogs').filter((name) => name.startsWith(`${guest}-`))
    const sizes = names.map((name) => statSync(path.join(world.weir.dataDir, 'buckets/flowlogs', name)).size)
    const counts = names.map((name) => world.weir.records('flowlogs', name).length)
    const shown = await rows.nth(at).locator('data').all()
    const numbers = await Promise.all(shown.map(async (it) => Number(await it.getAttribute('value'))))

    const sum = (all: number[]) => all.reduce((total, it) => total + it, 0)
    assert.deepEqual(numbers, [names.length, sum(counts), sum(sizes)], guest)
  }
}

/** Waits until the page itself, untouched, sums up more records than that. */
async function expectMore(page: Page, records: number): Promise<void> {
  await eventually(`the page has more than ${records} flow records`, async () => {
    const text = (await page.locator('.coverage').first().textContent()) ?? ''
    return Number(/^(\d+) flow records/.exec(text)?.[1]) > records
  })
}

interface TextRecord {
  srcaddr: string
  dstaddr: string
  dstport: string
  packets: number
  action: string
}

function recordsOf(world: GatewayWorld): TextRecord[] {
  const { weir } = world
  return weir
    .objects('flowlogs')
    .flatMap((name) => weir.records('flowlogs', name))
    .map((line) => line.split(' '))
    .map((it) => ({
      srcaddr: it[3]!,
      dstaddr: it[4]!,
      dstport: it[6]!,
      packets: Number(it[8]),
      action: it[12]!,
    }))
}

function delivered(world: GatewayWorld, wanted: (it: TextRecord) => boolean): Promise<true> {
  const what = () => `${wanted} of a delivered record:\n${world.weir.output}`
  return eventually(what, () => recordsOf(world).some(wanted))
}

/** Waits until no object has come for two windows. */
async function quiet(world: GatewayWorld): Promise<void> {
  for (let count = -1; count !== world.weir.objects('flowlogs').length; ) {
    count = world.weir.objects('flowlogs').length
    await new Promise((resolve) => setTimeout(resolve, 5_000))
  }
}
