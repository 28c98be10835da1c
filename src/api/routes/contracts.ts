import type { FastifyInstance } from 'fastify'
import { ownerOf } from '../../store/accounts.ts'
import { API_BASE, type Services } from '../app.ts'
import { parseQuery } from '../query.ts'

/** What the API says of itself, and the caller's contract. */
export async function contractRoutes(app: FastifyInstance, services: Services): Promise<void> {
  app.get(API_BASE, async (request) => ({ href: services.base(request), name: 'CLOUD API', version: '6.0' }))

  app.get(`${API_BASE}/contracts`, async (request) => {
    const { contractNumber } = request.account!
    parseQuery(request.query)
    const href = `${services.base(request)}/contracts`
    const owner = await ownerOf(services.store.db, contractNumber)
    const properties = {
      contractNumber,
      owner: owner ?? null,
      status: 'BILLABLE',
      regDomain: 'weir',
      resourceLimits: {},
    }
    const contract = { type: 'contract', href: `${href}/${contractNumber}`, properties }
    return { id: 'contracts', type: 'collection', href, items: [contract] }
  })
}
