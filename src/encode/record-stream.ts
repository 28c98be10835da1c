import {
  FIELD_NAMES,
  type FlowLogRecord,
  isFault,
  type ParseOptions,
  parseRecord,
  type RecordFault,
} from './record.ts'

/** A line of a flow log: the record, or what is wrong with it. */
export type RecordLine =
  | { kind: 'record'; line: number; record: FlowLogRecord }
  | { kind: 'fault'; line: number; text: string; fault: RecordFault }

/** Longer than any record by far; what is longer is one fault, and is not kept in memory. */
const LINE_SIZE_MAX = 4096
const HEADER = FIELD_NAMES.join(' ')

/**
 * Reads a flow log from text in pieces: a file stream, a response body, the output of a gunzip stream.
 * Empty lines are skipped, and in lenient reading the header that AWS puts first. Bytes are taken as Latin-1,
 * so that damage shows in the field where it is.
 */
export async function* readRecords(
  chunks: AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>,
  options: ParseOptions = {},
): AsyncGenerator<RecordLine> {
  let rest = ''
  let line = 0
  let isTooLong = false
  for await (const chunk of chunks) {
    rest += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('latin1')
    let begin = 0
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n', begin)) {
      line++
      const text = rest.slice(begin, end)
      begin = end + 1
      if (isTooLong || text.length > LINE_SIZE_MAX) yield tooLong(line, text)
      else if (!isPassedOver(text, options)) yield readLine(text, line, options)
      isTooLong = false
    }
    rest = rest.slice(begin)
    if (rest.length > LINE_SIZE_MAX) {
      isTooLong = true
      rest = rest.slice(-LINE_SIZE_MAX)
    }
  }
  if (isPassedOver(rest, options)) return
  if (isTooLong) yield tooLong(line + 1, rest)
  else if (options.strict) {
    const fault = { field: 0, reason: 'the last line has no newline: cut short?' }
    yield { kind: 'fault', line: line + 1, text: rest, fault }
  } else yield readLine(rest, line + 1, options)
}

function isPassedOver(text: string, { strict = false }: ParseOptions): boolean {
  const trimmed = text.trim()
  return trimmed === '' || (!strict && trimmed === HEADER)
}

function readLine(text: string, line: number, options: ParseOptions): RecordLine {
  const it = parseRecord(text, options)
  return isFault(it) ? { kind: 'fault', line, text, fault: it } : { kind: 'record', line, record: it }
}

function tooLong(line: number, text: string): RecordLine {
  const fault = { field: 0, reason: `longer than ${LINE_SIZE_MAX} characters` }
  return { kind: 'fault', line, text: text.slice(0, LINE_SIZE_MAX), fault }
}
