import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { WeirError } from '../../model/errors.ts'
import { parseDestination } from '../../model/flow-log.ts'
import { LIFECYCLE_DAYS_MAX, noRule } from '../../model/lifecycle.ts'
import type { Account } from '../../store/accounts.ts'
import { listAudit } from '../../store/audit.ts'
import { findRegistration, listRegistrations, registerBucket } from '../../store/buckets.ts'
import { findFlowLogs, listFlowLogs, retryDelivery } from '../../store/flow-logs.ts'
import { findByIds, listResources } from '../../store/resources.ts'
import type { FlowLogRow } from '../../store/schema.ts'
import { collectAgentMetrics } from '../agent-metrics.ts'
import type { Services } from '../app.ts'
import {
  assertAdministrator,
  assertOperator,
  assertPrivilege,
  assertVisible,
  datacenterIdOf,
  notFound,
  sharedWith,
} from '../caller.ts'
import { bucketStatuses } from '../delivery-status.ts'
import { ownerOf } from '../destinations.ts'
import { InvalidInputError } from '../errors.ts'
import { etagOf } from '../etag.ts'
import { interfaceTree, renderInterfaceTree } from '../interface-tree.ts'
import { describeApi } from '../openapi.ts'
import { renderAgent, renderBucket, renderFlowLogs, timeText, whatIsTold } from './status-answers.ts'

const LISTING_MAX = 1_000
const API_VERSION = '6.0'

const ObjectsQuery = Type.Object({
  bucket: Type.String({ minLength: 1 }),
  prefix: Type.Optional(Type.String()),
  after: Type.Optional(Type.String()),
  limit: Type.Optional(Type.Unsafe<string>({ type: 'string', pattern: '^[1-9]\\d{0,3}$' })),
})
const AuditQuery = Type.Object({
  offset: Type.Optional(Type.Unsafe<string>({ type: 'string', pattern: '^\\d{1,9}$' })),
  limit: Type.Optional(Type.Unsafe<string>({ type: 'string', pattern: '^[1-9]\\d{0,3}$' })),
})
const ContentQuery = Type.Object({
  bucket: Type.String({ minLength: 1 }),
  name: Type.String({ minLength: 1 }),
})
export const NewBucket = Type.Object(
  { name: Type.String({ maxLength: 63 }) },
  { additionalProperties: false },
)

/** What the Cloud API has no words for: docs/reference/api.md lists these as Weir's own. */
export async function weirRoutes(app: FastifyInstance, services: Services): Promise<void> {
  addStatus(app, services)
  addBuckets(app, services)
  addLifecycle(app, services)
  addObjects(app, services)

  app.get('/openapi.json', async (request) => {
    return describeApi(app.routeTable, services.origin(request), API_VERSION)
  })

  app.get('/weir/v1/audit', { schema: { querystring: AuditQuery } }, async (request) => {
    const account = request.account!
    await assertPrivilege(services.store.db, account, 'accessActivityLog')
    const { offset = '0', limit = '100' } = request.query as { offset?: string; limit?: string }
    const page = { offset: Number(offset), limit: Math.min(Number(limit), LISTING_MAX) }
    const entries = await listAudit(services.store.db, account.contractNumber, page)
    return { items: entries.map(({ atMs, ...rest }) => ({ at: timeText(atMs), ...rest })) }
  })

  app.get('/metrics', async (request, reply) => {
    assertOperator(request.account!)
    await collectAgentMetrics(services.store, services.metrics)
    return reply.type('text/plain; version=0.0.4').send(await services.metrics.text())
  })
}

function addStatus(app: FastifyInstance, services: Services): void {
  const { store } = services

  app.get('/weir/v1/status', async (request) => {
    const account = request.account!
    assertAdministrator(account)
    const flowLogs = await listFlowLogs(store.db, account.operator ? undefined : account.contractNumber)
    const told = await whatIsTold(services, flowLogs, { allAgents: account.operator })
    // Hosts are the operator's; others see those that carry their flow logs.
    const agents = account.operator ? told.agents : told.agents.filter(({ host }) => told.byHost.has(host))
    return {
      agents: agents.map((it) => renderAgent(it, account, told)),
      windowSizeS: services.options.windowSizeS,
      flowLogs: renderFlowLogs(flowLogs, told),
      buckets: bucketStatuses(flowLogs, told.pending).map(renderBucket),
    }
  })

  app.get('/weir/v1/flowlogs', async (request, reply) => {
    const flowLogs = await visibleFlowLogs(services, request.account!)
    const told = await whatIsTold(services, flowLogs)
    const items = renderFlowLogs(flowLogs, told).map(({ checkedAt: _, ...it }) => it)
    return sendIfChanged(request, reply, { items })
  })

  app.get('/weir/v1/inventory', async (request, reply) => {
    const account = request.account!
    const tree = await interfaceTree(store.db, account)
    return sendIfChanged(request, reply, { items: await renderInterfaceTree(store.db, tree) })
  })

  const params = Type.Object({ flowLogId: Type.String() })
  app.get('/weir/v1/flowlogs/:flowLogId', { schema: { params } }, async (request) => {
    const { flowLogId } = request.params as { flowLogId: string }
    const [resource] = await findByIds(store.db, [flowLogId.toLowerCase()])
    const row = await assertVisible(store.db, request.account!, resource)
    const [flowLog] = await findFlowLogs(store.db, [row.id])
    if (flowLog === undefined) throw notFound()
    return renderFlowLogs([flowLog], await whatIsTold(services, [flowLog]))[0]
  })
}

/** Pages ask for it every few seconds, and mostly nothing has changed. */
function sendIfChanged(request: FastifyRequest, reply: FastifyReply, answer: object): FastifyReply {
  const text = JSON.stringify(answer)
  const etag = `"${etagOf(text)}"`
  reply.header('etag', etag)
  if (request.headers['if-none-match'] === etag) return reply.code(304).send()
  return reply.type('application/json; charset=utf-8').send(text)
}

/** Of the contract; who is but a member sees those of data centers that are shared with it. */
async function visibleFlowLogs({ store }: Services, account: Account): Promise<FlowLogRow[]> {
  const flowLogs = await listFlowLogs(store.db, account.contractNumber)
  if (sharedWith(account) === undefined) return flowLogs
  const { contractNumber, userId } = account
  const listing = { contractNumber, type: 'datacenter', parentId: '', sharedWith: userId }
  const visible = new Set((await listResources(store.db, listing)).map(({ id }) => id))
  const rows = await findByIds(
    store.db,
    flowLogs.map(({ id }) => id),
  )
  const shown = new Set(rows.filter((row) => visible.has(datacenterIdOf(row.path))).map(({ id }) => id))
  return flowLogs.filter(({ id }) => shown.has(id))
}

const BucketPath = Type.Object({ name: Type.String({ maxLength: 63 }) })
const NewRule = Type.Object(
  {
    prefix: Type.String({ maxLength: 1024 }),
    /** Null takes the rule of this prefix away. */
    days: Type.Union([Type.Integer({ minimum: 1, maximum: LIFECYCLE_DAYS_MAX }), Type.Null()]),
  },
  { additionalProperties: false },
)

/** Retention in embedded buckets. In an object store it is the tenant's own, set there. */
function addLifecycle(app: FastifyInstance, services: Services): void {
  const { embedded } = services.buckets
  if (embedded === undefined) return

  const schema = { params: BucketPath }
  app.get('/weir/v1/buckets/:name/lifecycle', { schema }, async (request) => {
    const { name } = request.params as { name: string }
    await assertOwnBucket(services, request.account!, name)
    return { items: await embedded.lifecycle.rules(name) }
  })

  app.post('/weir/v1/buckets/:name/lifecycle', { schema: { ...schema, body: NewRule } }, async (request) => {
    const { name } = request.params as { name: string }
    const { prefix, days } = request.body as { prefix: string; days: number | null }
    await assertOwnBucket(services, request.account!, name)
    const before = await embedded.lifecycle.rules(name)
    const others = before.filter((rule) => rule.prefix !== prefix)
    if (days === null && others.length === before.length) throw noRule(name, prefix)
    const items = days === null ? others : [...others, { prefix, days }]
    await embedded.lifecycle.setRules(name, items)
    return { items }
  })
}

function addBuckets(app: FastifyInstance, services: Services): void {
  const { store, buckets } = services

  app.get('/weir/v1/buckets', async (request) => {
    const { contractNumber } = request.account!
    const registered = (await listRegistrations(store.db)).map(({ name }) => name)
    const named = (await listFlowLogs(store.db, contractNumber)).map(({ bucket }) => bucket)
    const names = new Set([...registered, ...named, ...((await buckets.embedded?.listBuckets()) ?? [])])
    const items = []
    for (const name of [...names].sort()) {
      const found = await buckets.findBucket(name)
      if ((await ownerOf(store.db, name, found)) !== contractNumber) continue
      items.push({ name, exists: found !== undefined, registered: registered.includes(name) })
    }
    return { items }
  })

  app.post('/weir/v1/buckets', { schema: { body: NewBucket } }, async (request, reply) => {
    const account = request.account!
    assertAdministrator(account)
    const { name } = request.body as { name: string }
    assertBucketName(name)
    await makeBucket(services, account, name)
    return reply.code(201).send({ name, exists: true, registered: true })
  })

  app.post('/weir/v1/buckets/:name/retry', { schema: { params: BucketPath } }, async (request) => {
    const account = request.account!
    assertAdministrator(account)
    const { name } = request.params as { name: string }
    buckets.forgetFound?.(name)
    const place = { contractNumber: account.contractNumber, bucket: name }
    const hosts = await store.change((change) => retryDelivery(change, place))
    if (hosts === undefined) throw new WeirError('WEIR_NOT_FOUND', `no flow log names bucket '${name}'`)
    return { name, hosts }
  })
}

export function assertBucketName(name: string): void {
  const destination = parseDestination(name)
  if ('reason' in destination) throw new InvalidInputError([`[(root).name] ${destination.reason}`])
  if (destination.bucket !== name) throw new InvalidInputError(['[(root).name] A bucket name has no prefix'])
}

/** Making a bucket twice is no mistake; taking somebody else's is. */
export async function makeBucket(
  services: Pick<Services, 'store' | 'buckets'>,
  account: { contractNumber: number; email: string },
  name: string,
): Promise<void> {
  const { store, buckets } = services
  if (buckets.embedded === undefined) {
    throw new WeirError(
      'WEIR_INVALID',
      'buckets are made in the object store itself: this server has none of its own',
    )
  }
  const known = await findRegistration(store.db, name)
  const found = await buckets.findBucket(name)
  const isTaken = known !== undefined || found !== undefined
  if (isTaken && (await ownerOf(store.db, name, found)) !== account.contractNumber) {
    throw new WeirError('WEIR_RESOURCE_EXISTS', `bucket '${name}' exists already`)
  }
  if (known === undefined) {
    const { contractNumber, email } = account
    await store.change((change) => registerBucket(change, { name, contractNumber, createdBy: email }))
  }
  await buckets.embedded.createBucket(name)
}

/** For administrators of the bucket's contract; for others it does not exist. */
async function assertOwnBucket(
  { store, buckets }: Services,
  account: Account,
  bucket: string,
): Promise<void> {
  assertAdministrator(account)
  const found = 'reason' in parseDestination(bucket) ? undefined : await buckets.findBucket(bucket)
  if (found !== undefined && (await ownerOf(store.db, bucket, found)) === account.contractNumber) return
  throw new WeirError('WEIR_NOT_FOUND', `bucket '${bucket}' does not exist`)
}

function addObjects(app: FastifyInstance, services: Services): void {
  const { buckets } = services

  app.get('/weir/v1/objects', { schema: { querystring: ObjectsQuery } }, async (request) => {
    const query = request.query as { bucket: string; prefix?: string; after?: string; limit?: string }
    const { bucket, prefix = '', after = '' } = query
    await assertOwnBucket(services, request.account!, bucket)
    const limit = Math.min(Number(query.limit ?? LISTING_MAX), LISTING_MAX)
    const found = await buckets.listObjects(bucket, { prefix, after, limit })
    const items = found.map(({ name, size, modifiedAtMs }) => ({
      bucket,
      name,
      size,
      modifiedAt: timeText(modifiedAtMs),
    }))
    return { items, ...(items.length === limit ? { next: items.at(-1)!.name } : {}) }
  })

  app.get('/weir/v1/objects/content', { schema: { querystring: ContentQuery } }, async (request, reply) => {
    const { bucket, name } = request.query as { bucket: string; name: string }
    await assertOwnBucket(services, request.account!, bucket)
    const content = await buckets.readObject(bucket, name)
    if (content === undefined) throw new WeirError('WEIR_NOT_FOUND', `object '${name}' does not exist`)
    return reply.type('application/gzip').send(content)
  })
}
