import { useSyncExternalStore } from 'react'

/** Of all times on the pages. */
export type Zone = 'local' | 'utc'
const NAME = 'weir-zone'
const listeners = new Set<() => void>()

export function chosenZone(): Zone {
  return localStorage.getItem(NAME) === 'utc' ? 'utc' : 'local'
}

export function chooseZone(zone: Zone): void {
  if (zone === 'local') localStorage.removeItem(NAME)
  else localStorage.setItem(NAME, zone)
  for (const listener of listeners) listener()
}

export function useZone(): Zone {
  return useSyncExternalStore((listener) => {
    listeners.add(listener)
    return () => listeners.delete(listener)
  }, chosenZone)
}
