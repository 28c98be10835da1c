import { useSyncExternalStore } from 'react'

export type Theme = 'auto' | 'light' | 'dark'
const NAME = 'weir-theme'
const listeners = new Set<() => void>()
const dark = matchMedia('(prefers-color-scheme: dark)')

function chosenTheme(): Theme {
  const value = localStorage.getItem(NAME)
  return value === 'light' || value === 'dark' ? value : 'auto'
}

export function chooseTheme(theme: Theme): void {
  if (theme === 'auto') localStorage.removeItem(NAME)
  else localStorage.setItem(NAME, theme)
  applyTheme()
  for (const listener of listeners) listener()
}

export function applyTheme(): void {
  const theme = chosenTheme()
  if (theme === 'auto') delete document.documentElement.dataset['theme']
  else document.documentElement.dataset['theme'] = theme
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  dark.addEventListener('change', listener)
  return () => {
    listeners.delete(listener)
    dark.removeEventListener('change', listener)
  }
}

export function useTheme(): { chosen: Theme; isDark: boolean } {
  const text = useSyncExternalStore(subscribe, () => `${chosenTheme()} ${isDark()}`)
  const [chosen, shown] = text.split(' ') as [Theme, string]
  return { chosen, isDark: shown === 'true' }
}

function isDark(): boolean {
  const chosen = chosenTheme()
  return chosen === 'auto' ? dark.matches : chosen === 'dark'
}
