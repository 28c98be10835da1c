const IDLE_AFTER_MS = 180_000
const IDLE_FACTOR = 4

let usedAtMs = Date.now()
for (const event of ['pointermove', 'pointerdown', 'keydown', 'scroll', 'focus'] as const) {
  addEventListener(event, () => (usedAtMs = Date.now()), { passive: true, capture: true })
}

/** The pace while somebody uses the page; slower once nobody has for a while. */
export function unlessIdle(refreshMs: number): number {
  return Date.now() - usedAtMs > IDLE_AFTER_MS ? refreshMs * IDLE_FACTOR : refreshMs
}
