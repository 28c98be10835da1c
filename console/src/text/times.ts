const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' })
const minute = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' })
const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' })
const full = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' })

/** In the reader's zone; the day only when it is not today. */
export function timeText(s: number, nowMs = Date.now()): string {
  const date = new Date(s * 1000)
  const now = new Date(nowMs)
  if (date.toDateString() === now.toDateString()) return clock.format(date)
  const dayText = date.getFullYear() === now.getFullYear() ? day.format(date) : full.format(date)
  return `${dayText}, ${minute.format(date)}`
}

/** On an axis there is room for the day or the time of day, as the whole range wants it. */
export function tickText(s: number, timesS: readonly number[]): string {
  const date = new Date(s * 1000)
  const spanS = (timesS.at(-1) ?? s) - (timesS[0] ?? s)
  if (spanS <= 600) return clock.format(date)
  return spanS <= 86_400 ? minute.format(date) : `${day.format(date)} ${minute.format(date)}`
}

export function utcText(s: number): string {
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

/** For `<input type="datetime-local">`, which knows no zone but the reader's. */
export function inputText(s: number): string {
  const date = new Date(s * 1000)
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
}
