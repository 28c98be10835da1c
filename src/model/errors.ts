/** Every code a caller or operator can meet. A test compares this table with docs/reference/errors.md. */
export const ERRORS = {
  WEIR_USAGE: { status: 400, retryable: false },
  WEIR_NATIVE_CALL: { status: 500, retryable: false },
  WEIR_UNSUPPORTED: { status: 500, retryable: false },
  WEIR_CONFIG_INVALID: { status: 500, retryable: false },
  WEIR_DATA_DIR_IN_USE: { status: 500, retryable: false },
  WEIR_SERVER_UNREACHABLE: { status: 503, retryable: true },
  WEIR_SERVER_REFUSED: { status: 502, retryable: false },
  WEIR_UPLOAD_FAILED: { status: 502, retryable: true },
  WEIR_SPOOL_FULL: { status: 503, retryable: true },
  WEIR_SPOOL_UNWRITABLE: { status: 500, retryable: true },
  WEIR_SPOOL_DAMAGED: { status: 500, retryable: false },
  WEIR_NOT_FOUND: { status: 404, retryable: false },
  WEIR_UNAUTHORIZED: { status: 401, retryable: false },
  WEIR_FORBIDDEN: { status: 403, retryable: false },
  WEIR_BAD_REQUEST: { status: 400, retryable: false },
  WEIR_INVALID: { status: 422, retryable: false },
  WEIR_FLOW_LOG_EXISTS: { status: 422, retryable: false },
  WEIR_FLOW_LOG_IMMUTABLE: { status: 422, retryable: false },
  WEIR_BUCKET_MISSING: { status: 422, retryable: false },
  WEIR_BUCKET_FOREIGN: { status: 422, retryable: false },
  WEIR_BUCKET_UNREGISTERED: { status: 422, retryable: false },
  WEIR_BUCKET_NOT_WRITABLE: { status: 422, retryable: false },
  WEIR_STORE_REFUSED: { status: 422, retryable: false },
  WEIR_CAPTURE_UNREADABLE: { status: 400, retryable: false },
  WEIR_OBJECT_EXISTS: { status: 412, retryable: false },
  WEIR_RESOURCE_DELETING: { status: 422, retryable: false },
  WEIR_RESOURCE_EXISTS: { status: 422, retryable: false },
  WEIR_OBJECT_MISSING: { status: 409, retryable: true },
  WEIR_SIGNATURE_INVALID: { status: 403, retryable: true },
  WEIR_ETAG_MISMATCH: { status: 412, retryable: false },
  WEIR_METHOD_NOT_ALLOWED: { status: 405, retryable: false },
  WEIR_MEDIA_TYPE: { status: 415, retryable: false },
  WEIR_TOO_LARGE: { status: 413, retryable: false },
  WEIR_RATE_LIMITED: { status: 429, retryable: true },
  WEIR_QUERY_FAILED: { status: 422, retryable: false },
  WEIR_QUERY_LIMIT: { status: 422, retryable: false },
  WEIR_QUERY_BUSY: { status: 503, retryable: true },
  WEIR_ISSUER_UNAVAILABLE: { status: 503, retryable: true },
  WEIR_STORE_UNAVAILABLE: { status: 503, retryable: true },
} as const satisfies Record<string, { status: number; retryable: boolean }>
export type ErrorCode = keyof typeof ERRORS

/** The world failed, as worlds do: handle it or report it. Bugs are assertions instead. */
export class WeirError extends Error {
  override readonly name: string = 'WeirError'
  readonly code: ErrorCode
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
