import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import type { Locator, Page } from 'playwright-core'
import { startControlPlane } from '../contract/support/control-plane.ts'
import { Description } from '../contract/support/description.ts'
import { CONSOLE, DARK, LIGHT, NARROW, Reader, startBrowser, withoutBrowser } from './support/browser.ts'
import { startConsole } from './support/console-world.ts'

// The API's own page: everything in it comes from /openapi.json.

function lineOf(page: Page, summary: string): Locator {
  return page.locator('summary').filter({ has: page.getByText(summary, { exact: true }) })
}

test('every operation is on the page, and is found by its method, its path or its words', {
  skip: withoutBrowser,
}, async () => {
  await using world = await startConsole()
  const { weir, reader, page } = world
  await reader.signIn(weir.owner)
  const { paths } = new Description(weir.app).document
  const summaries = Object.values(paths as Record<string, Record<string, { summary: string }>>).flatMap(
    (it) => Object.values(it).map(({ summary }) => summary),
  )

  await page.getByLabel(/^Account/).click()
  await page.getByRole('link', { name: 'API reference' }).click()
  await page.getByRole('heading', { name: 'API', level: 1 }).waitFor()
  const shown = page.locator('.operation-summary')
  await shown.first().waitFor()
  const all = await shown.allTextContents()
  await page.getByLabel('Find').fill('delete nic flow')
  await page.getByText('1 found').waitFor()

  assert.deepEqual(all.sort(), summaries.sort())
  assert.deepEqual(await shown.allTextContents(), ['Delete a flow log of a NIC'])
  assert.match(page.url(), /find=delete\+nic\+flow/)
  assert.deepEqual(reader.faults, [])
})

test('the curl of an operation makes a flow log as it is shown, and a read is tried in the page', {
  skip: withoutBrowser,
}, async () => {
  await using world = await startConsole()
  const { weir, reader, page } = world
  await reader.signIn(weir.owner)
  const { datacenterId, serverId, nics, token } = weir.owner

  await reader.goto('/docs')
  await lineOf(page, 'Create a flow log of a NIC').press('Enter')
  const curl = await page.getByRole('region', { name: 'curl', exact: true }).textContent()
  const command = curl!
    .replace('{datacenterId}', datacenterId)
    .replace('{serverId}', serverId)
    .replace('{nicId}', nics[0]!.id)
  const env = { ...process.env, WEIR_TOKEN: token }
  const { stdout } = await promisify(execFile)('sh', ['-c', command], { env })
  const made = JSON.parse(stdout)

  await lineOf(page, 'List flow logs of a NIC').press('Enter')
  await page.getByLabel('datacenterId').fill(datacenterId)
  await page.getByLabel('serverId').fill(serverId)
  await page.getByLabel('nicId').fill(nics[0]!.id)
  await page.getByLabel('depth').fill('1')
  await page.getByRole('button', { name: 'Send' }).press('Enter')
  await page.getByText('200 OK').waitFor()
  const answer = JSON.parse((await page.getByRole('region', { name: 'Answer' }).textContent())!)

  assert.deepEqual(made.properties, {
    name: 'web',
    action: 'ALL',
    direction: 'BIDIRECTIONAL',
    bucket: 'flowlogs/web',
  })
  assert.deepEqual(
    answer.items.map(({ id }: { id: string }) => id),
    [made.id],
  )
  assert.match(page.url(), /open=getDatacenters\w+Flowlogs/)
  assert.deepEqual(reader.faults, [])
})

test('an opened operation is accessible and fits, narrow and wide, light and dark', {
  skip: withoutBrowser,
}, async () => {
  await using weir = await startControlPlane({ consoleDirectory: CONSOLE })
  await using browser = await startBrowser()
  const { paths } = new Description(weir.app).document
  const path = '/cloudapi/v6/datacenters/{datacenterId}/servers'
  const { operationId } = paths[path].post
  for (const [name, options] of Object.entries({ LIGHT, DARK, NARROW })) {
    await using reader = await Reader.open(browser, weir.origin, options)
    const { page } = reader
    await reader.signIn(weir.owner)

    await reader.goto(`/docs?open=${operationId}`)
    await page.getByText('Inside entities').press('Enter')
    await page.getByText('Inside nics').press('Enter')
    await page.getByText('What the answer holds').press('Enter')

    await page.getByText('Inside metadata').waitFor()
    await reader.assertAccessible(`an opened operation ${name}`)
    await reader.assertFits(`an opened operation ${name}`)
    assert.deepEqual(reader.faults, [])
  }
})
