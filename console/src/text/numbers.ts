import type { Metric } from '../api/explore.ts'

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
const DECIMAL = ['', 'k', 'M', 'G', 'T', 'P']

function scaled(value: number, base: number, units: readonly string[]): [text: string, unit: string] {
  let scaledValue = Math.abs(value)
  let at = 0
  // Half a unit early: what would be rounded to `1,024 KiB` is `1 MiB`.
  while (scaledValue >= base - 0.5 && at < units.length - 1) {
    scaledValue /= base
    at++
  }
  const digits =
    scaledValue >= 100 || (at === 0 && Number.isInteger(scaledValue)) ? 0 : scaledValue >= 10 ? 1 : 2
  const text = scaledValue.toLocaleString('en', { maximumFractionDigits: digits })
  return [value < 0 ? `−${text}` : text, units[at]!]
}

/** `1.9 KiB`. */
export function bytesText(value: number): string {
  return scaled(value, 1024, BINARY).join('\u00a0')
}

/** `12,345` and, when that gets long, `1.23 M`. */
export function countText(value: number): string {
  if (Math.abs(value) < 100_000)
    return value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 2 : 0 })
  return scaled(value, 1000, DECIMAL).join('\u00a0')
}

/** Rates of bytes in bits, as links are sold. */
export function bitRateText(bytesPerSecond: number): string {
  const [text, unit] = scaled(bytesPerSecond * 8, 1000, DECIMAL)
  return `${text}\u00a0${unit}bit/s`
}

export function rateText(metric: Metric, perSecond: number): string {
  if (metric === 'bytes') return `${bytesText(perSecond)}/s`
  const [text, unit] = scaled(perSecond, 1000, DECIMAL)
  return `${text}\u00a0${unit}${metric === 'packets' ? 'pkt/s' : 'flows/s'}`
}

export function amountText(metric: Metric, value: number): string {
  if (metric === 'bytes') return bytesText(value)
  return `${countText(value)}\u00a0${metric === 'packets' ? 'packets' : 'flows'}`
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${countText(count)} ${count === 1 ? one : many}`
}

export function percentText(share: number): string {
  if (share > 0 && share < 0.001) return '<0.1 %'
  return `${(share * 100).toLocaleString('en', { maximumFractionDigits: share < 0.1 ? 1 : 0 })} %`
}
