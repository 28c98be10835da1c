import { WeirError } from '../model/errors.ts'
import type { TimeRange } from './object-name.ts'

const DAY_S = 86_400
const UNITS_S: Record<string, number> = {
  s: 1,
  sec: 1,
  second: 1,
  m: 60,
  min: 60,
  minute: 60,
  h: 3_600,
  hour: 3_600,
  d: DAY_S,
  day: DAY_S,
  w: 7 * DAY_S,
  week: 7 * DAY_S,
}
const WEEKDAYS = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday']
/** Flow log records hold 32-bit seconds. */
const TIME_S_MAX = 0xffff_ffff

const TIME_TERMS =
  "'2h', '1d12h', '30 minutes ago', 'today', 'yesterday', 'monday', 'last week', '2026-11-22', " +
  "'2026-11-22 10:00', RFC 3339 or Unix seconds; UTC unless it says otherwise"

export function parseTimeRange(since: string, until: string | undefined, nowMs: number): TimeRange {
  const sinceS = parseTime(since, nowMs)
  const untilS = until === undefined ? Math.ceil(nowMs / 1000) : parseTime(until, nowMs)
  if (sinceS >= untilS) {
    throw new WeirError('WEIR_INVALID', `the range is empty: '${since}' is not before '${until ?? 'now'}'`)
  }
  return { sinceS, untilS }
}

/**
 * An instant in a person's words, as Unix seconds. Words for days, weeks and weekdays mean their beginning.
 */
export function parseTime(text: string, nowMs: number): number {
  const words = text.trim().toLowerCase().replaceAll(/\s+/g, ' ')
  const nowS = Math.floor(nowMs / 1000)
  const timeS = relativeTime(words, nowS) ?? calendarTime(words, nowS) ?? absoluteTime(text.trim())
  if (timeS === undefined || timeS < 0 || timeS > TIME_S_MAX) {
    throw new WeirError('WEIR_INVALID', `'${text.slice(0, 60)}' is not a time: ${TIME_TERMS}`)
  }
  return timeS
}

/** `2h`, `1d12h`, `now-90m`, `30 minutes ago`. */
function relativeTime(words: string, nowS: number): number | undefined {
  if (words === 'now') return nowS
  const span = words.replace(/^now ?- ?/, '').replace(/ ago$/, '')
  const seconds = parseSpan(span)
  return seconds === undefined ? undefined : nowS - seconds
}

/** A length of time such as `2h` or `1d12h`, in seconds. */
export function parseSpan(text: string): number | undefined {
  const parts = [...text.matchAll(/(\d{1,9}) ?([a-z]+?)s?(?= |\d|$) ?/g)]
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text) return undefined
  let seconds = 0
  for (const [, count, unit] of parts) {
    const unitS = UNITS_S[unit!] ?? UNITS_S[`${unit}s`]
    if (unitS === undefined) return undefined
    seconds += Number(count) * unitS
  }
  return seconds
}

function calendarTime(words: string, nowS: number): number | undefined {
  const todayS = nowS - (nowS % DAY_S)
  const weekday = new Date(todayS * 1000).getUTCDay()
  const mondayS = todayS - ((weekday + 6) % 7) * DAY_S
  const known: Record<string, number> = {
    today: todayS,
    yesterday: todayS - DAY_S,
    'this hour': nowS - (nowS % 3_600),
    'last hour': nowS - 3_600,
    'last day': nowS - DAY_S,
    'this week': mondayS,
    'last week': mondayS - 7 * DAY_S,
  }
  const at = WEEKDAYS.indexOf(words.replace(/^last /, ''))
  // The last one that is over, so on a Monday 'monday' is a week ago.
  if (at >= 0) return todayS - ((weekday - at + 6) % 7) * DAY_S - DAY_S
  return Object.hasOwn(known, words) ? known[words] : undefined
}

function absoluteTime(text: string): number | undefined {
  if (/^\d{9,10}$/.test(text)) return Number(text)
  const match = /^(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d)(:\d\d)?(?:\.\d+)?([Zz]|[+-]\d\d:\d\d)?)?$/.exec(text)
  if (match === null) return undefined
  const [, date, minutes = '00:00', seconds = ':00', zone = 'Z'] = match
  const timeMs = Date.parse(`${date}T${minutes}${seconds}${zone.toUpperCase()}`)
  return Number.isNaN(timeMs) ? undefined : Math.floor(timeMs / 1000)
}
