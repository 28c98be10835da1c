import type { FastifyReply, FastifyRequest } from 'fastify'
import { findGroup, type Group, type Member, type Share } from '../../store/members.ts'
import { recordDoneRequest } from '../../store/requests.ts'
import type { ResourceRow } from '../../store/schema.ts'
import { type Change, isForeignKeyViolation } from '../../store/store.ts'
import type { Services } from '../app.ts'
import { notFound } from '../caller.ts'
import { etagOf } from '../etag.ts'
import { refine, renderCollection } from '../listing.ts'
import { PRIVILEGES } from '../privileges.ts'
import { parseQuery } from '../query.ts'
import { type Envelope, metadataOf, propertiesOf, wireDate } from '../render.ts'
import { requestLineOf, statusUrl } from './inventory.ts'

/** The group that the path names; 404 if the caller's contract has none such. */
export async function groupOf({ store }: Services, request: FastifyRequest): Promise<Group> {
  const { groupId } = request.params as { groupId: string }
  const group = await findGroup(store.db, request.account!.contractNumber, groupId)
  if (group === undefined) throw notFound()
  return group
}

export interface Rendered extends Envelope {
  gone?: true
}

/**
 * Does the change, and answers as for every other mutation; it is done before the client can ask. What the change is
 * about may have been deleted since it was found.
 */
export async function accept(
  services: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  work: (change: Change) => Promise<Rendered | undefined>,
): Promise<FastifyReply> {
  const account = request.account!
  const { rendered, requestId } = await services.store.change(async (change) => {
    const rendered = await work(change).catch((error: unknown) => {
      throw isForeignKeyViolation(error) ? notFound() : error
    })
    if (rendered === undefined) throw notFound()
    const path = rendered.href.slice(services.base(request).length)
    const requestId = await recordDoneRequest(change, account, {
      ...withoutPassword(requestLineOf(services, request), request.body),
      contractNumber: account.contractNumber,
      target: { id: rendered.id, type: rendered.type, path },
    })
    return { rendered, requestId }
  })
  reply.code(202).header('location', statusUrl(services, request, requestId))
  return rendered.gone === true ? reply.send() : reply.send(rendered)
}

/** What is kept for `/requests` must not hold a secret, wherever and however it was written. */
function withoutPassword<T extends { body: string }>(line: T, body: unknown): T {
  return JSON.stringify(body ?? null).includes('password') ? { ...line, body: '' } : line
}

export function collectionOf<T>(
  services: Services,
  request: FastifyRequest,
  path: string,
  rows: T[],
  render: (base: string, row: T) => Rendered,
): Record<string, unknown> {
  const query = parseQuery(request.query)
  const { offset, limit, depth } = query
  const base = services.base(request)
  const found = refine(
    { of: (it: Rendered) => it },
    rows.map((it) => render(base, it)),
    query,
  )
  const items = found.slice(offset, offset + limit).map((it) => (depth > 0 ? it : asReference(it)))
  const frame = { id: path.slice('/um/'.length), href: `${base}${path}`, url: request.url }
  return renderCollection(frame, items, { offset, limit, total: found.length })
}

export function asReference({ id, type, href }: Rendered): Rendered {
  return { id, type, href }
}

export function reference(base: string, type: string, path: string): Rendered {
  return { id: path.slice(path.lastIndexOf('/') + 1), type, href: `${base}${path}` }
}

export function renderUser(base: string, it: Member): Rendered {
  const user = reference(base, 'user', `/um/users/${it.id}`)
  const properties = {
    firstname: it.first_name,
    lastname: it.last_name,
    email: it.email,
    administrator: it.role !== 'member',
    forceSecAuth: false,
    secAuthActive: false,
    active: it.active === 1,
  }
  return {
    ...user,
    metadata: { etag: etagOf(JSON.stringify(properties)), createdDate: wireDate(it.created_at) },
    properties,
  }
}

export function renderGroup(base: string, it: Group): Rendered {
  const group = reference(base, 'group', `/um/groups/${it.id}`)
  const given = JSON.parse(it.privileges) as Record<string, boolean>
  const flags = Object.fromEntries(PRIVILEGES.map((name) => [name, given[name] === true]))
  const entity = (name: string) => ({
    [name]: { id: `${it.id}/${name}`, type: 'collection', href: `${group.href}/${name}` },
  })
  return {
    ...group,
    properties: { name: it.name, ...flags },
    entities: { ...entity('users'), ...entity('resources'), ...entity('shares') },
  }
}

export function renderShare(base: string, it: Pick<Share, 'id' | 'group_id' | 'may_edit'>): Rendered {
  const found = reference(base, 'resource', `/um/groups/${it.group_id}/shares/${it.id}`)
  return { ...found, properties: { editPrivilege: it.may_edit === 1, sharePrivilege: false } }
}

/** Only data centers are shared: what hangs in one is shared with it. */
export function renderSharable(base: string, row: ResourceRow): Rendered {
  const { name, secAuthProtection = false } = propertiesOf(row)
  return {
    ...reference(base, row.type, `/um/resources/${row.type}/${row.id}`),
    metadata: metadataOf(row),
    properties: { name, secAuthProtection },
  }
}
