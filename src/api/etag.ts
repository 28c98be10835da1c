import { createHash } from 'node:crypto'

/** Of what has no version of its own: as long as the etags of resources, and as different as the content. */
export function etagOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32)
}
