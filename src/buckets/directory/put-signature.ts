import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { WeirError } from '../../model/errors.ts'

/**
 * Signed uploads in the manner of S3: the signature is HMAC-SHA-256, in lower-case hex, over these lines
 * joined by LF:
 *
 *   PUT · path as sent · expiry in Unix seconds · content-length · x-amz-content-sha256 · x-amz-acl · if-none-match
 *
 * It travels in the query as `x-weir-expires` and `x-weir-signature`. Whoever changes any of these has no
 * signature.
 */
export function signPut(
  secret: Buffer,
  put: { path: string; size: number; sha256: string; expiresAtS: number },
): { query: string; headers: Record<string, string> } {
  const headers = {
    'content-length': String(put.size),
    'content-type': 'application/gzip',
    'x-amz-content-sha256': put.sha256,
    'x-amz-acl': 'bucket-owner-full-control',
    'if-none-match': '*',
  }
  const signature = sign(secret, put.path, String(put.expiresAtS), headers).toString('hex')
  return { query: `x-weir-expires=${put.expiresAtS}&x-weir-signature=${signature}`, headers }
}

/** Returns what was signed. Nothing of the body has been read. */
export function verifyPut(
  secret: Buffer,
  put: { url: string; headers: Record<string, string | string[] | undefined> },
  nowS: number,
): { path: string; size: number; sha256: string } {
  const [path = '', query = ''] = put.url.split('?', 2)
  const parameters = new URLSearchParams(query)
  const expires = parameters.get('x-weir-expires') ?? ''
  const given = Buffer.from(parameters.get('x-weir-signature') ?? '', 'hex')
  const expected = sign(secret, path, expires, put.headers)
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    throw new WeirError('WEIR_SIGNATURE_INVALID', 'the signature does not belong to this upload')
  }
  if (Number(expires) < nowS) {
    throw new WeirError('WEIR_SIGNATURE_INVALID', 'the signature has expired: ask for the upload again')
  }
  const size = Number(put.headers['content-length'])
  return { path, size, sha256: String(put.headers['x-amz-content-sha256']) }
}

const SIGNED_HEADERS = ['content-length', 'x-amz-content-sha256', 'x-amz-acl', 'if-none-match'] as const

function sign(
  secret: Buffer,
  path: string,
  expires: string,
  headers: Record<string, string | string[] | undefined>,
): Buffer {
  const values = SIGNED_HEADERS.map((name) => String(headers[name] ?? ''))
  return createHmac('sha256', secret)
    .update(['PUT', path, expires, ...values].join('\n'))
    .digest()
}

export function newSecret(): Buffer {
  return randomBytes(32)
}
