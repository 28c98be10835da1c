/** What an object's name says: `<stem>-<unix seconds>.log.gz` (docs/reference/records.md). */
export interface ObjectName {
  /** The flow log's prefix, or its interface's UUID. */
  stem: string
  /** Start of the window, or a little later where names collided. */
  windowS: number
}

/** Undefined for an object that no flow log wrote. */
export function parseObjectName(name: string): ObjectName | undefined {
  const match = /^(.+)-(\d{9,10})\.log\.gz$/.exec(name)
  return match === null ? undefined : { stem: match[1]!, windowS: Number(match[2]) }
}

/** Seconds, `[sinceS, untilS)`. */
export interface TimeRange {
  sinceS: number
  untilS: number
}

/** The longest window that an agent cuts. */
const WINDOW_SIZE_S_MAX = 3_600
/** How far a name may lie behind its window: names that are taken are raised second by second. */
const NAME_RAISED_S_MAX = 600

/**
 * Whether an object can hold flows that start in the range. Window sizes are not part of the name, and a bucket may
 * hold objects of several, so the longest is assumed.
 */
export function mayHold(windowS: number, range: TimeRange): boolean {
  return windowS - NAME_RAISED_S_MAX < range.untilS && windowS + WINDOW_SIZE_S_MAX > range.sinceS
}
