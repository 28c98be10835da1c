import { WeirError } from '../model/errors.ts'
import { BUCKET_CODES, ControlPlaneError } from './control-plane-client.ts'
import { type Answer, ExchangeError, retryAfterMs } from './http-exchange.ts'

/** Whom a failed attempt concerns, and so who waits: nobody else does. */
export type FaultScope = 'server' | 'bucket' | 'segment'

/** `retry`: it may pass by itself. `refused`: somebody must change something; tried again slowly. */
export type FaultKind = 'retry' | 'refused'

export class DeliveryFault extends WeirError {
  readonly scope: FaultScope
  readonly kind: FaultKind
  /** The store's word (`AccessDenied`, `NoSuchBucket` …), or a status. */
  readonly reason: string
  readonly retryAfterMs: number | undefined

  constructor(
    scope: FaultScope,
    kind: FaultKind,
    fault: { reason: string; message: string; retryAfterMs?: number | undefined; cause?: unknown },
  ) {
    super('WEIR_UPLOAD_FAILED', fault.message, { cause: fault.cause })
    this.scope = scope
    this.kind = kind
    this.reason = fault.reason
    this.retryAfterMs = fault.retryAfterMs
  }
}

/** Answers that time or another attempt cures, among those that say that the request was wrong. */
const PASSING = new Set([
  'BadDigest',
  'ConditionalRequestConflict',
  'IncompleteBody',
  'OperationAborted',
  'RequestTimeout',
  'SlowDown',
  'Throttling',
  'ThrottlingException',
])

const PASSING_STATUSES = new Set([408, 409, 412, 425, 429])

export function storeFault(bucket: string, answer: Answer, nowMs: number): DeliveryFault {
  const { status } = answer
  const reason = reasonOf(answer)
  // Asked again, the control plane did not see what has the name.
  const hint =
    status === 412 ? ': an object is there that the technical user may not read (s3:GetObject)' : ''
  const message = `bucket '${bucket}' answered ${status} ${reason}${hint}`
  const details = { reason, message, retryAfterMs: retryAfterMs(answer.headers, nowMs) }
  if (status === 413 || reason === 'EntityTooLarge') return new DeliveryFault('segment', 'refused', details)
  const passing = status >= 500 || PASSING_STATUSES.has(status) || PASSING.has(reason)
  return new DeliveryFault('bucket', passing ? 'retry' : 'refused', details)
}

/** A signature that is too old by the store's clock: the next one may be in time. */
export function isExpired(answer: Answer): boolean {
  if (answer.status !== 403 && answer.status !== 400) return false
  const text = answer.body.toString()
  return /RequestTimeTooSkewed|ExpiredToken|expired/i.test(text) || reasonOf(answer) === 'AccessDenied'
}

export function faultFrom(error: unknown, bucket: string): DeliveryFault {
  if (error instanceof DeliveryFault) return error
  if (error instanceof ControlPlaneError) {
    const { message, status, serverCode } = error
    const reason = serverCode ?? `${status ?? 'unreachable'}`
    const details = { reason, message, retryAfterMs: error.retryAfterMs, cause: error }
    if (error.concernsAll) return new DeliveryFault('server', 'retry', details)
    // A 500 may be this segment's own doing: it must not stop the others.
    const ofBucket = (status !== undefined && status >= 500) || BUCKET_CODES.has(serverCode ?? '')
    return new DeliveryFault(ofBucket ? 'bucket' : 'segment', kindOf(status), details)
  }
  if (error instanceof ExchangeError) {
    const message = `bucket '${bucket}' cannot be reached: ${error.message}`
    return new DeliveryFault('bucket', 'retry', { reason: 'unreachable', message, cause: error })
  }
  // The spool: an unreadable disk. The segment waits, the others go on.
  const message = error instanceof Error ? error.message : String(error)
  return new DeliveryFault('segment', 'refused', { reason: 'spool', message, cause: error })
}

function kindOf(status: number | undefined): FaultKind {
  return status !== undefined && status < 500 ? 'refused' : 'retry'
}

/** The code in an S3 error body, or in one of the control plane's embedded store. */
export function reasonOf(answer: Answer): string {
  const text = answer.body.toString()
  const code = /<Code>([^<]{1,100})<\/Code>/.exec(text) ?? /"errorCode"\s*:\s*"([^"]{1,100})"/.exec(text)
  return code?.[1] ?? `${answer.status}`
}
