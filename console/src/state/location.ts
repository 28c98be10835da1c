import { useSyncExternalStore } from 'react'

// The URL is the state: whoever gets it sees the same.

const listeners = new Set<() => void>()

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  addEventListener('popstate', listener)
  return () => {
    listeners.delete(listener)
    removeEventListener('popstate', listener)
  }
}

const snapshot = () => `${location.pathname}${location.search}`

export function usePlace(): { path: string; query: URLSearchParams } {
  const url = new URL(useSyncExternalStore(subscribe, snapshot), location.origin)
  return { path: url.pathname.replace(/(.)\/$/, '$1'), query: url.searchParams }
}

export function navigate(to: string, { replace = false }: { replace?: boolean } = {}): void {
  if (to === snapshot()) return
  const from = location.pathname
  history[replace ? 'replaceState' : 'pushState'](null, '', to)
  if (location.pathname !== from) scrollTo(0, 0)
  for (const listener of listeners) listener()
}

/** Changes parameters of the current page; undefined and '' remove one. */
export function setQuery(changes: Record<string, string | undefined>, options?: { replace?: boolean }): void {
  const query = new URLSearchParams(location.search)
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined || value === '') query.delete(name)
    else query.set(name, value)
  }
  navigate(`${location.pathname}${asSearch(query)}`, options)
}

/** What stays when the reader goes from page to page. */
const CARRIED = ['since', 'until', 'live', 'filter']

export function pathWithScope(path: string, changes: Record<string, string | undefined> = {}): string {
  const now = new URLSearchParams(location.search)
  const query = new URLSearchParams()
  for (const name of CARRIED) if (now.has(name)) query.set(name, now.get(name)!)
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) query.delete(name)
    else query.set(name, value)
  }
  return `${path}${asSearch(query)}`
}

function asSearch(query: URLSearchParams): string {
  // Filters are read by people, also in a URL: what needs no escape gets none.
  const text = query.toString().replaceAll('%2C', ',').replaceAll('%3A', ':').replaceAll('%2F', '/')
  return text === '' ? '' : `?${text}`
}
