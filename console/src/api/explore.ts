// Types only: nothing of the server gets into the page, and what goes over the wire is described once.
import type {
  Answer as AnswerOf,
  AnyQuestion,
  Dimension,
  FlowColumn,
  Key,
  Metric,
  Results,
  Scope as ServerScope,
} from '../../../src/explore/question.ts'
import { plural } from '../text/numbers.ts'
import { getJson, postJson } from './http.ts'

export type {
  ChangedRow,
  Counters,
  FlowRow,
  Line,
  Names,
  RejectRow,
  Seen,
  ThroughputRow,
  TopRow,
  UnusedRow,
} from '../../../src/explore/question.ts'
export type { Dimension, FlowColumn, Key, Metric }

export const METRICS = ['bytes', 'packets', 'flows'] as const satisfies readonly Metric[]

export type Scope = Omit<ServerScope, 'buckets'>
export type Kind = Exclude<keyof Results, 'values'>
type ByKind = { [Q in AnyQuestion as Q['kind']]: Q }
export type Question<K extends Kind> = Scope & { kind: K } & Omit<ByKind[K], 'kind'>
export type Answer<K extends Kind> = AnswerOf<K>
/** What every answer says beside its result. */
export type Around = Omit<AnswerOf, 'kind' | 'result'>
export type Live = NonNullable<AnswerOf['live']>
export type Series = Results['series']
export type Sankey = Results['sankey']
export type Heat = Results['heat']
export type Reach = Results['reach']

export function ask<K extends Kind>(question: Question<K>, signal?: AbortSignal): Promise<Answer<K>> {
  return postJson<Answer<K>>('/weir/v1/explore', question, signal)
}

/** How many objects the user's question has read, while it reads. */
export async function askProgress(
  signal?: AbortSignal,
): Promise<{ reading?: { read: number; objects: number } }> {
  return getJson('/weir/v1/explore/progress', signal)
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
  /** A value is being typed: `text`, so far. */
  values?: { field: string; text: string; from: number; to: number }
}

export function filterHelp(text: string, cursor: number, signal?: AbortSignal): Promise<FilterHelp> {
  return postJson<FilterHelp>('/weir/v1/explore/filter', { text, cursor }, signal)
}

/** Fields whose values are what has been seen; of the others the server knows all words. */
const SEEN = ['src', 'dst', 'addr', 'srcnet', 'dstnet', 'srcport', 'dstport', 'port', 'service', 'interface']
const SEEN_MAX = 12
const INTERFACES_MAX = 500

/** Values of the records that go on as it was begun, the most frequent first. */
export async function seenValues(
  { field, text, from, to }: NonNullable<FilterHelp['values']>,
  range: Scope,
  signal?: AbortSignal,
): Promise<Suggestion[]> {
  if (!SEEN.includes(field)) return []
  // An interface is known by its name, which no record has: all are asked for, and looked through here.
  const isNamed = field === 'interface'
  const begun = isNamed ? { limit: INTERFACES_MAX } : { text, limit: SEEN_MAX }
  const question = { ...range, kind: 'values', field, ...begun }
  const { result } = await postJson<AnswerOf<'values'>>('/weir/v1/explore', question, signal)
  return result.values
    .filter(({ value, label = '' }) => !isNamed || `${value} ${label}`.includes(text))
    .map(({ value, label, flows }) => ({
      text: value,
      from,
      to,
      kind: 'value',
      detail: label ?? plural(flows, 'flow'),
    }))
}

/** Where a browser saves the rows of a question from. */
export function exportUrl(format: 'csv' | 'json' | 'parquet', question: object): string {
  return `/weir/v1/explore/export?${new URLSearchParams({ format, question: JSON.stringify(question) })}`
}
