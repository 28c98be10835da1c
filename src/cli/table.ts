import type { Writable } from 'node:stream'

export type Column<Row> = {
  title: string
  value(row: Row): string
  align?: 'left' | 'right'
  /** An SGR code such as '31' for the cell, where colours are welcome. */
  colour?(row: Row): string | undefined
}

/** Prints rows under aligned titles; the last column is not padded. */
export function printTable<Row>(
  out: Writable,
  columns: Column<Row>[],
  rows: Row[],
  options: { colours: boolean; titles?: boolean },
): void {
  const cells = rows.map((row) => columns.map((column) => printable(column.value(row))))
  const widths = columns.map((column, at) =>
    Math.max(column.title.length, ...cells.map((line) => line[at]!.length)),
  )
  const line = (texts: string[], row?: Row): string =>
    texts
      .map((text, at) => {
        const column = columns[at]!
        const last = at === columns.length - 1
        const padded =
          column.align === 'right' ? text.padStart(widths[at]!) : last ? text : text.padEnd(widths[at]!)
        const colour = row !== undefined && options.colours ? column.colour?.(row) : undefined
        return colour === undefined ? padded : `\u001b[${colour}m${padded}\u001b[0m`
      })
      .join('  ')
  if (options.titles !== false) out.write(`${line(columns.map((column) => column.title))}\n`)
  rows.forEach((row, at) => {
    out.write(`${line(cells[at]!, row)}\n`)
  })
}

/** What others have written must not steer the terminal. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is replaced here.
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '\ufffd')
}

/** (1, 'packet') → '1 packet'; (2, 'packet') → '2 packets'. */
export function counted(count: number | bigint, noun: string): string {
  return `${count} ${noun}${BigInt(count) === 1n ? '' : 's'}`
}

/** 1536 → '1.5 KiB'. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${units[unit]}`
}

/** 4200 → '1 h 10 min'. */
export function formatSeconds(seconds: number): string {
  if (seconds < 60) return `${Math.round(seconds)} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`
}
