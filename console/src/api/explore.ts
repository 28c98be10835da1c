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
import { postJson } from './http.ts'

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
