import type { TimeRange } from './object-name.ts'

// What can be asked of delivered flows, and what is answered. The console and the CLI speak these shapes
// (docs/reference/explore.md has them in prose). Everything that ends in S is Unix seconds.

export const METRICS = ['bytes', 'packets', 'flows'] as const
export type Metric = (typeof METRICS)[number]

/** What flows can be split by. */
export const DIMENSIONS = {
  action: 'verdict of the firewall',
  protocol: 'protocol',
  srcaddr: 'source address',
  dstaddr: 'destination address',
  srcport: 'source port',
  dstport: 'destination port',
  interface: 'interface',
  service: 'protocol and the lower port',
  srcnet: 'source network (/24, /64)',
  dstnet: 'destination network (/24, /64)',
  direction: 'direction, by the addresses of the interface',
} as const
export type Dimension = keyof typeof DIMENSIONS

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

/** A field's value; null stands for '-'. */
export type Key = string | number | null

export interface Scope {
  /** In natural terms (time-range.ts). */
  since: string
  until?: string
  filter?: string
  /** `bucket` or `bucket/prefix`; all that the asker may read without it. */
  buckets?: string[]
  /** With the flows that are not delivered yet, as the agents tell them now. */
  live?: boolean
}

export type SummaryQuestion = { kind: 'summary' }
export type SeriesQuestion = {
  kind: 'series'
  metric: Metric
  splitBy?: Dimension
  top?: number
  stepS?: number
  previous?: boolean
}
export type FlowsQuestion = {
  kind: 'flows'
  sort?: { by: FlowColumn; order: 'asc' | 'desc' }
  limit?: number
  offset?: number
}
export type TopQuestion = {
  kind: 'top'
  by: Dimension[]
  metric: Metric
  /** Of each flow only what falls into this part of the range, as charts draw it: spread evenly over its seconds. */
  within?: TimeRange
  limit?: number
  offset?: number
}
export type SankeyQuestion = { kind: 'sankey'; metric: Metric; path?: Dimension[]; top?: number }
export type HeatQuestion = { kind: 'heat'; metric: Metric; rows?: Dimension; top?: number; stepS?: number }
export type RejectsQuestion = { kind: 'rejects'; limit?: number }
export type ChangedQuestion = { kind: 'changed'; limit?: number }
export type UnusedQuestion = { kind: 'unused'; lookback?: string; limit?: number }
export type ReachQuestion = { kind: 'reach'; src: string; dst: string; port?: number; protocol?: number }
export type ThroughputQuestion = { kind: 'throughput'; stepS?: number; limit?: number }
export type ValuesQuestion = { kind: 'values'; field: string; text?: string; limit?: number }

export type AnyQuestion =
  | SummaryQuestion
  | SeriesQuestion
  | FlowsQuestion
  | TopQuestion
  | SankeyQuestion
  | HeatQuestion
  | RejectsQuestion
  | ChangedQuestion
  | UnusedQuestion
  | ReachQuestion
  | ThroughputQuestion
  | ValuesQuestion
export type Question = Scope & AnyQuestion

/** A question whose times are settled: nothing in it depends on when it is worked on. */
export interface SettledQuestion {
  question: Question
  range: TimeRange
  /** What must be read: the range, and what lies before it where the question compares. */
  readRange: TimeRange
  nowMs: number
}

export interface Counters {
  flows: number
  packets: number
  bytes: number
}

export interface Seen {
  firstS: number | null
  lastS: number | null
}

export type Tally = Counters & Seen

export interface Line {
  key: Key
  label: string
  other: boolean
  /** Exact sum of the metric. */
  total: number
  /** Of `values`: per second, one for each step. */
  avg: number
  max: number
  p95: number
  last: number
  values: number[]
}

export interface FlowRow {
  startS: number
  endS: number
  action: 'ACCEPT' | 'REJECT' | null
  protocol: number | null
  srcaddr: string | null
  srcport: number | null
  dstaddr: string | null
  dstport: number | null
  packets: number | null
  bytes: number | null
  interface: string
  status: string
}

export type TopRow = Tally & {
  key: Partial<Record<Dimension, Key>>
  labels: Partial<Record<Dimension, string>>
  rejectedFlows: number
  share: number
}

export interface SankeyNode {
  id: string
  column: number
  dimension: Dimension
  key: Key
  label: string
  other: boolean
  value: number
}

export type RejectRow = Tally & {
  key: Key | { protocol: number | null; dstport: number | null }
  label: string
  sources?: number
  targets?: number
}

export interface ChangedRow {
  interface: string
  srcaddr: string
  dstaddr: string
  protocol: number
  dstport: number
  /** `TCP https (443)` */
  label: string
  accepted: Tally
  refused: Tally
  verdict: 'now refused' | 'now allowed' | 'mixed'
}

export interface UnusedRow extends Seen {
  interface: string
  address: string
  protocol: number
  port: number
  label: string
  state: 'silent' | 'unanswered'
  flows: number
  sources: number
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
  maxAtS: number
}

export interface Results {
  summary: Record<string, never>
  series: { stepS: number; timesS: number[]; series: Line[]; total: Line; previous?: Line }
  flows: { rows: FlowRow[]; count: number }
  top: { rows: TopRow[]; count: number; rest: Counters }
  sankey: { nodes: SankeyNode[]; links: { source: string; target: string; value: number }[] }
  heat: {
    stepS: number
    timesS: number[]
    rows: { key: Key; label: string; total: number }[]
    cells: [timeIndex: number, rowIndex: number, value: number][]
    max: number
  }
  rejects: {
    refused: Tally
    share: number
    series: { stepS: number; timesS: number[]; values: number[] }
    sources: RejectRow[]
    ports: RejectRow[]
    interfaces: RejectRow[]
    targets: RejectRow[]
  }
  changed: { rows: ChangedRow[] }
  unused: { rows: UnusedRow[] }
  reach: {
    answer: 'allowed' | 'refused' | 'both' | 'unseen'
    sentence: string
    accepted: Tally
    refused: Tally
    /** The way back. */
    answered: Tally
    interfaces: { interface: string; accepted: Tally; refused: Tally }[]
    changes: { atS: number; action: 'ACCEPT' | 'REJECT' }[]
  }
  throughput: { stepS: number; rows: ThroughputRow[] }
  values: { values: { value: string; label?: string; flows: number }[] }
}

/** What the database makes of a question. */
export interface Finding<Kind extends keyof Results = keyof Results> {
  result: Results[Kind]
  totals: Counters & { accepted: Counters; rejected: Counters }
  skipped: { records: number; packets: number; bytes: number }
  truncated: boolean
  sql: string
}

export interface Coverage {
  /** Objects that were read. */
  objects: number
  /** Objects whose name says that they hold nothing of the range. */
  objectsOutside: number
  objectsFailed: number
  linesFailed: number
  /** Starts of the first and the last window that was read. */
  oldestWindowS: number | null
  newestWindowS: number | null
  /** The first of what failed. */
  faults: { object: string; reason: string }[]
}

/** What of an answer came straight from agents. */
export interface LiveCoverage {
  /** Flow logs that the question is about, and those of them that an agent tells of. */
  flowLogs: number
  answering: number
  /** Why there is nothing live of the others; the first of them. */
  silent: { interface: string; reason: LiveSilence; host?: string }[]
  /** How old the oldest of what the agents told is. */
  ageS: number | null
  /** Flows that agents leave out, the small ones, when there are very many: not in the totals, no filter applies. */
  left: Counters
  /** Windows that are closed and on their way to the bucket, and that are neither here nor there at the moment. */
  underway: { windows: number; oldestWindowS: number | null }
}

/**
 * `no agent`: no host has the interface. `not connected`: its agent has not been heard of for a while. `waiting`: the
 * device is not there. `not yet`: the agent was asked and has not answered so far. `too many`: more flow logs than one
 * question can follow.
 */
export type LiveSilence = 'no agent' | 'not connected' | 'waiting' | 'not yet' | 'too many'

export interface Names {
  interfaces: Record<string, { name: string; server?: string; datacenter?: string }>
  addresses: Record<string, string>
}

export interface Answer<Kind extends keyof Results = keyof Results> extends Finding<Kind> {
  kind: Kind
  range: TimeRange
  coverage: Coverage
  /** For live questions. */
  live?: LiveCoverage
  names: Names
  tookMs: number
}
