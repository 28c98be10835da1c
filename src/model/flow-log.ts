/** The subscription that a tenant creates on an interface (CONTRACT: API words). */
export const ACTIONS = ['ACCEPTED', 'REJECTED', 'ALL'] as const
export type Action = (typeof ACTIONS)[number]

/** Seen from the interface: INGRESS is what comes to it, EGRESS what it sends. */
export const DIRECTIONS = ['INGRESS', 'EGRESS', 'BIDIRECTIONAL'] as const
export type Direction = (typeof DIRECTIONS)[number]

export interface FlowLogProperties {
  name: string
  action: Action
  direction: Direction
  /** `bucket` or `bucket/prefix`. */
  bucket: string
}

/** Where the objects of a flow log go. `prefix` is '' when the tenant gave none. */
export interface Destination {
  bucket: string
  prefix: string
}

const PREFIX_SIZE_MAX = 512

/**
 * Splits the API's `bucket` value into bucket name and prefix; an `s3://` scheme is stripped.
 * Returns a reason instead of a destination when the value cannot be used.
 */
export function parseDestination(value: string): Destination | { reason: string } {
  const path = value.startsWith('s3://') ? value.slice('s3://'.length) : value
  const slash = path.indexOf('/')
  const bucket = slash < 0 ? path : path.slice(0, slash)
  if (!isBucketName(bucket))
    return { reason: `'${bucket}' is not a bucket name: 3 to 63 of a-z, 0-9, '-', '.' and '_'` }
  if (slash < 0) return { bucket, prefix: '' }
  const prefix = path.slice(slash + 1)
  const reason = prefixFault(prefix)
  return reason === undefined ? { bucket, prefix } : { reason }
}

function isBucketName(name: string): boolean {
  if (!/^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$/.test(name)) return false
  if (/\.\.|-\.|\.-/.test(name)) return false
  return !/^\d+\.\d+\.\d+\.\d+$/.test(name)
}

function prefixFault(prefix: string): string | undefined {
  if (prefix === '') return 'the prefix after the bucket name is empty'
  if (Buffer.byteLength(prefix) > PREFIX_SIZE_MAX) return `the prefix is longer than ${PREFIX_SIZE_MAX} bytes`
  if (prefix.startsWith('/') || prefix.endsWith('/')) return "the prefix must not begin or end with '/'"
  if (prefix.includes('//')) return "the prefix must not contain '//'"
  if (/%2f/i.test(prefix)) return "the prefix must not contain '%2F'"
  // A URL would leave it out, and the object would have another name than the one that was told.
  if (prefix.split('/').includes('.')) return "no part of the prefix may be '.'"
  if (!prefix.isWellFormed()) return 'the prefix is not well-formed Unicode'
  if (prefix.includes('..')) return "the prefix must not contain '..'"
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused here.
  if (/[\u0000-\u001f\u007f]/.test(prefix)) return 'the prefix must not contain control characters'
  return undefined
}

/** `<prefix>-<unix seconds>.log.gz`; without a prefix the interface's UUID stands in its place. */
export function objectName(stem: string, windowStartS: number): string {
  return `${stem}-${windowStartS}.log.gz`
}
