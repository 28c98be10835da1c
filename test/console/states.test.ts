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

const PAGES = ['/resources', '/explore', '/firewall', '/throughput', '/delivery']
const BUDGET = 300_000

test('a wrong password is said in words, and a right one leads to the resources', {
  skip: withoutBrowser,
}, async () => {
  await using weir = await startControlPlane({ consoleDirectory: CONSOLE })
  await using browser = await startBrowser()
  await using reader = await Reader.open(browser, weir.origin)
  const { page } = reader

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

test('who signs out, or whose session has ended, is asked to sign in', { skip: withoutBrowser }, async () => {
  await using weir = await startControlPlane({ consoleDirectory: CONSOLE })
  await using browser = await startBrowser()
  await using reader = await Reader.open(browser, weir.origin)
  const { page } = reader
  await reader.signIn(weir.owner)

  await page.getByLabel(/^Account/).click()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByRole('button', { name: 'Sign in' }).waitFor()
  await reader.signIn(weir.owner)
  await weir.store.db.updateTable('tokens').set({ revoked_at: 1 }).where('purpose', '=', 'console').execute()
  await page.getByRole('button', { name: 'Sign in' }).waitFor() // By itself: the page asks every few seconds.

  assert.deepEqual(reader.faults, [])
})

test('a flow log is enabled and disabled with the keyboard alone', { skip: withoutBrowser }, async () => {
  await using weir = await startControlPlane({ consoleDirectory: CONSOLE })
  await using _agent = new TestAgent({ origin: weir.origin, token: weir.owner.agentToken }).start()
  await using browser = await startBrowser()
  await using reader = await Reader.open(browser, weir.origin)
  const { page } = reader
  await reader.signIn(weir.owner)

  await page.getByRole('button', { name: 'Enable a flow log on eth0' }).press('Enter')
  await reader.assertAccessible('enabling')
  await page.getByText('The same as weir, Terraform, SDK or curl').press('Enter')
  const snippet = await page.getByRole('region', { name: 'weir', exact: true }).textContent()
  await page.getByRole('dialog').getByRole('button', { name: 'Enable' }).press('Enter')
  await page.getByText('Capturing').waitFor()
  const { body } = await weir.get(`${weir.nicPath}/flowlogs?depth=1`)
  await page.getByRole('button', { name: 'Disable the flow log on eth0' }).press('Enter')
  await page.getByText('All objects stay in').waitFor()
  await reader.assertAccessible('disabling')
  await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).press('Enter')
  await page.getByRole('button', { name: 'Enable a flow log on eth0' }).waitFor()

  assert.deepEqual(body.items[0].properties, {
    name: 'eth0',
    action: 'ALL',
    direction: 'BIDIRECTIONAL',
    bucket: 'flowlogs/eth0',
  })
  assert.match(snippet!, /weir flowlog create --nic [0-9a-f-]{36} .*--bucket flowlogs\/eth0/s)
  assert.deepEqual(reader.faults, [])
})

test('what the server refuses is said in the dialog', { skip: withoutBrowser }, async () => {
  await using weir = await startControlPlane({ consoleDirectory: CONSOLE })
  await using browser = await startBrowser()
  await using reader = await Reader.open(browser, weir.origin)
  const { page } = reader
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
  await using weir = await startControlPlane({ consoleDirectory: CONSOLE })
  await using agent = new TestAgent({ origin: weir.origin, token: weir.owner.agentToken })
  await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  await agent.poll(0)
  const [assignment] = agent.assignments
  const point = { flowLogId: assignment!.flowLogId, device: 'eth0' }
  await agent.report([{ ...point, state: 'failed', message: 'no such device eth0' }])
  await using browser = await startBrowser()
  await using reader = await Reader.open(browser, weir.origin)
  await reader.signIn(weir.owner)

  await reader.page.getByText("No such device eth0. Check the NIC's binding").waitFor()
  await reader.goto('/delivery')
  await reader.page.getByText("No such device eth0. Check the NIC's binding").waitFor()
  await reader.assertAccessible('delivery that fails')

  assert.deepEqual(reader.faults, [])
})

test('a member without data centers sees that, and no delivery of others', {
  skip: withoutBrowser,
}, async () => {
  await using weir = await startControlPlane({ consoleDirectory: CONSOLE })
  const member = await addMember(weir)
  await using browser = await startBrowser()
  await using reader = await Reader.open(browser, weir.origin)
  await reader.signIn(member)

  await reader.page.getByText('No data center yet').waitFor()
  await reader.assertAccessible('no data center')
  await reader.goto('/delivery')
  await reader.page.getByText('You have no permission for this').waitFor()
  await reader.assertAccessible('no permission')

  assert.deepEqual(reader.faults, [])
})

test('a server that is gone is said, not waited for', { skip: withoutBrowser }, async () => {
  await using weir = await startControlPlane({ consoleDirectory: CONSOLE })
  await using browser = await startBrowser()
  await using reader = await Reader.open(browser, weir.origin)
  await reader.signIn(weir.owner)

  await reader.page.route('**/cloudapi/**', (route) => route.abort())
  await reader.page.getByText('No answer from the server').waitFor()
  await reader.assertAccessible('no answer')
  await reader.page.unroute('**/cloudapi/**')
  await reader.page.getByText('No answer from the server').waitFor({ state: 'detached' })

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

test('the colours that a reader chose stay', { skip: withoutBrowser }, async () => {
  await using weir = await startControlPlane({ consoleDirectory: CONSOLE })
  await using browser = await startBrowser()
  await using reader = await Reader.open(browser, weir.origin)
  const { page } = reader
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

test('all that loads before the first chart is under 300 kB, compressed', { skip: withoutBrowser }, () => {
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
