import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { issueToken, listTokens, revokeTokenById } from '../../store/accounts.ts'
import type { Services } from '../app.ts'
import { notFound } from '../caller.ts'
import { wireDate } from '../render.ts'

const DAY_MS = 86_400_000
const TTL_DAYS_DEFAULT = 365

const Lifetime = Type.Object({
  days: Type.Optional(Type.Unsafe<string>({ type: 'string', pattern: '^[1-9]\\d{0,3}$' })),
})
const TokenPath = Type.Object({ tokenId: Type.String() })

/** Bearer tokens, where clients of the Cloud API look for them. */
export async function authRoutes(app: FastifyInstance, services: Services): Promise<void> {
  const { store } = services

  app.get('/auth/v1/tokens/generate', { schema: { querystring: Lifetime } }, async (request) => {
    const { userId, contractNumber } = request.account!
    const { days = String(TTL_DAYS_DEFAULT) } = request.query as { days?: string }
    const { token } = await store.change((change) => {
      const expiresAtMs = change.nowMs + Number(days) * DAY_MS
      return issueToken(change, { userId, contractNumber, purpose: 'generated', expiresAtMs })
    })
    return { token }
  })

  app.get('/auth/v1/tokens', async (request) => {
    const tokens = await listTokens(store.db, request.account!, store.clock.nowMs())
    return {
      tokens: tokens.map((it) => ({
        id: it.id,
        purpose: it.purpose,
        createdDate: wireDate(it.created_at),
        expirationDate: it.expires_at === null ? null : wireDate(it.expires_at),
        href: `${services.origin(request)}/auth/v1/tokens/${it.id}`,
      })),
    }
  })

  app.delete('/auth/v1/tokens/:tokenId', { schema: { params: TokenPath } }, async (request) => {
    const { tokenId } = request.params as { tokenId: string }
    const wasThere = await store.change((change) => revokeTokenById(change, request.account!.userId, tokenId))
    if (!wasThere) throw notFound()
    return { success: true }
  })
}
