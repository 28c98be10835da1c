import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import path from 'node:path'
import type { Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { databaseFault, type Session } from '../explore/duckdb.ts'
import { literal } from '../explore/flows-view.ts'
import { WeirError } from '../model/errors.ts'
import type { CommandContext } from './command.ts'
import { printTable } from './table.ts'

const FORMATS = ['table', 'csv', 'json', 'parquet'] as const
export type Format = (typeof FORMATS)[number]

/** A table is for people: who wants more rows wants a file. */
const TABLE_ROWS_MAX = 10_000

export function formatOf(text: string | undefined, json: boolean | undefined): Format {
  const format = FORMATS.find((it) => it === (text ?? (json ? 'json' : 'table')))
  if (format !== undefined) return format
  throw new WeirError('WEIR_USAGE', `--format '${text}' is not one of ${FORMATS.join(', ')}`)
}

/** Runs a query and writes its rows as they come. `begin` is called when the first are there. */
export async function writeRows(
  session: Session,
  it: { sql: string; format: Format; output: string | undefined },
  { context, begin }: { context: CommandContext; begin: () => void },
): Promise<void> {
  if (it.format === 'parquet') {
    const file = literal(path.resolve(it.output!))
    await session.run(
      `COPY (${it.sql.trim().replace(/;$/, '')}) TO ${file} (FORMAT parquet, COMPRESSION zstd)`,
    )
    return begin()
  }
  const out = it.output === undefined ? context.stdout : createWriteStream(it.output)
  try {
    await streamRows(session, it, { out, context, begin })
  } catch (cause) {
    context.signal.throwIfAborted()
    throw cause instanceof WeirError ? cause : databaseFault(cause)
  } finally {
    if (it.output !== undefined) {
      out.end()
      await finished(out)
    }
  }
}

async function streamRows(
  session: Session,
  { sql, format }: { sql: string; format: Format },
  { out, context, begin }: { out: Writable; context: CommandContext; begin: () => void },
): Promise<void> {
  const { count: statements } = await session.connection.extractStatements(sql)
  if (statements === 0) throw new WeirError('WEIR_USAGE', 'there is no SQL statement in the query')
  const result = await session.connection.stream(sql)
  const names = result.deduplicatedColumnNames()
  const shown: unknown[][] = []
  let count = 0
  for await (const rows of result.yieldRowsJs()) {
    context.signal.throwIfAborted()
    if (count === 0) begin()
    if (count === 0 && format === 'csv') out.write(`${names.map(csvCell).join(',')}\n`)
    count += rows.length
    if (format === 'table') {
      shown.push(...rows.slice(0, TABLE_ROWS_MAX - shown.length))
      if (count > TABLE_ROWS_MAX) break
    } else {
      const text = rows.map((row) => (format === 'csv' ? csvLine(row) : jsonLine(names, row))).join('')
      if (!out.write(text)) await once(out, 'drain', { signal: context.signal })
    }
  }
  if (count === 0) begin()
  if (format === 'table') printRows(out, names, shown, context)
  if (count > shown.length && format === 'table') {
    context.stderr.write(
      `only the first ${TABLE_ROWS_MAX} rows are shown; --format csv, json or parquet has all\n`,
    )
  }
}

function printRows(out: Writable, names: string[], rows: unknown[][], context: CommandContext): void {
  const columns = names.map((title, at) => ({
    title,
    value: (row: unknown[]) => textOf(row[at]),
    ...(rows.some((row) => typeof row[at] === 'number' || typeof row[at] === 'bigint')
      ? { align: 'right' as const }
      : {}),
  }))
  printTable(out, columns, rows, { colours: context.stdoutIsTerminal })
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return '-'
  if (value instanceof Date) return value.toISOString().replace('.000Z', 'Z')
  return typeof value === 'object' ? JSON.stringify(value, jsonValue) : String(value)
}

function csvLine(row: readonly unknown[]): string {
  return `${row.map((it) => csvCell(it === null ? '' : textOf(it))).join(',')}\n`
}

function csvCell(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

function jsonLine(names: string[], row: readonly unknown[]): string {
  return `${JSON.stringify(Object.fromEntries(names.map((name, at) => [name, row[at]])), jsonValue)}\n`
}

/** Whole numbers stay exact: as numbers while they are, as text beyond. */
function jsonValue(_name: string, value: unknown): unknown {
  if (typeof value !== 'bigint') return value
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : String(value)
}
