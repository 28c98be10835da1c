import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { TestAgent } from '../contract/support/agent.ts'
import { type ControlPlane, FLOW_LOG, startControlPlane } from '../contract/support/control-plane.ts'
import { withoutRoot } from '../support/network.ts'
import { CONSOLE, DARK, LIGHT, NARROW, Reader, startBrowser, withoutBrowser } from './support/browser.ts'
import { addressOf, GatewayWorld } from './support/gateway.ts'

test('live shows packets within seconds, long before their window ends: counted, refused, filtered', {
  skip: withoutRoot || withoutBrowser,
}, async () => {
  await using live = await startLive()
  const { world, reader } = live
  const { page } = reader
  await reader.goto('/explore?view=flows')
  await page.getByText('No flows yet').waitFor()

  await page.getByRole('button', { name: 'Live' }).focus()
  await page.keyboard.press('Enter')
  await page.waitForURL(/live=1/)
  await page.getByText('1 of 1 flow log', { exact: false }).waitFor()
  await reader.assertAccessible('live, nothing but the noise of a new device')
  await world.send('office', 'web', { tcp: [80, 23] }, { rounds: 2 })
  const flows = page.getByRole('table', { name: 'Flows' })
  await flows.getByText(addressOf('office')).first().waitFor()
  await flows.getByRole('button', { name: 'Rejected', exact: true }).first().click()
  await page.waitForURL(/filter=action/)
  await flows.getByRole('button', { name: '23', exact: true }).first().waitFor()
  await page
    .getByRole('group', { name: 'View' })
    .getByRole('radio', { name: 'Over time', exact: true })
    .check()
  await page.getByRole('table', { name: 'Numbers of the chart' }).getByText('Rejected').waitFor()
  await page.goto(`${world.origin}/firewall?live=1`)
  await page.getByText(addressOf('office')).first().waitFor()
  await reader.assertAccessible('what is refused right now')

  assert.deepEqual(world.weir.objects('flowlogs'), [], 'nothing is delivered')
  assert.deepEqual(reader.faults, [])
})

test('what a reader is at in a live page stays: the flow, the tip of a chart, a peak, all of it while the server is busy', {
  skip: withoutRoot || withoutBrowser,
}, async () => {
  await using live = await startLive()
  const { world, reader } = live
  const { page } = reader
  await page.goto(`${world.origin}/explore?live=1&view=flows&filter=dstport+in+(23,80,443)`)
  await page.getByText('1 of 1 flow log').waitFor()
  await world.send('office', 'web', { tcp: [80, 443] })
  const flows = page.getByRole('table', { name: 'Flows' }).locator('tbody')
  const first = flows.getByRole('row').filter({ has: page.getByRole('button', { name: '80', exact: true }) })
  await first.getByRole('button', { name: '80', exact: true }).focus()
  const focused = () => page.evaluate<string>("document.activeElement.closest('tr')?.textContent")
  const before = await focused()
  await world.send('office', 'web', { tcp: [23] })
  await flows.getByRole('button', { name: '23', exact: true }).first().waitFor()
  assert.equal(await focused(), before)

  await reader.goto('/explore?live=1')
  await reader.painted()
  const box = (await page.locator('.chart-canvas').boundingBox())!
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2)
  await page.locator('.tip').waitFor()
  const asOf = page.locator('.live-state time')
  const seen = await asOf.textContent()
  await world.send('office', 'web', { tcp: [443] })
  await asOf.filter({ hasNotText: seen! }).waitFor()
  await reader.painted()
  assert.ok(await page.locator('.tip').isVisible(), 'the tip after a refresh')
  const body = JSON.stringify({ httpStatus: 429, messages: [{ errorCode: '429', message: 'too many' }] })
  await page.route('**/weir/v1/explore', (route) => route.fulfill({ status: 429, body }), { times: 1 })
  await page.getByText('The server is busy. It is asked again').waitFor()
  assert.equal(await page.locator('.chart-canvas').count(), 1)
  await reader.assertAccessible('live, and the server busy')
  await page.getByText('The server is busy').waitFor({ state: 'detached' })

  await reader.goto('/throughput?live=1')
  await page.getByRole('table', { name: 'Throughput by interface' }).locator('.button-text').first().click()
  const contributors = page.getByRole('table', { name: 'Contributors of the peak' })
  await contributors.getByText(addressOf('office')).first().waitFor()
  assert.deepEqual(reader.faults, [])
})

/** A gateway whose web server has a flow log, in a window that no test sees the end of, and a reader who is signed in. */
async function startLive(): Promise<{ world: GatewayWorld; reader: Reader } & AsyncDisposable> {
  await using started = new AsyncDisposableStack()
  const world = started.use(await new GatewayWorld().start(3600))
  world.weir.cli('flowlog', 'create', '--nic', 'web', '--bucket', 'flowlogs/web')
  const browser = started.use(await startBrowser())
  const reader = started.use(await Reader.open(browser, world.origin))
  await reader.signIn(world.credentials)
  return Object.assign(started.move(), { world, reader })
}

test('what live cannot show is said: no agent, an agent that is away, windows on their way, small flows', {
  skip: withoutBrowser,
}, async () => {
  await using weir = await startControlPlane({ consoleDirectory: CONSOLE })
  const [web, db] = [await flowLogOf(weir, 0), await flowLogOf(weir, 1)]
  await using agent = new TestAgent({ origin: weir.origin, token: weir.owner.agentToken })
  await using browser = await startBrowser()
  {
    await using reader = await Reader.open(browser, weir.origin)
    await reader.signIn(weir.owner)
    await reader.goto('/explore?live=1')
    await reader.page.getByText('Nothing to see live').waitFor()
    assert.equal(await reader.page.getByText('no agent has this interface').count(), 2)
    await reader.assertAccessible('no agent')
  }
  await agent.poll(0)
  const told = { flowLogId: web, rows: 3, left: 1_234, underway: 2 }
  for (const options of [LIGHT, DARK, NARROW]) {
    await using reader = await Reader.open(browser, weir.origin, options)
    await reader.signIn(weir.owner)
    await agent.report() // Who has not reported for a while counts as not connected.
    await reader.page.goto(`${weir.origin}/explore?live=1&view=flows`)
    if (options === LIGHT) await reader.page.getByText('asking the agents').waitFor()
    await whileTelling(agent, [told, { flowLogId: db, rows: 1 }], async () => {
      await reader.page.getByText('2 of 2 flow logs', { exact: false }).waitFor()
      await reader.page.getByText('2 windows had closed before you began to watch').waitFor()
      await reader.page.getByText('1,234 smaller flows').waitFor()
    })
    await reader.assertAccessible('live with notes')
    await reader.assertFits('live with notes')
    assert.deepEqual(reader.faults, [])
  }
  await using reader = await Reader.open(browser, weir.origin)
  await reader.signIn(weir.owner)
  await weir.store.db.updateTable('agents').set({ last_seen_at: 1 }).execute()
  await reader.goto('/explore?live=1')
  await reader.page.getByText('is not connected').first().waitFor()
  await reader.assertAccessible('not connected')
  assert.deepEqual(reader.faults, [])
})

/** Reports and tells as an agent does, again and again: what it said last is soon forgotten. */
async function whileTelling(
  agent: TestAgent,
  flows: Parameters<TestAgent['tellLive']>[0],
  action: () => Promise<void>,
): Promise<void> {
  let isOver = false
  const tell = async (): Promise<void> => {
    while (!isOver) {
      await agent.report()
      await agent.tellLive(flows)
      await setTimeout(500)
    }
  }
  const telling = tell()
  try {
    await action()
  } finally {
    isOver = true
    await telling
  }
}

async function flowLogOf(weir: ControlPlane, nic: number): Promise<string> {
  const { body } = await weir.post(`${weir.owner.nics[nic]!.path}/flowlogs`, FLOW_LOG)
  return body.id
}
