import { agoText, otherZoneText, timeText } from '../text/times.ts'

/** A moment in the chosen zone, with the other one on hover. The menu changes the zone for those who do not hover. */
export function Time({ s, ago = false }: { s: number | null | undefined; ago?: boolean }) {
  if (s === null || s === undefined) return <span className="muted">–</span>
  return (
    <time
      dateTime={new Date(s * 1000).toISOString()}
      title={ago ? `${timeText(s)} · ${otherZoneText(s)}` : otherZoneText(s)}
    >
      {ago ? agoText(s) : timeText(s)}
    </time>
  )
}

export function IsoTime({ at, ago = false }: { at: string | null | undefined; ago?: boolean }) {
  return <Time s={at === null || at === undefined ? null : Date.parse(at) / 1000} ago={ago} />
}
