import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from 'playwright-core'

const CHROMIUM = '/usr/bin/chromium'
export const CONSOLE = path.resolve('build/console')

/** Why the tests that need a browser cannot run here. `npm test` with CI=true refuses to start then. */
export const withoutBrowser = !existsSync(CHROMIUM)
  ? 'needs chromium'
  : !existsSync(path.join(CONSOLE, 'index.html'))
    ? 'needs the built console: npm run build:console'
    : false

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export const LIGHT: BrowserContextOptions = { viewport: { width: 1440, height: 900 }, colorScheme: 'light' }
export const DARK: BrowserContextOptions = { viewport: { width: 1440, height: 900 }, colorScheme: 'dark' }
export const NARROW: BrowserContextOptions = { viewport: { width: 360, height: 780 }, colorScheme: 'light' }
export const WIDE: BrowserContextOptions = { viewport: { width: 2560, height: 1440 }, colorScheme: 'light' }

// Times on pages are the reader's: tests have one that is not the machine's and not UTC.
const READER: BrowserContextOptions = {
  timezoneId: 'America/New_York',
  locale: 'en-US',
  reducedMotion: 'reduce',
}

/** Real Chromium, whose reader may have chosen another size of letters. */
export async function startBrowser({ lettersPx = 16 } = {}): Promise<Browser & AsyncDisposable> {
  const args = [...FLAGS, `--blink-settings=defaultFontSize=${lettersPx}`]
  return chromium.launch({ executablePath: CHROMIUM, args })
}

const SETTLE_TIMEOUT_MS = 20_000

// Expressions that run in pages are text: the tests' own types know no document.
const SETTLED = `
  document.querySelector('main h1') !== null &&
  document.querySelector('.loading, [aria-busy=true]') === null &&
  [...document.querySelectorAll('.chart-canvas')].every((it) => it.querySelector('canvas') !== null)`

const TWENTY_FRAMES = `new Promise((done) => {
  let left = 20
  const next = () => (left-- === 0 ? done() : requestAnimationFrame(next))
  next()
})`

// What moved by itself, not because of the reader (https://web.dev/articles/cls).
const COUNT_SHIFTS = `
  globalThis.shifted = 0
  new PerformanceObserver((list) => {
    for (const { value, hadRecentInput } of list.getEntries()) if (!hadRecentInput) shifted += value
  }).observe({ type: 'layout-shift', buffered: true })`

const SHIFT_MAX = 0.05

export interface Credentials {
  username: string
  password: string
}

/** One reader with a page of their own. Keeps what a page must never do: ask others, break its policy, throw. */
export class Reader implements AsyncDisposable {
  readonly page: Page
  readonly origin: string
  readonly faults: string[] = []
  readonly #context: BrowserContext

  private constructor(page: Page, context: BrowserContext, origin: string) {
    this.page = page
    this.origin = origin
    this.#context = context
    page.on('request', (request) => {
      const url = new URL(request.url())
      if (url.origin !== origin && url.protocol !== 'blob:' && url.protocol !== 'data:') {
        this.faults.push(`asked ${request.url()}`)
      }
    })
    page.on('pageerror', (error) => this.faults.push(`threw ${error.message}`))
    page.on('console', (message) => {
      const text = message.text()
      // The browser itself reports answers such as 401; the pages show them in their own words.
      if (message.type() === 'error' && !/^Failed to load resource/.test(text)) this.faults.push(text)
    })
  }

  static async open(
    browser: Browser,
    origin: string,
    options: BrowserContextOptions = LIGHT,
  ): Promise<Reader> {
    const context = await browser.newContext({ ...READER, ...options })
    await context.addInitScript({ content: COUNT_SHIFTS })
    return new Reader(await context.newPage(), context, origin)
  }

  async goto(target: string): Promise<void> {
    await this.page.goto(this.origin + target)
    await this.settled()
  }

  async signIn({ username, password }: Credentials): Promise<void> {
    await this.page.goto(this.origin)
    await this.page.getByLabel('User').fill(username)
    await this.page.locator('input[name=password]').fill(password)
    await this.page.getByRole('button', { name: 'Sign in' }).click()
    await this.page.getByRole('heading', { name: 'Resources', level: 1 }).waitFor()
  }

  /** Waits until nothing on the page says that it is loading, and fonts and charts are there. */
  async settled(): Promise<void> {
    const endMs = Date.now() + SETTLE_TIMEOUT_MS
    // Not waitForFunction: it evaluates text in the page, which the page's policy forbids.
    while (!(await this.page.evaluate<boolean>(SETTLED))) {
      if (Date.now() > endMs) throw new Error(`${this.page.url()} goes on loading`)
      await this.page.waitForTimeout(50)
    }
    await this.page.evaluate('document.fonts.ready.then(() => undefined)')
  }

  /**
   * Waits until charts are painted and take the mouse, which is some frames after they are there. Frames are counted,
   * not milliseconds: a busy machine gets the time that it needs.
   */
  async painted(): Promise<void> {
    await this.page.evaluate(TWENTY_FRAMES)
  }

  /** No rule of axe is broken on the page as it is now; WCAG 2.2 A and AA, and best practices. */
  async assertAccessible(what: string): Promise<void> {
    // What is there before the first answer is no page yet.
    await this.page.locator('main h1').first().waitFor({ state: 'attached' })
    // Evaluated by the debugger, since the page's own policy lets no foreign script in.
    await this.page.evaluate(axeSource())
    const { violations } = await this.page.evaluate<AxeResult>('axe.run()')
    const found = violations.map(
      ({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).join(', ')}`,
    )
    assert.deepEqual(found, [], what)
  }

  /** Since the page was loaded, nothing has jumped from under the reader's eyes. */
  async assertStill(what: string): Promise<void> {
    const shifted = await this.page.evaluate<number>('shifted')
    assert.ok(shifted < SHIFT_MAX, `${what} has a layout shift of ${shifted}`)
  }

  /** Nothing sticks out to the side: what is too wide scrolls by itself. */
  async assertFits(what: string): Promise<void> {
    const overflow = await this.page.evaluate<number>('document.documentElement.scrollWidth - innerWidth')
    assert.ok(overflow <= 0, `${what} is ${overflow} px wider than the window`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#context.close()
  }
}

interface AxeResult {
  violations: { id: string; nodes: { target: string[] }[] }[]
}

let axe: string | undefined

function axeSource(): string {
  axe ??= readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  return axe
}
