import { useEffect, useRef, useState } from 'react'
import { Button } from './button.tsx'

const THANKS_MS = 2_000

/** Text to take elsewhere. */
export function Snippet({ label, text }: { label: string; text: string }) {
  const [state, setState] = useState<'' | 'copied' | 'failed'>('')
  const place = useRef<HTMLPreElement>(null)
  useEffect(() => {
    if (state === '') return
    const timer = setTimeout(() => setState(''), THANKS_MS)
    return () => clearTimeout(timer)
  }, [state])
  const copy = () => {
    // Browsers have no clipboard for pages that came over plain HTTP from another machine.
    const fail = () => {
      getSelection()?.selectAllChildren(place.current!)
      setState('failed')
    }
    if (navigator.clipboard === undefined) return fail()
    navigator.clipboard.writeText(text).then(() => setState('copied'), fail)
  }
  return (
    <div className="snippet">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable with the keyboard. */}
      <section className="snippet-text" tabIndex={0} aria-label={label}>
        <pre ref={place}>
          <code>{text}</code>
        </pre>
      </section>
      <Button look="quiet" className="snippet-copy" onClick={copy} aria-label={`Copy: ${label}`}>
        {state === 'copied' ? 'Copied' : state === 'failed' ? 'Selected' : 'Copy'}
      </Button>
      <span className="visually-hidden" role="status">
        {state === 'copied' && 'Copied.'}
        {state === 'failed' && 'It is selected: copy it with the keyboard.'}
      </span>
    </div>
  )
}
