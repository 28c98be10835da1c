import { useId } from 'react'
import type { Suggestion } from '../api/explore.ts'
import { Button } from '../ui/button.tsx'
import { useCompletion } from './completion.ts'

interface Props {
  value: string
  onApply(text: string): void
}

/** The filter as a line of text: a combobox whose list has what could come next. */
export function FilterLine({ value, onApply }: Props) {
  const it = useCompletion(value, onApply)
  const { text, suggestions, chosen, fault } = it
  const id = useId()
  return (
    <search className="filter">
      <div className={`filter-box ${fault === undefined ? '' : 'filter-bad'}`}>
        <label className="filter-label" htmlFor={`${id}-input`}>
          Filter
        </label>
        <input
          ref={it.input}
          id={`${id}-input`}
          role="combobox"
          aria-autocomplete="list"
          aria-expanded={suggestions.length > 0}
          aria-controls={`${id}-list`}
          aria-describedby={`${id}-fault`}
          {...(chosen >= 0 ? { 'aria-activedescendant': `${id}-list-${chosen}` } : {})}
          aria-invalid={fault !== undefined}
          autoComplete="off"
          autoCapitalize="off"
          spellCheck={false}
          placeholder="src in 10.0.0.0/8 and dstport = 443 and action = reject"
          value={text}
          onChange={({ target }) => it.type(target.value, target.selectionStart ?? target.value.length)}
          onSelect={({ currentTarget }) => it.setCursor(currentTarget.selectionStart ?? text.length)}
          onFocus={() => it.setOpen(true)}
          onBlur={() => it.setOpen(false)}
          onKeyDown={it.onKeyDown}
        />
        {text !== '' && (
          <Button
            look="text"
            onClick={() => {
              it.type('', 0)
              it.apply('')
            }}
          >
            Clear
          </Button>
        )}
        <Button look="quiet" onClick={() => it.apply()} disabled={text.trim() === value}>
          Apply
        </Button>
      </div>
      <Suggestions id={`${id}-list`} suggestions={suggestions} chosen={chosen} onTake={it.take} />
      <p id={`${id}-fault`} className="filter-fault" aria-live="polite">
        {fault !== undefined && (
          <>
            {`At character ${fault.at + 1}: ${fault.message} `}
            <code aria-hidden="true">
              {fault.of.slice(0, fault.at)}
              <mark>{fault.of.slice(fault.at, fault.at + fault.length) || ' '}</mark>
              {fault.of.slice(fault.at + fault.length)}
            </code>{' '}
            <Button look="text" onClick={() => it.select(fault)}>
              Go there
            </Button>
          </>
        )}
      </p>
    </search>
  )
}

interface SuggestionsProps {
  id: string
  suggestions: Suggestion[]
  chosen: number
  onTake(suggestion: Suggestion): void
}

function Suggestions({ id, suggestions, chosen, onTake }: SuggestionsProps) {
  return (
    <div
      id={id}
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
          onClick={() => onTake(it)}
        >
          <code>{it.text}</code>
          <span className="muted">{it.detail ?? it.kind}</span>
        </div>
      ))}
    </div>
  )
}
