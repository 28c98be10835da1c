const SPACE = 0x20
const NEWLINE = 0x0a
const PRINTABLE_MAX = 0x7e
const VERSION_2 = 0x32
const FIELD_SEPARATORS = 13

/**
 * Keeps the lines that have the shape of a record: 14 fields of printable ASCII, one space between them,
 * `2` first.
 * What is behind this can rely on it: a foreign file costs a pass over its bytes, not a database's patience.
 * Lines are moved together inside `text`; the result is a view of it.
 */
export function keepRecordLines(text: Uint8Array): { kept: Uint8Array; lines: number; linesFailed: number } {
  let write = 0
  let lines = 0
  let linesFailed = 0
  for (let begin = 0; begin < text.length; ) {
    let spaces = 0
    let isPrintable = true
    let at = begin
    for (; at < text.length; at++) {
      const byte = text[at]!
      if (byte === NEWLINE) break
      if (byte === SPACE) spaces++
      else if (byte < SPACE || byte > PRINTABLE_MAX) isPrintable = false
    }
    const isRecord =
      spaces === FIELD_SEPARATORS && isPrintable && text[begin] === VERSION_2 && text[begin + 1] === SPACE
    if (isRecord && at < text.length) {
      if (write !== begin) text.copyWithin(write, begin, at + 1)
      write += at + 1 - begin
      lines++
    } else if (at > begin) linesFailed++ // Also a last line without its newline: nobody writes half a record.
    begin = at + 1
  }
  return { kept: text.subarray(0, write), lines, linesFailed }
}
