/** The server refused, or could not be reached (`status` 0). */
export class ApiError extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }

  /** Likely to be over soon: worth asking again without anybody's doing. */
  get isPassing(): boolean {
    return [0, 429, 502, 503, 504].includes(this.status)
  }
}

const CLOUD_API = '/cloudapi/v6'

/** What is not below the Cloud API. */
const OUTSIDE = /^\/(weir\/|cloudapi\/|openapi\.json)/

/** One request with the session's cookie. Paths of the Cloud API begin with `/datacenters` and the like. */
export async function send(
  method: string,
  path: string,
  { body, signal, etag }: { body?: unknown; signal?: AbortSignal | undefined; etag?: string } = {},
): Promise<Response> {
  const url = OUTSIDE.test(path) ? path : `${CLOUD_API}${path}`
  let response: Response
  try {
    response = await fetch(url, {
      method,
      credentials: 'same-origin',
      cache: 'no-store',
      headers: {
        'x-weir-console': '1', // Without it the server takes a change for the work of another site.
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(etag === undefined ? {} : { 'if-none-match': etag }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    })
  } catch (cause) {
    if (signal?.aborted) throw cause
    throw new ApiError(0, 'The server does not answer. Is it running, and is the network there?')
  }
  if (response.ok || response.status === 304) return response
  const error = new ApiError(response.status, await refusal(response))
  if (response.status === 401) dispatchEvent(new Event('weir-signed-out'))
  throw error
}

const known = new Map<string, { etag: string; value: unknown }>()

/** As `getJson`; what has not changed since is neither sent nor made anew: the very same value comes back. */
export async function getIfChanged<Told, T>(
  path: string,
  signal: AbortSignal | undefined,
  read: (told: Told) => T,
): Promise<T> {
  const last = known.get(path)
  const etag = last?.etag
  const response = await send('GET', path, { signal, ...(etag === undefined ? {} : { etag }) })
  if (response.status === 304) return last!.value as T
  const value = read((await response.json()) as Told)
  known.set(path, { etag: response.headers.get('etag') ?? '', value })
  return value
}

export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await (await send('GET', path, { signal })).json()) as T
}

export async function postJson<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  return (await (await send('POST', path, { body, signal })).json()) as T
}

async function refusal(response: Response): Promise<string> {
  const text = await response.text()
  try {
    const { messages } = JSON.parse(text) as { messages: { message: string }[] }
    return messages.map(({ message }) => sentence(message)).join(' ')
  } catch {
    return `The server answered HTTP ${response.status}.`
  }
}

/** `[(root).properties.bucket] bucket 'x' does not exist` → `Bucket 'x' does not exist.` */
export function sentence(message: string): string {
  const text = message.replace(/^(\[[^\]]*\]\s*)+/, '').trim() || message
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`
}
