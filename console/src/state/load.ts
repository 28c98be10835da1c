import { useEffect, useRef, useState } from 'react'
import { ApiError } from '../api/http.ts'

export interface Loaded<T> {
  /** The newest answer; stays while the next one is awaited. */
  value: T | undefined
  error: ApiError | undefined
  loading: boolean
  again(): void
}

/**
 * Whether an answer, or a fault, has come at least once. What stands below waits for that: else it would jump down under
 * the reader's eyes.
 */
export function useSettled({ value, error }: Loaded<unknown>): boolean {
  const isNow = value !== undefined || error !== undefined
  const [was, setWas] = useState(isNow)
  if (isNow && !was) setWas(true)
  return isNow || was
}

export const RETRY_MS = 4_000

/** Loads whenever `key` changes, and every `refreshMs`, or as often as what came asks for. An answer that comes too late for its key is thrown away. */
export function useLoaded<T>(
  key: string | undefined,
  load: (signal: AbortSignal) => Promise<T>,
  refreshMs?: number | ((value: T | undefined) => number),
): Loaded<T> {
  const [state, setState] = useState<{ key?: string; value?: T; error?: ApiError; loading: boolean }>({
    loading: key !== undefined,
  })
  const [round, setRound] = useState(0)
  const loader = useRef(load)
  loader.current = load
  const pace = useRef(refreshMs)
  pace.current = refreshMs
  const paceKey = typeof refreshMs === 'function' ? 'by value' : refreshMs
  // biome-ignore lint/correctness/useExhaustiveDependencies: `round` asks for the same once more, `paceKey` stands for `refreshMs`.
  useEffect(() => {
    if (key === undefined) return
    const controller = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    const run = async () => {
      let newest: T | undefined
      let isPassing = false
      setState((it) => ({ ...it, loading: true }))
      try {
        const value = await loader.current(controller.signal)
        newest = value
        if (!controller.signal.aborted) setState({ key, value, loading: false })
      } catch (cause) {
        if (controller.signal.aborted) return
        const error = cause instanceof ApiError ? cause : new ApiError(0, String(cause))
        isPassing = error.isPassing
        setState((it) => ({
          key,
          loading: false,
          error,
          ...(it.key === key ? { value: it.value as T } : {}),
        }))
      }
      const { current } = pace
      const paceMs = typeof current === 'function' ? current(newest) : current
      const afterMs = isPassing ? Math.min(RETRY_MS, paceMs ?? RETRY_MS) : paceMs
      if (afterMs !== undefined && !controller.signal.aborted) timer = setTimeout(whenVisible, afterMs)
    }
    // Nobody looks at a hidden page: it asks again when it is seen.
    const whenVisible = () => {
      if (!document.hidden) return void run()
      document.addEventListener('visibilitychange', () => run(), { once: true, signal: controller.signal })
    }
    run()
    return () => {
      controller.abort()
      clearTimeout(timer)
    }
  }, [key, paceKey, round])
  return {
    value: state.value,
    error: state.error,
    loading: state.loading,
    again: () => setRound((it) => it + 1),
  }
}
