import { WeirError } from '../model/errors.ts'
import { type AddressRange, parseNetwork } from './addresses.ts'
import { type FilterField, findField, type Operator, operatorsOf } from './filter-fields.ts'
import { parseSpan, parseTime } from './time-range.ts'
import { portNumber, protocolName, protocolNumber } from './well-known.ts'

// The filter line: `src in 10.0.0.0/8 and (dstport = https or dstport in (22, 8000-8100)) and not action =
// accept`.
//
//   filter  = any | ''
//   any     = all { 'or' all }
//   all     = term { ['and'] term }
//   term    = 'not' term | '(' any ')' | FIELD OPERATOR values | WORD
//   values  = VALUE | '(' VALUE { ',' VALUE } ')'
//
// A WORD alone is short for what it looks like: an address or a network, a port, `tcp`, `tcp/443`,
// `accept`, `reject`.

export type Filter =
  | { kind: 'all'; terms: Filter[] }
  | { kind: 'any'; terms: Filter[] }
  | { kind: 'not'; term: Filter }
  | { kind: 'compare'; field: FilterField; operator: Operator; values: FilterValue[] }

export type FilterValue = { text: string; at: number } & (
  | { kind: 'none' }
  | { kind: 'network'; range: AddressRange }
  | { kind: 'range'; from: number; to: number }
  | { kind: 'word'; word: string }
  | { kind: 'service'; protocol: number; port: number | undefined }
)

/** A filter that cannot be read, with the place where it goes wrong. */
export class FilterError extends WeirError {
  readonly at: number
  readonly length: number
  readonly reason: string
  constructor(reason: string, at: number, length: number) {
    super('WEIR_INVALID', `filter: ${reason}, at character ${at + 1}`)
    this.reason = reason
    this.at = at
    this.length = length
  }
}

export interface Token {
  text: string
  at: number
  /** A word in quotes is never a keyword, a field or an operator. */
  quoted: boolean
}

const TEXT_LENGTH_MAX = 4_096
const DEPTH_MAX = 32
const VALUES_MAX = 500
const TOKEN = /\s+|"([^"]*)"|'([^']*)'|[(),]|!=|<=|>=|==|[=<>]|[^\s(),=<>!"']+/y

export function tokenize(text: string): Token[] {
  if (text.length > TEXT_LENGTH_MAX) {
    throw new FilterError(
      `longer than ${TEXT_LENGTH_MAX} characters`,
      TEXT_LENGTH_MAX,
      text.length - TEXT_LENGTH_MAX,
    )
  }
  const tokens: Token[] = []
  for (let at = 0; at < text.length; at = TOKEN.lastIndex) {
    TOKEN.lastIndex = at
    const match = TOKEN.exec(text)
    if (match === null) throw new FilterError(`${JSON.stringify(text[at])} is not expected`, at, 1)
    const quoted = match[1] ?? match[2]
    if (quoted !== undefined) tokens.push({ text: quoted, at, quoted: true })
    else if (match[0].trim() !== '') tokens.push({ text: match[0], at, quoted: false })
  }
  return tokens
}

/** Reads a filter line; undefined when it is empty. Throws `FilterError`. */
export function parseFilter(text: string, nowMs: number): Filter | undefined {
  const tokens = tokenize(text)
  if (tokens.length === 0) return undefined
  return new Parser(tokens, text.length, nowMs).whole()
}

class Parser {
  readonly #tokens: Token[]
  readonly #end: number
  readonly #nowMs: number
  #next = 0
  #depth = 0

  constructor(tokens: Token[], end: number, nowMs: number) {
    this.#tokens = tokens
    this.#end = end
    this.#nowMs = nowMs
  }

  whole(): Filter {
    const filter = this.#any()
    const rest = this.#tokens[this.#next]
    if (rest !== undefined) throw faultAt(rest, `'${rest.text}' is not expected here`)
    return filter
  }

  #any(): Filter {
    const terms = [this.#all()]
    while (this.#takeWord('or')) terms.push(this.#all())
    return terms.length === 1 ? terms[0]! : { kind: 'any', terms }
  }

  #all(): Filter {
    const terms = [this.#term()]
    for (;;) {
      if (this.#takeWord('and')) terms.push(this.#term())
      else if (this.#atTerm()) terms.push(this.#term())
      else return terms.length === 1 ? terms[0]! : { kind: 'all', terms }
    }
  }

  #term(): Filter {
    if (++this.#depth > DEPTH_MAX) throw this.#fault(`nested deeper than ${DEPTH_MAX}`)
    try {
      if (this.#takeWord('not')) return { kind: 'not', term: this.#term() }
      if (this.#take('(')) {
        const inner = this.#any()
        if (!this.#take(')')) throw this.#fault("')' is missing")
        return inner
      }
      return this.#comparison()
    } finally {
      this.#depth--
    }
  }

  #comparison(): Filter {
    const token = this.#word('a field such as src, dstport or action')
    const field = token.quoted ? undefined : findField(token.text)
    const operator = this.#operator()
    if (operator === undefined) return shorthand(token)
    if (field === undefined) throw faultAt(token, `'${token.text}' is not a field`)
    if (!operatorsOf(field).includes(operator)) {
      throw faultAt(token, `'${operator}' is not for ${field.name}: use ${operatorsOf(field).join(', ')}`)
    }
    const values = this.#values(field)
    const isOrder = operator.startsWith('<') || operator.startsWith('>')
    if (isOrder && (values.length > 1 || values[0]!.kind === 'none'))
      throw faultAt(token, `'${operator}' takes one value`)
    return { kind: 'compare', field, operator, values }
  }

  #operator(): Operator | undefined {
    const token = this.#tokens[this.#next]
    if (token === undefined || token.quoted) return undefined
    const text = token.text.toLowerCase()
    if (text === 'not' && this.#tokens[this.#next + 1]?.text.toLowerCase() === 'in') {
      this.#next += 2
      return 'not in'
    }
    const operator = text === '==' || text === 'is' ? '=' : text
    if (!['=', '!=', '<', '<=', '>', '>=', 'in'].includes(operator)) return undefined
    this.#next++
    return operator as Operator
  }

  #values(field: FilterField): FilterValue[] {
    if (!this.#take('(')) return [readValue(field, this.#word('a value'), this.#nowMs)]
    const values: FilterValue[] = []
    do {
      values.push(readValue(field, this.#word('a value'), this.#nowMs))
      if (values.length > VALUES_MAX) throw this.#fault(`more than ${VALUES_MAX} values`)
    } while (this.#take(','))
    if (!this.#take(')')) throw this.#fault("')' is missing")
    return values
  }

  #word(wanted: string): Token {
    const token = this.#tokens[this.#next]
    if (token === undefined) throw this.#fault(`${wanted} is missing`)
    if (!token.quoted && /^([(),]|[!=<>]=?)$/.test(token.text)) {
      throw faultAt(token, `${wanted} is expected, not '${token.text}'`)
    }
    this.#next++
    return token
  }

  #take(text: string): boolean {
    const token = this.#tokens[this.#next]
    const isThere = token !== undefined && !token.quoted && token.text === text
    if (isThere) this.#next++
    return isThere
  }

  #takeWord(word: string): boolean {
    const token = this.#tokens[this.#next]
    const isThere = token !== undefined && !token.quoted && token.text.toLowerCase() === word
    if (isThere) this.#next++
    return isThere
  }

  /** Whether another term follows without a connective. */
  #atTerm(): boolean {
    const token = this.#tokens[this.#next]
    if (token === undefined) return false
    return token.quoted || !/^(or|[),]|[!=<>]=?)$/i.test(token.text)
  }

  #fault(reason: string): FilterError {
    const token = this.#tokens[this.#next]
    return token === undefined ? new FilterError(reason, this.#end, 0) : faultAt(token, reason)
  }
}

function faultAt(token: Token, reason: string): FilterError {
  return new FilterError(reason, token.at, token.text.length)
}

function shorthand(token: Token): Filter {
  const { text, at } = token
  const compare = (name: string, value: FilterValue): Filter => {
    return { kind: 'compare', field: findField(name)!, operator: '=', values: [value] }
  }
  const range = parseNetwork(text)
  if (range !== undefined) return compare('addr', { kind: 'network', range, text: range.text, at })
  const slash = /^([a-z0-9]+)\/([a-z0-9-]+)$/i.exec(text)
  const protocol = protocolNumber(slash?.[1] ?? (/^\d/.test(text) ? '' : text))
  const port = portNumber(slash?.[2] ?? (slash === null ? text : ''))
  const portValue = (it: number): FilterValue => ({ kind: 'range', from: it, to: it, text: String(it), at })
  if (slash !== null && protocol !== undefined && port !== undefined) {
    const terms = [compare('protocol', protocolValue(protocol, at)), compare('port', portValue(port))]
    return { kind: 'all', terms }
  }
  if (slash === null && protocol !== undefined) return compare('protocol', protocolValue(protocol, at))
  if (slash === null && port !== undefined) return compare('port', portValue(port))
  const word = findField('action')!.words![text.toLowerCase()]
  if (word !== undefined) return compare('action', { kind: 'word', word, text: word.toLowerCase(), at })
  const reason =
    findField(text) === undefined
      ? `'${text}' is neither a field nor a value`
      : `an operator is missing after '${text}'`
  throw faultAt(token, reason)
}

function protocolValue(protocol: number, at: number): FilterValue {
  return { kind: 'range', from: protocol, to: protocol, text: protocolName(protocol), at }
}

function readValue(field: FilterField, token: Token, nowMs: number): FilterValue {
  const { text, at } = token
  const lower = text.toLowerCase()
  if (lower === 'none' || text === '-') return { kind: 'none', text: 'none', at }
  switch (field.type) {
    case 'address': {
      const range = parseNetwork(text)
      if (range === undefined) throw faultAt(token, `'${text}' is not an address or a network`)
      return { kind: 'network', range, text: range.text, at }
    }
    case 'protocol': {
      const protocol = protocolNumber(text)
      if (protocol === undefined) throw faultAt(token, `'${text}' is not a protocol`)
      return protocolValue(protocol, at)
    }
    case 'port':
      return readPorts(token)
    case 'service':
      return readService(token)
    case 'interface':
      return { kind: 'word', word: text, text: /^[\w.-]+$/.test(text) ? text : JSON.stringify(text), at }
    case 'word': {
      const word = field.words![lower]
      const choices = [...new Set(Object.values(field.words!))].join(', ').toLowerCase()
      if (word === undefined) throw faultAt(token, `'${text}' is not one of ${choices}`)
      return { kind: 'word', word, text: word.toLowerCase(), at }
    }
    default:
      return readQuantity(field, token, nowMs)
  }
}

function readPorts(token: Token): FilterValue {
  const { text, at } = token
  const span = /^(\d{1,5})-(\d{1,5})$/.exec(text)
  const from = portNumber(span?.[1] ?? text)
  const to = span === null ? from : portNumber(span[2]!)
  if (from === undefined || to === undefined || from > to)
    throw faultAt(token, `'${text}' is not a port, a range or a service`)
  return { kind: 'range', from, to, text: from === to ? String(from) : `${from}-${to}`, at }
}

function readService(token: Token): FilterValue {
  const [name, portText] = token.text.split('/')
  const protocol = protocolNumber(name!)
  const port = portText === undefined ? undefined : portNumber(portText)
  if (protocol === undefined || (portText !== undefined && port === undefined)) {
    throw faultAt(token, `'${token.text}' is not a service such as tcp/443 or icmp`)
  }
  const text = `${protocolName(protocol)}${port === undefined ? '' : `/${port}`}`
  return { kind: 'service', protocol, port, text, at: token.at }
}

const MULTIPLES: Record<string, number> = {
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
}

function readQuantity(field: FilterField, token: Token, nowMs: number): FilterValue {
  const value = quantity(field, token.text, nowMs)
  if (value === undefined)
    throw faultAt(token, `'${token.text}' is not a ${field.type === 'count' ? 'number' : field.type}`)
  return { kind: 'range', from: value, to: value, text: String(value), at: token.at }
}

function quantity(field: FilterField, text: string, nowMs: number): number | undefined {
  if (field.type === 'span') return /^\d{1,9}$/.test(text) ? Number(text) : parseSpan(text.toLowerCase())
  if (field.type === 'time') {
    try {
      return parseTime(text, nowMs)
    } catch {
      return undefined
    }
  }
  const match = /^(\d{1,15}(?:\.\d{1,6})?)([kmgt]i?)?b?$/i.exec(text)
  if (match === null) return undefined
  const value = Number(match[1]) * (MULTIPLES[(match[2] ?? '').toLowerCase()] ?? 1)
  return Number.isSafeInteger(Math.round(value)) ? Math.round(value) : undefined
}

/** The one way to write a filter: `parseFilter(formatFilter(f))` is `f` again. */
export function formatFilter(filter: Filter, isInner = false): string {
  switch (filter.kind) {
    case 'not':
      return `not ${formatFilter(filter.term, true)}`
    case 'compare': {
      const { field, operator, values } = filter
      const list = values.map(({ text }) =>
        /[\s(),=<>!]/.test(text) && !text.startsWith('"') ? `"${text}"` : text,
      )
      return `${field.name} ${operator} ${list.length === 1 ? list[0] : `(${list.join(', ')})`}`
    }
    default: {
      const text = filter.terms
        .map((term) => formatFilter(term, true))
        .join(filter.kind === 'all' ? ' and ' : ' or ')
      return isInner ? `(${text})` : text
    }
  }
}
