import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type TSchema, Type } from 'typebox'
import {
  type AcknowledgeAnswer,
  type AcknowledgeRequest,
  AGENT_PROTOCOL_VERSION,
  type AgentHealth,
  type AgentReport,
  LIVE_ROW_KINDS,
  LIVE_WINDOW_ROWS_MAX,
  LIVE_WINDOWS_MAX,
  type LiveReport,
  SEGMENTS_PER_REQUEST_MAX,
  type SegmentRefusal,
  type UploadRequest,
  type UploadsAnswer,
} from '../../model/agent-protocol.ts'
import { WeirError } from '../../model/errors.ts'
import { issueAgentToken, recordHeartbeat, redeemEnrolment } from '../../store/agents.ts'
import { carriedIds, recordPoints, saysNews } from '../../store/flow-logs.ts'
import { settleRequests } from '../../store/settle.ts'
import type { Db } from '../../store/store.ts'
import type { Services } from '../app.ts'
import { versionNumber } from '../assignment-feed.ts'
import { invalidInput, segmentRefusal } from '../errors.ts'

const WAIT_S_MAX = 60
const HEARTBEAT_PATIENCE_MS = 100

const Segment = Type.Unsafe<string>({ type: 'string', pattern: '^[A-Za-z0-9._-]{1,200}$' })
const count = Type.Integer({ minimum: 0 })
const text = Type.String({ maxLength: 4000 })

const Upload = Type.Object({
  segmentId: Segment,
  flowLogIds: Type.Array(Type.String({ maxLength: 64 }), { minItems: 1, maxItems: 10_000 }),
  windowStartS: Type.Integer({ minimum: 0, maximum: 2 ** 32 }),
  size: Type.Integer({ minimum: 1, maximum: 2 ** 40 }),
  sha256: Type.Unsafe<string>({ type: 'string', pattern: '^[0-9a-f]{64}$' }),
  records: count,
})

// What a segment says is checked for each of them: one that is wrong must not fail the others.
const Uploads = Type.Object({
  segments: Type.Array(Type.Unknown(), { minItems: 1, maxItems: SEGMENTS_PER_REQUEST_MAX }),
})
const Acknowledgement = Type.Object({
  segmentIds: Type.Array(Segment, { minItems: 1, maxItems: SEGMENTS_PER_REQUEST_MAX }),
})

const Point = Type.Object({
  flowLogId: Type.String({ maxLength: 64 }),
  state: Type.Unsafe<string>({ type: 'string', enum: ['attached', 'waiting', 'failed'] }),
  device: Type.Optional(text),
  message: Type.Optional(text),
})

// What would break whoever shows it, such as a date beyond all calendars, is refused here.
const amount = Type.Number({ minimum: 0, maximum: 2 ** 64 })
const seconds = Type.Number({ minimum: 0, maximum: 2 ** 32 })
const Pending = Type.Object({
  flowLogId: Type.String({ maxLength: 64 }),
  segments: amount,
  bytes: amount,
  oldestWindowStartS: seconds,
  lastError: Type.Optional(Type.Object({ reason: text, message: text, at: text })),
})
const Spool = Type.Object({
  segments: amount,
  bytes: amount,
  bytesMax: Type.Optional(amount),
  oldestWindowStartS: Type.Optional(seconds),
  parkedSegments: Type.Optional(amount),
  damagedSegments: Type.Optional(amount),
  damagedManifestLines: Type.Optional(amount),
  setAsideFiles: Type.Optional(amount),
  givenUpSegments: Type.Optional(amount),
  givenUpPackets: Type.Optional(amount),
})
const LastDelivery = Type.Object({ object: text, bucket: text, records: amount, bytes: amount, at: text })
const Health = Type.Object({
  windowStartS: seconds,
  windowSizeS: amount,
  flows: amount,
  flowsMax: amount,
  skippedPackets: amount,
  hookRuns: Type.Optional(amount),
  hookNs: Type.Optional(amount),
  lateVerdicts: Type.Optional(amount),
  lostPackets: Type.Optional(amount),
  liveFailures: Type.Optional(amount),
  spool: Spool,
  lastDelivery: Type.Optional(LastDelivery),
  lastError: Type.Optional(Type.Object({ message: text, at: text })),
  deliveries: Type.Optional(Type.Array(Pending, { maxItems: 10_000 })),
})

// Newer agents may say more than we know, and older ones less: what every agent says is checked.
const Report: TSchema = Type.Object({
  protocol: Type.Integer(),
  agentVersion: text,
  startedAt: text,
  assignmentsVersion: text,
  points: Type.Array(Point, { maxItems: 100_000 }),
  health: Health,
})

// Rows go into a database as they are, so the types are exact here.
const second = Type.Integer({ minimum: 0, maximum: 2 ** 32 - 1 })
const counter = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const orNull = (type: TSchema) => Type.Union([type, Type.Null()])
const port = orNull(Type.Integer({ minimum: 0, maximum: 65_535 }))
const address = orNull(Type.String({ maxLength: 45 }))
const LiveWindow = Type.Object({
  startS: second,
  rows: Type.Array(
    Type.Tuple([
      Type.Unsafe<string>({ type: 'string', enum: [...LIVE_ROW_KINDS] }),
      orNull(Type.Integer({ minimum: 0, maximum: 255 })),
      address,
      port,
      address,
      port,
      counter,
      counter,
      second,
      second,
    ]),
    { maxItems: 2 * LIVE_WINDOW_ROWS_MAX },
  ),
  left: Type.Object({ flows: counter, packets: counter, octets: counter }),
})
const Live = Type.Object({
  everyS: Type.Integer({ minimum: 1, maximum: 60 }),
  flowLogs: Type.Array(
    Type.Object({
      flowLogId: Type.String({ maxLength: 64 }),
      windows: Type.Array(LiveWindow, { maxItems: LIVE_WINDOWS_MAX }),
      underway: Type.Object({ windows: counter, oldestWindowStartS: Type.Optional(second) }),
    }),
    { maxItems: 10_000 },
  ),
})

const Enrolment = Type.Object({ code: Type.String({ minLength: 1, maxLength: 200 }) })

const WaitQuery = Type.Object({
  version: Type.Optional(text),
  live: Type.Optional(Type.String({ maxLength: 64 })),
  changes: Type.Optional(Type.Unsafe<string>({ type: 'string', enum: ['true', 'false'] })),
  waitS: Type.Optional(Type.Unsafe<string>({ type: 'string', pattern: '^\\d{1,4}$' })),
})

/** The agent protocol: docs/reference/agent-protocol.md. Every route is for one host, the token's. */
export async function agentRoutes(app: FastifyInstance, services: Services): Promise<void> {
  const { store, feed, live, uploads, metrics, options } = services

  app.get('/agent/v1/assignments', { schema: { querystring: WaitQuery } }, async (request, reply) => {
    const query = request.query as { version?: string; live?: string; changes?: string; waitS?: string }
    const { version, live, changes, waitS = '0' } = query
    const gone = new AbortController()
    reply.raw.once('close', () => gone.abort())
    metrics.add('weir_api_long_polls', 1)
    try {
      const waitMs = Math.min(Number(waitS), WAIT_S_MAX) * 1000
      const known = { version, live, changes: changes === 'true' }
      return await feed.next(request.agentHost!, known, waitMs, gone.signal)
    } finally {
      metrics.add('weir_api_long_polls', -1)
    }
  })

  app.post('/agent/v1/report', { schema: { body: Report } }, async (request, reply) => {
    const report = request.body as AgentReport
    const host = request.agentHost!
    if (report.protocol !== AGENT_PROTOCOL_VERSION) {
      const message = `protocol ${report.protocol} is not spoken here, only ${AGENT_PROTOCOL_VERSION}: upgrade the agent`
      throw new WeirError('WEIR_BAD_REQUEST', message)
    }
    const version = versionNumber(report.assignmentsVersion)
    const { agentVersion, startedAt, points } = report
    const isNews = await saysNews(store.db, host, { version, points })
    await store.change(
      async (change) => {
        // First: these may be carried from now on.
        const changed = isNews ? await recordPoints(change, host, { version, points }, options) : []
        const health = await credible(change.tx, host, report.health)
        await recordHeartbeat(change, { host, agentVersion, startedAt, health })
        if (changed.length > 0) await settleRequests(change, { touching: changed })
      },
      // A fleet that has nothing new to say shares its commits, so that it keeps nobody from the disk.
      { patienceMs: isNews ? 0 : HEARTBEAT_PATIENCE_MS },
    )
    return reply.code(204).send()
  })

  app.post('/agent/v1/live', { schema: { body: Live } }, async (request) => {
    const host = request.agentHost!
    await live.tell(host, request.body as LiveReport)
    return (await live.wanted([host])).get(host)
  })

  app.post('/agent/v1/uploads', { schema: { body: Uploads } }, async (request): Promise<UploadsAnswer> => {
    const { segments } = request.body as { segments: unknown[] }
    const faults = segments.map((it) => faultOf(request, it))
    const sound = segments.filter((_, i) => faults[i] === undefined) as UploadRequest[]
    const grants = await uploads.grant(request.agentHost!, sound, services.origin(request))
    const answers = faults.map((fault) => {
      const grant = fault === undefined ? grants.shift()! : { status: 'rejected' as const, reason: fault }
      return grant.status === 'fulfilled' ? grant.value : refusal(request, grant.reason)
    })
    return { answers }
  })

  app.post(
    '/agent/v1/uploads/acknowledge',
    { schema: { body: Acknowledgement } },
    async (request): Promise<AcknowledgeAnswer> => {
      const { segmentIds } = request.body as AcknowledgeRequest
      const outcomes = await uploads.acknowledge(request.agentHost!, segmentIds)
      const answers = outcomes.map((it) =>
        it.status === 'fulfilled' ? { acknowledged: true as const } : refusal(request, it.reason),
      )
      return { answers }
    },
  )

  function refusal(request: FastifyRequest, error: unknown): SegmentRefusal {
    const refused = segmentRefusal(error)
    const { status, code = 'none' } = refused.error
    metrics.add('weir_delivery_refusals_total', 1, { code })
    if (status >= 500) request.log.error({ err: error, host: request.agentHost }, 'segment refused')
    return refused
  }

  // The code is the credential; the authentication hook lets this path pass.
  app.post('/agent/v1/enroll', { schema: { body: Enrolment } }, async (request, reply) => {
    const { code } = request.body as { code: string }
    const enrolled = await store.change(async (change) => {
      const host = await redeemEnrolment(change, code)
      if (host === undefined) return undefined
      return { host, token: await issueAgentToken(change, { host, purpose: 'enrolled' }) }
    })
    if (enrolled === undefined) {
      throw new WeirError('WEIR_UNAUTHORIZED', 'the code is not known, was used before, or has expired')
    }
    return reply.code(201).send(enrolled)
  })
}

function faultOf(request: FastifyRequest, segment: unknown): WeirError | undefined {
  const isUpload = request.compileValidationSchema(Upload)
  if (isUpload(segment)) return undefined
  return invalidInput({ validation: isUpload.errors ?? [] })
}

/** An agent has no say in flow logs that its host never had: one that lies must not show as another tenant's trouble. */
async function credible(db: Db, host: string, health: AgentHealth): Promise<AgentHealth> {
  const { deliveries } = health
  if (deliveries === undefined || deliveries.length === 0) return health
  const ids = deliveries.map((it) => it.flowLogId)
  const carried = new Set(await carriedIds(db, host, ids))
  return { ...health, deliveries: deliveries.filter((it) => carried.has(it.flowLogId)) }
}
