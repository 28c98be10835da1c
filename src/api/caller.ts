import { WeirError } from '../model/errors.ts'
import { type Account, hasPrivilege, type Privilege, sharesOf } from '../store/accounts.ts'
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

/** Data centers that a caller may see: undefined means all of the contract. */
export async function visibleDatacenters(db: Db, account: Account): Promise<string[] | undefined> {
  if (account.operator || account.role !== 'member') return undefined
  return [...(await sharesOf(db, account)).keys()]
}

/** A resource that the caller cannot see does not exist. */
export async function assertVisible(
  db: Db,
  account: Account,
  row: ResourceRow | undefined,
): Promise<ResourceRow> {
  if (row === undefined || row.contract_number !== account.contractNumber) throw notFound()
  const visible = await visibleDatacenters(db, account)
  if (visible !== undefined && !visible.includes(datacenterIdOf(row.path))) throw notFound()
  return row
}

export async function assertEditable(db: Db, account: Account, row: ResourceRow): Promise<void> {
  if (account.operator || account.role !== 'member') return
  const share = (await sharesOf(db, account)).get(datacenterIdOf(row.path))
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
