// Makes the pictures in docs/img, from real traffic through a real firewall. Not a test: it takes two minutes. In
// namespaces of its own, so that the pictures show neither the name nor the addresses of the machine:
//
//   unshare --uts --net sh -c 'hostname gateway; ip link set lo up; node test/console/screenshots.ts'
import { mkdirSync, statSync } from 'node:fs'
import path from 'node:path'
import type { BrowserContextOptions } from 'playwright-core'
import { random } from '../../src/stdx/prng.ts'
import { DARK, LIGHT, NARROW, Reader, startBrowser } from './support/browser.ts'
import { addressOf, GatewayWorld } from './support/gateway.ts'

const FOLDER = path.resolve('docs/img')
/** Pages that are a long table: their beginning is enough. */
const LONG = ['flows', 'delivery']
const SIZE_MAX = 150_000
const DESKTOP = { width: 1280, height: 800 }
const TOP = { x: 0, y: 0, width: 1280, height: 720 }
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
    ['light', { ...LIGHT, viewport: DESKTOP }],
    ['dark', { ...DARK, viewport: DESKTOP }],
    ['narrow', NARROW],
  ]
  for (const [mode, options] of modes) {
    await using reader = await Reader.open(browser, world.origin, options)
    await reader.goto('/sign-in')
    await reader.page.screenshot({ path: path.join(FOLDER, `sign-in-${mode}.png`) })
    await reader.signIn(world.credentials)
    for (const [name, target] of Object.entries(pages(sinceS, untilS))) {
      await reader.goto(target)
      await reader.painted()
      const file = path.join(FOLDER, `${name}-${mode}.png`)
      const { size } = await reader.page
        .screenshot({ path: file, fullPage: !LONG.includes(name) })
        .then(() => statSync(file))
      if (size > SIZE_MAX) await reader.page.screenshot({ path: file, clip: TOP }) // What does not fit is not needed.
    }
    await Promise.all([
      world.send('office', 'web', { tcp: [443], udp: [53] }, { rounds: 60, size: 60_000 }),
      shootLive(reader, mode),
    ])
    process.stderr.write(`${mode}: ${reader.faults.join('; ') || 'done'}\n`)
  }
}

/** While there is traffic: some of it is in the bucket, the rest with the agent. */
async function shootLive(reader: Reader, mode: string): Promise<void> {
  await reader.goto('/explore?live=1&split=service')
  await reader.page.getByText('2 of 2 flow logs').waitFor()
  await reader.page.waitForTimeout(4_000) // One more answer, with what has passed meanwhile.
  await reader.page.screenshot({ path: path.join(FOLDER, `live-${mode}.png`), fullPage: true })
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

/**
 * An office that browses, more and less by turns; a web server that asks its database; backups; somebody who tries doors,
 * one of which an administrator opens in the end; and logs that are sent to nobody.
 */
async function traffic(world: GatewayWorld): Promise<void> {
  const next = random(7)
  const upTo = (max: number) => 1 + (next() % max)
  const beginMs = Date.now()
  let isOpen = false
  for (let round = 0; Date.now() < beginMs + TRAFFIC_MS; round++) {
    const share = (Date.now() - beginMs) / TRAFFIC_MS
    const busy = 0.25 + Math.abs(Math.sin(share * 7)) + (share > 0.55 && share < 0.6 ? 2 : 0)
    const size = (max: number) => Math.ceil(busy * upTo(max))
    const web = { tcp: upTo(4) === 1 ? [80, 443] : [443], udp: [53] }
    await Promise.all([
      world.send('office', 'web', web, { rounds: Math.ceil(busy * 4), size: size(60_000) }),
      world.send('web', 'db', { tcp: [5432] }, { rounds: Math.ceil(busy * 3), size: size(90_000) }),
      ...(round % 9 === 4 ? [world.send('db', 'web', { tcp: [443] }, { rounds: 6, size: 180_000 })] : []),
      ...(upTo(3) === 1
        ? [world.send('office', 'db', { tcp: [5432, [22, 23, 3306, 3389, 8080][next() % 5]!] })]
        : []),
      ...(upTo(6) === 1 ? [world.send('office', 'web', { tcp: [22] })] : []),
      ...(upTo(8) === 1 ? [world.send('db', 'web', { udp: [514] }, { size: 200 })] : []),
    ])
    if (share > 0.75 && !isOpen) {
      world.allow('office', 'db', 5432)
      isOpen = true
    }
  }
}

await main()
