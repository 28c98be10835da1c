const INTERVAL_MS = 20

/** Asks until the answer is neither false nor undefined and returns it, or fails with what was waited for. */
export async function eventually<T>(
  what: string | (() => string),
  ask: () => T | Promise<T>,
  timeoutMs = 20_000,
): Promise<Exclude<T, false | undefined>> {
  for (const endMs = performance.now() + timeoutMs; ; ) {
    const answer = await ask()
    if (answer !== false && answer !== undefined) return answer as Exclude<T, false | undefined>
    if (performance.now() > endMs) {
      throw new Error(`not within ${timeoutMs} ms: ${typeof what === 'string' ? what : what()}`)
    }
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS))
  }
}
