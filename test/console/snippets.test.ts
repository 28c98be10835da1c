import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import type { ControlPlane } from '../contract/support/control-plane.ts'
import { withoutBrowser } from './support/browser.ts'
import { startConsole } from './support/console-world.ts'

const run = promisify(execFile)

// What the page offers to copy is run as it was copied, in a shell whose PATH has `weir` and whose environment has the
// token.

const NAME = `it's "all" of $HOME`
const WANTED = { name: NAME, action: 'REJECTED', direction: 'INGRESS', bucket: 'flowlogs/a-b' }

test('each call that a page shows makes the flow log that it shows', { skip: withoutBrowser }, async () => {
  await using world = await startConsole()
  const { weir, reader, page } = world
  await using shell = await Shell.make(weir)
  await makeGateways(weir)
  await reader.signIn(weir.owner)

  const kinds: [target: string, languages: string[]][] = [
    ['eth0', ['weir', 'SDK', 'curl']],
    ['nat', ['SDK', 'curl']],
    ['front', ['SDK', 'curl']],
    ['app', ['SDK', 'curl']],
  ]
  const texts: { language: string; text: string }[] = []
  for (const [target, languages] of kinds) {
    await page.getByRole('button', { name: `Enable a flow log on ${target}` }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Name').fill(NAME)
    const bucket = dialog.getByLabel('Bucket, or bucket/prefix')
    while ((await bucket.inputValue()) === '') await page.waitForTimeout(20) // The first bucket is on its way.
    await bucket.fill(WANTED.bucket)
    await dialog.getByLabel('Record').selectOption(WANTED.action)
    await dialog.getByLabel('Direction').selectOption(WANTED.direction)
    await dialog.getByText('The same as weir').click()
    for (const language of languages) {
      await dialog.getByRole('radio', { name: language, exact: true }).check()
      const region = dialog.getByRole('region', { name: language, exact: true })
      texts.push({ language, text: (await region.textContent())! })
    }
    await page.keyboard.press('Escape')
  }
  assert.deepEqual(reader.faults, [])

  for (const { language, text } of texts) {
    await (language === 'SDK' ? shell.node(text) : shell.sh(text))
    const [made, ...others] = await flowLogs(weir)
    assert.deepEqual([made?.properties, others], [WANTED, []], text)
    await weir.finished(await weir.call('DELETE', made!.href))
  }
})

async function makeGateways(weir: ControlPlane): Promise<void> {
  const datacenter = weir.nicPath.split('/').slice(0, 3).join('/')
  const balancer = { listenerLan: 1, targetLan: 2, ips: ['192.0.2.7'] }
  for (const [collection, properties] of [
    ['natgateways', { name: 'nat', publicIps: ['192.0.2.1'] }],
    ['networkloadbalancers', { name: 'front', ...balancer }],
    ['applicationloadbalancers', { name: 'app', ...balancer }],
  ] as const) {
    const made = await weir.post(`${datacenter}/${collection}`, { properties })
    assert.equal(made.status, 202, JSON.stringify(made.body))
    await weir.finished(made)
  }
}

interface FlowLog {
  href: string
  properties: object
}

/** Of everything that can have one. */
async function flowLogs(weir: ControlPlane): Promise<FlowLog[]> {
  const { body } = await weir.get('/weir/v1/flowlogs')
  const found: FlowLog[] = []
  const [, , id] = weir.nicPath.split('/')
  const places = ['natgateways', 'networkloadbalancers', 'applicationloadbalancers'].map(
    (it) => `/datacenters/${id}/${it}`,
  )
  const parents = [weir.nicPath]
  for (const place of places) {
    const { body: all } = await weir.get(`${place}?depth=1`)
    parents.push(...all.items.map((it: { id: string }) => `${place}/${it.id}`))
  }
  for (const parent of parents) {
    const { body: all } = await weir.get(`${parent}/flowlogs?depth=1`)
    found.push(
      ...all.items.map((it: { id: string; properties: object }) => ({
        href: `${parent}/flowlogs/${it.id}`,
        properties: it.properties,
      })),
    )
  }
  assert.equal(found.length, body.items.length)
  return found
}

class Shell implements AsyncDisposable {
  readonly #directory: string
  readonly #env: NodeJS.ProcessEnv

  private constructor(directory: string, env: NodeJS.ProcessEnv) {
    this.#directory = directory
    this.#env = env
  }

  static async make(weir: ControlPlane): Promise<Shell> {
    const directory = await mkdtemp(path.join(tmpdir(), 'weir-shell-'))
    await symlink(path.resolve('bin/weir.js'), path.join(directory, 'weir'))
    const bin = [directory, path.resolve('node_modules/.bin'), process.env['PATH']].join(':')
    return new Shell(directory, {
      PATH: bin,
      HOME: directory,
      WEIR_SERVER: weir.origin,
      WEIR_TOKEN: weir.owner.token,
    })
  }

  sh(text: string): Promise<unknown> {
    return run('sh', ['-euc', text], { env: this.#env, timeout: 60_000 })
  }

  /** From the repository's folder, where the SDK is installed. */
  node(text: string): Promise<unknown> {
    const args = ['--input-type=module', '-e', text]
    return run(process.execPath, args, { env: this.#env, timeout: 60_000 })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true })
  }
}
