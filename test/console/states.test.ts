import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { createUser } from '../../src/store/accounts.ts'
import { hashPassword } from '../../src/store/secrets.ts'
import { TestAgent } from '../contract/support/agent.ts'
import { type ControlPlane, FLOW_LOG, startControlPlane } from '../contract/support/control-plane.ts'
import {
  CONSOLE,
  DARK,
  LIGHT,
  NARROW,
  Reader,
  startBrowser,
  WIDE,
  withoutBrowser,
} from './support/browser.ts'
import { startConsole } from './support/console-world.ts'

const PAGES = ['/resources', '/explore', '/firewall', '/throughput', '/delivery', '/docs']
const BUDGET = 300_000
const DESK = { viewport: { width: 1280, height: 800 } }

test('a wrong password is said in words, and a right one leads to the resources', {
  skip: withoutBrowser,
}, async () => {
  await using world = await startConsole()
  const { weir, reader, page } = world

  await page.goto(weir.origin)
  await reader.assertAccessible('sign-in')
  await page.getByLabel('User').fill(weir.owner.username)
  await page.locator('input[name=password]').fill('wrong')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByText('User or password is wrong.').waitFor()
  await page.locator('input[name=password]').fill(weir.owner.password)
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'Resources', level: 1 }).waitFor()

  assert.equal(await page.evaluate('document.cookie'), '', 'no script can read the cookie')
  assert.deepEqual(reader.faults, [])
})

test('who signs out, or whose session has ended, is asked to sign in, and is then where they were', {
  skip: withoutBrowser,
}, async () => {
  await using world = await startConsole()
  const { weir, reader, page } = world
  await reader.signIn(weir.owner)

  await page.getByLabel(/^Account/).click()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByRole('button', { name: 'Sign in' }).waitFor()
  await reader.signIn(weir.owner)
  await reader.goto('/delivery?span=86400')
  await weir.store.change(({ tx }) =>
    tx.updateTable('tokens').set({ revoked_at: 1 }).where('purpose', '=', 'console').execute(),
  )
  await page.getByText('Your session has ended').waitFor() // By itself: the page asks every few seconds.
  await reader.assertAccessible('an ended session')
  await page.getByLabel('User').fill(weir.owner.username)
  await page.locator('input[name=password]').fill(weir.owner.password)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('heading', { name: 'Delivery', level: 1 }).waitFor()
  assert.match(page.url(), /delivery\?span=86400$/)

  assert.deepEqual(reader.faults, [])
})

test('a flow log is enabled and disabled with the keyboard alone', { skip: withoutBrowser }, async () => {
  await using world = await startConsole()
  const { weir, reader, page } = world
  await using _agent = new TestAgent({ origin: weir.origin, token: weir.owner.agentToken }).start()
  await reader.signIn(weir.owner)

  await page.getByRole('button', { name: 'Enable a flow log on eth0' }).press('Enter')
  await reader.assertAccessible('enabling')
  assert.ok(await page.getByLabel('Name').and(page.locator(':focus')).isVisible(), 'the first field')
  await page.getByText('The same as weir, Terraform, SDK or curl').press('Enter')
  const snippet = await page.getByRole('region', { name: 'weir', exact: true }).textContent()
  await page.getByRole('dialog').getByRole('button', { name: 'Enable' }).press('Enter')
  await page.getByText('Capturing', { exact: true }).waitFor()
  await page.getByRole('link', { name: 'Explore eth0' }).and(page.locator(':focus')).waitFor()
  const { body } = await weir.get(`${weir.nicPath}/flowlogs?depth=1`)
  await page.getByRole('button', { name: 'Disable the flow log on eth0' }).press('Enter')
  await page.getByText('All objects stay in').waitFor()
  await reader.assertAccessible('disabling')
  await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).press('Enter')
  const enable = page.getByRole('button', { name: 'Enable a flow log on eth0' })
  await enable.and(page.locator(':focus')).waitFor()

  assert.deepEqual(body.items[0].properties, {
    name: 'eth0',
    action: 'ALL',
    direction: 'BIDIRECTIONAL',
    bucket: 'flowlogs/eth0',
  })
  assert.match(snippet!, /weir flowlog create --nic [0-9a-f-]{36} .*--bucket flowlogs\/eth0/s)
  assert.deepEqual(reader.faults, [])
})

test('a time says what it is in UTC to whoever touches it, hovers over it, or reaches it with the keyboard', {
  skip: withoutBrowser,
}, async () => {
  await using world = await startConsole({ ...NARROW, hasTouch: true })
  const { weir, reader, page } = world
  await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  const fault = { last_error: "bucket 'flowlogs' answered 403 AccessDenied", last_error_at: 1 }
  await weir.store.change(({ tx }) => tx.updateTable('flow_logs').set(fault).execute())
  await reader.signIn(weir.owner)
  await reader.goto('/delivery')

  const tried = page.locator('time').first()
  const tip = page.getByRole('tooltip').filter({ hasText: '1970-01-01 00:00:00 UTC' })
  for (const show of [() => tried.tap(), () => tried.hover(), () => tried.press('ArrowLeft')]) {
    await show()
    await tip.waitFor()
    assert.equal(await tried.getAttribute('aria-describedby'), await tip.getAttribute('id'))
    await reader.assertAccessible('a time')
    await reader.assertFits('a time')
    await page.keyboard.press('Escape')
    await tip.waitFor({ state: 'detached' })
    await tried.blur()
  }
  await page.getByRole('button', { name: 'Try again' }).focus()
  await page.keyboard.press('Shift+Tab')
  await tip.waitFor()
  await page.keyboard.press('Tab')
  await tip.waitFor({ state: 'detached' })

  assert.deepEqual(reader.faults, [])
})

test('whoever has mended a bucket has it tried again with a button', { skip: withoutBrowser }, async () => {
  await using world = await startConsole()
  const { weir, reader, page } = world
  await using agent = new TestAgent({ origin: weir.origin, token: weir.owner.agentToken })
  await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  await agent.poll(0)
  await agent.report()
  const fault = { last_error: "bucket 'flowlogs' answered 403 AccessDenied", last_error_at: 1 }
  await weir.store.change(({ tx }) => tx.updateTable('flow_logs').set(fault).execute())
  await reader.signIn(weir.owner)
  await reader.goto('/delivery')

  await page.getByRole('button', { name: 'Try again' }).press('Enter')
  await page.getByText('It is tried now.').waitFor()
  await reader.assertAccessible('a failing bucket')
  const told = await agent.changesSince(agent.version)

  const { contractNumber } = weir.owner
  assert.deepEqual(told.retry, [{ contractNumber, bucket: 'flowlogs' }])
  assert.deepEqual(reader.faults, [])
})

test('a range that ends before it begins is not asked for', { skip: withoutBrowser }, async () => {
  await using world = await startConsole(NARROW)
  const { weir, reader, page } = world
  await reader.signIn(weir.owner)

  await reader.goto('/explore')
  await page.getByRole('button', { name: 'Other…' }).press('Enter')
  await page.getByLabel('From').fill('2026-11-23T00:00')
  await page.getByLabel('to', { exact: true }).fill('2026-11-22T23:30')
  await page.getByRole('button', { name: 'Show', exact: true }).press('Enter')
  await page.getByText('The end must be after the beginning').waitFor()
  await reader.assertAccessible('a range that ends before it begins')
  await reader.assertFits('a range that ends before it begins')
  assert.equal(new URL(page.url()).search, '')
  await page.getByLabel('to', { exact: true }).fill('2026-11-23T23:30')
  await page.getByRole('button', { name: 'Show', exact: true }).press('Enter')
  await page.waitForURL(/since=1795410000&until=1795494600/)

  assert.deepEqual(reader.faults, [])
})

test('a range in words is what commands understand, and what nobody understands is said', {
  skip: withoutBrowser,
}, async () => {
  await using world = await startConsole(NARROW)
  const { weir, reader, page } = world
  await reader.signIn(weir.owner)

  await reader.goto('/explore')
  await page.getByRole('button', { name: 'Other…' }).press('Enter')
  await page.getByLabel('Since').fill('last tuesday or so')
  await reader.assertAccessible('a range in words')
  await reader.assertFits('a range in words')
  await page.getByLabel('Since').press('Enter')
  await page
    .getByText(/'last tuesday or so' is not a time: '2h'/)
    .first()
    .waitFor()
  await page.getByRole('button', { name: 'Since last tuesday or so' }).press('Enter')
  await page.getByLabel('Since').fill('2 days ago')
  await page.getByLabel('until').fill('yesterday')
  await page.getByRole('button', { name: 'Show that' }).press('Enter')
  await page.waitForURL(/since=2\+days\+ago&until=yesterday/)
  await page.getByText('No flows yet').waitFor()
})

test('a range that nobody touched stays to the second, in the second of two equal hours as well', {
  skip: withoutBrowser,
}, async () => {
  await using world = await startConsole()
  const { weir, reader, page } = world
  await reader.signIn(weir.owner)
  const clocksGoBackS = Date.UTC(2026, 10, 1, 6) / 1000
  const sinceS = clocksGoBackS + 1845

  await reader.goto(`/explore?since=${sinceS}&until=${sinceS + 7245}`)
  await page.getByRole('button', { name: /1 Nov/ }).press('Enter')
  assert.equal(await page.getByLabel('From').inputValue(), '2026-11-01T01:30')
  assert.equal(await page.getByLabel('Since').inputValue(), '2026-11-01T06:30:45Z')
  await page.getByLabel('to', { exact: true }).fill('2026-11-01T02:15')
  await page.getByRole('button', { name: 'Show', exact: true }).press('Enter')
  await page.waitForURL(new RegExp(`since=${sinceS}&until=${clocksGoBackS + 4500}$`))

  assert.deepEqual(reader.faults, [])
})

test('what the server refuses is said in the dialog', { skip: withoutBrowser }, async () => {
  await using world = await startConsole()
  const { weir, reader, page } = world
  await reader.signIn(weir.owner)

  await page.getByRole('button', { name: 'Enable a flow log on eth0' }).click()
  await page.getByLabel('Bucket, or bucket/prefix').fill('not-there/web')
  await page.getByRole('dialog').getByRole('button', { name: 'Enable' }).click()
  await page.getByText(/bucket 'not-there' does not exist/i).waitFor()
  await page.keyboard.press('Escape')

  assert.equal(await page.getByRole('dialog').count(), 0)
  assert.deepEqual(reader.faults, [])
})

test('why a flow log does not work is said where it is, and with what to do', {
  skip: withoutBrowser,
}, async () => {
  await using world = await startConsole()
  const { weir, reader } = world
  await using agent = new TestAgent({ origin: weir.origin, token: weir.owner.agentToken })
  await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  await agent.poll(0)
  const [assignment] = agent.assignments
  const point = { flowLogId: assignment!.flowLogId, device: 'eth0' }
  // Before each page: who has not reported for a while counts as not connected.
  const report = () => agent.report([{ ...point, state: 'failed', message: 'no such device eth0' }])
  await report()
  await reader.signIn(weir.owner)

  await reader.page.getByText("No such device eth0. Check the NIC's binding").waitFor()
  await report()
  await reader.goto('/delivery')
  await reader.page.getByText("No such device eth0. Check the NIC's binding").waitFor()
  await reader.assertAccessible('delivery that fails')

  assert.deepEqual(reader.faults, [])
})

test('a member without data centers sees that, and no delivery of others', {
  skip: withoutBrowser,
}, async () => {
  await using world = await startConsole()
  const { weir, reader } = world
  const member = await addMember(weir)
  await reader.signIn(member)

  await reader.page.getByText('No data center yet').waitFor()
  await reader.assertAccessible('no data center')
  await reader.goto('/explore')
  await reader.page.getByText('that are shared with a group').waitFor()
  await reader.goto('/delivery')
  await reader.page.getByText('You have no permission for this').waitFor()
  await reader.page.getByText('Only the owner and administrators of the contract may do this.').waitFor()
  assert.equal(await reader.page.getByText('can grant it').count(), 0)
  await reader.assertAccessible('no permission')

  assert.deepEqual(reader.faults, [])
})

test('a server that is gone is said, not waited for', { skip: withoutBrowser }, async () => {
  await using world = await startConsole()
  const { weir, reader } = world
  await reader.signIn(weir.owner)
  await reader.goto('/explore')

  await reader.page.route('**/weir/v1/inventory', (route) => route.abort())
  await reader.page.getByRole('link', { name: 'Resources' }).first().click()
  await reader.page.getByText('No answer from the server').waitFor()
  await reader.assertAccessible('no answer')
  await reader.page.unroute('**/weir/v1/inventory')
  await reader.page.getByText('No answer from the server').waitFor({ state: 'detached' })

  assert.deepEqual(reader.faults, [])
})

test('a console whose server is busy when it is opened asks again by itself', {
  skip: withoutBrowser,
}, async () => {
  await using world = await startConsole()
  const { weir, reader, page } = world
  await reader.signIn(weir.owner)
  await page.clock.install()

  const body = JSON.stringify({ httpStatus: 503, messages: [{ errorCode: '503', message: 'all are busy' }] })
  await page.route('**/weir/v1/session', (route) => route.fulfill({ status: 503, body }), { times: 1 })
  await page.goto(`${weir.origin}/explore`)
  await page.getByText('It is asked again every few seconds').waitFor()
  await page.clock.runFor(5_000)
  await page.getByRole('heading', { name: 'Explore' }).waitFor()

  assert.deepEqual(reader.faults, [])
})

test('a page or a chart whose script does not come says so, and comes when it is loaded anew', {
  skip: withoutBrowser,
}, async () => {
  await using world = await startConsole()
  const { weir, reader, page } = world
  await reader.signIn(weir.owner)

  await page.route('**/assets/explore-*', (route) => route.abort())
  await page.getByRole('link', { name: 'Explore' }).click()
  await page.getByText('This page could not be loaded').waitFor()
  await reader.assertAccessible('a page without its script')
  await page.getByRole('link', { name: 'Resources', exact: true }).click()
  await page.getByRole('heading', { name: 'Data center local' }).waitFor()
  await page.getByRole('link', { name: 'Explore' }).click()
  await page.unroute('**/assets/explore-*')
  await page.getByRole('button', { name: 'Load it anew' }).click()
  await page.getByText('No flows yet').waitFor()
})

test('a mistyped address leads to a page that says so, and on; who goes to a page is at its beginning', {
  skip: withoutBrowser,
}, async () => {
  await using world = await startConsole()
  const { weir, reader, page } = world
  await reader.signIn(weir.owner)

  await page.goto(`${weir.origin}/recources`)
  await page.getByRole('heading', { name: 'There is no such page', level: 1 }).waitFor()
  await reader.assertAccessible('no such page')
  await page.getByRole('link', { name: 'To the resources', exact: true }).press('Enter')
  await page.getByRole('heading', { name: 'Resources', level: 1 }).waitFor()

  await page.getByRole('main', { name: 'Resources' }).and(page.locator(':focus')).waitFor()
  // What the browser says of the answer 404 is no fault of the page.
  assert.deepEqual(reader.faults, [])
})

test('every page is accessible and fits, from 360 to 2560 pixels, light and dark, also without an answer', {
  skip: withoutBrowser,
}, async () => {
  await using weir = await startControlPlane({ consoleDirectory: CONSOLE })
  await using browser = await startBrowser()
  for (const [name, options] of Object.entries({ LIGHT, DARK, NARROW, WIDE })) {
    await using reader = await Reader.open(browser, weir.origin, options)
    await reader.signIn(weir.owner)
    for (const target of PAGES) {
      await reader.goto(target)
      await reader.assertAccessible(`${target} ${name}`)
      await reader.assertFits(`${target} ${name}`)
    }
    assert.deepEqual(reader.faults, [])
  }
})

test('letters of twice the size are as large as the reader wants them, and all fits', {
  skip: withoutBrowser,
}, async () => {
  await using weir = await startControlPlane({ consoleDirectory: CONSOLE })
  await using browser = await startBrowser({ lettersPx: 32 })
  for (const options of [DESK, NARROW]) {
    await using reader = await Reader.open(browser, weir.origin, options)
    await reader.signIn(weir.owner)
    for (const target of PAGES) {
      await reader.goto(target)
      await reader.assertFits(`${target}, large letters`)
    }
    const size = "getComputedStyle(document.querySelector('main p')).fontSize"
    assert.ok(Number.parseFloat(await reader.page.evaluate<string>(size)) > 24)
  }
})

test('the colours that a reader chose stay', { skip: withoutBrowser }, async () => {
  await using world = await startConsole()
  const { weir, reader, page } = world
  await reader.signIn(weir.owner)
  const ground = () => page.evaluate<string>('getComputedStyle(document.documentElement).backgroundColor')

  const light = await ground()
  await page.getByLabel(/^Account/).click()
  await page.getByLabel('Dark').check()
  const dark = await ground()
  await page.reload()

  assert.notEqual(dark, light)
  assert.equal(await ground(), dark)
})

test('a busy server is asked again, without anybody doing anything', { skip: withoutBrowser }, async () => {
  await using world = await startConsole()
  const { weir, reader } = world
  await reader.signIn(weir.owner)

  const body = JSON.stringify({ httpStatus: 503, messages: [{ errorCode: '503', message: 'all are busy' }] })
  await reader.page.route('**/weir/v1/explore', (route) => route.fulfill({ status: 503, body }), { times: 1 })
  await reader.page.getByRole('link', { name: 'Explore' }).first().click()
  await reader.page.getByText('The server is busy').waitFor()
  await reader.assertAccessible('busy')
  await reader.page.getByText('No flows yet').waitFor()

  assert.deepEqual(reader.faults, [])
})

test('whoever waits for an answer, the first or another, sees how many objects have been read', {
  skip: withoutBrowser,
}, async () => {
  await using world = await startConsole()
  const { weir, reader, page } = world
  await reader.signIn(weir.owner)
  let held = Promise.withResolvers<void>()
  await page.route('**/weir/v1/explore', async (route) => {
    await held.promise
    await route.continue()
  })
  const progress = { reading: { read: 45, objects: 200 } }
  await page.route('**/weir/v1/explore/progress', (route) => route.fulfill({ json: progress }))

  await page.goto(`${weir.origin}/explore`)
  const reading = page.getByText('Reading 200 objects: 45 done.').first()
  await reading.waitFor()
  held.resolve()
  await reading.waitFor({ state: 'detached' })
  await page.getByText('No flows yet').waitFor()
  held = Promise.withResolvers()
  await page.getByRole('button', { name: '6 h' }).press('Enter')
  await reading.waitFor()
  assert.ok(await page.getByText('No flows yet').isVisible(), 'what was there stays meanwhile')
  await reader.assertAccessible('while it is asked')
  held.resolve()
  await reading.waitFor({ state: 'detached' })
  await reader.assertStill('after another range')

  assert.deepEqual(reader.faults, [])
})

test('what was refused is shown while the answer to a question is awaited, and each part comes by itself', {
  skip: withoutBrowser,
}, async () => {
  await using world = await startConsole()
  const { weir, reader, page } = world
  await reader.signIn(weir.owner)
  const held = { reach: Promise.withResolvers<void>(), rejects: Promise.withResolvers<void>() }
  await page.route('**/weir/v1/explore', async (route) => {
    const { kind } = route.request().postDataJSON() as { kind: string }
    await held[kind as keyof typeof held]?.promise
    await route.continue()
  })

  await page.goto(`${weir.origin}/firewall?from=any&to=10.0.0.2`)
  await page.getByText('No rule changed').waitFor()
  await page.getByText('Every known service is used').waitFor()
  await page.getByText('Loading what was refused').waitFor({ state: 'attached' })
  held.rejects.resolve()
  await page.getByText('No flows yet').waitFor()
  await page.getByText('Loading the answer').waitFor({ state: 'attached' })
  await reader.assertAccessible('while the answer is awaited')
  held.reach.resolve()
  await page.locator('.reach-answer').getByText('Not seen').waitFor()

  assert.deepEqual(reader.faults, [])
})

test('a user of several contracts goes from one to another, in all tabs', {
  skip: withoutBrowser,
}, async () => {
  await using world = await startConsole(NARROW)
  const { weir, reader, page } = world
  const owner = { email: 'north@example.org', password: 'a long password' }
  await weir.post('/weir/v1/contracts', { contractNumber: 4711, name: 'north', owner })
  const headers = { 'x-contract-number': '4711' }
  const properties = { name: 'oslo', location: 'no/osl' }
  await weir.call('POST', '/datacenters', { properties }, headers)
  await reader.signIn(weir.owner)
  const other = await page.context().newPage()
  await other.goto(`${weir.origin}/explore`)
  await other.getByRole('heading', { name: 'Explore' }).waitFor()

  await page.getByRole('heading', { name: 'Data center local' }).waitFor()
  await page.getByLabel(/^Account/).click()
  await reader.assertAccessible('the menu')
  await reader.assertFits('the menu')
  await page.getByRole('combobox', { name: 'Contract' }).selectOption('4711')
  await page.getByRole('heading', { name: 'Data center oslo' }).waitFor()
  assert.equal(await page.getByRole('heading', { name: 'Data center local' }).count(), 0)
  await other.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
  await other.locator('.account-contract').getByText('north').waitFor({ state: 'attached' })

  assert.deepEqual(reader.faults, [])
})

test('what does not change is asked for seldom, and not sent again', { skip: withoutBrowser }, async () => {
  await using world = await startConsole()
  const { weir, reader, page } = world
  const answers: string[] = []
  page.on('response', (it) => answers.push(`${it.status()} ${new URL(it.url()).pathname}`))
  const countOf = (answer: string) => answers.filter((it) => it === answer).length
  await page.clock.install()
  await reader.signIn(weir.owner)
  await reader.settled()

  const pass = async (seconds: number) => {
    for (let passed = 0; passed < seconds; passed += 10) {
      await page.clock.runFor(10_000)
      await page.waitForTimeout(50) // What was asked for is answered by a server whose clock goes on as ever.
    }
  }
  await pass(40)
  assert.deepEqual([countOf('200 /weir/v1/flowlogs'), countOf('200 /weir/v1/inventory')], [1, 1])
  const asked = countOf('304 /weir/v1/flowlogs')
  assert.ok(asked >= 2, String(asked))

  // Nobody looks: nobody is asked. What somebody else enables is seen at once, inventory and all.
  await page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
  await pass(180)
  assert.ok(answers.filter((it) => it.endsWith('/flowlogs')).length <= asked + 2)
  await weir.finished(await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG))
  await page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
  await page.getByRole('button', { name: 'Disable the flow log on eth0' }).waitFor()
  assert.ok(countOf('200 /weir/v1/inventory') >= 2)

  assert.deepEqual(reader.faults, [])
})

test('many interfaces come in pages, and one is found by its name, its address or its state', {
  skip: withoutBrowser,
}, async () => {
  await using world = await startConsole(NARROW)
  const { weir, reader, page } = world
  const servers = weir.nicPath.replace(/\/nics\/.*/, '')
  const numbers = Array.from({ length: 120 }, (_, at) => at)
  const propertiesOf = (at: number) => ({
    name: `${'long-'.repeat(20)}${at}`,
    lan: 1,
    ips: [`10.0.${at}.7`],
  })
  await Promise.all(numbers.map((at) => weir.post(`${servers}/nics`, { properties: propertiesOf(at) })))
  await weir.finished(await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG))
  await reader.signIn(weir.owner)

  const enable = page.getByRole('button', { name: /^Enable/ })
  assert.equal(await enable.count(), 99)
  await page.getByRole('button', { name: 'Next' }).click()
  await page.getByText('101–122 of 122').waitFor()
  assert.equal(await enable.count(), 22)
  await reader.assertFits('the last page')
  await page.goBack()
  await page.getByText('1–100 of 122').waitFor()
  await page.getByRole('link', { name: '1 waiting' }).click()
  await page.getByText('1 found').waitFor()
  assert.equal(await page.getByRole('button', { name: 'Disable the flow log on eth0' }).count(), 1)
  await page.getByRole('searchbox', { name: 'Find' }).fill('10.0.7.7')
  await page.waitForURL(/find=10\.0\.7\.7/)
  assert.equal(await enable.count(), 1)
  await reader.assertAccessible('found')
  await reader.assertFits('found')
  await page.getByRole('searchbox', { name: 'Find' }).fill('nothing such')
  await page.getByRole('button', { name: 'Show all' }).click()
  assert.equal(await enable.count(), 99)

  assert.deepEqual(reader.faults, [])
})

test('accepted and refused are told apart also by those who see no red, no green or no blue', () => {
  const tokens = readFileSync('console/src/style/tokens.css', 'utf8')
  const pairOf = (name: string) =>
    new RegExp(`--${name}: light-dark\\((#\\w{6}), (#\\w{6})\\)`).exec(tokens)!.slice(1)
  const [accept, reject] = [pairOf('accept'), pairOf('reject')]

  for (const [kind, matrix] of Object.entries(SEEN_BY)) {
    for (const at of [0, 1]) {
      const [a, b] = [accept[at]!, reject[at]!].map((colour) => labOf(seenThrough(matrix, colour)))
      const distance = Math.hypot(...a!.map((it, index) => it - b![index]!))
      assert.ok(distance > 45, `${kind}: ${distance.toFixed(0)}`)
    }
  }
})

/** Machado, Oliveira, Fernandes (2009): what is seen by those who lack one kind of cone, in linear RGB. */
const SEEN_BY = {
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritanopia: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
}

function seenThrough(matrix: number[][], colour: string): number[] {
  const linear = [1, 3, 5].map((at) => {
    const value = Number.parseInt(colour.slice(at, at + 2), 16) / 255
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  })
  return matrix.map((row) =>
    Math.min(
      1,
      Math.max(
        0,
        row.reduce((sum, it, at) => sum + it * linear[at]!, 0),
      ),
    ),
  )
}

/** CIE 1976 L*a*b*, under D65. */
function labOf([r, g, b]: number[]): number[] {
  const curve = (t: number) => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116)
  const x = curve((0.4124 * r! + 0.3576 * g! + 0.1805 * b!) / 0.9505)
  const y = curve(0.2126 * r! + 0.7152 * g! + 0.0722 * b!)
  const z = curve((0.0193 * r! + 0.1192 * g! + 0.9505 * b!) / 1.089)
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)]
}

test('what Chromium loads before the first chart is under 300 kB, and comes under a strict policy', {
  skip: withoutBrowser,
}, async () => {
  await using world = await startConsole()
  const { weir, reader } = world
  const loaded: Promise<number>[] = []
  reader.page.on('requestfinished', (it) =>
    loaded.push(it.sizes().then(({ responseBodySize }) => responseBodySize)),
  )

  const document = await reader.page.goto(weir.origin)
  await reader.signIn(weir.owner)
  await reader.settled()

  const size = (await Promise.all(loaded)).reduce((sum, it) => sum + it, 0)
  assert.ok(size > 50_000 && size < BUDGET, `${size} bytes`)
  const policy = document!.headers()['content-security-policy']!
  assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self'/)
  assert.doesNotMatch(policy, /unsafe|https?:|data:|\*/)
  assert.deepEqual(reader.faults, [], 'asks nobody else')
})

test('all that is not for charts is under 300 kB, compressed', { skip: withoutBrowser }, () => {
  const assets = readdirSync(path.join(CONSOLE, 'assets')).filter((it) => !it.startsWith('echarts'))
  const size = assets
    .map((it) => readFileSync(path.join(CONSOLE, 'assets', it)))
    .reduce((sum, content) => sum + gzipSync(content).length, 0)

  assert.ok(assets.length > 5)
  assert.ok(size < BUDGET, `${size} bytes`)
})

async function addMember(weir: ControlPlane): Promise<{ username: string; password: string }> {
  const member = { username: 'member@example.org', password: 'a long password' }
  const passwordHash = await hashPassword(member.password)
  await weir.store.change((change) =>
    createUser(change, {
      email: member.username,
      passwordHash,
      firstName: '',
      lastName: '',
      operator: false,
      contractNumber: weir.owner.contractNumber,
      role: 'member',
    }),
  )
  return member
}
