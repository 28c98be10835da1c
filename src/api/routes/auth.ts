import type { FastifyInstance } from 'fastify'
import { issueToken } from '../../store/accounts.ts'
import type { Services } from '../app.ts'

const YEAR_MS = 365 * 86_400_000

/** Bearer tokens where clients look for them. */
export async function authRoutes(app: FastifyInstance, services: Services): Promise<void> {
  app.get('/auth/v1/tokens/generate', async (request) => {
    const { userId, contractNumber } = request.account!
    const { token } = await services.store.change((change) => {
      const expiresAtMs = change.nowMs + YEAR_MS
      return issueToken(change, { userId, contractNumber, purpose: 'generated', expiresAtMs })
    })
    return { token }
  })
}
