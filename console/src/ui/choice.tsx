import { useId } from 'react'

interface Props<T extends string> {
  label: string
  value: T
  options: readonly { value: T; label: string }[]
  onChange(value: T): void
}

/** Few choices, all visible: radio buttons that look like one control. */
export function Choice<T extends string>({ label, value, options, onChange }: Props<T>) {
  const name = useId()
  return (
    <fieldset className="choice">
      <legend className="visually-hidden">{label}</legend>
      {options.map((it) => (
        <label key={it.value} className="choice-option">
          <input
            type="radio"
            name={name}
            value={it.value}
            checked={it.value === value}
            onChange={() => onChange(it.value)}
          />
          <span>{it.label}</span>
        </label>
      ))}
    </fieldset>
  )
}

/** Many choices: the browser's own list. A `select` has its label beside it, a `field` of a form above it. */
export function Select<T extends string>({
  label,
  value,
  options,
  onChange,
  className = 'select',
}: Props<T> & { className?: 'select' | 'field' }) {
  const id = useId()
  return (
    <span className={className}>
      <label htmlFor={id}>{label}</label>
      <select id={id} value={value} onChange={(event) => onChange(event.target.value as T)}>
        {options.map((it) => (
          <option key={it.value} value={it.value}>
            {it.label}
          </option>
        ))}
      </select>
    </span>
  )
}
