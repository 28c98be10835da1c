import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type TSchema, Type } from 'typebox'
import { WeirError } from '../../model/errors.ts'
import { type Account, createUser, membershipsOf, revokeTokens } from '../../store/accounts.ts'
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
import { findByIds, lockDatacenters } from '../../store/resources.ts'
import { hashPassword } from '../../store/secrets.ts'
import type { Change, Db } from '../../store/store.ts'
import { API_BASE, type Services } from '../app.ts'
import { assertAdministrator, notFound } from '../caller.ts'
import { PRIVILEGES } from '../privileges.ts'
import { parseQuery } from '../query.ts'
import { BY_PASSWORD } from './session.ts'
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
import { umResourceRoutes } from './um-resources.ts'

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
): Promise<Rendered | undefined> {
  const { contractNumber } = account
  const { firstname, lastname, email: address, administrator, active } = properties
  await updateUser(change, member.id, {
    first_name: firstname,
    last_name: lastname,
    email: address,
    ...(active === undefined ? {} : { active: active ? 1 : 0 }),
    ...(passwordHash === undefined ? {} : { password_hash: passwordHash }),
  })
  if (passwordHash !== undefined) await revokeTokens(change, member.id, BY_PASSWORD)
  if (administrator !== undefined && member.role !== 'owner') {
    await setRole(change, { contractNumber, userId: member.id, role: administrator ? 'admin' : 'member' })
  }
  const fresh = await findMember(change.tx, contractNumber, member.id)
  return fresh && renderUser(base, fresh)
}

function addGroups(app: FastifyInstance, services: Services): void {
  const { store } = services
  const path = `${API_BASE}/um/groups`
  app.get(path, async (request) => {
    const groups = await listGroups(store.db, request.account!.contractNumber)
    const collection = collectionOf(services, request, '/um/groups', groups, renderGroup)
    const { depth } = parseQuery(request.query)
    if (depth < 2) return collection
    const byId = new Map(groups.map((it) => [it.id, it]))
    const shown = (collection['items'] as Rendered[]).map((it) => byId.get(it.id)!)
    return { ...collection, items: await groupsAt(services, request, shown, depth - 1) }
  })
  app.get(`${path}/:groupId`, async (request) => {
    const { depth } = parseQuery(request.query)
    return (await groupsAt(services, request, [await groupOf(services, request)], depth))[0]
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
      return fresh && renderGroup(services.base(request), fresh)
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

/** With who is in them and what they may see, as far as the depth goes. */
async function groupsAt(
  services: Services,
  request: FastifyRequest,
  groups: Group[],
  depth: number,
): Promise<Rendered[]> {
  const base = services.base(request)
  if (depth === 0) return groups.map((it) => renderGroup(base, it))
  const { db } = services.store
  const ids = groups.map((it) => it.id)
  const { contractNumber } = request.account!
  const usersOf = Map.groupBy(await groupUsers(db, contractNumber, ids), (it) => it.group_id)
  const sharesOf = Map.groupBy(await listShares(db, ids), (it) => it.group_id)
  return groups.map((group) => {
    const users = usersOf.get(group.id) ?? []
    const shares = sharesOf.get(group.id) ?? []
    const rendered = renderGroup(base, group)
    const entity = <T>(name: string, rows: T[], render: (base: string, row: T) => Rendered) => {
      const items = rows.map((row) => render(base, row)).map((it) => (depth === 1 ? asReference(it) : it))
      return { [name]: { ...(rendered.entities![name] as object), items } }
    }
    const entities = {
      ...entity('users', users, renderUser),
      ...entity('resources', shares, renderSharable),
      ...entity('shares', shares, renderShare),
    }
    return { ...rendered, entities }
  })
}

function addGroupUsers(app: FastifyInstance, services: Services): void {
  const { store } = services
  const path = `${API_BASE}/um/groups/:groupId/users`
  app.get(path, async (request) => {
    const group = await groupOf(services, request)
    const members = await groupUsers(store.db, group.contract_number, [group.id])
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
    return { group, shares: await listShares(store.db, [group.id]) }
  }
  app.get(path, async (request) => {
    const { group, shares } = await sharesOf(request)
    const place = `/um/groups/${group.id}/shares`
    return collectionOf(services, request, place, shares, renderShare)
  })
  app.get(`${path}/:resourceId`, async (request) => {
    parseQuery(request.query)
    const { shares } = await sharesOf(request)
    const { resourceId } = request.params as { resourceId: string }
    const found = shares.find((it) => it.id === resourceId)
    if (found === undefined) throw notFound()
    return renderShare(services.base(request), found)
  })
  const put = async (request: FastifyRequest, reply: FastifyReply) => {
    const group = await groupOf(services, request)
    const { resourceId } = request.params as { resourceId: string }
    const { editPrivilege } = (request.body as { properties: { editPrivilege?: boolean } }).properties
    return accept(services, request, reply, async (change) => {
      await lockDatacenters(change, [`/datacenters/${resourceId}`])
      const [resource] = await findByIds(change.tx, [resourceId])
      const isShareable =
        resource?.contract_number === group.contract_number && resource.type === 'datacenter'
      if (!isShareable) return undefined // What hangs in a data center is shared with it.
      const mayEdit = editPrivilege === true
      await share(change, { groupId: group.id, resourceId, mayEdit })
      const row = { id: resourceId, group_id: group.id, may_edit: mayEdit ? 1 : 0 }
      return renderShare(services.base(request), row)
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
