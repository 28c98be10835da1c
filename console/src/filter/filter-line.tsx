import { type KeyboardEvent, useEffect, useId, useRef, useState } from 'react'
import { type FilterHelp, filterHelp, type Suggestion } from '../api/explore.ts'
import { Button } from '../ui/button.tsx'

const ASK_AFTER_MS = 120
const SHOWN_MAX = 12

interface Props {
  value: string
  onApply(text: string): void
}

/** The filter as a line of text, with what could come next. Completion and faults are the server's word. */
export function FilterLine({ value, onApply }: Props) {
  const [text, setText] = useState(value)
  const [cursor, setCursor] = useState(value.length)
  const [help, setHelp] = useState<FilterHelp>()
  const [open, setOpen] = useState(false)
  const [chosen, setChosen] = useState(-1)
  const input = useRef<HTMLInputElement>(null)
  const id = useId()
  useEffect(() => setText(value), [value])

  useEffect(() => {
    if (!open && text === value) return
    const controller = new AbortController()
    const timer = setTimeout(() => {
      filterHelp(text, cursor, controller.signal).then(setHelp, () => setHelp(undefined))
    }, ASK_AFTER_MS)
    return () => {
      clearTimeout(timer)
      controller.abort()
    }
  }, [text, cursor, open, value])

  const suggestions = open ? (help?.suggestions ?? []).slice(0, SHOWN_MAX) : []
  const fault = text.trim() === '' || (text === value && !open) ? undefined : help?.fault

  const take = (it: Suggestion) => {
    const next = `${text.slice(0, it.from)}${it.text}${text.slice(it.to)}`
    const at = it.from + it.text.length
    setText(next.endsWith(' ') || at < next.length ? next : `${next} `)
    setCursor(at + 1)
    setChosen(-1)
    requestAnimationFrame(() => input.current?.setSelectionRange(at + 1, at + 1))
  }
  const apply = () => {
    setOpen(false)
    setChosen(-1)
    onApply(text.trim())
  }
  const onKeyDown = (event: KeyboardEvent) => {
    const { key } = event
    if (key === 'Escape') {
      setOpen(false)
      return setChosen(-1)
    }
    if (key === 'Enter') {
      event.preventDefault()
      return chosen >= 0 && suggestions[chosen] !== undefined ? take(suggestions[chosen]) : apply()
    }
    if (key === 'Tab' && !event.shiftKey && chosen >= 0 && suggestions[chosen] !== undefined) {
      event.preventDefault()
      return take(suggestions[chosen])
    }
    if (key !== 'ArrowDown' && key !== 'ArrowUp') return
    event.preventDefault()
    if (!open) return setOpen(true)
    const count = suggestions.length
    if (count > 0) setChosen((it) => (it + (key === 'ArrowDown' ? 1 : it < 0 ? 0 : -1) + count) % count)
  }

  return (
    <search className="filter">
      <div className={`filter-box ${fault === undefined ? '' : 'filter-bad'}`}>
        <label className="filter-label" htmlFor={`${id}-input`}>
          Filter
        </label>
        <input
          ref={input}
          id={`${id}-input`}
          role="combobox"
          aria-autocomplete="list"
          aria-expanded={suggestions.length > 0}
          aria-controls={`${id}-list`}
          aria-describedby={`${id}-fault`}
          {...(chosen >= 0 ? { 'aria-activedescendant': `${id}-${chosen}` } : {})}
          aria-invalid={fault !== undefined}
          autoComplete="off"
          autoCapitalize="off"
          spellCheck={false}
          placeholder="src in 10.0.0.0/8 and dstport = 443 and action = reject"
          value={text}
          onChange={(event) => {
            setText(event.target.value)
            setCursor(event.target.selectionStart ?? event.target.value.length)
            setOpen(true)
            setChosen(-1)
          }}
          onSelect={(event) => setCursor(event.currentTarget.selectionStart ?? text.length)}
          onFocus={() => setOpen(true)}
          onBlur={() => setOpen(false)}
          onKeyDown={onKeyDown}
        />
        {text !== '' && (
          <Button
            look="text"
            onClick={() => {
              setText('')
              onApply('')
            }}
          >
            Clear
          </Button>
        )}
        <Button look="quiet" onClick={apply} disabled={text.trim() === value}>
          Apply
        </Button>
      </div>
      <div
        id={`${id}-list`}
        role="listbox"
        aria-label="Suggestions"
        className="suggestions"
        hidden={suggestions.length === 0}
      >
        {suggestions.map((it, index) => (
          // biome-ignore lint/a11y/useFocusableInteractive: the focus stays in the line, as comboboxes want it.
          // biome-ignore lint/a11y/useKeyWithClickEvents: the keys are the line's.
          <div
            key={`${it.kind} ${it.text}`}
            id={`${id}-${index}`}
            role="option"
            aria-selected={index === chosen}
            className="suggestion"
            onMouseDown={(event) => event.preventDefault()}
            onClick={() => take(it)}
          >
            <code>{it.text}</code>
            <span className="muted">{it.detail ?? it.kind}</span>
          </div>
        ))}
      </div>
      <p id={`${id}-fault`} className="filter-fault" aria-live="polite">
        {fault === undefined ? '' : `At character ${fault.at + 1}: ${fault.message}`}
      </p>
    </search>
  )
}
