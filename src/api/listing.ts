import type { ResourceRow } from '../store/schema.ts'
import type { Query } from './query.ts'
import { metadataOf, propertiesOf } from './render.ts'
import { enumOf, type ResourceType } from './resource-types.ts'

/** Whether SQL alone can cut the page out. */
export function isPlain(query: Query): boolean {
  return query.filters.length === 0 && query.orderBy === undefined && query.maxResults === undefined
}

/** Filters and orders what a collection holds. `maxResults` cuts before the filters, `limit` after them. */
export function refine(type: ResourceType, rows: ResourceRow[], query: Query): ResourceRow[] {
  const candidates = query.maxResults === undefined ? rows : rows.slice(0, query.maxResults)
  const kept = candidates.filter((row) => query.filters.every((filter) => matches(type, row, filter)))
  return query.orderBy === undefined ? kept : orderedBy(kept, query.orderBy)
}

/** An unknown name matches nothing. Of several values for one name, one must match. */
function matches(type: ResourceType, row: ResourceRow, filter: { name: string; values: string[] }): boolean {
  const { name, values } = filter
  const property = propertiesOf(row)[name]
  if (property !== undefined && property !== null) {
    const isExact = enumOf(type, name) !== undefined
    return [property].flat().some((it) => values.some((value) => valueMatches(it, value, isExact)))
  }
  const metadata = metadataOf(row)[name]
  if (metadata === undefined) return false
  return values.some((value) => valueMatches(metadata, value, name === 'state'))
}

function valueMatches(actual: unknown, wanted: string, isExact: boolean): boolean {
  const text = (typeof actual === 'object' ? JSON.stringify(actual) : String(actual)).toLowerCase()
  const value = wanted.toLowerCase()
  return isExact || typeof actual !== 'string' ? text === value : text.includes(value)
}

function orderedBy(rows: ResourceRow[], name: string): ResourceRow[] {
  const keyed = rows.map((row) => ({ row, key: propertiesOf(row)[name] ?? metadataOf(row)[name] }))
  return keyed.sort((a, b) => compareValues(a.key, b.key)).map(({ row }) => row)
}

/** Ascending; what lacks the attribute comes last. */
function compareValues(a: unknown, b: unknown): number {
  if (a === undefined || a === null) return b === undefined || b === null ? 0 : 1
  if (b === undefined || b === null) return -1
  if (typeof a === 'number' && typeof b === 'number') return a - b
  const [left, right] = [String(a), String(b)]
  return left < right ? -1 : left > right ? 1 : 0
}

/** The frame of a collection; links repeat every other parameter of the request. */
export function renderCollection(
  collection: { id: string; href: string; url: string },
  items: unknown[],
  page: { offset: number; limit: number; total: number },
): Record<string, unknown> {
  const { offset, limit, total } = page
  const link = (at: number) => {
    const query = new URLSearchParams(collection.url.split('?', 2)[1] ?? '')
    query.delete('offset')
    query.delete('limit')
    query.set('offset', String(at))
    query.set('limit', String(limit))
    return `${collection.href}?${query}`
  }
  return {
    id: collection.id,
    type: 'collection',
    href: collection.href,
    items,
    offset,
    limit,
    _links: {
      ...(offset > 0 ? { prev: link(Math.max(0, offset - limit)) } : {}),
      self: link(offset),
      ...(offset + limit < total ? { next: link(offset + limit) } : {}),
    },
  }
}
