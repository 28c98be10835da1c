import type { FastifyInstance, FastifyReply } from 'fastify'
import { Type } from 'typebox'
import { WeirError } from '../../model/errors.ts'
import {
  type Account,
  contractsOf,
  findToken,
  issueToken,
  moveToken,
  revokeToken,
} from '../../store/accounts.ts'
import type { Services } from '../app.ts'
import type { Authentication } from '../authentication.ts'
import { InvalidInputError } from '../errors.ts'
import { assertSameOrigin, SESSION_COOKIE, sessionToken } from '../session-cookie.ts'

const SESSION_MS = 12 * 3_600_000
/** What its token is for where a password began it. */
export const BY_PASSWORD = 'console'
/** A token opens one contract; so does a session that began with one. */
const BY_TOKEN = 'console by token'

const text = Type.String({ minLength: 1, maxLength: 1000 })
const Credentials = Type.Object(
  {
    username: Type.Optional(text),
    password: Type.Optional(text),
    token: Type.Optional(text),
    contractNumber: Type.Optional(Type.Integer({ minimum: 0 })),
  },
  { additionalProperties: false },
)
interface Credentials {
  username?: string
  password?: string
  token?: string
  contractNumber?: number
}

const Chosen = Type.Object({ contractNumber: Type.Integer({ minimum: 0 }) }, { additionalProperties: false })

/**
 * The console's session. What signs in is exchanged for a token of its own that lives as long as the
 * session and that no script in the page can read.
 */
export async function sessionRoutes(
  app: FastifyInstance,
  { services, authentication }: { services: Services; authentication: Authentication },
): Promise<void> {
  const { store } = services

  app.post('/weir/v1/session', { schema: { body: Credentials } }, async (request, reply) => {
    assertSameOrigin(request) // Else another site could sign somebody in as somebody else.
    const credentials = request.body as Credentials
    const headers = headersOf(credentials)
    const account = await authentication.user({ headers, method: request.method, ip: request.ip })
    request.account = account // For the audit log.
    const { userId, contractNumber } = account
    const expiresAtMs = store.clock.nowMs() + SESSION_MS
    const purpose = credentials.token === undefined ? BY_PASSWORD : BY_TOKEN
    const { token } = await store.change((change) =>
      issueToken(change, { userId, contractNumber, purpose, expiresAtMs }),
    )
    setCookie(reply, { origin: services.origin(request), value: token, maxAgeS: SESSION_MS / 1000 })
    return reply.code(201).send(await rendered(services, account, token))
  })

  app.get('/weir/v1/session', async (request) =>
    rendered(services, request.account!, sessionToken(request.headers)),
  )

  app.put('/weir/v1/session', { schema: { body: Chosen } }, async (request) => {
    const token = sessionToken(request.headers)
    const account = request.account!
    const { contractNumber } = request.body as { contractNumber: number }
    const open = token === undefined ? [] : await openTo(services, account, token)
    const chosen = open.find((it) => it.contractNumber === contractNumber)
    if (token === undefined || chosen === undefined) {
      throw new WeirError('WEIR_FORBIDDEN', `this session cannot go to contract ${contractNumber}`)
    }
    await store.change((change) => moveToken(change, token, contractNumber))
    return rendered(services, { ...account, contractNumber, role: chosen.role }, token)
  })

  app.delete('/weir/v1/session', async (request, reply) => {
    const token = sessionToken(request.headers)
    if (token !== undefined) await store.change((change) => revokeToken(change, token))
    setCookie(reply, { origin: services.origin(request), value: '', maxAgeS: 0 })
    return reply.code(204).send()
  })
}

function headersOf(it: Credentials): Record<string, string> {
  const contract = it.contractNumber === undefined ? {} : { 'x-contract-number': String(it.contractNumber) }
  if (it.token !== undefined) return { authorization: `Bearer ${it.token.trim()}`, ...contract }
  if (it.username === undefined || it.password === undefined) {
    throw new InvalidInputError(['[(root)] Either username and password, or a token'])
  }
  const basic = Buffer.from(`${it.username}:${it.password}`).toString('base64')
  return { authorization: `Basic ${basic}`, ...contract }
}

async function rendered(
  services: Services,
  account: Account,
  token: string | undefined,
): Promise<Record<string, unknown>> {
  const { email, contractNumber, role, operator } = account
  const contracts = await openTo(services, account, token)
  return { email, contractNumber, role, operator, contracts, windowSizeS: services.options.windowSizeS }
}

/** The contracts that a session can be switched to, its own among them. */
async function openTo(
  { store }: Services,
  account: Account,
  token: string | undefined,
): Promise<Awaited<ReturnType<typeof contractsOf>>> {
  const session = token === undefined ? undefined : await findToken(store.db, token, store.clock.nowMs())
  const contracts = await contractsOf(store.db, account)
  const isWide = account.operator || (session?.id === account.userId && session.purpose === BY_PASSWORD)
  return isWide ? contracts : contracts.filter((it) => it.contractNumber === account.contractNumber)
}

/** `origin` is what readers see: there may be a proxy with TLS in front. */
function setCookie(
  reply: FastifyReply,
  { origin, value, maxAgeS }: { origin: string; value: string; maxAgeS: number },
): void {
  const secure = origin.startsWith('https:') ? '; Secure' : ''
  const attributes = `Path=/; Max-Age=${maxAgeS}; HttpOnly; SameSite=Strict${secure}`
  reply.header('set-cookie', `${SESSION_COOKIE}=${value}; ${attributes}`)
  reply.header('cache-control', 'no-store')
}
