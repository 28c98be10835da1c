import { chosenZone } from '../state/zone.ts'

// In the zone that was chosen: the reader's, or UTC.
const formats = { local: formatsIn(), utc: formatsIn('UTC') }

function formatsIn(timeZone?: string) {
  const formatOf = (options: Intl.DateTimeFormatOptions) =>
    new Intl.DateTimeFormat('en-GB', { ...options, ...(timeZone === undefined ? {} : { timeZone }) })
  return {
    clock: formatOf({ hour: '2-digit', minute: '2-digit', second: '2-digit' }),
    minute: formatOf({ hour: '2-digit', minute: '2-digit' }),
    day: formatOf({ day: 'numeric', month: 'short' }),
    full: formatOf({ day: 'numeric', month: 'short', year: 'numeric' }),
    exact: formatOf({ dateStyle: 'medium', timeStyle: 'long' }),
  }
}

/** The day only when it is not today. */
export function timeText(s: number, nowMs = Date.now()): string {
  const { clock, day, full } = formats[chosenZone()]
  const ms = s * 1000
  if (full.format(ms) === full.format(nowMs)) return clock.format(ms)
  const isThisYear = full.format(ms).slice(-4) === full.format(nowMs).slice(-4)
  return `${(isThisYear ? day : full).format(ms)}, ${clock.format(ms)}`
}

/** On an axis there is room for the day or the time of day, as the whole range wants it. */
export function tickText(s: number, timesS: readonly number[]): string {
  const { clock, minute, day } = formats[chosenZone()]
  const ms = s * 1000
  const spanS = (timesS.at(-1) ?? s) - (timesS[0] ?? s)
  if (spanS <= 600) return clock.format(ms)
  if (spanS <= 86_400) return minute.format(ms)
  const time = minute.format(ms)
  return time === '00:00' ? day.format(ms) : `${day.format(ms)} ${time}`
}

/** The same moment in UTC; in the reader's zone where UTC is chosen. */
export function otherZoneText(s: number): string {
  if (chosenZone() === 'utc') return formats.local.exact.format(s * 1000)
  return `${new Date(s * 1000).toISOString().replace('T', ' ').slice(0, 19)} UTC`
}

export function agoText(s: number, nowMs = Date.now()): string {
  const elapsedS = Math.round(nowMs / 1000 - s)
  return elapsedS < 1 ? 'just now' : `${durationText(elapsedS)} ago`
}

export function durationText(s: number): string {
  if (s < 60) return `${s < 10 ? Math.round(s * 10) / 10 : Math.round(s)} s`
  if (s < 3600) return `${Math.round(s / 60)} min`
  if (s < 86_400) return `${Math.round(s / 360) / 10} h`
  return `${Math.round(s / 8640) / 10} d`
}

/** Minutes from UTC to the zone of the pages. */
export function zoneOffsetMin(s: number): number {
  return chosenZone() === 'utc' ? 0 : -new Date(s * 1000).getTimezoneOffset()
}

/** For `<input type="datetime-local">`, which knows no zone. */
export function inputText(s: number): string {
  return new Date((s + zoneOffsetMin(s) * 60) * 1000).toISOString().slice(0, 16)
}

export function inputSeconds(text: string): number {
  return Math.floor(new Date(chosenZone() === 'utc' ? `${text}Z` : text).getTime() / 1000)
}
