import { randomUUID } from 'node:crypto'
import { WeirError } from '../model/errors.ts'
import { prepared } from './prepared.ts'
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

/** In any case: it is kept as it was written, and people write it otherwise. */
export function findUserByEmail(db: Db, email: string): Promise<UserRow | undefined> {
  return db
    .selectFrom('users')
    .selectAll()
    .where(({ eb, fn, val }) => eb(fn<string>('lower', ['email']), '=', fn<string>('lower', [val(email)])))
    .executeTakeFirst()
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

const CONTRACTS_MAX = 1_000

/** Where a user may work: in contracts that they are a member of, and the operator in all there are. */
export async function contractsOf(
  db: Db,
  { userId, operator }: Pick<Account, 'userId' | 'operator'>,
): Promise<(Membership & { name: string })[]> {
  const all = db
    .selectFrom('contracts')
    .leftJoin('contract_users', (join) =>
      join
        .onRef('contract_users.contract_number', '=', 'contracts.contract_number')
        .on('contract_users.user_id', '=', userId),
    )
    .select(['contracts.contract_number', 'contracts.name', 'contract_users.role'])
    .orderBy('contracts.contract_number')
    .limit(CONTRACTS_MAX)
  const rows = await (operator ? all : all.where('contract_users.role', 'is not', null)).execute()
  return rows.map(({ contract_number: contractNumber, name, role }) => ({
    contractNumber,
    name,
    role: role ?? 'admin',
  }))
}

export type TokenBearer = UserRow & {
  contract_number: number
  purpose: string
  expires_at: number | null
  role: Role | null
}

/**
 * The user behind a token, with the contract that it was made for. Neither expired nor revoked ones open
 * anything.
 */
export function findToken(db: Db, token: string, nowMs: number): Promise<TokenBearer | undefined> {
  return db
    .selectFrom('tokens')
    .innerJoin('users', 'users.id', 'tokens.user_id')
    .leftJoin('contract_users', (join) =>
      join
        .onRef('contract_users.user_id', '=', 'tokens.user_id')
        .onRef('contract_users.contract_number', '=', 'tokens.contract_number'),
    )
    .selectAll('users')
    .select(['tokens.contract_number', 'tokens.purpose', 'tokens.expires_at', 'contract_users.role'])
    .where('tokens.hash', '=', hashToken(token))
    .where('tokens.revoked_at', 'is', null)
    .where((it) => it.or([it('tokens.expires_at', 'is', null), it('tokens.expires_at', '>', nowMs)]))
    .executeTakeFirst()
}

export interface TokenOptions {
  userId: string
  contractNumber: number
  purpose: string
  expiresAtMs?: number
}

/** Returns the token itself; the database keeps only its digest. */
export async function issueToken(
  change: Change,
  options: TokenOptions,
): Promise<{ id: string; token: string }> {
  const token = newToken('user')
  const id = randomUUID()
  const row = {
    id,
    hash: hashToken(token),
    user_id: options.userId,
    contract_number: options.contractNumber,
    purpose: options.purpose,
    created_at: change.nowMs,
    expires_at: options.expiresAtMs ?? null,
    revoked_at: null,
  }
  await change.tx.insertInto('tokens').values(row).execute()
  return { id, token }
}

/** From now on the token is for another contract. Whether its user may work there has been asked. */
export async function moveToken(change: Change, token: string, contractNumber: number): Promise<void> {
  await change.tx
    .updateTable('tokens')
    .set({ contract_number: contractNumber })
    .where('hash', '=', hashToken(token))
    .execute()
}

export async function revokeToken(change: Change, token: string): Promise<void> {
  await change.tx
    .updateTable('tokens')
    .set({ revoked_at: change.nowMs })
    .where('hash', '=', hashToken(token))
    .where('revoked_at', 'is', null)
    .execute()
}

export async function revokeTokens(change: Change, userId: string, purpose: string): Promise<void> {
  await change.tx
    .updateTable('tokens')
    .set({ revoked_at: change.nowMs })
    .where('user_id', '=', userId)
    .where('purpose', '=', purpose)
    .where('revoked_at', 'is', null)
    .execute()
}

/** The tokens that still open something. */
export function listTokens(db: Db, account: Account, nowMs: number): Promise<TokenRow[]> {
  return db
    .selectFrom('tokens')
    .selectAll()
    .where('user_id', '=', account.userId)
    .where('contract_number', '=', account.contractNumber)
    .where('revoked_at', 'is', null)
    .where((it) => it.or([it('expires_at', 'is', null), it('expires_at', '>', nowMs)]))
    .orderBy('created_at')
    .execute()
}

/** Ends one token of this user, at once and for good. */
export async function revokeTokenById(change: Change, userId: string, id: string): Promise<boolean> {
  const row = await change.tx
    .updateTable('tokens')
    .set({ revoked_at: change.nowMs })
    .where('id', '=', id)
    .where('user_id', '=', userId)
    .where('revoked_at', 'is', null)
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

export interface UserOptions {
  email: string
  /** Already hashed: scrypt is too slow for the inside of a transaction. */
  passwordHash: string | null
  firstName: string
  lastName: string
  operator: boolean
  contractNumber: number
  role: Role
}

export async function createUser(change: Change, options: UserOptions): Promise<string> {
  const id = randomUUID()
  const user = {
    id,
    email: options.email,
    password_hash: options.passwordHash,
    first_name: options.firstName,
    last_name: options.lastName,
    operator: options.operator ? 1 : 0,
    active: 1,
    created_at: change.nowMs,
  }
  try {
    await change.tx.insertInto('users').values(user).execute()
  } catch (cause) {
    if (!isUniqueViolation(cause)) throw cause
    throw new WeirError('WEIR_RESOURCE_EXISTS', 'the e-mail address is taken', { cause })
  }
  await addMember(change, { contractNumber: options.contractNumber, userId: id, role: options.role })
  return id
}

export async function addMember(
  change: Change,
  options: { contractNumber: number; userId: string; role: Role },
): Promise<void> {
  const row = { contract_number: options.contractNumber, user_id: options.userId, role: options.role }
  await change.tx.insertInto('contract_users').values(row).execute()
}

export async function setPassword(change: Change, userId: string, password: string): Promise<void> {
  const hash = await hashPassword(password)
  await change.tx.updateTable('users').set({ password_hash: hash }).where('id', '=', userId).execute()
}

export async function createContract(
  change: Change,
  options: { contractNumber: number; name: string },
): Promise<void> {
  const row = { contract_number: options.contractNumber, name: options.name, created_at: change.nowMs }
  try {
    await change.tx.insertInto('contracts').values(row).execute()
  } catch (cause) {
    if (!isUniqueViolation(cause)) throw cause
    throw new WeirError('WEIR_RESOURCE_EXISTS', `contract ${options.contractNumber} exists`, { cause })
  }
}

export async function contractExists(db: Db, contractNumber: number): Promise<boolean> {
  const query = db.selectFrom('contracts').select('name').where('contract_number', '=', contractNumber)
  return (await query.executeTakeFirst()) !== undefined
}

export async function contractNumbers(db: Db, limit = 1000): Promise<number[]> {
  return (await selectContracts(db, { limit })).map((it) => it.contract_number)
}

const selectContracts = prepared((db, { limit }: { limit: number }) =>
  db.selectFrom('contracts').select('contract_number').orderBy('contract_number').limit(limit),
)

export interface Contract {
  contractNumber: number
  name: string
  createdAtMs: number
  owner: string | undefined
}

/** Everybody's. */
export async function listContracts(db: Db): Promise<Contract[]> {
  const rows = await db
    .selectFrom('contracts')
    .leftJoin('contract_users', (join) =>
      join
        .onRef('contract_users.contract_number', '=', 'contracts.contract_number')
        .on('contract_users.role', '=', 'owner'),
    )
    .leftJoin('users', 'users.id', 'contract_users.user_id')
    .select(['contracts.contract_number', 'contracts.name', 'contracts.created_at', 'users.email'])
    .orderBy('contracts.contract_number')
    .execute()
  return rows.map((it) => ({
    contractNumber: it.contract_number,
    name: it.name,
    createdAtMs: it.created_at,
    owner: it.email ?? undefined,
  }))
}

/** E-mail address of the contract's owner. */
export async function ownerOf(db: Db, contractNumber: number): Promise<string | undefined> {
  const row = await db
    .selectFrom('contract_users')
    .innerJoin('users', 'users.id', 'contract_users.user_id')
    .select('users.email')
    .where('contract_users.contract_number', '=', contractNumber)
    .where('contract_users.role', '=', 'owner')
    .executeTakeFirst()
  return row?.email
}

export type Privilege = 'createDataCenter' | 'createFlowLog' | 'accessActivityLog'

/** Owner and administrators have every privilege; others have what one of their groups has. */
export async function hasPrivilege(db: Db, account: Account, privilege: Privilege): Promise<boolean> {
  if (account.operator || account.role !== 'member') return true
  const rows = await db
    .selectFrom('group_users')
    .innerJoin('user_groups', 'user_groups.id', 'group_users.group_id')
    .select('user_groups.privileges')
    .where('group_users.user_id', '=', account.userId)
    .where('user_groups.contract_number', '=', account.contractNumber)
    .execute()
  return rows.some((it) => (JSON.parse(it.privileges) as Record<string, unknown>)[privilege] === true)
}

/** Whether a data center is shared to a group of a member, and whether to be changed. */
export async function shareOf(
  db: Db,
  account: Account,
  datacenterId: string,
): Promise<{ mayEdit: boolean } | undefined> {
  const { userId, contractNumber } = account
  const rows = await selectShares(db, { userId, contractNumber, datacenterId })
  return rows.length === 0 ? undefined : { mayEdit: rows.some((it) => it.may_edit === 1) }
}

const selectShares = prepared((db, it: { userId: string; contractNumber: number; datacenterId: string }) =>
  db
    .selectFrom('group_shares')
    .innerJoin('group_users', 'group_users.group_id', 'group_shares.group_id')
    .innerJoin('user_groups', 'user_groups.id', 'group_shares.group_id')
    .select('group_shares.may_edit')
    .where('group_shares.resource_id', '=', it.datacenterId)
    .where('group_users.user_id', '=', it.userId)
    .where('user_groups.contract_number', '=', it.contractNumber),
)
