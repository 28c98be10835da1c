import { createHash } from 'node:crypto'
import {
  type Acknowledged,
  AGENT_PROTOCOL_VERSION,
  type AgentHealth,
  type AgentReport,
  type Assignment,
  type Assignments,
  type LiveRow,
  type LiveWanted,
  type PointState,
  type SegmentRefusal,
  type UploadGrant,
} from '../../../src/model/agent-protocol.ts'
import { changedBy } from '../../../src/model/assignment-changes.ts'

/** Of an agent that meters nothing. */
export const IDLE_HEALTH: AgentHealth = {
  windowStartS: 0,
  windowSizeS: 10,
  flows: 0,
  flowsMax: 1000,
  skippedPackets: 0,
  hookRuns: 0,
  hookNs: 0,
  lateVerdicts: 0,
  lostPackets: 0,
  spool: { segments: 0, bytes: 0 },
}

/** The smallest agent: speaks the protocol over HTTP and attaches nothing. */
export class TestAgent implements AsyncDisposable {
  assignments: Assignment[] = []
  version: string | undefined
  startedAt = '2026-01-01T00:00:00Z'
  protocol = AGENT_PROTOCOL_VERSION
  /** What this agent says about a flow log; 'attached' unless a test wants otherwise. */
  stateOf: (assignment: Assignment) => PointState = () => 'attached'
  readonly #origin: string
  readonly #token: string
  readonly #stop = new AbortController()
  #running: Promise<void> = Promise.resolve()

  constructor(options: { origin: string; token: string }) {
    this.#origin = options.origin
    this.#token = options.token
  }

  start(): this {
    this.#running = this.#run()
    return this
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await this.poll(20)
        await this.report()
      } catch (error) {
        if (!this.#stop.signal.aborted) throw error
      }
    }
  }

  async poll(waitS: number): Promise<void> {
    const query = new URLSearchParams({
      waitS: String(waitS),
      ...(this.version ? { version: this.version, changes: 'true' } : {}),
    })
    const answer = (await (await this.send('GET', `/agent/v1/assignments?${query}`)).json()) as Assignments
    const { version = '', assignments } = this
    const now = answer.since === undefined ? answer : changedBy({ ...answer, version, assignments }, answer)
    this.version = now.version
    this.assignments = now.assignments
  }

  /** What has changed since a version, or everything; the agent itself takes nothing over. */
  async changesSince(version: string | undefined): Promise<Assignments> {
    const query = new URLSearchParams({ changes: 'true', ...(version === undefined ? {} : { version }) })
    return (await (await this.send('GET', `/agent/v1/assignments?${query}`)).json()) as Assignments
  }

  /** Waits for somebody who wants to see flows live; says what that is. */
  async waitForLive({ waitS }: { waitS: number }): Promise<LiveWanted> {
    const query = new URLSearchParams({ waitS: String(waitS), version: this.version ?? '', live: '' })
    const answer = (await (await this.send('GET', `/agent/v1/assignments?${query}`)).json()) as Assignments
    return answer.live ?? { key: '', flowLogIds: [], forS: 0 }
  }

  /** Tells so many flows of each flow log, all of one window that has just begun; returns what is wanted then. */
  async tellLive(told: ToldLive[]): Promise<LiveWanted> {
    const nowS = Math.floor(Date.now() / 1000)
    const flowLogs = told.map(({ flowLogId, rows, windowStartS = nowS, left = 0, underway = 0 }) => ({
      flowLogId,
      windows: [
        {
          startS: windowStartS,
          rows: Array.from(
            { length: rows },
            (_, i): LiveRow => ['ACCEPT', 6, '192.0.2.1', i, '10.0.0.7', 443, 1, 60, nowS - 1, nowS],
          ),
          left: { flows: left, packets: left, octets: left * 60 },
        },
      ],
      underway: { windows: underway },
    }))
    const response = await this.send('POST', '/agent/v1/live', { everyS: 2, flowLogs })
    if (!response.ok) throw new Error(`live: ${response.status} ${await response.text()}`)
    return (await response.json()) as LiveWanted
  }

  async report(points = this.#points()): Promise<void> {
    const report: AgentReport = {
      protocol: this.protocol,
      agentVersion: '0.1.0',
      startedAt: this.startedAt,
      assignmentsVersion: this.version ?? '0',
      points,
      health: IDLE_HEALTH,
    }
    const response = await this.send('POST', '/agent/v1/report', report)
    if (response.status !== 204) throw new Error(`report: ${response.status} ${await response.text()}`)
  }

  #points(): AgentReport['points'] {
    return this.assignments.map((it) => ({
      flowLogId: it.flowLogId,
      state: this.stateOf(it),
      device: 'eth0',
    }))
  }

  /** All of them in one request. */
  async ask(...segments: Segment[]): Promise<(UploadGrant | SegmentRefusal)[]> {
    const asked = segments.map(({ content, ...rest }) => {
      const sha256 = createHash('sha256').update(content).digest('hex')
      return { records: 1, ...rest, size: content.length, sha256 }
    })
    return this.#answers('/agent/v1/uploads', { segments: asked })
  }

  async grant(segment: Segment): Promise<UploadGrant> {
    const [answer] = await this.ask(segment)
    if (answer === undefined || 'error' in answer) throw new Error(`upload: ${JSON.stringify(answer)}`)
    return answer
  }

  put(grant: UploadGrant, content: Buffer): Promise<Response> {
    return fetch(grant.url, { method: 'PUT', headers: grant.headers, body: new Uint8Array(content) })
  }

  acknowledge(...segmentIds: string[]): Promise<(Acknowledged | SegmentRefusal)[]> {
    return this.#answers('/agent/v1/uploads/acknowledge', { segmentIds })
  }

  async #answers<T>(path: string, body: object): Promise<T[]> {
    const response = await this.send('POST', path, body)
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
    return ((await response.json()) as { answers: T[] }).answers
  }

  send(method: string, path: string, body?: unknown): Promise<Response> {
    return fetch(this.#origin + path, {
      method,
      signal: this.#stop.signal,
      headers: {
        authorization: `Bearer ${this.#token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
  }
}

export interface ToldLive {
  flowLogId: string
  rows: number
  windowStartS?: number
  left?: number
  underway?: number
}

export interface Segment {
  segmentId: string
  flowLogIds: string[]
  windowStartS: number
  content: Buffer
  records?: number
}

/** 0: not refused. */
export function statusOf(answer: object | undefined): number {
  return answer !== undefined && 'error' in answer ? (answer as SegmentRefusal).error.status : 0
}
