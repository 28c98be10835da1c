import { postJson } from './http.ts'

// The shapes of POST /weir/v1/explore (docs/reference/api.md). Names that end in S are Unix seconds; rates are per second.

export const METRICS = ['bytes', 'packets', 'flows'] as const
export type Metric = (typeof METRICS)[number]

export type Dimension =
  | 'action'
  | 'protocol'
  | 'srcaddr'
  | 'dstaddr'
  | 'srcport'
  | 'dstport'
  | 'interface'
  | 'service'
  | 'srcnet'
  | 'dstnet'
  | 'direction'

export type Key = string | number | null

export interface Scope {
  since: string
  until?: string
  filter?: string
}

export const FLOW_COLUMNS = [
  'start',
  'end',
  'action',
  'protocol',
  'srcaddr',
  'srcport',
  'dstaddr',
  'dstport',
  'packets',
  'bytes',
  'interface',
] as const
export type FlowColumn = (typeof FLOW_COLUMNS)[number]

interface Asked {
  summary: object
  series: { metric: Metric; splitBy?: Dimension; top?: number; stepS?: number; previous?: boolean }
  flows: { sort?: { by: FlowColumn; order: 'asc' | 'desc' }; limit?: number; offset?: number }
  top: { by: Dimension[]; metric: Metric; limit?: number; offset?: number }
  sankey: { metric: Metric; path?: Dimension[]; top?: number }
  heat: { metric: Metric; rows?: Dimension; top?: number; stepS?: number }
  rejects: { limit?: number }
  changed: { limit?: number }
  unused: { lookback?: string; limit?: number }
  reach: { src: string; dst: string; port?: number; protocol?: number }
  throughput: { stepS?: number; limit?: number }
}

export type Kind = keyof Asked
export type Question<K extends Kind> = Scope & { kind: K } & Asked[K]

export interface Counters {
  flows: number
  packets: number
  bytes: number
}

export interface Seen {
  firstS: number | null
  lastS: number | null
}

export interface Line {
  key: Key
  label: string
  other: boolean
  total: number
  avg: number
  max: number
  p95: number
  last: number
  values: number[]
}

export interface Series {
  stepS: number
  timesS: number[]
  series: Line[]
  total: Line
  previous?: Line
}

export interface FlowRow {
  startS: number | null
  endS: number | null
  action: 'ACCEPT' | 'REJECT' | null
  protocol: number | null
  srcaddr: string | null
  srcport: number | null
  dstaddr: string | null
  dstport: number | null
  packets: number | null
  bytes: number | null
  interface: string | null
  status: 'OK' | 'SKIPDATA'
}

export type TopRow = Counters &
  Seen & { key: Partial<Record<Dimension, Key>>; rejectedFlows: number; share: number }

export interface Sankey {
  nodes: {
    id: string
    column: number
    dimension: Dimension
    key: Key
    label: string
    other: boolean
    value: number
  }[]
  links: { source: string; target: string; value: number }[]
}

export interface Heat {
  stepS: number
  timesS: number[]
  rows: { key: Key; label: string; total: number }[]
  cells: [time: number, row: number, value: number][]
  max: number
}

export type RejectRow = Counters &
  Seen & {
    key: Key | { protocol: number; dstport: number }
    label: string
    sources?: number
    targets?: number
  }

export interface Rejects {
  refused: Counters & Seen
  share: number
  series: { stepS: number; timesS: number[]; values: number[] }
  sources: RejectRow[]
  ports: RejectRow[]
  interfaces: RejectRow[]
  targets: RejectRow[]
}

export interface ChangedRow {
  interface: string
  srcaddr: string
  dstaddr: string
  protocol: number
  dstport: number
  accepted: Counters & Seen
  refused: Counters & Seen
  verdict: 'now refused' | 'now allowed' | 'mixed'
}

export interface UnusedRow extends Seen {
  interface: string
  address: string
  protocol: number
  port: number
  state: 'silent' | 'unanswered'
  flows: number
  sources: number
}

export interface Reach {
  answer: 'allowed' | 'refused' | 'both' | 'unseen'
  sentence: string
  accepted: Counters & Seen
  refused: Counters & Seen
  answered: Counters & Seen
  interfaces: { interface: string; accepted: Counters & Seen; refused: Counters & Seen }[]
  changes: { atS: number; action: 'ACCEPT' | 'REJECT' }[]
}

export interface ThroughputRow {
  interface: string
  direction: 'INGRESS' | 'EGRESS' | null
  bytes: number
  packets: number
  avg: number
  p50: number
  p95: number
  max: number
  maxAtS: number | null
}

interface Results {
  summary: object
  series: Series
  flows: { rows: FlowRow[]; count: number }
  top: { rows: TopRow[]; count: number; rest: Counters }
  sankey: Sankey
  heat: Heat
  rejects: Rejects
  changed: { rows: ChangedRow[] }
  unused: { rows: UnusedRow[] }
  reach: Reach
  throughput: { stepS: number; rows: ThroughputRow[] }
}

export interface Names {
  interfaces: Record<string, { name: string; server?: string; datacenter?: string }>
  addresses: Record<string, string>
}

/** What every answer says beside its result. */
export interface Around {
  range: { sinceS: number; untilS: number }
  totals: Counters & { accepted: Counters; rejected: Counters }
  skipped: { records: number; packets: number; bytes: number }
  coverage: {
    objects: number
    objectsOutside: number
    objectsFailed: number
    linesFailed: number
    newestWindowS: number | null
    faults: { object: string; reason: string }[]
  }
  names: Names
  truncated: boolean
  sql: string
  tookMs: number
}

export type Answer<K extends Kind> = Around & { result: Results[K] }

export function ask<K extends Kind>(question: Question<K>, signal?: AbortSignal): Promise<Answer<K>> {
  return postJson<Answer<K>>('/weir/v1/explore', question, signal)
}

export interface Suggestion {
  text: string
  from: number
  to: number
  kind: 'field' | 'operator' | 'value' | 'connective'
  detail?: string
}

export interface FilterHelp {
  valid: boolean
  fault?: { at: number; length: number; message: string }
  suggestions: Suggestion[]
}

export function filterHelp(text: string, cursor: number, signal?: AbortSignal): Promise<FilterHelp> {
  return postJson<FilterHelp>('/weir/v1/explore/filter', { text, cursor }, signal)
}

/** Where a browser saves the rows of a question from. */
export function exportUrl(format: 'csv' | 'json' | 'parquet', question: object): string {
  return `/weir/v1/explore/export?${new URLSearchParams({ format, question: JSON.stringify(question) })}`
}
