import { useCallback, useId, useRef, useState } from 'react'
import { useDismiss } from '../state/dismiss.ts'
import { setQuery } from '../state/location.ts'
import { DEFAULT_SINCE, useScope } from '../state/scope.ts'
import { inputSeconds, inputText, timeText } from '../text/times.ts'
import { Button } from './button.tsx'

const PRESETS = [
  { since: '15m', label: '15 min' },
  { since: '1h', label: '1 h' },
  { since: '6h', label: '6 h' },
  { since: '24h', label: '24 h' },
  { since: '7d', label: '7 d' },
]

/** The time range: a length back from now, live, or from one moment to another. */
export function RangePicker() {
  const { scope, live } = useScope()
  const [open, setOpen] = useState(false)
  const picker = useRef<HTMLFieldSetElement>(null)
  const close = useCallback(() => setOpen(false), [])
  useDismiss(picker, open, close)
  const isPreset = !live && scope.until === undefined && PRESETS.some(({ since }) => since === scope.since)
  const choose = (since: string) =>
    setQuery({
      since: since === DEFAULT_SINCE ? undefined : since,
      until: undefined,
      live: undefined,
      page: undefined,
    })
  return (
    <fieldset ref={picker} className="range">
      <legend className="visually-hidden">Time range</legend>
      <div className="range-presets">
        {PRESETS.map(({ since, label }) => (
          <button
            key={since}
            type="button"
            aria-pressed={isPreset && scope.since === since}
            onClick={() => choose(since)}
          >
            {label}
          </button>
        ))}
        <button
          type="button"
          className="range-live"
          aria-pressed={live}
          title="The last 15 minutes with what the agents see right now, asked for again every 3 seconds"
          onClick={() =>
            setQuery({ live: live ? undefined : '1', since: undefined, until: undefined, page: undefined })
          }
        >
          <span className="live-dot" aria-hidden="true" />
          Live
        </button>
        <button
          type="button"
          aria-pressed={!live && !isPreset}
          aria-expanded={open}
          onClick={() => setOpen(!open)}
        >
          {!live && !isPreset ? rangeText(scope.since, scope.until) : 'Other…'}
        </button>
      </div>
      {open && <OwnRange onDone={close} />}
    </fieldset>
  )
}

function rangeText(since: string, until: string | undefined): string {
  const text = (value: string) =>
    isMoment(value) ? timeText(Number(value)).replace(/(:\d\d):00$/, '$1') : value
  return until === undefined ? `Since ${text(since)}` : `${text(since)} – ${text(until)}`
}

/** Unix seconds, and no words. */
function isMoment(text: string): boolean {
  return /^\d+$/.test(text)
}

function inWords(text: string): string {
  return isMoment(text) ? new Date(Number(text) * 1000).toISOString().replace('.000', '') : text
}

function OwnRange({ onDone }: { onDone(): void }) {
  const { scope } = useScope()
  const id = useId()
  const [fault, setFault] = useState('')
  const nowS = Math.floor(Date.now() / 1000)
  const startS = isMoment(scope.since) ? Number(scope.since) : nowS - 3600
  const endS = scope.until !== undefined && isMoment(scope.until) ? Number(scope.until) : nowS
  const show = (since: string, until: string) => {
    setQuery({ since, until, live: undefined, page: undefined })
    onDone()
  }
  return (
    <div className="range-own">
      <form
        className="range-form"
        onSubmit={(event) => {
          event.preventDefault()
          const fields = new FormData(event.currentTarget)
          // What nobody touched stays to the second, and the second of two equal hours when clocks go back.
          const read = (name: string, shownS: number) => {
            const text = String(fields.get(name))
            return text === inputText(shownS) ? shownS : inputSeconds(text)
          }
          const [since, until] = [read('since', startS), read('until', endS)]
          if (until <= since) return setFault('The end must be after the beginning.')
          show(String(since), String(until))
        }}
      >
        <label htmlFor={`${id}-since`}>From</label>
        <input
          id={`${id}-since`}
          name="since"
          type="datetime-local"
          required
          defaultValue={inputText(startS)}
        />
        <label htmlFor={`${id}-until`}>to</label>
        <input
          id={`${id}-until`}
          name="until"
          type="datetime-local"
          required
          defaultValue={inputText(endS)}
        />
        <Button look="strong" type="submit">
          Show
        </Button>
        <p className="form-fault" role="alert">
          {fault}
        </p>
      </form>
      <form
        className="range-form"
        onSubmit={(event) => {
          event.preventDefault()
          const fields = new FormData(event.currentTarget)
          show(String(fields.get('words')).trim(), String(fields.get('words-until')).trim())
        }}
      >
        <label htmlFor={`${id}-words`}>Since</label>
        <input
          id={`${id}-words`}
          name="words"
          required
          defaultValue={inWords(scope.since)}
          placeholder="2h, yesterday, 2026-11-23T08:00Z"
          spellCheck={false}
        />
        <label htmlFor={`${id}-words-until`}>until</label>
        <input
          id={`${id}-words-until`}
          name="words-until"
          defaultValue={inWords(scope.until ?? '')}
          placeholder="now"
          spellCheck={false}
        />
        <Button look="strong" type="submit">
          Show that
        </Button>
        <p className="muted small">
          In words or RFC 3339, as commands take them; days begin at midnight in UTC.
        </p>
      </form>
    </div>
  )
}
