import type { FlowLogRecord } from '../encode/record.ts'

/** A record as one JSON object. Counters keep all 64 bits: a number of JSON may have as many digits as it likes. */
export function recordJson(record: FlowLogRecord & { object?: string }): string {
  const present = Object.entries(record).filter(([, value]) => value !== undefined)
  const fields = present.map(([key, value]) => {
    return `"${key}":${typeof value === 'bigint' ? value : JSON.stringify(value)}`
  })
  return `{${fields.join(',')}}`
}
