import type { ReactNode } from 'react'
import { setQuery, usePlace } from '../state/location.ts'
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

/** The part of a long list that the URL asks for, and what leads to the others where there are any. */
export function usePages<T>(
  all: readonly T[],
  { of, pageSize }: Pick<Props, 'of' | 'pageSize'>,
): { shown: T[]; pages: ReactNode } {
  const pages = Math.ceil(all.length / pageSize)
  const page = Math.max(1, Math.min(Number(usePlace().query.get('page')) || 1, pages))
  const shown = all.slice((page - 1) * pageSize, page * pageSize)
  const props = { of, page, pageSize, shown: shown.length, count: all.length }
  return { shown, pages: pages > 1 && <Pages {...props} /> }
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
