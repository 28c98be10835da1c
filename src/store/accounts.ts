import { randomUUID } from 'node:crypto'
import { WeirError } from '../model/errors.ts'
import type { Role, TokenRow, UserRow } from './schema.ts'
import { hashPassword, hashToken, newToken } from './secrets.ts'
import { type Change, type Db, isUniqueViolation } from './store.ts'

/** Who speaks, for which contract, and what they may do there. */
export interface Account {
  userId: string
  email: string
  operator: boolean
  contractNumber: number
  role: Role
}

export interface Membership {
  contractNumber: number
  role: Role
}

export function findUserByEmail(db: Db, email: string): Promise<UserRow | undefined> {
  return db.selectFrom('users').selectAll().where('email', '=', email).executeTakeFirst()
}

export function findUser(db: Db, id: string): Promise<UserRow | undefined> {
  return db.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst()
}

/** The contracts of a user, the one that is meant without `X-Contract-Number` first. */
export async function membershipsOf(db: Db, userId: string): Promise<Membership[]> {
  const rows = await db
    .selectFrom('contract_users')
    .select(['contract_number', 'role'])
    .where('user_id', '=', userId)
    .orderBy('contract_number')
    .execute()
  return rows.map((it) => ({ contractNumber: it.contract_number, role: it.role }))
}


export type TokenBearer = UserRow & {
  contract_number: number
  purpose: string
  expires_at: number | null
  role: Role | null
}
