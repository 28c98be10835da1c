// Makes the pictures in docs/img, from real traffic through a real firewall. Not a test: it takes two minutes. In
// namespaces of its own, so that the pictures show neither the name nor the addresses of the machine:
//
//   unshare --uts --net sh -c 'hostname gateway; ip link set lo up; node test/console/screenshots.ts'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import type { BrowserContextOptions } from 'playwright-core'
import { random } from '../../src/stdx/prng.ts'
import { DARK, LIGHT, NARROW, Reader, startBrowser } from './support/browser.ts'
import { addressOf, GatewayWorld } from './support/gateway.ts'

const FOLDER = path.resolve('docs/img')
/** Pages that are a long table: their beginning is enough. */
const LONG = ['flows', 'delivery']
const TRAFFIC_MS = 90_000

async function main(): Promise<void> {
  mkdirSync(FOLDER, { recursive: true })
  await using world = await new GatewayWorld().start(2)
  for (const guest of ['web', 'db']) {
    world.weir.cli('flowlog', 'create', '--nic', guest, '--bucket', `flowlogs/${guest}`)
  }
  const sinceS = Math.floor(Date.now() / 1000)
  await traffic(world)
  await new Promise((resolve) => setTimeout(resolve, 6_000))
  const untilS = Math.floor(Date.now() / 1000) - 4
  await using browser = await startBrowser()
  const modes: [string, BrowserContextOptions][] = [
    ['light', LIGHT],
    ['dark', DARK],
    ['narrow', NARROW],
  ]
  for (const [mode, options] of modes) {
    await using reader = await Reader.open(browser, world.origin, options)
    await reader.goto('/sign-in')
    await reader.page.screenshot({ path: path.join(FOLDER, `sign-in-${mode}.png`) })
    await reader.signIn(world.credentials)
    for (const [name, target] of Object.entries(pages(sinceS, untilS))) {
      await reader.goto(target)
      await reader.page.waitForTimeout(300) // A chart is painted one frame after its data is there.
      await reader.page.screenshot({
        path: path.join(FOLDER, `${name}-${mode}.png`),
        fullPage: !LONG.includes(name),
      })
    }
    process.stderr.write(`${mode}: ${reader.faults.join('; ') || 'done'}\n`)
  }
}

function pages(sinceS: number, untilS: number): Record<string, string> {
  const range = `since=${sinceS}&until=${untilS}`
  const reach = `from=${addressOf('office')}&to=${addressOf('db')}&port=5432`
  return {
    resources: '/resources',
    explore: `/explore?${range}&split=service`,
    flows: `/explore?${range}&view=flows&filter=action+=+reject`,
    sankey: `/explore?${range}&view=sankey`,
    heat: `/explore?${range}&view=heat&metric=packets`,
    firewall: `/firewall?${range}&${reach}`,
    throughput: `/throughput?${range}`,
    delivery: '/delivery',
  }
}

/** An office that browses, a web server that asks its database, and somebody who tries doors. */
async function traffic(world: GatewayWorld): Promise<void> {
  const next = random(7)
  const upTo = (max: number) => 1 + (next() % max)
  const endMs = Date.now() + TRAFFIC_MS
  let ports = 0
  while (Date.now() < endMs) {
    await Promise.all([
      world.send('office', 'web', { tcp: [80, 443], udp: [53] }, { rounds: upTo(6), size: upTo(60_000) }),
      world.send('web', 'db', { tcp: [5432] }, { rounds: upTo(4), size: upTo(120_000) }),
      ...(upTo(3) === 1
        ? [world.send('office', 'db', { tcp: [5432, [22, 23, 3306, 3389, 8080][ports++ % 5]!] })]
        : []),
    ])
  }
}

await main()
