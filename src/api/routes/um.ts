import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type TSchema, Type } from 'typebox'
import { WeirError } from '../../model/errors.ts'
import { type Account, createUser, membershipsOf } from '../../store/accounts.ts'
import {
  deleteGroup,
  findGroup,
  findMember,
  type Group,
  groupUsers,
  insertGroup,
  joinGroup,
  leaveGroup,
  listGroups,
  listMembers,
  listShares,
  type Member,
  removeMember,
  setRole,
  share,
  unshare,
  updateGroup,
  updateUser,
} from '../../store/members.ts'
import { findByIds } from '../../store/resources.ts'
import { hashPassword } from '../../store/secrets.ts'
import type { Change, Db } from '../../store/store.ts'
import { API_BASE, type Services } from '../app.ts'
import { assertAdministrator, notFound } from '../caller.ts'
import { PRIVILEGES } from '../privileges.ts'
import { parseQuery } from '../query.ts'
import {
  accept,
  asReference,
  collectionOf,
  groupOf,
  type Rendered,
  reference,
  renderGroup,
  renderSharable,
  renderShare,
  renderUser,
} from './um-answers.ts'
import { sharedWith, umResourceRoutes } from './um-resources.ts'

const text = Type.String({ minLength: 1, maxLength: 200 })
const password = Type.String({ minLength: 8, maxLength: 200 })
const email = Type.Unsafe<string>({ type: 'string', pattern: '^[^\\s@:]{1,100}@[^\\s@:]{1,150}$' })

const UserProperties = {
  firstname: text,
  lastname: text,
  email,
  administrator: Type.Optional(Type.Boolean()),
  forceSecAuth: Type.Optional(Type.Boolean()),
  secAuthActive: Type.Optional(Type.Boolean()),
  active: Type.Optional(Type.Boolean()),
}
const NewUser = envelope(Type.Object({ ...UserProperties, password }, { additionalProperties: false }))
const ChangedUser = envelope(
  Type.Object({ ...UserProperties, password: Type.Optional(password) }, { additionalProperties: false }),
)

const privileges = Object.fromEntries(PRIVILEGES.map((it) => [it, Type.Optional(Type.Boolean())]))
const GroupBody = envelope(Type.Object({ name: text, ...privileges }, { additionalProperties: false }))
const ShareBody = envelope(
  Type.Object({
    editPrivilege: Type.Optional(Type.Boolean()),
    sharePrivilege: Type.Optional(Type.Boolean()),
  }),
)
const UserReference = Type.Object({ id: text })

function envelope(properties: TSchema): TSchema {
  return Type.Object({ properties })
}

interface UserBody {
  properties: {
    firstname: string
    lastname: string
    email: string
    administrator?: boolean
    active?: boolean
    password?: string
  }
}

/** Users, groups and shares of a contract, for its owner and administrators. */
export async function umRoutes(app: FastifyInstance, services: Services): Promise<void> {
  await app.register(async (um) => {
    um.addHook('onRequest', async (request) => assertAdministrator(request.account!))
    addUsers(um, services)
    addGroups(um, services)
    addGroupUsers(um, services)
    addShares(um, services)
    umResourceRoutes(um, services)
  })
}

function addUsers(app: FastifyInstance, services: Services): void {
  const { store } = services
  const path = `${API_BASE}/um/users`
  const found = async (request: FastifyRequest): Promise<Member> => {
    const { userId } = request.params as { userId: string }
    const member = await findMember(store.db, request.account!.contractNumber, userId)
    if (member === undefined) throw notFound()
    return member
  }
  app.get(path, async (request) => {
    const members = await listMembers(store.db, request.account!.contractNumber)
    return collectionOf(services, request, '/um/users', members, renderUser)
  })
  app.get(`${path}/:userId`, async (request) => {
    parseQuery(request.query)
    return renderUser(services.base(request), await found(request))
  })
  app.post(path, { schema: { body: NewUser } }, async (request, reply) => {
    const {
      firstname,
      lastname,
      email: address,
      administrator,
      password: secret,
    } = (request.body as UserBody).properties
    const { contractNumber } = request.account!
    const passwordHash = await hashPassword(secret!)
    return accept(services, request, reply, async (change) => {
      const role = administrator === true ? 'admin' : 'member'
      const names = { firstName: firstname, lastName: lastname }
      const user = { email: address, passwordHash, ...names, operator: false, contractNumber, role } as const
      const id = await createUser(change, user)
      return renderUser(services.base(request), (await findMember(change.tx, contractNumber, id))!)
    })
  })
  app.put(`${path}/:userId`, { schema: { body: ChangedUser } }, async (request, reply) => {
    const member = await found(request)
    assertNotAbove(request.account!, member)
    await assertOnlyHere(store.db, request.account!, member)
    const { properties } = request.body as UserBody
    const hash = properties.password === undefined ? undefined : await hashPassword(properties.password)
    return accept(services, request, reply, (change) => {
      return changeUser(change, services.base(request), request.account!, member, properties, hash)
    })
  })
  app.delete(`${path}/:userId`, async (request, reply) => {
    const member = await found(request)
    if (member.role === 'owner') throw new WeirError('WEIR_FORBIDDEN', 'the owner of a contract stays')
    assertNotAbove(request.account!, member)
    return accept(services, request, reply, async (change) => {
      await removeMember(change, request.account!.contractNumber, member.id)
      return { ...reference(services.base(request), 'user', `/um/users/${member.id}`), gone: true }
    })
  })
}

/** An administrator of a contract must not get at the operator or the owner. */
function assertNotAbove(account: Account, member: Member): void {
  if (account.operator || account.userId === member.id) return
  if (member.operator === 1 || (member.role === 'owner' && account.role !== 'owner')) {
    throw new WeirError('WEIR_FORBIDDEN', 'this user can only be changed by itself')
  }
}

/** Password and address open all contracts of a user: those of one must not get into another by them. */
async function assertOnlyHere(db: Db, account: Account, member: Member): Promise<void> {
  if (account.operator || account.userId === member.id) return
  if ((await membershipsOf(db, member.id)).length > 1) {
    throw new WeirError(
      'WEIR_FORBIDDEN',
      'this user is a member of other contracts, and can only be changed by itself',
    )
  }
}

async function changeUser(
  change: Change,
  base: string,
  account: Account,
  member: Member,
  properties: UserBody['properties'],
  passwordHash: string | undefined,
): Promise<Rendered> {
  const { contractNumber } = account
  const { firstname, lastname, email: address, administrator, active } = properties
  await updateUser(change, member.id, {
    first_name: firstname,
    last_name: lastname,
    email: address,
    ...(active === undefined ? {} : { active: active ? 1 : 0 }),
    ...(passwordHash === undefined ? {} : { password_hash: passwordHash }),
  })
  if (administrator !== undefined && member.role !== 'owner') {
    await setRole(change, { contractNumber, userId: member.id, role: administrator ? 'admin' : 'member' })
  }
  return renderUser(base, (await findMember(change.tx, contractNumber, member.id))!)
}

function addGroups(app: FastifyInstance, services: Services): void {
  const { store } = services
  const path = `${API_BASE}/um/groups`
  app.get(path, async (request) => {
    const groups = await listGroups(store.db, request.account!.contractNumber)
    const collection = collectionOf(services, request, '/um/groups', groups, renderGroup)
    const depth = parseQuery(request.query).depth - 1
    const shown = new Map(groups.map((it) => [it.id, it]))
    const items = (collection['items'] as Rendered[]).map((it) =>
      depth < 1 ? it : groupAt(services, request, shown.get(it.id)!, depth),
    )
    return { ...collection, items: await Promise.all(items) }
  })
  app.get(`${path}/:groupId`, async (request) => {
    const { depth } = parseQuery(request.query)
    return groupAt(services, request, await groupOf(services, request), depth)
  })
  app.post(path, { schema: { body: GroupBody } }, async (request, reply) => {
    const { name, ...given } = (request.body as { properties: { name: string } }).properties
    const { contractNumber } = request.account!
    return accept(services, request, reply, async (change) => {
      const group = await insertGroup(change, { contractNumber, name, privileges: given })
      return renderGroup(services.base(request), group)
    })
  })
  app.put(`${path}/:groupId`, { schema: { body: GroupBody } }, async (request, reply) => {
    const { name, ...given } = (request.body as { properties: { name: string } }).properties
    const group = await groupOf(services, request)
    return accept(services, request, reply, async (change) => {
      await updateGroup(change, group.id, { name, privileges: given })
      const fresh = await findGroup(change.tx, group.contract_number, group.id)
      return renderGroup(services.base(request), fresh!)
    })
  })
  app.delete(`${path}/:groupId`, async (request, reply) => {
    const group = await groupOf(services, request)
    return accept(services, request, reply, async (change) => {
      await deleteGroup(change, group.id)
      return { ...renderGroup(services.base(request), group), gone: true }
    })
  })
}

/** With who is in it and what it may see, as far as the depth goes. */
async function groupAt(
  services: Services,
  request: FastifyRequest,
  group: Group,
  depth: number,
): Promise<Rendered> {
  const base = services.base(request)
  const rendered = renderGroup(base, group)
  if (depth === 0) return rendered
  const { db } = services.store
  const shown = (it: Rendered) => (depth === 1 ? asReference(it) : it)
  const users = (await membersOf(db, group)).map((it) => shown(renderUser(base, it)))
  const shares = (await listShares(db, group.id)).map((it) => shown(renderShare(base, group, it)))
  const resources = (await sharedWith(db, group)).map((it) => shown(renderSharable(base, it)))
  const { entities = {} } = rendered
  const entity = (name: string, items: Rendered[]) => ({ [name]: { ...(entities[name] as object), items } })
  const filled = { ...entity('users', users), ...entity('resources', resources), ...entity('shares', shares) }
  return { ...rendered, entities: filled }
}

async function membersOf(db: Db, group: Group): Promise<Member[]> {
  const ids = await groupUsers(db, group.id)
  return (await listMembers(db, group.contract_number)).filter((it) => ids.includes(it.id))
}

function addGroupUsers(app: FastifyInstance, services: Services): void {
  const { store } = services
  const path = `${API_BASE}/um/groups/:groupId/users`
  app.get(path, async (request) => {
    const group = await groupOf(services, request)
    const members = await membersOf(store.db, group)
    const place = `/um/groups/${group.id}/users`
    return collectionOf(services, request, place, members, renderUser)
  })
  app.post(path, { schema: { body: UserReference } }, async (request, reply) => {
    const group = await groupOf(services, request)
    const { id } = request.body as { id: string }
    const member = await findMember(store.db, group.contract_number, id)
    if (member === undefined) throw notFound()
    return accept(services, request, reply, async (change) => {
      await joinGroup(change, group.id, id)
      return renderUser(services.base(request), member)
    })
  })
  app.delete(`${path}/:userId`, async (request, reply) => {
    const group = await groupOf(services, request)
    const { userId } = request.params as { userId: string }
    return accept(services, request, reply, async (change) => {
      if (!(await leaveGroup(change, group.id, userId))) throw notFound()
      return { ...reference(services.base(request), 'user', `/um/users/${userId}`), gone: true }
    })
  })
}

function addShares(app: FastifyInstance, services: Services): void {
  const { store } = services
  const path = `${API_BASE}/um/groups/:groupId/shares`
  const sharesOf = async (request: FastifyRequest) => {
    const group = await groupOf(services, request)
    return { group, shares: await listShares(store.db, group.id) }
  }
  app.get(path, async (request) => {
    const { group, shares } = await sharesOf(request)
    const place = `/um/groups/${group.id}/shares`
    return collectionOf(services, request, place, shares, (base, it) => renderShare(base, group, it))
  })
  app.get(`${path}/:resourceId`, async (request) => {
    parseQuery(request.query)
    const { group, shares } = await sharesOf(request)
    const { resourceId } = request.params as { resourceId: string }
    const found = shares.find((it) => it.resource_id === resourceId)
    if (found === undefined) throw notFound()
    return renderShare(services.base(request), group, found)
  })
  const put = async (request: FastifyRequest, reply: FastifyReply) => {
    const group = await groupOf(services, request)
    const { resourceId } = request.params as { resourceId: string }
    const [resource] = await findByIds(store.db, [resourceId])
    const isShareable = resource?.contract_number === group.contract_number && resource.type === 'datacenter'
    if (!isShareable) throw notFound() // What hangs in a data center is shared with it.
    const { editPrivilege } = (request.body as { properties: { editPrivilege?: boolean } }).properties
    return accept(services, request, reply, async (change) => {
      const mayEdit = editPrivilege === true
      await share(change, { groupId: group.id, resourceId, mayEdit })
      const row = {
        resource_id: resourceId,
        may_edit: mayEdit ? 1 : 0,
        type: resource.type,
        path: resource.path,
      }
      return renderShare(services.base(request), group, row)
    })
  }
  app.post(`${path}/:resourceId`, { schema: { body: ShareBody } }, put)
  app.put(`${path}/:resourceId`, { schema: { body: ShareBody } }, put)
  app.delete(`${path}/:resourceId`, async (request, reply) => {
    const group = await groupOf(services, request)
    const { resourceId } = request.params as { resourceId: string }
    return accept(services, request, reply, async (change) => {
      if (!(await unshare(change, group.id, resourceId))) throw notFound()
      const href = `/um/groups/${group.id}/shares/${resourceId}`
      return { ...reference(services.base(request), 'resource', href), gone: true }
    })
  })
}
