import { useEffect, useState } from 'react'
import { Button } from './button.tsx'

const THANKS_MS = 2_000

/** Text to take elsewhere. */
export function Snippet({ label, text }: { label: string; text: string }) {
  const [state, setState] = useState<'' | 'copied' | 'failed'>('')
  useEffect(() => {
    if (state === '') return
    const timer = setTimeout(() => setState(''), THANKS_MS)
    return () => clearTimeout(timer)
  }, [state])
  const copy = () => {
    // Browsers have no clipboard for pages that came over plain HTTP from another machine.
    if (navigator.clipboard === undefined) return setState('failed')
    navigator.clipboard.writeText(text).then(
      () => setState('copied'),
      () => setState('failed'),
    )
  }
  return (
    <div className="snippet">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable with the keyboard. */}
      <section className="snippet-text" tabIndex={0} aria-label={label}>
        <pre>
          <code>{text}</code>
        </pre>
      </section>
      <Button look="quiet" className="snippet-copy" onClick={copy} aria-label={`Copy: ${label}`}>
        {state === 'copied' ? 'Copied' : state === 'failed' ? 'Select and copy' : 'Copy'}
      </Button>
    </div>
  )
}
