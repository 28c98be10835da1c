import { randomUUID } from 'node:crypto'
import { WeirError } from '../model/errors.ts'
import { someAtATime } from './batches.ts'
import type { ResourceRow, Role, Tables, UserRow } from './schema.ts'
import { type Change, type Db, isUniqueViolation } from './store.ts'

/** A user as a member of one contract. */
export type Member = UserRow & { role: Role }
export type Group = Tables['user_groups']
/** A resource with the group that it is shared to. */
export type Share = ResourceRow & { group_id: string; may_edit: number }

export function listMembers(db: Db, contractNumber: number): Promise<Member[]> {
  return members(db, contractNumber).execute()
}

export function findMember(db: Db, contractNumber: number, userId: string): Promise<Member | undefined> {
  return members(db, contractNumber).where('users.id', '=', userId).executeTakeFirst()
}

function members(db: Db, contractNumber: number) {
  return db
    .selectFrom('contract_users')
    .innerJoin('users', 'users.id', 'contract_users.user_id')
    .selectAll('users')
    .select('contract_users.role')
    .where('contract_users.contract_number', '=', contractNumber)
    .orderBy('users.created_at')
    .orderBy('users.id')
}

export async function updateUser(
  change: Change,
  userId: string,
  values: {
    first_name?: string
    last_name?: string
    active?: number
    password_hash?: string
    email?: string
  },
): Promise<void> {
  if (Object.keys(values).length === 0) return
  try {
    await change.tx.updateTable('users').set(values).where('id', '=', userId).execute()
  } catch (cause) {
    if (!isUniqueViolation(cause)) throw cause
    throw new WeirError('WEIR_RESOURCE_EXISTS', 'the e-mail address is taken', { cause })
  }
}

export async function setRole(
  change: Change,
  member: { contractNumber: number; userId: string; role: Role },
): Promise<void> {
  await change.tx
    .updateTable('contract_users')
    .set({ role: member.role })
    .where('contract_number', '=', member.contractNumber)
    .where('user_id', '=', member.userId)
    .execute()
}

/** Ends a membership with all that came of it; a user without any contract is no user. */
export async function removeMember(change: Change, contractNumber: number, userId: string): Promise<void> {
  const { tx } = change
  const groups = tx.selectFrom('user_groups').select('id').where('contract_number', '=', contractNumber)
  await tx.deleteFrom('group_users').where('user_id', '=', userId).where('group_id', 'in', groups).execute()
  await tx
    .deleteFrom('contract_users')
    .where('contract_number', '=', contractNumber)
    .where('user_id', '=', userId)
    .execute()
  await tx
    .deleteFrom('tokens')
    .where('user_id', '=', userId)
    .where('contract_number', '=', contractNumber)
    .execute()
  const others = tx.selectFrom('contract_users').select('user_id').where('user_id', '=', userId)
  await tx.deleteFrom('users').where('id', '=', userId).where('id', 'not in', others).execute()
}

export function listGroups(db: Db, contractNumber: number): Promise<Group[]> {
  return db
    .selectFrom('user_groups')
    .selectAll()
    .where('contract_number', '=', contractNumber)
    .orderBy('created_at')
    .orderBy('id')
    .execute()
}

export function findGroup(db: Db, contractNumber: number, id: string): Promise<Group | undefined> {
  return db
    .selectFrom('user_groups')
    .selectAll()
    .where('contract_number', '=', contractNumber)
    .where('id', '=', id)
    .executeTakeFirst()
}

export async function insertGroup(
  change: Change,
  group: { contractNumber: number; name: string; privileges: Record<string, boolean> },
): Promise<Group> {
  const row: Group = {
    id: randomUUID(),
    contract_number: group.contractNumber,
    name: group.name,
    privileges: JSON.stringify(group.privileges),
    created_at: change.nowMs,
  }
  await change.tx.insertInto('user_groups').values(row).execute()
  return row
}

export async function updateGroup(
  change: Change,
  id: string,
  values: { name: string; privileges: Record<string, boolean> },
): Promise<void> {
  const { name, privileges } = values
  await change.tx
    .updateTable('user_groups')
    .set({ name, privileges: JSON.stringify(privileges) })
    .where('id', '=', id)
    .execute()
}

export async function deleteGroup(change: Change, id: string): Promise<void> {
  await change.tx.deleteFrom('user_groups').where('id', '=', id).execute()
}

/** Who is in each of these groups of a contract. */
export async function groupUsers(
  db: Db,
  contractNumber: number,
  groupIds: readonly string[],
): Promise<(Member & { group_id: string })[]> {
  const found: (Member & { group_id: string })[] = []
  for (const some of someAtATime(groupIds)) {
    const query = members(db, contractNumber)
      .innerJoin('group_users', 'group_users.user_id', 'users.id')
      .select('group_users.group_id')
      .where('group_users.group_id', 'in', some)
    found.push(...(await query.execute()))
  }
  return found
}

export async function joinGroup(change: Change, groupId: string, userId: string): Promise<void> {
  await change.tx
    .insertInto('group_users')
    .values({ group_id: groupId, user_id: userId })
    .onConflict((it) => it.doNothing())
    .execute()
}

export async function leaveGroup(change: Change, groupId: string, userId: string): Promise<boolean> {
  const row = await change.tx
    .deleteFrom('group_users')
    .where('group_id', '=', groupId)
    .where('user_id', '=', userId)
    .returning('user_id')
    .executeTakeFirst()
  return row !== undefined
}

/** What each of these groups was given. */
export async function listShares(db: Db, groupIds: readonly string[]): Promise<Share[]> {
  const found: Share[] = []
  for (const some of someAtATime(groupIds)) {
    const query = db
      .selectFrom('group_shares')
      .innerJoin('resources', 'resources.id', 'group_shares.resource_id')
      .selectAll('resources')
      .select(['group_shares.group_id', 'group_shares.may_edit'])
      .where('group_shares.group_id', 'in', some)
      .orderBy('resources.ordinal')
    found.push(...(await query.execute()))
  }
  return found
}

export async function share(
  change: Change,
  it: { groupId: string; resourceId: string; mayEdit: boolean },
): Promise<void> {
  const may_edit = it.mayEdit ? 1 : 0
  await change.tx
    .insertInto('group_shares')
    .values({ group_id: it.groupId, resource_id: it.resourceId, may_edit })
    .onConflict((on) => on.columns(['resource_id', 'group_id']).doUpdateSet({ may_edit }))
    .execute()
}

export async function unshare(change: Change, groupId: string, resourceId: string): Promise<boolean> {
  const row = await change.tx
    .deleteFrom('group_shares')
    .where('group_id', '=', groupId)
    .where('resource_id', '=', resourceId)
    .returning('resource_id')
    .executeTakeFirst()
  return row !== undefined
}
