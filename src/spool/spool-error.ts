export type SpoolErrorCode = 'WEIR_SPOOL_FULL' | 'WEIR_SPOOL_UNWRITABLE' | 'WEIR_SPOOL_DAMAGED'

/** The disk failed the spool. The codes are rows of the model's error table, which the spool may not import. */
export class SpoolError extends Error {
  override readonly name = 'SpoolError'
  readonly code: SpoolErrorCode

  constructor(code: SpoolErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Says whether room would help: a full disk is cured by giving up old segments, a broken one is not. */
export function spoolErrorFrom(cause: unknown, doing: string): SpoolError {
  if (cause instanceof SpoolError) return cause
  const { code, message } = cause as NodeJS.ErrnoException
  const full = code === 'ENOSPC' || code === 'EDQUOT'
  return new SpoolError(full ? 'WEIR_SPOOL_FULL' : 'WEIR_SPOOL_UNWRITABLE', `${doing}: ${message}`, { cause })
}

export function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT'
}
