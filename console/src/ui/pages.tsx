import { setQuery } from '../state/location.ts'
import { countText } from '../text/numbers.ts'
import { Button } from './button.tsx'

interface Props {
  of: string
  page: number
  pageSize: number
  /** On this page. */
  shown: number
  count: number
  /** As many can be paged to; the filter is for the others. */
  reachable?: number
}

/** Which part of a long list is shown, in the URL as `page`. */
export function Pages({ of, page, pageSize, shown, count, reachable = count }: Props) {
  const first = (page - 1) * pageSize + 1
  const pages = Math.ceil(Math.min(count, reachable) / pageSize)
  const go = (to: number) => {
    setQuery({ page: to === 1 ? undefined : String(to) })
    scrollTo(0, 0)
  }
  return (
    <nav className="pages" aria-label={`Pages of ${of}`}>
      <Button look="quiet" disabled={page <= 1} onClick={() => go(page - 1)}>
        Previous
      </Button>
      <span role="status">
        {countText(first)}–{countText(first + shown - 1)} of {countText(count)}
      </span>
      <Button look="quiet" disabled={page >= pages} onClick={() => go(page + 1)}>
        Next
      </Button>
    </nav>
  )
}
