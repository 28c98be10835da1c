import type { ResourceRow } from '../store/schema.ts'
import type { Query } from './query.ts'
import { metadataOf, propertiesOf } from './render.ts'
import { enumOf, type ResourceType } from './resource-types.ts'

/** What the items of a collection are filtered and ordered by. */
export interface Attributes<Row> {
  of(row: Row): { properties?: Record<string, unknown>; metadata?: Record<string, unknown> }
  /** Whether a property is an enum, of which no part matches. */
  isEnum?(name: string): boolean
}

export function attributesOf(type: ResourceType): Attributes<ResourceRow> {
  return {
    of: (row) => ({ properties: propertiesOf(row), metadata: metadataOf(row) }),
    isEnum: (name) => enumOf(type, name) !== undefined,
  }
}

/** Not what every object has, such as its constructor. */
function ownValue(values: Record<string, unknown> = {}, name: string): unknown {
  return Object.hasOwn(values, name) ? values[name] : undefined
}

/** Whether SQL alone can cut the page out. */
export function isPlain(query: Query): boolean {
  return query.filters.length === 0 && query.orderBy === undefined && query.maxResults === undefined
}

/** Filters and orders what a collection holds. `maxResults` cuts before the filters, `limit` after them. */
export function refine<Row>(attributes: Attributes<Row>, rows: Row[], query: Query): Row[] {
  const candidates = query.maxResults === undefined ? rows : rows.slice(0, query.maxResults)
  const kept = candidates.filter((row) => query.filters.every((filter) => matches(attributes, row, filter)))
  return query.orderBy === undefined ? kept : orderedBy(attributes, kept, query.orderBy)
}

/** An unknown name matches nothing. Of several values for one name, one must match. */
function matches<Row>(
  attributes: Attributes<Row>,
  row: Row,
  { name, values }: { name: string; values: string[] },
): boolean {
  const { properties, metadata } = attributes.of(row)
  const property = ownValue(properties, name)
  if (property !== undefined && property !== null) {
    const isExact = attributes.isEnum?.(name) ?? false
    return [property].flat().some((it) => values.some((value) => valueMatches(it, value, isExact)))
  }
  const found = ownValue(metadata, name)
  if (found === undefined) return false
  return values.some((value) => valueMatches(found, value, name === 'state'))
}

function valueMatches(actual: unknown, wanted: string, isExact: boolean): boolean {
  const text = (typeof actual === 'object' ? JSON.stringify(actual) : String(actual)).toLowerCase()
  const value = wanted.toLowerCase()
  return isExact || typeof actual !== 'string' ? text === value : text.includes(value)
}

function orderedBy<Row>(attributes: Attributes<Row>, rows: Row[], name: string): Row[] {
  const keyed = rows.map((row) => {
    const { properties, metadata } = attributes.of(row)
    return { row, key: ownValue(properties, name) ?? ownValue(metadata, name) }
  })
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
