import { otherZoneText, timeText } from '../text/times.ts'

export interface TipRow {
  label: string
  value: string
  colour?: string
}

/** A tooltip out of elements: text from the network never becomes markup, and the policy allows no inline style. */
export function tip(title: string, rows: readonly TipRow[], note?: string): HTMLElement {
  const box = element('div', 'tip')
  box.append(element('div', 'tip-title', title))
  if (note !== undefined) box.append(element('div', 'tip-note', note))
  for (const { label, value, colour } of rows) {
    const row = element('div', 'tip-row')
    if (colour !== undefined) {
      const swatch = element('span', 'tip-swatch')
      swatch.style.backgroundColor = colour
      row.append(swatch)
    }
    row.append(element('span', 'tip-label', label), element('span', 'tip-value', value))
    box.append(row)
  }
  return box
}

export function timeTip(s: number, rows: readonly TipRow[]): HTMLElement {
  return tip(timeText(s), rows, otherZoneText(s))
}

function element(name: string, className: string, text?: string): HTMLElement {
  const made = document.createElement(name)
  made.className = className
  if (text !== undefined) made.textContent = text
  return made
}

/** What every chart's tooltip has in common. */
export const TOOLTIP = {
  className: 'tip-frame',
  confine: true,
  borderWidth: 0,
  padding: 0,
  backgroundColor: 'transparent',
  extraCssText: 'box-shadow: none',
  transitionDuration: 0,
} as const
