import { PostgresDialect } from 'kysely'
import pg from 'pg'
import { WeirError } from '../model/errors.ts'

const INT8 = 20
const CONNECTIONS_MAX = 10 // To read, and as many for changes.

/**
 * A pool in which 64-bit integers are numbers: ours count milliseconds and octets, which stay far below
 * 2^53.
 */
export function openPostgres(url: string): PostgresDialect {
  if (!/^postgres(ql)?:\/\/./.test(url)) {
    throw new WeirError(
      'WEIR_CONFIG_INVALID',
      'the database URL is not one: postgres://user:password@host/database',
    )
  }
  const pool = new pg.Pool({
    connectionString: url,
    max: CONNECTIONS_MAX,
    connectionTimeoutMillis: 5_000,
    types: { getTypeParser },
  })
  // A connection that breaks while it rests is replaced by the pool; without a listener it would end the
  // process.
  pool.on('error', () => {})
  return new PostgresDialect({ pool })
}

function getTypeParser(type: number, format?: 'text' | 'binary'): (value: string) => unknown {
  return type === INT8
    ? Number
    : (pg.types.getTypeParser(type, format as 'text') as (value: string) => unknown)
}
