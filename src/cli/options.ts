import { WeirError } from '../model/errors.ts'

const SECONDS_PER_HOUR = 3600
const WINDOW_SIZE_S_MIN = 2

/** A window divides the hour, so that windows of all sizes are aligned to the wall clock. */
export function parseWindowSize(text: string): number {
  const seconds = Number(text)
  if (!Number.isInteger(seconds) || seconds < WINDOW_SIZE_S_MIN || SECONDS_PER_HOUR % seconds !== 0) {
    throw new WeirError(
      'WEIR_USAGE',
      `--window '${text}' is not a number of seconds from 2 up that divides an hour`,
    )
  }
  return seconds
}

/** `HOST:PORT`, `[IPv6]:PORT` or `:PORT` (all addresses). Port 0 takes a free one. */
export function parseListen(text: string): { host: string; port: number } {
  const match = /^(\[([0-9a-fA-F:.]+)\]|[^:[\]]*):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65_535) {
    throw new WeirError('WEIR_USAGE', `--listen '${text}' is not HOST:PORT, such as 127.0.0.1:8080`)
  }
  const host = match[2] ?? match[1]!
  return { host: host === '' ? '::' : host, port }
}

/** A whole number within bounds, for limits given on the command line. */
export function parseCount(name: string, text: string, bounds: { min: number; max: number }): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < bounds.min || value > bounds.max) {
    throw new WeirError(
      'WEIR_USAGE',
      `--${name} '${text}' is not a whole number from ${bounds.min} to ${bounds.max}`,
    )
  }
  return value
}
