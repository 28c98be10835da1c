import { createHash, createHmac } from 'node:crypto'

export interface RequestOrder {
  method: 'PUT' | 'HEAD'
  /** Scheme, host and path, encoded. */
  url: URL
  region: string
  credentials: { accessKeyId: string; secretAccessKey: string }
  /** Signed as they are, and to be sent as they are. */
  headers: Record<string, string>
  /** Of the body, hex. */
  sha256: string
  signedAtMs: number
}

/** SHA-256 of nothing. */
export const NO_BODY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

/**
 * Signs one request (AWS Signature Version 4) with an `authorization` header rather than in the query: only so does every
 * store compare the body with the signed SHA-256, and no header can be left out or moved. Returns all headers to send.
 */
export function signRequest(order: RequestOrder): Record<string, string> {
  const time = new Date(order.signedAtMs).toISOString().replace(/[-:]|\.\d{3}/g, '')
  const scope = `${time.slice(0, 8)}/${order.region}/s3/aws4_request`
  const headers: Record<string, string> = {
    ...order.headers,
    host: order.url.host,
    'x-amz-content-sha256': order.sha256,
    'x-amz-date': time,
  }
  const names = Object.keys(headers).sort()
  const canonical = [
    order.method,
    order.url.pathname,
    '', // No query.
    ...names.map((name) => `${name}:${headers[name]!.trim()}`),
    '',
    names.join(';'),
    order.sha256,
  ].join('\n')
  const text = ['AWS4-HMAC-SHA256', time, scope, createHash('sha256').update(canonical).digest('hex')].join(
    '\n',
  )
  const key = scope
    .split('/')
    .reduce<string | Buffer>((secret, part) => hmac(secret, part), `AWS4${order.credentials.secretAccessKey}`)
  const signature = hmac(key, text).toString('hex')
  const { host: _, ...sent } = headers // Whoever sends it sets it from the URL.
  return {
    ...sent,
    authorization: `AWS4-HMAC-SHA256 Credential=${order.credentials.accessKeyId}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`,
  }
}

/** As S3 encodes a path: everything but unreserved characters and '/'. */
export function encodePath(path: string): string {
  return encodeURIComponent(path).replace(/%2F|[!'()*]/g, (it) =>
    it === '%2F' ? '/' : `%${it.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
