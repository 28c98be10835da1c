import type { IncomingHttpHeaders } from 'node:http'
import { WeirError } from '../model/errors.ts'
import {
  type Account,
  contractExists,
  findToken,
  findUserByEmail,
  type Membership,
  membershipsOf,
  type TokenBearer,
} from '../store/accounts.ts'
import { findAgentToken } from '../store/agents.ts'
import type { UserRow } from '../store/schema.ts'
import type { Store } from '../store/store.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { AccessMemory } from './access-memory.ts'
import { InvalidInputError } from './errors.ts'
import type { OpenIdIssuer } from './open-id.ts'
import { PasswordCheck } from './password-check.ts'
import { assertSameOrigin, sessionToken } from './session-cookie.ts'

/** What says who asks. */
export interface Asking {
  headers: IncomingHttpHeaders
  method: string
  /** The client's address. */
  ip: string
}

const ADDRESS_SIZE_MAX = 256

/** Our own tokens have no dots. */
const JWT = /^[\w-]+\.[\w-]+\.[\w-]*$/

/** Finds out who asks. Runs before routing, so that a stranger does not even learn which paths exist. */
export class Authentication {
  readonly #store: Store
  readonly #openId: OpenIdIssuer | undefined
  readonly #passwords: PasswordCheck
  readonly #tokens: AccessMemory<TokenBearer>
  readonly #agentTokens: AccessMemory<string>

  constructor({
    store,
    metrics,
    openId,
  }: { store: Store; metrics: Metrics; openId: OpenIdIssuer | undefined }) {
    this.#store = store
    this.#passwords = new PasswordCheck({ clock: store.clock, metrics })
    this.#openId = openId
    this.#tokens = new AccessMemory(store)
    this.#agentTokens = new AccessMemory(store)
  }

  async user(request: Asking): Promise<Account> {
    const [scheme, credentials] = authorizationOf(request)
    if (scheme === 'bearer') {
      const isOpenId = this.#openId !== undefined && JWT.test(credentials)
      return isOpenId ? this.#bySubject(credentials, request) : this.#byToken(credentials, request)
    }
    if (scheme === 'basic') return this.#byPassword(credentials, request)
    const session = scheme === '' ? sessionToken(request.headers) : undefined
    if (session !== undefined) {
      assertSameOrigin(request)
      return this.#byToken(session, request)
    }
    throw unauthorized()
  }

  /** Agent tokens open the agent protocol and nothing else. */
  async agent(request: Asking): Promise<string> {
    const [scheme, credentials] = authorizationOf(request)
    if (scheme !== 'bearer') throw unauthorized()
    const host = await this.#agentTokens.read(credentials, () => findAgentToken(this.#store.db, credentials))
    if (host === undefined) throw unauthorized()
    return host
  }

  async #byToken(token: string, request: Asking): Promise<Account> {
    const nowMs = this.#store.clock.nowMs()
    const row = await this.#tokens.read(token, () => findToken(this.#store.db, token, nowMs))
    if (row === undefined || row.active === 0) throw unauthorized()
    if (row.expires_at !== null && row.expires_at <= nowMs) throw unauthorized() // Since it was read.
    if (row.role === null && row.operator === 0) throw unauthorized() // No longer a member of its contract.
    const own: Membership = { contractNumber: row.contract_number, role: row.role ?? 'admin' }
    const wanted = wantedContract(request)
    if (wanted === undefined || wanted === own.contractNumber) return accountOf(row, own)
    return this.#asOperator(row, wanted) // A token is for one contract, but for the operator's.
  }

  async #byPassword(credentials: string, request: Asking): Promise<Account> {
    const text = Buffer.from(credentials, 'base64').toString('utf8')
    const colon = text.indexOf(':')
    if (colon < 0 || text.includes('\0')) throw unauthorized() // PostgreSQL takes no NUL in a text.
    if (colon > ADDRESS_SIZE_MAX) throw unauthorized() // Nobody's, and who guesses is remembered by it.
    const email = text.slice(0, colon)
    const user = await findUserByEmail(this.#store.db, email)
    const hash = user?.password_hash ?? undefined
    const guess = { email: email.toLowerCase(), password: text.slice(colon + 1), hash, address: request.ip }
    const isRight = await this.#passwords.isRight(guess)
    if (user === undefined || user.active === 0 || !isRight) throw unauthorized()
    return this.#asMember(user, wantedContract(request))
  }

  /**
   * The issuer says who it is, we say what that user may do: nobody becomes a member by a token, and who was
   * shut out here stays out however long the token lasts.
   */
  async #bySubject(token: string, request: Asking): Promise<Account> {
    const subject = await this.#openId?.subject(token)
    const user = subject && (await findUserByEmail(this.#store.db, subject.email))
    if (subject === undefined || user === undefined || user.active === 0) throw unauthorized()
    const wanted = wantedContract(request)
    const own = subject.contractNumber
    if (own !== undefined && wanted !== undefined && wanted !== own && user.operator === 0) {
      throw foreignContract(wanted)
    }
    return this.#asMember(user, wanted ?? own)
  }

  async #asMember(user: UserRow, wanted: number | undefined): Promise<Account> {
    const memberships = await membershipsOf(this.#store.db, user.id)
    const chosen =
      wanted === undefined ? memberships[0] : memberships.find((it) => it.contractNumber === wanted)
    if (chosen !== undefined) return accountOf(user, chosen)
    if (wanted === undefined) throw unauthorized()
    return this.#asOperator(user, wanted)
  }

  async #asOperator(user: UserRow, contractNumber: number): Promise<Account> {
    const mayEnter = user.operator === 1 && (await contractExists(this.#store.db, contractNumber))
    if (mayEnter) return accountOf(user, { contractNumber, role: 'admin' })
    throw foreignContract(contractNumber)
  }
}

function accountOf(user: UserRow, { contractNumber, role }: Membership): Account {
  return { userId: user.id, email: user.email, operator: user.operator === 1, contractNumber, role }
}

function authorizationOf(request: Asking): [scheme: string, credentials: string] {
  const [scheme = '', credentials = ''] = (request.headers.authorization ?? '').split(/ +/, 2)
  return [scheme.toLowerCase(), credentials]
}

function wantedContract(request: Asking): number | undefined {
  const value = request.headers['x-contract-number']
  if (value === undefined || value === '') return undefined
  if (typeof value === 'string' && /^\d{1,15}$/.test(value)) return Number(value)
  throw new InvalidInputError(['[X-Contract-Number] Header value is not a contract number'])
}

function unauthorized(): WeirError {
  return new WeirError('WEIR_UNAUTHORIZED', 'Unauthorized')
}

function foreignContract(contractNumber: number): WeirError {
  return new WeirError('WEIR_FORBIDDEN', `no access to contract ${contractNumber}`)
}
