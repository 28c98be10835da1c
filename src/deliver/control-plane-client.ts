import type {
  Acknowledged,
  AgentReport,
  Assignments,
  LiveReport,
  LiveWanted,
  SegmentRefusal,
  UploadGrant,
  UploadRequest,
} from '../model/agent-protocol.ts'
import { type ErrorCode, WeirError } from '../model/errors.ts'
import type { Clock } from '../stdx/clock.ts'
import { systemClock } from '../stdx/clock.ts'
import { type Answer, type Exchange, ExchangeError, HttpExchange, retryAfterMs } from './http-exchange.ts'

export interface ControlPlaneOptions {
  /** Origin, for example `http://127.0.0.1:8080`. */
  serverUrl: string
  agentToken: string
  requestTimeoutMs?: number
}

/** The control plane did not answer, or said no. */
export class ControlPlaneError extends WeirError {
  /** HTTP status; undefined when there was no answer. */
  readonly status: number | undefined
  readonly retryAfterMs: number | undefined
  /** Which of our errors it was, where the answer came from a control plane and not from something in between. */
  readonly serverCode: string | undefined

  constructor(
    code: ErrorCode,
    message: string,
    details: {
      status?: number
      retryAfterMs?: number | undefined
      serverCode?: string | undefined
      cause?: unknown
    } = {},
  ) {
    super(code, message, { cause: details.cause })
    this.status = details.status
    this.retryAfterMs = details.retryAfterMs
    this.serverCode = details.serverCode
  }

  /** True when the fault is not about what was asked: everything else will fail likewise, for now. */
  get concernsAll(): boolean {
    const { status } = this
    if (this.serverCode !== undefined && BUCKET_CODES.has(this.serverCode)) return false
    return (
      status === undefined ||
      status === 401 ||
      status === 429 ||
      status === 502 ||
      status === 503 ||
      status === 504
    )
  }
}

/** Faults of the bucket that was asked for, or of the store behind it. */
export const BUCKET_CODES: ReadonlySet<string> = new Set([
  'WEIR_BUCKET_FOREIGN',
  'WEIR_BUCKET_MISSING',
  'WEIR_BUCKET_NOT_WRITABLE',
  'WEIR_BUCKET_UNREGISTERED',
  'WEIR_STORE_REFUSED',
  'WEIR_STORE_UNAVAILABLE',
])

export interface RequestOptions {
  signal?: AbortSignal
}

/** The agent's side of the agent protocol (docs/reference/agent-protocol.md). */
export class ControlPlaneClient {
  readonly #base: string
  readonly #agentToken: string
  readonly #timeoutMs: number
  readonly #http = new HttpExchange()
  readonly #clock: Clock

  constructor(options: ControlPlaneOptions, dependencies: { clock?: Clock } = {}) {
    this.#base = `${options.serverUrl.replace(/\/+$/, '')}/agent/v1`
    this.#agentToken = options.agentToken
    this.#timeoutMs = options.requestTimeoutMs ?? 15_000
    this.#clock = dependencies.clock ?? systemClock
  }

  stop(): void {
    this.#http.stop()
  }

  /** Answers at once when `version` is not the current one, else after `waitS` at the latest. */
  async assignments(request: {
    version?: string
    /** Whether the changes since `version` will do, where the control plane can tell them. */
    changes?: boolean
    /** The `key` of what is seen live from here; '' for nothing. */
    live?: string
    waitS: number
    signal?: AbortSignal
  }): Promise<Assignments> {
    const query = new URLSearchParams({ waitS: `${request.waitS}` })
    if (request.version !== undefined) query.set('version', request.version)
    if (request.changes === true) query.set('changes', 'true')
    if (request.live !== undefined) query.set('live', request.live)
    const timeoutMs = this.#timeoutMs + request.waitS * 1000
    const answer = await this.#request('GET', `/assignments?${query}`, { timeoutMs, signal: request.signal })
    return this.#json<Assignments>(
      answer,
      ({ assignments, windowSizeS, since = request.version }) =>
        Array.isArray(assignments) && windowSizeS > 0 && since === request.version,
    )
  }

  async report(report: AgentReport, options: RequestOptions = {}): Promise<void> {
    await this.#request('POST', '/report', { json: report, signal: options.signal })
  }

  /** Returns what is wanted from now on. */
  async live(report: LiveReport, options: RequestOptions = {}): Promise<LiveWanted> {
    const answer = await this.#request('POST', '/live', { json: report, signal: options.signal })
    return this.#json<LiveWanted>(answer, (it) => Array.isArray(it.flowLogIds))
  }

  /** An answer for each, in their order. */
  async requestUploads(
    segments: readonly UploadRequest[],
    options: RequestOptions = {},
  ): Promise<(UploadGrant | ControlPlaneError)[]> {
    const answer = await this.#request('POST', '/uploads', { json: { segments }, signal: options.signal })
    return this.#answers<UploadGrant>(answer, segments.length, (it) => typeof it.objectName === 'string')
  }

  /** The objects are in the store. 409 says that one is not. */
  async acknowledge(
    segmentIds: readonly string[],
    options: RequestOptions = {},
  ): Promise<(Acknowledged | ControlPlaneError)[]> {
    const json = { segmentIds }
    const answer = await this.#request('POST', '/uploads/acknowledge', { json, signal: options.signal })
    return this.#answers<Acknowledged>(answer, segmentIds.length, (it) => it.acknowledged)
  }

  async #request(
    method: 'GET' | 'POST',
    path: string,
    options: { json?: object; timeoutMs?: number; signal?: AbortSignal | undefined },
  ): Promise<Answer> {
    const timeoutMs = options.timeoutMs ?? this.#timeoutMs
    const exchange: Exchange = {
      method,
      url: `${this.#base}${path}`,
      headers: {
        authorization: `Bearer ${this.#agentToken}`,
        accept: 'application/json',
        ...(options.json === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(method === 'GET'
        ? {}
        : { body: Buffer.from(options.json === undefined ? '' : JSON.stringify(options.json)) }),
      idleMsMax: timeoutMs,
      totalMsMax: timeoutMs,
      signal: options.signal,
    }
    try {
      const answer = await this.#http.exchange(exchange)
      if (answer.status >= 200 && answer.status < 300) return answer
      throw this.#refusal(answer)
    } catch (error) {
      if (!(error instanceof ExchangeError)) throw error
      throw new ControlPlaneError(
        'WEIR_SERVER_UNREACHABLE',
        `control plane does not answer: ${error.message}`,
        {
          cause: error,
        },
      )
    }
  }

  #refusal(answer: Answer): ControlPlaneError {
    const { status } = answer
    const serverCode = answer.headers['x-weir-code']?.toString()
    const details = { status, serverCode, retryAfterMs: retryAfterMs(answer.headers, this.#clock.nowMs()) }
    const message = `control plane answered ${status}: ${saidBy(answer)}`
    if (status === 401) {
      const refused = `control plane refuses the token: ${saidBy(answer)}; nothing is delivered until it is another one ('weir agent enroll')`
      return new ControlPlaneError('WEIR_UNAUTHORIZED', refused, details)
    }
    const away = status === 429 || (status >= 502 && status <= 504)
    return new ControlPlaneError(away ? 'WEIR_SERVER_UNREACHABLE' : 'WEIR_SERVER_REFUSED', message, details)
  }

  #answers<T extends object>(
    answer: Answer,
    count: number,
    isWhole: (value: T) => boolean,
  ): (T | ControlPlaneError)[] {
    const { answers } = this.#json<{ answers: (T | SegmentRefusal)[] }>(
      answer,
      (it) => it.answers?.length === count && it.answers.every((each) => 'error' in each || isWhole(each)),
    )
    return answers.map((it) => ('error' in it ? refused(it) : it))
  }

  #json<T>(answer: Answer, isWhole: (value: T) => boolean): T {
    try {
      const value = JSON.parse(answer.body.toString()) as T
      if (isWhole(value)) return value
    } catch (cause) {
      throw new ControlPlaneError('WEIR_SERVER_REFUSED', 'control plane answered no JSON', {
        status: answer.status,
        cause,
      })
    }
    throw new ControlPlaneError('WEIR_SERVER_REFUSED', 'control plane answered something else', {
      status: answer.status,
    })
  }
}

function refused({ error }: SegmentRefusal): ControlPlaneError {
  const { status, code: serverCode, message } = error
  const details = { status, serverCode }
  return new ControlPlaneError('WEIR_SERVER_REFUSED', `control plane refused: ${message}`, details)
}

/** The messages of an error body (CONTRACT), or the beginning of whatever came. */
function saidBy(answer: Answer): string {
  const text = answer.body.toString()
  try {
    const { messages } = JSON.parse(text) as { messages?: { errorCode?: string; message?: string }[] }
    if (Array.isArray(messages)) return messages.map(({ message }) => message ?? '').join('; ')
  } catch {
    // Not ours: a proxy in between.
  }
  return text.slice(0, 200).trim() || 'nothing'
}
