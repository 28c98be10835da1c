import type { FastifyInstance, FastifyRequest } from 'fastify'
import {
  type AcknowledgeAnswer,
  type AcknowledgeRequest,
  AGENT_PROTOCOL_VERSION,
  type AgentHealth,
  type AgentReport,
  type LiveReport,
  type SegmentRefusal,
  type UploadRequest,
  type UploadsAnswer,
} from '../../model/agent-protocol.ts'
import { WeirError } from '../../model/errors.ts'
import { recordHeartbeat, redeemEnrolment, renewAgentToken } from '../../store/agents.ts'
import { carriedIds, recordPoints, saysNews } from '../../store/points.ts'
import { settleRequests } from '../../store/settle.ts'
import type { Db } from '../../store/store.ts'
import type { Services } from '../app.ts'
import { versionNumber } from '../assignment-feed.ts'
import { invalidInput, segmentRefusal } from '../errors.ts'
import {
  Acknowledgement,
  Enrolment,
  Live,
  Report,
  Upload,
  Uploads,
  WaitQuery,
} from '../schemas/agent-bodies.ts'

const WAIT_S_MAX = 60
const HEARTBEAT_PATIENCE_MS = 100

/** The agent protocol: docs/reference/agent-protocol.md. Every route is for one host, the token's. */
export async function agentRoutes(app: FastifyInstance, services: Services): Promise<void> {
  const { store, feed, live, metrics, options } = services

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
      const { protocol } = report
      const older = protocol < AGENT_PROTOCOL_VERSION ? 'agent' : 'control plane'
      const message = `protocol ${protocol} is not spoken here, only ${AGENT_PROTOCOL_VERSION}: upgrade the ${older}`
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

  uploadRoutes(app, services)

  // The code is the credential; the authentication hook lets this path pass.
  app.post('/agent/v1/enroll', { schema: { body: Enrolment } }, async (request, reply) => {
    const { code } = request.body as { code: string }
    const enrolled = await store.change(async (change) => {
      const host = await redeemEnrolment(change, code)
      if (host === undefined) return undefined
      return { host, token: await renewAgentToken(change, { host, purpose: 'enrolled' }) }
    })
    if (enrolled === undefined) {
      throw new WeirError('WEIR_UNAUTHORIZED', 'the code is not known, was used before, or has expired')
    }
    return reply.code(201).send(enrolled)
  })
}

/** Some segments of a request may be refused: each has an answer of its own. */
function uploadRoutes(app: FastifyInstance, { uploads, metrics, origin }: Services): void {
  app.post('/agent/v1/uploads', { schema: { body: Uploads } }, async (request): Promise<UploadsAnswer> => {
    const { segments } = request.body as { segments: unknown[] }
    const faults = segments.map((it) => faultOf(request, it))
    const sound = segments.filter((_, i) => faults[i] === undefined) as UploadRequest[]
    const grants = await uploads.grant(request.agentHost!, sound, origin(request))
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
