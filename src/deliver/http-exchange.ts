import { createReadStream } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import { pipeline } from 'node:stream'
import { assert } from '../stdx/assert.ts'

/** No answer came, or not a whole one. Whether the other side acted on the request is unknown. */
export class ExchangeError extends Error {
  override readonly name = 'ExchangeError'
}

export interface Exchange {
  method: string
  url: string
  headers?: Record<string, string>
  body?: Buffer | { path: string; size: number }
  /** Longest silence on the connection, in either direction. */
  idleMsMax: number
  /** Longest time for the whole exchange: a peer that sends a byte now and then is not silent, and still no use. */
  totalMsMax: number
  signal?: AbortSignal | undefined
}

export interface Answer {
  status: number
  headers: http.IncomingHttpHeaders
  body: Buffer
}

const CONNECT_MS_MAX = 5_000
const ANSWER_SIZE_MAX = 64 * 1024 * 1024
const SOCKET_IDLE_MS = 15_000 // Below what load balancers commonly allow, so that it is us who close.

/** HTTP requests over kept-alive connections, each of which ends in time, whatever the other side does. */
export class HttpExchange {
  readonly #agents = {
    'http:': new http.Agent({ keepAlive: true, timeout: SOCKET_IDLE_MS }),
    'https:': new https.Agent({ keepAlive: true, timeout: SOCKET_IDLE_MS }),
  }

  /** Closes the connections. Exchanges on their way end by their signals. */
  stop(): void {
    for (const agent of Object.values(this.#agents)) agent.destroy()
  }

  /** Throws `ExchangeError`, or the signal's reason when that was aborted. */
  async exchange(exchange: Exchange): Promise<Answer> {
    try {
      return await this.#once(exchange)
    } catch (error) {
      // The server closed the connection that we had kept while the request was on its way: that says nothing about
      // the server, and everything sent here may be sent twice.
      if (!(error instanceof StaleConnection)) throw error
      return await this.#once({ ...exchange, headers: { ...exchange.headers, connection: 'close' } })
    }
  }

  #once(exchange: Exchange): Promise<Answer> {
    const url = new URL(exchange.url)
    assert(url.protocol === 'http:' || url.protocol === 'https:', `no way to speak ${url.protocol}`)
    exchange.signal?.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const request = (url.protocol === 'http:' ? http : https).request(url, {
      method: exchange.method,
      headers: { ...exchange.headers, ...lengthOf(exchange) },
      ...(exchange.headers?.['connection'] === 'close' ? {} : { agent: this.#agents[url.protocol] }),
    })
    let answered = false
    const fail = (error: Error) => {
      if (exchange.signal?.aborted) reject(exchange.signal.reason as Error)
      else if (!answered && request.reusedSocket && isReset(error)) reject(new StaleConnection(error.message))
      else reject(errorOf(url, error))
      request.destroy()
    }
    const timers = [timeLimit(request, exchange, fail), connectLimit(request, fail)]
    const onAbort = () => request.destroy(new Error('aborted'))
    exchange.signal?.addEventListener('abort', onAbort, { once: true })
    request.on('error', fail)
    request.on('response', (response) => {
      answered = true
      readAnswer(response).then(resolve, fail)
    })
    send(request, exchange.body, fail)
    return promise.finally(() => {
      for (const timer of timers) clearTimeout(timer)
      exchange.signal?.removeEventListener('abort', onAbort)
      if (!request.writableFinished) request.destroy() // Answered before it had the whole body.
    })
  }
}

class StaleConnection extends ExchangeError {}

function lengthOf({ body }: Exchange): Record<string, string> {
  if (body === undefined) return {}
  return { 'content-length': `${Buffer.isBuffer(body) ? body.length : body.size}` }
}

function timeLimit(
  request: http.ClientRequest,
  exchange: Exchange,
  fail: (error: Error) => void,
): NodeJS.Timeout {
  request.setTimeout(exchange.idleMsMax, () => fail(new Error(`silent for ${exchange.idleMsMax} ms`)))
  const { totalMsMax } = exchange
  return setTimeout(() => fail(new Error(`not done after ${totalMsMax} ms`)), totalMsMax)
}

/** A host that swallows packets shows here, long before the kernel gives up. */
function connectLimit(request: http.ClientRequest, fail: (error: Error) => void): NodeJS.Timeout {
  const timer = setTimeout(() => fail(new Error(`no connection after ${CONNECT_MS_MAX} ms`)), CONNECT_MS_MAX)
  request.on('socket', (socket) => {
    if (!socket.connecting) clearTimeout(timer)
    else socket.once('connect', () => clearTimeout(timer))
  })
  return timer
}

function send(request: http.ClientRequest, body: Exchange['body'], fail: (error: Error) => void): void {
  if (body === undefined || Buffer.isBuffer(body)) {
    request.end(body)
    return
  }
  pipeline(createReadStream(body.path), request, (error) => {
    // A request that was answered early or destroyed reports itself; here only the file's own faults matter.
    if (error && 'syscall' in error && error.syscall === 'read') fail(error)
  })
}

function readAnswer(response: http.IncomingMessage): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const chunks: Buffer[] = []
  let size = 0
  response.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > ANSWER_SIZE_MAX) reject(new Error(`answer is larger than ${ANSWER_SIZE_MAX} bytes`))
    else chunks.push(chunk)
  })
  response.on('error', reject)
  response.on('close', () => reject(new Error('answer was cut off'))) // Unless it ended before.
  response.on('end', () => {
    if (response.complete)
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) })
  })
  return promise
}

function isReset(error: Error): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ECONNRESET' || code === 'EPIPE'
}

/** Without the URL's query: a signature is as good as a password until it expires. */
function errorOf(url: URL, cause: Error): ExchangeError {
  return new ExchangeError(`${url.origin}: ${cause.message}`, { cause })
}

/** Retry-After as a delay; dates and seconds are both allowed (RFC 9110, section 10.2.3). */
export function retryAfterMs(headers: http.IncomingHttpHeaders, nowMs: number): number | undefined {
  const value = headers['retry-after']
  if (value === undefined) return undefined
  if (/^\d+$/.test(value)) return Math.min(Number(value) * 1000, RETRY_AFTER_MS_MAX)
  const dateMs = Date.parse(value)
  return Number.isNaN(dateMs) ? undefined : Math.min(Math.max(dateMs - nowMs, 0), RETRY_AFTER_MS_MAX)
}

const RETRY_AFTER_MS_MAX = 600_000 // A slip of the other side must not silence us for a day.
