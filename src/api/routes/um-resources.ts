import type { FastifyInstance, FastifyRequest } from 'fastify'
import { listShares } from '../../store/members.ts'
import { findByIds, listResources } from '../../store/resources.ts'
import { API_BASE, type Services } from '../app.ts'
import { notFound } from '../caller.ts'
import { parseQuery } from '../query.ts'
import { collectionOf, groupOf, renderSharable } from './um-answers.ts'

/** What else clients may ask for by type; Weir keeps nothing of it. */
const OTHER_TYPES = ['image', 'snapshot', 'ipblock', 'pcc', 'backupunit', 'k8s']

/** What groups may be given, and what a group was given: `Resource` and its collections in the SDK. */
export function umResourceRoutes(app: FastifyInstance, services: Services): void {
  const { store } = services
  const sharable = (request: FastifyRequest) => {
    const { contractNumber } = request.account!
    return listResources(store.db, { contractNumber, type: 'datacenter', parentId: '' })
  }
  const path = `${API_BASE}/um/resources`
  app.get(path, async (request) =>
    collectionOf(services, request, '/um/resources', await sharable(request), renderSharable),
  )
  app.get(`${path}/:resourceType`, async (request) => {
    const { resourceType } = request.params as { resourceType: string }
    if (resourceType !== 'datacenter' && !OTHER_TYPES.includes(resourceType)) throw notFound()
    const rows = resourceType === 'datacenter' ? await sharable(request) : []
    return collectionOf(services, request, `/um/resources/${resourceType}`, rows, renderSharable)
  })
  app.get(`${path}/:resourceType/:resourceId`, async (request) => {
    parseQuery(request.query)
    const { resourceType, resourceId } = request.params as { resourceType: string; resourceId: string }
    const [row] = await findByIds(store.db, [resourceId])
    const isTheirs = row?.contract_number === request.account!.contractNumber
    if (!isTheirs || row.type !== 'datacenter' || row.type !== resourceType) throw notFound()
    return renderSharable(services.base(request), row)
  })
  app.get(`${API_BASE}/um/groups/:groupId/resources`, async (request) => {
    const group = await groupOf(services, request)
    const place = `/um/groups/${group.id}/resources`
    const shares = await listShares(store.db, [group.id])
    return collectionOf(services, request, place, shares, renderSharable)
  })
}
