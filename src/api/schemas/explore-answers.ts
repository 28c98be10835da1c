import { type TSchema, Type } from 'typebox'
import { DIMENSIONS, METRICS, type Results } from '../../explore/question.ts'
import { closed, constant, count, flag, oneOf, optional, type Schemas, text, textOrNull } from './types.ts'

// What is answered to questions about flows (docs/reference/explore.md).

const number = Type.Number()
const verdict = oneOf('ACCEPT', 'REJECT')
const numberOrNull = Type.Unsafe<number | null>({ type: ['number', 'null'] })
const key = Type.Unsafe<string | number | null>({ type: ['string', 'number', 'null'] })
const dimension = oneOf(...Object.keys(DIMENSIONS))

const counters = { flows: count, packets: count, bytes: count }
const seen = { firstS: numberOrNull, lastS: numberOrNull }
const tally = closed({ ...counters, ...seen })
const numbers = Type.Array(number)
const steps = { stepS: count, timesS: Type.Array(count) }

const line = closed({
  key,
  label: text,
  other: flag,
  total: number,
  avg: number,
  max: number,
  p95: number,
  last: number,
  values: numbers,
})

const flow = closed({
  startS: count,
  endS: count,
  action: Type.Unsafe<string | null>({ enum: ['ACCEPT', 'REJECT', null] }),
  protocol: numberOrNull,
  srcaddr: textOrNull,
  srcport: numberOrNull,
  dstaddr: textOrNull,
  dstport: numberOrNull,
  packets: numberOrNull,
  bytes: numberOrNull,
  interface: text,
  status: text,
})

const byDimension = (it: TSchema): TSchema =>
  closed(optional(Object.fromEntries(Object.keys(DIMENSIONS).map((name) => [name, it]))))

const rejects = Type.Array(
  closed({
    ...counters,
    ...seen,
    key: Type.Union([key, closed({ protocol: numberOrNull, dstport: numberOrNull })]),
    label: text,
    ...optional({ sources: count, targets: count }),
  }),
)

const changed = closed({
  interface: text,
  srcaddr: text,
  dstaddr: text,
  protocol: count,
  dstport: count,
  label: text,
  accepted: tally,
  refused: tally,
  verdict: oneOf('now refused', 'now allowed', 'mixed'),
})

const unused = closed({
  ...seen,
  interface: text,
  address: text,
  protocol: count,
  port: count,
  label: text,
  state: oneOf('silent', 'unanswered'),
  flows: count,
  sources: count,
})

const throughput = closed({
  interface: text,
  direction: Type.Unsafe<string | null>({ enum: ['INGRESS', 'EGRESS', null] }),
  bytes: count,
  packets: count,
  avg: number,
  p50: number,
  p95: number,
  max: number,
  maxAtS: count,
})

const node = closed({
  id: text,
  column: count,
  dimension,
  key,
  label: text,
  other: flag,
  value: number,
})

const RESULTS: Record<keyof Results, TSchema> = {
  summary: closed({}),
  series: closed({ ...steps, series: Type.Array(line), total: line, previous: Type.Optional(line) }),
  flows: closed({ rows: Type.Array(flow), count }),
  top: closed({
    rows: Type.Array(
      closed({
        ...counters,
        ...seen,
        key: byDimension(key),
        labels: byDimension(text),
        rejectedFlows: count,
        share: number,
      }),
    ),
    count,
    rest: closed(counters),
  }),
  sankey: closed({
    nodes: Type.Array(node),
    links: Type.Array(closed({ source: text, target: text, value: number })),
  }),
  heat: closed({
    ...steps,
    rows: Type.Array(closed({ key, label: text, total: number })),
    cells: Type.Array(Type.Array(number, { minItems: 3, maxItems: 3, description: 'Time, row, value' })),
    max: number,
  }),
  rejects: closed({
    refused: tally,
    share: number,
    series: closed({ ...steps, values: numbers }),
    sources: rejects,
    ports: rejects,
    interfaces: rejects,
    targets: rejects,
  }),
  changed: closed({ rows: Type.Array(changed) }),
  unused: closed({ rows: Type.Array(unused) }),
  reach: closed({
    answer: oneOf('allowed', 'refused', 'both', 'unseen'),
    sentence: text,
    accepted: tally,
    refused: tally,
    answered: tally,
    interfaces: Type.Array(closed({ interface: text, accepted: tally, refused: tally })),
    changes: Type.Array(closed({ atS: count, action: verdict })),
  }),
  throughput: closed({ stepS: count, rows: Type.Array(throughput) }),
  values: closed({ values: Type.Array(closed({ value: text, label: Type.Optional(text), flows: count })) }),
}

const liveCoverage = closed({
  flowLogs: count,
  answering: count,
  silent: Type.Array(
    closed({
      interface: text,
      reason: oneOf('no agent', 'not connected', 'waiting', 'not yet', 'too many'),
      host: Type.Optional(text),
    }),
  ),
  ageS: numberOrNull,
  left: closed(counters),
  underway: closed({ windows: count, oldestWindowS: numberOrNull }),
})

const answerOf = (kind: string, result: TSchema): TSchema =>
  closed({
    kind: constant(kind),
    range: closed({ sinceS: number, untilS: number }),
    result,
    totals: closed({ ...counters, accepted: closed(counters), rejected: closed(counters) }),
    skipped: closed({ records: count, packets: count, bytes: count }),
    truncated: flag,
    sql: text,
    coverage: closed({
      objects: count,
      objectsOutside: count,
      objectsFailed: count,
      linesFailed: count,
      oldestWindowS: numberOrNull,
      newestWindowS: numberOrNull,
      faults: Type.Array(closed({ object: text, reason: text })),
    }),
    live: Type.Optional(liveCoverage),
    names: closed({
      interfaces: Type.Record(text, closed({ name: text, ...optional({ server: text, datacenter: text }) })),
      addresses: Type.Record(text, text),
    }),
    tookMs: number,
  })

const place = { from: count, to: count }

export const EXPLORE_ANSWERS = {
  explored: Type.Union(Object.entries(RESULTS).map(([kind, result]) => answerOf(kind, result))),
  progress: closed({ reading: Type.Optional(closed({ read: count, objects: count })) }),
  fields: closed({
    fields: Type.Array(
      closed({
        name: text,
        aliases: Type.Array(text),
        type: text,
        description: text,
        operators: Type.Array(text),
        values: Type.Array(text),
      }),
    ),
    dimensions: Type.Array(closed({ name: dimension, title: text })),
    metrics: Type.Array(oneOf(...METRICS)),
  }),
  filter: closed({
    valid: flag,
    suggestions: Type.Array(
      closed({
        text,
        ...place,
        kind: oneOf('field', 'operator', 'value', 'connective'),
        detail: Type.Optional(text),
      }),
    ),
    ...optional({
      fault: closed({ at: count, length: count, message: text }),
      normalised: text,
      values: closed({ field: text, text, ...place }),
    }),
  }),
} as const satisfies Schemas
