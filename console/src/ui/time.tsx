import { agoText, timeText, utcText } from '../text/times.ts'

/** A moment in the reader's zone, with UTC on hover. */
export function Time({ s, ago = false }: { s: number | null | undefined; ago?: boolean }) {
  if (s === null || s === undefined) return <span className="muted">–</span>
  return (
    <time
      dateTime={new Date(s * 1000).toISOString()}
      title={ago ? `${timeText(s)} · ${utcText(s)}` : utcText(s)}
    >
      {ago ? agoText(s) : timeText(s)}
    </time>
  )
}

export function IsoTime({ at, ago = false }: { at: string | null | undefined; ago?: boolean }) {
  return <Time s={at === null || at === undefined ? null : Date.parse(at) / 1000} ago={ago} />
}
