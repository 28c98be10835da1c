import type { ReactNode } from 'react'

export interface Column<Row> {
  title: string
  value(row: Row): ReactNode
  numeric?: boolean
  /** Present when the table can be sorted by it. */
  sort?: string
  /** Less important: not shown where there is little room. */
  minor?: boolean
}

export interface Sorting {
  by: string
  order: 'asc' | 'desc'
  onSort(by: string): void
}

interface Props<Row> {
  caption: string
  columns: readonly Column<Row>[]
  rows: readonly Row[]
  rowKey(row: Row, index: number): string
  sorting?: Sorting
  rowClass?(row: Row): string | undefined
}

/** A table that scrolls sideways by itself where the page is narrow, also with the keyboard. */
export function Table<Row>({ caption, columns, rows, rowKey, sorting, rowClass }: Props<Row>) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable with the keyboard.
    <section className="table-scroll" aria-label={`${caption}, as a table`} tabIndex={0}>
      <table className="table">
        <caption className="visually-hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <HeadCell key={column.title} column={column} {...(sorting === undefined ? {} : { sorting })} />
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={rowKey(row, index)} className={rowClass?.(row)}>
              {columns.map((column) => (
                <td key={column.title} className={classOf(column)}>
                  {column.value(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

function HeadCell<Row>({ column, sorting }: { column: Column<Row>; sorting?: Sorting }) {
  const { sort } = column
  if (sort === undefined || sorting === undefined) {
    return (
      <th scope="col" className={classOf(column)}>
        {column.title}
      </th>
    )
  }
  const isSorted = sorting.by === sort
  const direction = sorting.order === 'asc' ? 'ascending' : 'descending'
  return (
    <th scope="col" className={classOf(column)} {...(isSorted ? { 'aria-sort': direction } : {})}>
      <button type="button" className="sort" onClick={() => sorting.onSort(sort)}>
        {column.title}
        <span aria-hidden="true">{isSorted ? (sorting.order === 'asc' ? ' ↑' : ' ↓') : ''}</span>
      </button>
    </th>
  )
}

function classOf<Row>({ numeric, minor }: Column<Row>): string {
  return [numeric ? 'numeric' : '', minor ? 'minor' : ''].join(' ').trim()
}
