import { FilterError, formatFilter, parseFilter, type Token, tokenize } from './filter.ts'
import { FILTER_FIELDS, type FilterField, findField, knownValues, operatorsOf } from './filter-fields.ts'

export interface Suggestion {
  text: string
  /** The characters of the line that `text` takes the place of. */
  from: number
  to: number
  kind: 'field' | 'operator' | 'value' | 'connective'
  detail?: string
}

export interface FilterCheck {
  valid: boolean
  fault?: { at: number; length: number; message: string }
  normalised?: string
  suggestions: Suggestion[]
  /** The field whose values the data could suggest at the cursor, and what is typed of one. */
  values?: { field: string; text: string; from: number; to: number }
}

const SUGGESTIONS_MAX = 20

/** What a person sees while typing: is the line right, and what could come at the cursor. */
export function checkFilter(text: string, cursor: number, nowMs: number): FilterCheck {
  const completion = complete(text, cursor)
  try {
    const filter = parseFilter(text, nowMs)
    return { valid: true, normalised: filter === undefined ? '' : formatFilter(filter), ...completion }
  } catch (error) {
    if (!(error instanceof FilterError)) throw error
    const { at, length, reason: message } = error
    return { valid: false, fault: { at, length, message }, ...completion }
  }
}

type Expected = { kind: 'term' } | { kind: 'operator' | 'value'; field: FilterField } | { kind: 'connective' }

function complete(text: string, cursor: number): Pick<FilterCheck, 'suggestions' | 'values'> {
  let tokens: Token[]
  try {
    tokens = tokenize(text.slice(0, cursor))
  } catch {
    return { suggestions: [] }
  }
  // The word that the cursor stands at the end of is still being typed.
  const last = tokens.at(-1)
  const isTyping =
    last !== undefined &&
    !last.quoted &&
    last.at + last.text.length === cursor &&
    !/^[(),=<>!]+$/.test(last.text)
  const typed = isTyping ? last.text : ''
  const from = isTyping ? last.at : cursor
  const expected = expectedAfter(isTyping ? tokens.slice(0, -1) : tokens)
  const suggestions = candidates(expected)
    .filter((it) => it.text.toLowerCase().startsWith(typed.toLowerCase()))
    .slice(0, SUGGESTIONS_MAX)
    .map((it) => ({ ...it, from, to: cursor }))
  if (expected.kind !== 'value') return { suggestions }
  return { suggestions, values: { field: expected.field.name, text: typed, from, to: cursor } }
}

function expectedAfter(tokens: Token[]): Expected {
  let expected: Expected = { kind: 'term' }
  let inList: FilterField | undefined
  for (const token of tokens) {
    const text = token.quoted ? '' : token.text.toLowerCase()
    if (expected.kind === 'value') {
      if (text === '(') inList = expected.field
      else expected = { kind: 'connective' }
    } else if (inList !== undefined) {
      if (text === ',') expected = { kind: 'value', field: inList }
      else if (text === ')') inList = undefined
    } else if (expected.kind === 'operator') {
      if (/^([=<>!]=?|in|is)$/.test(text)) expected = { kind: 'value', field: expected.field }
    } else if (text === 'and' || text === 'or' || text === 'not' || text === '(') expected = { kind: 'term' }
    else {
      const field = token.quoted ? undefined : findField(text)
      expected = field === undefined ? { kind: 'connective' } : { kind: 'operator', field }
    }
  }
  return expected
}

function candidates(expected: Expected): Pick<Suggestion, 'text' | 'kind' | 'detail'>[] {
  switch (expected.kind) {
    case 'term':
      return [
        ...FILTER_FIELDS.map(({ name, description }) => ({
          text: name,
          kind: 'field' as const,
          detail: description,
        })),
        { text: 'not', kind: 'connective' },
      ]
    case 'operator':
      return operatorsOf(expected.field).map((text) => ({ text, kind: 'operator' }))
    case 'value':
      return knownValues(expected.field).map((text) => ({ text, kind: 'value' }))
    case 'connective':
      return [
        { text: 'and', kind: 'connective' },
        { text: 'or', kind: 'connective' },
      ]
  }
}
