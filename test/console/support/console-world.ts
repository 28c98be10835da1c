import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { type ControlPlane, startControlPlane } from '../../contract/support/control-plane.ts'
import { CONSOLE, Reader, startBrowser } from './browser.ts'

export interface ConsoleWorld extends AsyncDisposable {
  weir: ControlPlane
  browser: Browser
  reader: Reader
  /** The reader's. */
  page: Page
}

/** A control plane with the built console, and a reader who has opened nothing yet and has not signed in. */
export async function startConsole(options?: BrowserContextOptions): Promise<ConsoleWorld> {
  await using started = new AsyncDisposableStack()
  const weir = started.use(await startControlPlane({ consoleDirectory: CONSOLE }))
  const browser = started.use(await startBrowser())
  const reader = started.use(await Reader.open(browser, weir.origin, options))
  return Object.assign(started.move(), { weir, browser, reader, page: reader.page })
}
