import { Amount } from '../ui/amount.tsx'
import { Disclosure } from '../ui/disclosure.tsx'
import { type Column, Table } from '../ui/table.tsx'
import { Time } from '../ui/time.tsx'

interface Props {
  timesS: readonly number[]
  lines: readonly { title: string; values: readonly number[] }[]
  text(value: number): string
}

/** What a chart over time draws, in numbers. */
export function StepsTable({ timesS, lines, text }: Props) {
  const columns: Column<number>[] = [
    { title: 'From', value: (at) => <Time s={timesS[at]!} /> },
    ...lines.map(({ title, values }) => ({
      title,
      value: (at: number) => <Amount value={values[at]!} text={text} />,
      numeric: true,
    })),
  ]
  return (
    <Disclosure summary="Every step as a table">
      {() => (
        <Table
          caption="Every step of the chart"
          columns={columns}
          rows={timesS.map((_, at) => at)}
          rowKey={(at) => String(at)}
        />
      )}
    </Disclosure>
  )
}
