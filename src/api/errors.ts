import type { FastifyError, FastifyReply } from 'fastify'
import type { SegmentRefusal } from '../model/agent-protocol.ts'
import { ERRORS, type ErrorCode, WeirError } from '../model/errors.ts'
import { isStoreAway } from '../store/store.ts'
import { CONSOLE_HEADER } from './session-cookie.ts'

/** Several things are wrong with what the client sent; each message names the attribute. */
export class InvalidInputError extends WeirError {
  readonly messages: readonly string[]
  constructor(messages: readonly string[]) {
    super('WEIR_INVALID', messages.join('; '))
    this.messages = messages
  }
}

export class RateLimitedError extends WeirError {
  readonly retryAfterS: number
  constructor(message: string, retryAfterS: number) {
    super('WEIR_RATE_LIMITED', message)
    this.retryAfterS = retryAfterS
  }
}

export interface ErrorBody {
  httpStatus: number
  messages: { errorCode: string; message: string }[]
}

/** `errorCode` and, for business rules, the number in brackets that clients know (CONTRACT, section 5). */
const CONTRACT_CODES: Partial<Record<ErrorCode, { errorCode: string; prefix?: string }>> = {
  WEIR_UNAUTHORIZED: { errorCode: '315' },
  WEIR_NOT_FOUND: { errorCode: '309' },
  WEIR_INVALID: { errorCode: '100' },
  WEIR_FORBIDDEN: { errorCode: '451', prefix: 'Access Denied: ' },
  WEIR_FLOW_LOG_EXISTS: { errorCode: '200', prefix: '[VDC-5-1801] ' },
  WEIR_FLOW_LOG_IMMUTABLE: { errorCode: '200', prefix: '[VDC-5-1802] ' },
  WEIR_BUCKET_MISSING: { errorCode: '200', prefix: '[VDC-5-1803] ' },
  WEIR_BUCKET_FOREIGN: { errorCode: '200', prefix: '[VDC-5-1804] ' },
  WEIR_BUCKET_NOT_WRITABLE: { errorCode: '200', prefix: '[VDC-5-1805] ' },
  WEIR_BUCKET_UNREGISTERED: { errorCode: '200', prefix: '[VDC-5-1808] ' },
  WEIR_STORE_REFUSED: { errorCode: '200', prefix: '[VDC-5-1809] ' },
  WEIR_RESOURCE_DELETING: { errorCode: '200', prefix: '[VDC-5-1806] ' },
  WEIR_RESOURCE_EXISTS: { errorCode: '200', prefix: '[VDC-5-1807] ' },
}

export function errorBody(error: unknown): ErrorBody {
  if (error instanceof InvalidInputError) {
    const messages = error.messages.map((message) => ({ errorCode: '100', message }))
    return { httpStatus: ERRORS.WEIR_INVALID.status, messages }
  }
  if (error instanceof WeirError) {
    const { status } = ERRORS[error.code]
    if (status === 500) return internalError()
    const { errorCode = String(status), prefix = '' } = CONTRACT_CODES[error.code] ?? {}
    return { httpStatus: status, messages: [{ errorCode, message: `${prefix}${error.message}` }] }
  }
  if (isStoreAway(error)) {
    const message = 'the database cannot be reached, try again'
    return { httpStatus: 503, messages: [{ errorCode: '503', message }] }
  }
  const status = (error as FastifyError).statusCode
  if (status !== undefined && status >= 400 && status < 500) {
    const message = (error as FastifyError).message
    return { httpStatus: status, messages: [{ errorCode: String(status), message }] }
  }
  return internalError()
}

/** The same for one segment of a request that has several. */
export function segmentRefusal(error: unknown): SegmentRefusal {
  const { httpStatus: status, messages } = errorBody(error)
  const message = messages.map((it) => it.message).join('; ')
  return { error: { status, ...(error instanceof WeirError ? { code: error.code } : {}), message } }
}

/** What went wrong inside is in the log, not in the answer. */
function internalError(): ErrorBody {
  return { httpStatus: 500, messages: [{ errorCode: '500', message: 'Internal error' }] }
}

export function sendError(reply: FastifyReply, error: unknown): FastifyReply {
  const body = errorBody(error)
  // The console asks for itself; the browser's own dialog would come in its way.
  const isConsole = reply.request.headers[CONSOLE_HEADER] !== undefined
  if (body.httpStatus === 401 && !isConsole)
    reply.header('www-authenticate', 'Basic realm="weir", charset="UTF-8"')
  // For agents: a fault of one bucket must not look like one of this server.
  if (error instanceof WeirError) reply.header('x-weir-code', error.code)
  if (error instanceof RateLimitedError) reply.header('retry-after', error.retryAfterS)
  if (body.httpStatus === 503) reply.header('retry-after', '5')
  return reply.code(body.httpStatus).type('application/json; charset=utf-8').send(body)
}

/** Ajv's findings in the contract's words. */
export function invalidInput(
  error: Pick<FastifyError, 'validation'>,
  method: string = 'POST',
): InvalidInputError {
  const verb = method === 'POST' ? 'create' : 'update'
  const messages = (error.validation ?? []).map((it) => {
    const path = `(root)${attributePath(it.instancePath)}`
    const found = it as unknown as { keyword: string; params: Record<string, unknown>; data?: unknown }
    return reasonOf(path, found, { verb, fallback: it.message ?? 'is not valid' })
  })
  return new InvalidInputError([...new Set(messages)].slice(0, 20))
}

function reasonOf(
  path: string,
  found: { keyword: string; params: Record<string, unknown>; data?: unknown },
  { verb, fallback }: { verb: string; fallback: string },
): string {
  const { keyword, params } = found
  if (keyword === 'required') return `[${path}.${String(params['missingProperty'])}] Attribute is required`
  if (keyword === 'additionalProperties') {
    return `[${path}.${String(params['additionalProperty'])}] Attribute is not allowed in ${verb} requests`
  }
  if (keyword === 'enum') {
    const allowed = (params['allowedValues'] as unknown[]).join(', ')
    const value = typeof found.data === 'string' ? found.data.slice(0, 100) : JSON.stringify(found.data)
    return `[${path}] Attribute value '${value}' not allowed. Expected one of [${allowed}]`
  }
  return `[${path}] Attribute value ${fallback}`
}

/** `/properties/lans/0/id` → `.properties.lans[0].id`. */
function attributePath(pointer: string): string {
  return pointer
    .split('/')
    .slice(1)
    .map((part) =>
      /^\d+$/.test(part) ? `[${part}]` : `.${part.replaceAll('~1', '/').replaceAll('~0', '~')}`,
    )
    .join('')
}
