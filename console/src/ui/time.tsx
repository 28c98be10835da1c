import { type RefObject, useCallback, useId, useLayoutEffect, useRef, useState } from 'react'
import { useDismiss } from '../state/dismiss.ts'
import { agoText, otherZoneText, timeText } from '../text/times.ts'

/** A moment in the chosen zone; the other one shows on hover, on keyboard focus and when it is touched. */
export function Time({ s, ago = false }: { s: number | null | undefined; ago?: boolean }) {
  if (s === null || s === undefined) return <span className="muted">–</span>
  return <Moment s={s} ago={ago} />
}

export function IsoTime({ at, ago = false }: { at: string | null | undefined; ago?: boolean }) {
  return <Time s={at === null || at === undefined ? null : Date.parse(at) / 1000} ago={ago} />
}

function Moment({ s, ago }: { s: number; ago: boolean }) {
  const [open, setOpen] = useState(false)
  const moment = useRef<HTMLTimeElement>(null)
  const id = useId()
  const close = useCallback(() => setOpen(false), [])
  useDismiss(moment, open, close)
  return (
    // No button: the text of one could not be selected.
    // biome-ignore lint/a11y/useKeyWithClickEvents: with the keyboard, focus is enough; the click is a finger's.
    <time
      ref={moment}
      className="moment"
      dateTime={new Date(s * 1000).toISOString()}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what hovering tells, the keyboard must find too.
      tabIndex={0}
      {...(open ? { 'aria-describedby': id } : {})}
      onFocus={() => setOpen(true)}
      onBlur={close}
      onPointerEnter={() => setOpen(true)}
      onPointerLeave={({ currentTarget }) => setOpen(currentTarget === document.activeElement)}
      onClick={() => setOpen(true)}
    >
      {ago ? agoText(s) : timeText(s)}
      {open && (
        <MomentTip
          id={id}
          moment={moment}
          text={ago ? `${timeText(s)} · ${otherZoneText(s)}` : otherZoneText(s)}
        />
      )}
    </time>
  )
}

const EDGE_PX = 8

/** Above everything, since tables cut off what sticks out of them; the pointer may go on to it. */
function MomentTip({
  id,
  moment,
  text,
}: {
  id: string
  moment: RefObject<HTMLElement | null>
  text: string
}) {
  const tip = useRef<HTMLSpanElement>(null)
  useLayoutEffect(() => {
    const place = () => {
      const { left, top, bottom } = moment.current!.getBoundingClientRect()
      const { width, height } = tip.current!.getBoundingClientRect()
      const isBelow = bottom + height + EDGE_PX <= innerHeight
      const leftMax = document.documentElement.clientWidth - width - EDGE_PX
      tip.current!.style.left = `${Math.max(EDGE_PX, Math.min(left, leftMax))}px`
      tip.current!.style.top = `${isBelow ? bottom : top - height}px`
    }
    const controller = new AbortController()
    tip.current!.showPopover()
    place()
    addEventListener('scroll', place, { capture: true, passive: true, signal: controller.signal })
    return () => controller.abort()
  }, [moment])
  return (
    <span ref={tip} id={id} role="tooltip" popover="manual" className="tip moment-tip">
      {text}
    </span>
  )
}
