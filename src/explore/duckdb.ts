import { mkdir } from 'node:fs/promises'
import { type DuckDBConnection, DuckDBInstance, type DuckDBValue } from '@duckdb/node-api'
import { WeirError } from '../model/errors.ts'
import { MACROS } from './flows-view.ts'

export interface DatabaseOptions {
  threads: number
  memoryMaxMib: number
  /** Where DuckDB puts what does not fit into memory. */
  spillDirectory: string
  spillMaxMib: number
  /**
   * Nothing outside of these can be read or written; undefined for a person's own session, which may go
   * anywhere.
   */
  directories?: string[]
}

/** One DuckDB in this process, with nothing loaded from anywhere: sessions are made from it. */
export async function openDatabase(options: DatabaseOptions): Promise<DuckDBInstance> {
  await mkdir(options.spillDirectory, { recursive: true })
  const database = await DuckDBInstance.create(':memory:', {
    threads: String(options.threads),
    memory_limit: `${options.memoryMaxMib}MiB`,
    temp_directory: options.spillDirectory,
    max_temp_directory_size: `${options.spillMaxMib}MiB`,
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
    preserve_insertion_order: 'false',
  })
  const connection = await database.connect()
  await connection.run("SET GLOBAL TimeZone = 'UTC'")
  for (const macro of MACROS) await connection.run(macro)
  if (options.directories !== undefined) {
    const allowed = options.directories.map((it) => `'${it.replaceAll("'", "''")}'`)
    await connection.run(`SET allowed_directories = [${allowed.join(', ')}]`)
    await connection.run('SET enable_external_access = false')
    await connection.run('SET lock_configuration = true')
  }
  connection.closeSync()
  return database
}

/** Values for a statement; each gets the next number. */
export class Parameters {
  readonly values: DuckDBValue[] = []

  /** Returns the placeholder, such as `$3::UINTEGER`. */
  add(value: DuckDBValue, type: 'UUID' | 'VARCHAR' | 'UINTEGER' | 'BIGINT' | 'DOUBLE'): string {
    this.values.push(value)
    return `$${this.values.length}::${type}`
  }

  /** The statement as a person can run it: with the values in their places. */
  inline(sql: string): string {
    return sql.replaceAll(/\$(\d+)(::\w+)?/g, (_text, number: string, type = '') => {
      const value = this.values[Number(number) - 1]
      return typeof value === 'string'
        ? `'${value.replaceAll("'", "''")}'${type === '::UUID' ? type : ''}`
        : String(value)
    })
  }
}

type Cell = string | number | boolean | null | Cell[] | { [name: string]: Cell }
export type Row = Record<string, Cell>

/** A connection; one job at a time. */
export class Session implements Disposable {
  readonly connection: DuckDBConnection
  readonly #signal: AbortSignal | undefined
  readonly #interrupt: () => void

  private constructor(connection: DuckDBConnection, signal: AbortSignal | undefined) {
    this.connection = connection
    this.#signal = signal
    this.#interrupt = () => connection.interrupt()
    signal?.addEventListener('abort', this.#interrupt)
  }

  static async open(database: DuckDBInstance, signal?: AbortSignal): Promise<Session> {
    const session = new Session(await database.connect(), signal)
    return session
  }

  async run(sql: string, parameters?: Parameters): Promise<void> {
    await this.#guard(() => this.connection.run(sql, parameters?.values))
  }

  /** Numbers come as numbers: counters are exact up to 2^53. */
  async rows<T = Row>(sql: string, parameters?: Parameters): Promise<T[]> {
    const reader = await this.#guard(() => this.connection.runAndReadAll(sql, parameters?.values))
    return reader.getRowObjectsJS().map((row) => plain(row) as T)
  }

  async #guard<T>(work: () => Promise<T>): Promise<T> {
    this.#signal?.throwIfAborted()
    try {
      return await work()
    } catch (cause) {
      this.#signal?.throwIfAborted()
      throw databaseFault(cause)
    }
  }

  [Symbol.dispose](): void {
    this.#signal?.removeEventListener('abort', this.#interrupt)
    this.connection.closeSync()
  }
}

function plain(value: unknown): Cell {
  if (typeof value === 'bigint') return Number(value)
  if (Array.isArray(value)) return value.map(plain)
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([name, it]) => [name, plain(it)]))
  }
  return value as Cell
}

/** DuckDB's words, for what the world or a person's SQL can break. */
export function databaseFault(cause: unknown): WeirError {
  const message = cause instanceof Error ? cause.message.trim() : String(cause)
  if (/^Out of Memory|max_temp_directory_size|failed to offload/i.test(message)) {
    return new WeirError(
      'WEIR_QUERY_LIMIT',
      `the question needs more memory than it may take; narrow the time range or the filter`,
      { cause },
    )
  }
  return new WeirError('WEIR_QUERY_FAILED', message, { cause })
}
