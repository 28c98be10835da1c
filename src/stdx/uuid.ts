import { randomUUID } from 'node:crypto'

/**
 * A UUID of version 7 (RFC 9562, section 5.7): those that are made one after the other lie side by side in an index,
 * where random ones would each touch a page of their own.
 */
export function timeOrderedUuid(nowMs: number): string {
  const time = Math.trunc(nowMs).toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`
}
