import type { Answer, Dimension, Metric } from '../api/explore.ts'
import { Chart } from '../chart/chart.tsx'
import { sankeyOption } from '../chart/sankey-option.ts'
import { useAnswer } from '../state/explore.ts'
import { setQuery, usePlace } from '../state/location.ts'
import { useScope } from '../state/scope.ts'
import { amountText } from '../text/numbers.ts'
import { DIMENSIONS, keyText } from '../text/words.ts'
import { Amount } from '../ui/amount.tsx'
import { Select } from '../ui/choice.tsx'
import { Disclosure } from '../ui/disclosure.tsx'
import { type Column, Table } from '../ui/table.tsx'
import { AnswerFrame, FilterBy, filterByClick } from './explore-parts.tsx'

const PATHS: { value: string; label: string; path: Dimension[] }[] = [
  { value: 'service', label: 'Source → service → destination', path: ['srcaddr', 'service', 'dstaddr'] },
  { value: 'pair', label: 'Source → destination', path: ['srcaddr', 'dstaddr'] },
  { value: 'action', label: 'Source → action → destination', path: ['srcaddr', 'action', 'dstaddr'] },
  { value: 'network', label: 'Network → service → network', path: ['srcnet', 'service', 'dstnet'] },
  { value: 'interface', label: 'Source → interface → service', path: ['srcaddr', 'interface', 'service'] },
]

export function SankeyView({ metric }: { metric: Metric }) {
  const { query } = usePlace()
  const { scope, refreshMs } = useScope()
  const chosen = PATHS.find(({ value }) => value === query.get('path')) ?? PATHS[0]!
  const loaded = useAnswer({ kind: 'sankey', ...scope, metric, path: chosen.path }, refreshMs)
  return (
    <section className="panel" aria-label="Who talks to whom">
      <div className="panel-tools">
        <Select
          label="Columns"
          value={chosen.value}
          options={PATHS}
          onChange={(value) => setQuery({ path: value === 'service' ? undefined : value })}
        />
      </div>
      <AnswerFrame
        loaded={loaded}
        what="who talks to whom"
        isEmpty={({ result }) => result.nodes.length === 0}
      >
        {(answer) => <SankeyAnswer answer={answer} metric={metric} />}
      </AnswerFrame>
    </section>
  )
}

function SankeyAnswer({ answer, metric }: { answer: Answer<'sankey'>; metric: Metric }) {
  const { scope } = useScope()
  const { names } = answer
  const nodes = answer.result.nodes.map((node) => ({
    ...node,
    label: node.other ? 'Other' : keyText(node.dimension, node, names),
  }))
  const result = { ...answer.result, nodes }
  const inColumn = Math.max(
    ...[0, 1, 2, 3].map((column) => nodes.filter((it) => it.column === column).length),
  )
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const links = [...result.links].sort((a, b) => b.value - a.value)
  const columns: Column<(typeof links)[number]>[] = [
    { title: 'From', value: ({ source }) => <NodeText node={byId.get(source)!} /> },
    { title: 'To', value: ({ target }) => <NodeText node={byId.get(target)!} /> },
    {
      title: 'Amount',
      value: ({ value }) => <Amount value={value} text={(it) => amountText(metric, it)} />,
      numeric: true,
    },
  ]
  return (
    <>
      <Chart
        label={`Who talks to whom: ${nodes.length} nodes, ${links.length} links. The table below has them all.`}
        version={JSON.stringify(result)}
        height={Math.max(300, inColumn * 38)}
        option={(colours, width) => sankeyOption(result, colours, metric, width)}
        onClick={({ dataType, data }) => {
          const { name, source, target } = data as { name?: string; source?: string; target?: string }
          const ends = dataType === 'edge' ? [source, target] : [name]
          const clicked = ends.flatMap((id) => byId.get(String(id)) ?? [])
          filterByClick(scope.filter, ...clicked.filter(({ other }) => !other))
        }}
      />
      <Disclosure summary="The links as a table">
        {() => (
          <Table
            caption="Links, largest first"
            columns={columns}
            rows={links}
            rowKey={({ source, target }) => `${source} ${target}`}
          />
        )}
      </Disclosure>
    </>
  )
}

function NodeText({ node }: { node: Answer<'sankey'>['result']['nodes'][number] }) {
  return (
    <>
      <span className="kind">{DIMENSIONS[node.dimension]}</span>{' '}
      {node.other ? node.label : <FilterBy dimension={node.dimension} value={node.key} label={node.label} />}
    </>
  )
}
