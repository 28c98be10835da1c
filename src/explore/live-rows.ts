import type { LiveRow } from '../model/agent-protocol.ts'
import { pairHash, parseNetwork } from './addresses.ts'
import type { Session } from './duckdb.ts'
import { PACK_COLUMNS } from './flows-view.ts'
import type { LiveCoverage } from './question.ts'

/** Rows of one window of one flow log that are not in its bucket yet. */
export interface LiveBatch {
  accountId: string
  interfaceId: string
  windowS: number
  rows: LiveRow[]
}

/** Where flows that are not delivered yet come from. */
export interface LiveSource {
  /** Those that are not in these objects (`bucket/name`) anyway: nothing counts twice, nothing is missing in between. */
  beside(objects: ReadonlySet<string>): Promise<{ batches: LiveBatch[]; coverage: LiveCoverage }>
}

const TABLE = 'live_rows'
/** Of no object; a name all the same, for NULL passes no condition. */
const NO_OBJECT = ''

/** Puts the rows where `liveRelation` finds them. They never get to a disk. */
export async function loadLive(session: Session, batches: LiveBatch[]): Promise<void> {
  const columns = PACK_COLUMNS.map(([name, type]) => `${name} ${type === 'UUID' ? 'VARCHAR' : type}`)
  await session.run(`CREATE OR REPLACE TEMP TABLE ${TABLE}(${columns.join(', ')})`)
  const appender = await session.connection.createAppender(TABLE)
  const orNull = <T>(value: T | null | undefined, append: (value: T) => void): void =>
    value === null || value === undefined ? appender.appendNull() : append(value)
  const text = (value: string) => appender.appendVarchar(value)
  const port = (value: number) => appender.appendUSmallInt(value)
  for (const { accountId, interfaceId, windowS, rows } of batches) {
    for (const [kind, protocol, source, sourcePort, destination, destinationPort, ...rest] of rows) {
      const [packets, octets, startS, endS] = rest
      text(NO_OBJECT)
      appender.appendUInteger(windowS)
      text(accountId)
      text(interfaceId)
      orNull(source, text)
      orNull(destination, text)
      const [srcKey, dstKey] = [source, destination].map((it) =>
        it === null ? undefined : parseNetwork(it)?.first,
      )
      appender.appendUTinyInt(pairHash(srcKey, dstKey))
      orNull(srcKey, text)
      orNull(dstKey, text)
      orNull(sourcePort, port)
      orNull(destinationPort, port)
      orNull(protocol, (value) => appender.appendUTinyInt(value))
      appender.appendUBigInt(BigInt(packets))
      appender.appendUBigInt(BigInt(octets))
      appender.appendUInteger(startS)
      appender.appendUInteger(endS)
      orNull(kind === 'SKIPDATA' ? null : kind, text)
      text(kind === 'SKIPDATA' ? kind : 'OK')
      appender.endRow()
    }
  }
  appender.closeSync()
}

/** The rows with a pack's columns. */
export const LIVE_RELATION = `SELECT ${PACK_COLUMNS.map(([name, type]) =>
  type === 'UUID' ? `${name}::UUID AS ${name}` : name,
).join(', ')} FROM ${TABLE}`
