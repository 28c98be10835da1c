import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type TSchema, Type } from 'typebox'
import { countResources, findByPath, listResources } from '../../store/resources.ts'
import type { ResourceRow } from '../../store/schema.ts'
import { API_BASE, type Services } from '../app.ts'
import { assertVisible, sharedWith } from '../caller.ts'
import { assertNothingNew, type Mutation, type RequestLine } from '../inventory.ts'
import { attributesOf, isPlain, refine, renderCollection } from '../listing.ts'
import { raiseEnums, wrapPatch } from '../normalise.ts'
import { parseQuery, type Query } from '../query.ts'
import {
  loadTree,
  nicsOf,
  renderItems,
  renderOne,
  renderReference,
  renderWithoutEntities,
} from '../render.ts'
import { RESOURCE_TYPES, type ResourceType } from '../resource-types.ts'
import { createBody, patchBody, putBody } from '../schemas/bodies.ts'

type Body = { properties: Record<string, unknown> } & Record<string, unknown>
type Params = Record<string, string>

/** The same six methods for every type of resource, wherever it hangs in the inventory. */
export async function inventoryRoutes(app: FastifyInstance, services: Services): Promise<void> {
  addRoutes(app, services, RESOURCE_TYPES.datacenter, '', [])
  addNicsOfLan(app, services)
}

/** The one collection that shows what hangs elsewhere. */
function addNicsOfLan(app: FastifyInstance, services: Services): void {
  const path = `${API_BASE}/datacenters/:datacenterId/lans/:lanId/nics`
  const params = paramsSchema(['datacenterId', 'lanId'])
  app.get(path, { schema: { params } }, async (request) => {
    const { db } = services.store
    const query = parseQuery(request.query)
    const lanPath = parentPathOf(request)
    const lan = await assertVisible(db, request.account!, await findByPath(db, lanPath))
    const [found] = await nicsOf(db, [lan])
    const nics = refine(attributesOf(RESOURCE_TYPES.nic), found!.nics, query)
    const rows = nics.slice(query.offset, query.offset + query.limit)
    const base = services.base(request)
    const tree = await loadTree(db, rows, query.depth - 1)
    const href = `${base}${lanPath}/nics`
    const frame = { id: `${renderReference(base, lan).id}/nics`, href, url: request.url }
    const page = { offset: query.offset, limit: query.limit, total: nics.length }
    return renderCollection(frame, renderItems(base, tree, rows, query.depth), page)
  })
}

function addRoutes(
  app: FastifyInstance,
  services: Services,
  type: ResourceType,
  parent: string,
  parameters: readonly string[],
): void {
  const collection = `${parent}/${type.collection}`
  const item = `${collection}/:${type.parameter}`
  addReads(app, services, type, { collection, item, parameters })
  addWrites(app, services, type, { collection, item, parameters })
  addEmptyCollections(app, services, type, { collection, item, parameters })
  for (const child of type.children) {
    addRoutes(app, services, RESOURCE_TYPES[child], item, [...parameters, type.parameter])
  }
}

/** Clients walk whatever `entities` names; of what Weir has no use for, there is none. */
function addEmptyCollections(
  app: FastifyInstance,
  services: Services,
  type: ResourceType,
  { item, parameters }: Place,
): void {
  const params = paramsSchema([...parameters, type.parameter])
  for (const name of type.entities) {
    if (Object.values(RESOURCE_TYPES).some((it) => it.collection === name)) continue
    app.get(`${API_BASE}${item}/${name}`, { schema: { params } }, async (request) => {
      const { db } = services.store
      const { offset, limit } = parseQuery(request.query)
      const parentPath = parentPathOf(request)
      const parent = await assertVisible(db, request.account!, await findByPath(db, parentPath))
      const base = services.base(request)
      const id = `${renderReference(base, parent).id}/${name}`
      const frame = { id, href: `${base}${parentPath}/${name}`, url: request.url }
      return renderCollection(frame, [], { offset, limit, total: 0 })
    })
  }
}

interface Place {
  collection: string
  item: string
  /** Of the parent. */
  parameters: readonly string[]
}

function addReads(app: FastifyInstance, services: Services, type: ResourceType, place: Place): void {
  const ofCollection = paramsSchema(place.parameters)
  const ofItem = paramsSchema([...place.parameters, type.parameter])
  app.get(API_BASE + place.collection, { schema: { params: ofCollection } }, async (request) => {
    const parentPath = parentPathOf(request)
    return listCollection(services, type, request, parentPath, parseQuery(request.query))
  })
  app.get(API_BASE + place.item, { schema: { params: ofItem } }, async (request, reply) => {
    const { store } = services
    const query = parseQuery(request.query)
    const row = await assertVisible(store.db, request.account!, await findByPath(store.db, pathOf(request)))
    if (!query.depthGiven) reply.header('etag', `"${row.etag}"`)
    const tree = await loadTree(store.db, [row], query.depth)
    return renderOne(services.base(request), tree, row, query.depth)
  })
}

async function listCollection(
  services: Services,
  type: ResourceType,
  request: FastifyRequest,
  parentPath: string,
  query: Query,
): Promise<Record<string, unknown>> {
  const { db } = services.store
  const account = request.account!
  const parent =
    parentPath === '' ? undefined : await assertVisible(db, account, await findByPath(db, parentPath))
  const listing = {
    contractNumber: account.contractNumber,
    type: type.type,
    parentId: parent?.id ?? '',
    sharedWith: parent === undefined ? sharedWith(account) : undefined,
  }
  const { offset, limit, depth } = query
  let rows: ResourceRow[]
  let total: number
  if (isPlain(query)) {
    rows = await listResources(db, listing, { offset, limit })
    const isLast = rows.length < limit && (rows.length > 0 || offset === 0)
    total = isLast ? offset + rows.length : await countResources(db, listing)
  } else {
    const refined = refine(attributesOf(type), await listResources(db, listing), query)
    rows = refined.slice(offset, offset + limit)
    total = refined.length
  }
  const base = services.base(request)
  const tree = await loadTree(db, rows, depth - 1)
  const items = renderItems(base, tree, rows, depth)
  const parentId = parent === undefined ? '' : `${renderReference(base, parent).id}/`
  const href = `${base}${parentPath}/${type.collection}`
  const frame = { id: `${parentId}${type.collection}`, href, url: request.url }
  return renderCollection(frame, items, { offset, limit, total })
}

function addWrites(app: FastifyInstance, services: Services, type: ResourceType, place: Place): void {
  const { inventory } = services
  const ofCollection = paramsSchema(place.parameters)
  const ofItem = paramsSchema([...place.parameters, type.parameter])
  const normalise = async (request: FastifyRequest) => raiseEnums(type, request.body)
  const wrap = async (request: FastifyRequest) => {
    request.body = wrapPatch(request.body)
    raiseEnums(type, request.body)
  }
  const accepted = (
    request: FastifyRequest,
    reply: FastifyReply,
    it: { row: ResourceRow; requestId: string },
  ) => {
    reply.code(202).header('location', statusUrl(services, request, it.requestId))
    if (!parseQuery(request.query).depthGiven) reply.header('etag', `"${it.row.etag}"`)
    return renderWithoutEntities(services.base(request), it.row)
  }

  const creation = { schema: { params: ofCollection, body: createBody(type) }, preValidation: normalise }
  app.post(API_BASE + place.collection, creation, async (request, reply) => {
    const body = request.body as Body
    const result = await inventory.create(mutationOf(services, request), type, parentPathOf(request), body)
    return accepted(request, reply, result)
  })
  const update = (whole: boolean) => async (request: FastifyRequest, reply: FastifyReply) => {
    const body = request.body as Body
    assertNothingNew(body)
    const mutation = mutationOf(services, request)
    const { properties } = body
    return accepted(
      request,
      reply,
      await inventory.update(mutation, type, pathOf(request), properties, whole),
    )
  }
  const patch = { schema: { params: ofItem, body: patchBody(type) }, preValidation: wrap }
  app.patch(API_BASE + place.item, patch, update(false))
  const put = { schema: { params: ofItem, body: putBody(type) }, preValidation: normalise }
  app.put(API_BASE + place.item, put, update(true))
  app.delete(API_BASE + place.item, { schema: { params: ofItem } }, async (request, reply) => {
    const { requestId } = await inventory.remove(mutationOf(services, request), pathOf(request))
    return reply
      .code(202)
      .header('location', statusUrl(services, request, requestId))
      .send()
  })
}

function mutationOf(services: Services, request: FastifyRequest): Mutation {
  parseQuery(request.query) // Refuses what it cannot read before anything changes.
  const { 'if-match': ifMatch } = request.headers
  return { account: request.account!, line: requestLineOf(services, request), ifMatch }
}

const KEPT_BODY_MAX = 4096 // Thousands of requests are listed at once, from memory.

/** What `/requests` tells of a mutation: never its credentials, and of a long body the beginning. */
export function requestLineOf(services: Services, request: FastifyRequest): RequestLine {
  const { 'content-type': contentType, 'user-agent': userAgent } = request.headers
  const headers: Record<string, string> = {}
  if (contentType !== undefined) headers['Content-Type'] = contentType
  if (userAgent !== undefined) headers['User-Agent'] = userAgent
  const url = `${services.origin(request)}${request.url}`
  return { method: request.method, url, headers, body: request.rawBody.slice(0, KEPT_BODY_MAX) }
}

export function statusUrl(services: Services, request: FastifyRequest, requestId: string): string {
  return `${services.base(request)}/requests/${requestId}/status`
}

/** `/cloudapi/v6/datacenters/X/servers?depth=1` → `/datacenters/X`. */
function parentPathOf(request: FastifyRequest): string {
  const path = pathOf(request)
  return path.slice(0, path.lastIndexOf('/'))
}

/** The resource's path as the database has it: ids in lower case, nothing encoded, without a slash at its end. */
function pathOf(request: FastifyRequest): string {
  const path = request.url.split('?', 1)[0]!
  const plain = path.includes('%') ? path.split('/').map(decoded).join('/') : path
  return plain.slice(API_BASE.length).replace(/\/$/, '').toLowerCase()
}

/** A slash that is part of an id leads to nothing, and to no other resource either. */
function decoded(part: string): string {
  return decodeURIComponent(part).replaceAll('/', '%2F')
}

function paramsSchema(names: readonly string[]): TSchema {
  const properties: Params = {}
  return Type.Object({ ...Object.fromEntries(names.map((name) => [name, Type.String()])), ...properties })
}
