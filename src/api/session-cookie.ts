import type { IncomingHttpHeaders } from 'node:http'
import { WeirError } from '../model/errors.ts'

export const SESSION_COOKIE = 'weir_session'

/**
 * Sent by the console with everything. Other sites cannot: it needs a preflight, which this server never
 * answers.
 */
export const CONSOLE_HEADER = 'x-weir-console'

/** The token in the console's cookie, if there is one. */
export function sessionToken(headers: IncomingHttpHeaders): string | undefined {
  for (const pair of (headers.cookie ?? '').split(';')) {
    const [name, value] = pair.trim().split('=', 2)
    if (name === SESSION_COOKIE && value !== undefined && value !== '') return value
  }
  return undefined
}

/**
 * A browser sends cookies whoever made the request. SameSite stops other sites, but not other ports of this
 * host; so what changes something must carry the console's header, and nothing may say that it comes from
 * elsewhere.
 */
export function assertSameOrigin(request: { headers: IncomingHttpHeaders; method: string }): void {
  const { [CONSOLE_HEADER]: mark, 'sec-fetch-site': site } = request.headers
  const isRead = request.method === 'GET' || request.method === 'HEAD'
  const isElsewhere = site !== undefined && site !== 'same-origin' && site !== 'none'
  if (isElsewhere || (!isRead && mark === undefined)) {
    throw new WeirError('WEIR_FORBIDDEN', 'the request comes from another site')
  }
}
