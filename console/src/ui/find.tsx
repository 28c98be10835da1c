import { setQuery } from '../state/location.ts'
import { countText } from '../text/numbers.ts'

/** What is typed stands in the URL, as `find`. */
export function Find({ find, found, placeholder }: { find: string; found: number; placeholder: string }) {
  return (
    <search className="find">
      <label htmlFor="find">Find</label>
      <input
        id="find"
        type="search"
        value={find}
        placeholder={placeholder}
        autoComplete="off"
        spellCheck={false}
        onChange={({ target }) => setQuery({ find: target.value, page: undefined }, { replace: true })}
      />
      <span className="muted small" role="status">
        {find.trim() !== '' && `${countText(found)} found`}
      </span>
    </search>
  )
}
