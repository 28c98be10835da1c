import { WeirError } from '../model/errors.ts'
import { type Account, hasPrivilege, type Privilege, shareOf } from '../store/accounts.ts'
import type { ResourceRow } from '../store/schema.ts'
import type { Db } from '../store/store.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the authentication hook before any route with a user's credentials runs. */
    account: Account | undefined
    /** Set for the agent protocol. */
    agentHost: string | undefined
    /** The body as it came. */
    rawBody: string
  }
}

export function notFound(): WeirError {
  return new WeirError('WEIR_NOT_FOUND', 'Resource does not exist')
}

/** The user of whom shares say which data centers are visible; undefined for those who see all of the contract. */
export function sharedWith(account: Account): string | undefined {
  return account.operator || account.role !== 'member' ? undefined : account.userId
}

/** A resource that the caller cannot see does not exist. */
export async function assertVisible(
  db: Db,
  account: Account,
  row: ResourceRow | undefined,
): Promise<ResourceRow> {
  if (row === undefined || row.contract_number !== account.contractNumber) throw notFound()
  if (sharedWith(account) === undefined) return row
  if ((await shareOf(db, account, datacenterIdOf(row.path))) === undefined) throw notFound()
  return row
}

export async function assertEditable(db: Db, account: Account, row: ResourceRow): Promise<void> {
  if (sharedWith(account) === undefined) return
  const share = await shareOf(db, account, datacenterIdOf(row.path))
  if (share?.mayEdit !== true) {
    throw new WeirError('WEIR_FORBIDDEN', 'the data center is shared to be read, not to be edited')
  }
}

const PRIVILEGE_NAMES: Record<Privilege, string> = {
  createDataCenter: 'Create Data Center',
  createFlowLog: 'Create Flow Logs',
  accessActivityLog: 'Access Activity Log',
}

export async function assertPrivilege(db: Db, account: Account, privilege: Privilege): Promise<void> {
  if (await hasPrivilege(db, account, privilege)) return
  const name = PRIVILEGE_NAMES[privilege]
  throw new WeirError('WEIR_FORBIDDEN', `the privilege '${name}' (${privilege}) is missing`)
}

/** Owner and administrators run a contract; the operator runs all of them. */
export function assertAdministrator(account: Account): void {
  if (account.operator || account.role !== 'member') return
  throw new WeirError('WEIR_FORBIDDEN', 'only the owner and administrators of the contract may do this')
}

export function assertOperator(account: Account): void {
  if (account.operator) return
  throw new WeirError('WEIR_FORBIDDEN', 'only the operator of this installation may do this')
}

/** The data center that a resource lies in. */
export function datacenterIdOf(path: string): string {
  return path.split('/')[2] ?? ''
}
