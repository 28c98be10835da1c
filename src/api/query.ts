import { InvalidInputError } from './errors.ts'

/** The query parameters of CONTRACT, section 2.2. */
export interface Query {
  depth: number
  /** False when the client did not ask for a depth. */
  depthGiven: boolean
  offset: number
  limit: number
  orderBy: string | undefined
  maxResults: number | undefined
  filters: { name: string; values: string[] }[]
}

export const DEPTH_MAX = 10
const LIMIT_MAX = 10_000
const LIMIT_DEFAULT = 1_000

export function parseQuery(raw: unknown): Query {
  const query = raw as Record<string, string | string[]>
  const faults: string[] = []
  const whole = (name: string, bounds: { min: number; max: number }): number | undefined => {
    const value = lastOf(query[name])
    if (value === undefined || value === '') return undefined
    const number = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN
    if (number >= bounds.min && number <= bounds.max) return number
    const range = `a whole number from ${bounds.min} to ${bounds.max}`
    faults.push(`[(root).${name}] Parameter value '${value.slice(0, 100)}' is not ${range}`)
    return undefined
  }
  const depth = whole('depth', { min: 0, max: DEPTH_MAX })
  const offset = whole('offset', { min: 0, max: 2 ** 31 - 1 })
  const limit = whole('limit', { min: 1, max: LIMIT_MAX })
  const maxResults = whole('maxResults', { min: 1, max: 2 ** 31 - 1 })
  if (faults.length > 0) throw new InvalidInputError(faults)
  return {
    depth: depth ?? 0,
    depthGiven: depth !== undefined,
    offset: offset ?? 0,
    limit: limit ?? LIMIT_DEFAULT,
    orderBy: lastOf(query['orderBy']) ?? lastOf(query['order-by']),
    maxResults,
    filters: filtersOf(query),
  }
}

/** Answers are indented unless a client says no. */
export function isPretty(raw: unknown): boolean {
  const value = lastOf((raw as Record<string, string | string[]>)['pretty'])
  return value?.toLowerCase() !== 'false' && value !== '0'
}

function filtersOf(query: Record<string, string | string[]>): Query['filters'] {
  return Object.entries(query)
    .filter(([name]) => name.startsWith('filter.'))
    .map(([name, values]) => ({ name: name.slice('filter.'.length), values: [values].flat() }))
}

function lastOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.at(-1) : value
}
