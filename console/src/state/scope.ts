import type { Scope } from '../api/explore.ts'
import { usePlace } from './location.ts'

export const DEFAULT_SINCE = '1h'
const LIVE_SINCE = '15m'
const LIVE_REFRESH_MS = 3_000

export interface ScopeState {
  scope: Scope
  live: boolean
  /** How often an answer is asked for again; undefined for never. */
  refreshMs: number | undefined
}

/** Time range and filter, as the URL has them. */
export function useScope(): ScopeState {
  const { query } = usePlace()
  const live = query.get('live') === '1'
  const since = live ? LIVE_SINCE : (query.get('since') ?? DEFAULT_SINCE)
  const until = live ? undefined : (query.get('until') ?? undefined)
  const filter = query.get('filter') ?? ''
  return {
    scope: {
      since,
      ...(until === undefined ? {} : { until }),
      ...(filter === '' ? {} : { filter }),
      ...(live ? { live } : {}),
    },
    live,
    refreshMs: live ? LIVE_REFRESH_MS : undefined,
  }
}

/** One more condition. What stands is kept as it is, in parentheses where `or` would tear it apart. */
export function withCondition(filter: string, condition: string): string {
  const text = filter.trim()
  if (text === '') return condition
  if (text.split(/\s+and\s+/i).includes(condition)) return text
  return `${/\bor\b/i.test(text) ? `(${text})` : text} and ${condition}`
}
