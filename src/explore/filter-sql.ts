import type { AddressRange } from './addresses.ts'
import type { Parameters } from './duckdb.ts'
import { type Filter, FilterError, type FilterValue } from './filter.ts'
import type { FilterField } from './filter-fields.ts'

export interface FilterContext {
  /** UUIDs of the interfaces that a person calls so. */
  interfaceIds(name: string): string[]
}

/**
 * Columns or expressions that a field stands for; a field that stands for two holds when one of them does.
 */
const COLUMNS: Record<string, string[]> = {
  src: ['src_key'],
  srcnet: ['src_key'],
  dst: ['dst_key'],
  dstnet: ['dst_key'],
  addr: ['src_key', 'dst_key'],
  srcport: ['srcport'],
  dstport: ['dstport'],
  port: ['srcport', 'dstport'],
  protocol: ['protocol'],
  service: ['protocol'],
  action: ['action'],
  interface: ['interface_id'],
  direction: ['direction'],
  packets: ['packets'],
  bytes: ['bytes'],
  duration: ['(end_s - start_s)'],
  start: ['start_s'],
  end: ['end_s'],
  status: ['log_status'],
}

/** What tells the direction of a flow. */
export const DIRECTION_COLUMNS = ['interface_id', 'srcaddr', 'dstaddr'] as const

/**
 * A condition over `flows`. `not` and `!=` include records whose field is '-', so below them it is never NULL;
 * elsewhere NULL is as good as false, and a bare comparison is what DuckDB can skip row groups by.
 */
export function filterSql(
  filter: Filter,
  parameters: Parameters,
  context: FilterContext,
  isNegated = false,
): string {
  switch (filter.kind) {
    case 'not':
      return `NOT ${filterSql(filter.term, parameters, context, true)}`
    case 'all':
    case 'any': {
      const terms = filter.terms.map((term) => filterSql(term, parameters, context, isNegated))
      return `(${terms.join(filter.kind === 'all' ? ' AND ' : ' OR ')})`
    }
    case 'compare': {
      const { field, operator, values } = filter
      const isNegative = operator === '!=' || operator === 'not in'
      const isOrder = operator.startsWith('<') || operator.startsWith('>')
      const conditions = COLUMNS[field.name]!.flatMap((column) =>
        values.map((value) =>
          isOrder
            ? orderSql(column, operator, value, parameters)
            : equalSql(column, field, value, parameters, context),
        ),
      )
      const condition = conditions.join(' OR ')
      if (isNegative) return `NOT coalesce(${condition}, false)`
      if (isNegated) return `coalesce(${condition}, false)`
      return conditions.length === 1 ? condition : `(${condition})`
    }
  }
}

/** Columns of `flows` that a filter looks at; the direction is made of interface and addresses. */
export function filterColumns(filter: Filter | undefined): string[] {
  if (filter === undefined) return []
  if (filter.kind === 'not') return filterColumns(filter.term)
  if (filter.kind !== 'compare') return filter.terms.flatMap(filterColumns)
  const { name } = filter.field
  if (name === 'direction') return [...DIRECTION_COLUMNS]
  return name === 'service' ? ['protocol', 'srcport', 'dstport'] : COLUMNS[name]!
}

/** Whether a filter asks for the direction, which not every record store can tell. */
export function usesDirection(filter: Filter | undefined): boolean {
  if (filter === undefined) return false
  if (filter.kind === 'compare') return filter.field.name === 'direction'
  return filter.kind === 'not' ? usesDirection(filter.term) : filter.terms.some(usesDirection)
}

/** Interfaces that a flow must be of to pass, by id or name; undefined when the filter does not narrow them down. */
export function interfacesIn(filter: Filter | undefined): string[] | undefined {
  if (filter?.kind === 'all') return filter.terms.map(interfacesIn).find((it) => it !== undefined)
  if (filter?.kind !== 'compare' || filter.field.name !== 'interface') return undefined
  if (filter.operator !== '=' && filter.operator !== 'in') return undefined
  return filter.values.flatMap((value) => (value.kind === 'word' ? [value.word] : []))
}

function orderSql(column: string, operator: string, value: FilterValue, parameters: Parameters): string {
  if (value.kind !== 'range')
    throw new FilterError(`'${value.text}' has no order`, value.at, value.text.length)
  // `dstport > 8000-8100` means above all of it, `<` below all of it.
  const bound = operator === '>' || operator === '<=' ? value.to : value.from
  return `${column} ${operator} ${parameters.add(BigInt(bound), 'BIGINT')}`
}

function equalSql(
  column: string,
  field: FilterField,
  value: FilterValue,
  parameters: Parameters,
  context: FilterContext,
): string {
  switch (value.kind) {
    case 'none':
      return `${column} IS NULL`
    case 'network':
      return networkSql(column, value.range, parameters)
    case 'range': {
      const { from, to } = value
      if (from === to) return `${column} = ${parameters.add(BigInt(from), 'BIGINT')}`
      return `${column} BETWEEN ${parameters.add(BigInt(from), 'BIGINT')}
        AND ${parameters.add(BigInt(to), 'BIGINT')}`
    }
    case 'service': {
      const protocol = `protocol = ${parameters.add(BigInt(value.protocol), 'BIGINT')}`
      if (value.port === undefined) return protocol
      return `(${protocol} AND service_port(srcport, dstport) = ${parameters.add(BigInt(value.port), 'BIGINT')})`
    }
    case 'word': {
      if (field.type !== 'interface') return `${column} = ${parameters.add(value.word, 'VARCHAR')}`
      const ids = context.interfaceIds(value.word)
      if (ids.length === 0)
        throw new FilterError(`no interface is called '${value.word}'`, value.at, value.text.length)
      return `${column} IN (${ids.map((id) => parameters.add(id, 'VARCHAR')).join(', ')})`
    }
  }
}

/** Whether a key is an address, or lies in a network. */
export function networkSql(column: string, { first, last }: AddressRange, parameters: Parameters): string {
  if (first === last) return `${column} = ${parameters.add(first, 'UUID')}`
  return `${column} BETWEEN ${parameters.add(first, 'UUID')} AND ${parameters.add(last, 'UUID')}`
}
