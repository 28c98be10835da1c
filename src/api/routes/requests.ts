import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import type { Account } from '../../store/accounts.ts'
import {
  countRequests,
  findRequest,
  listRequests,
  type RequestFilter,
  targetsOf,
} from '../../store/requests.ts'
import type { RequestRow, RequestTargetRow } from '../../store/schema.ts'
import { API_BASE, type Services } from '../app.ts'
import { notFound } from '../caller.ts'
import { refine, renderCollection } from '../listing.ts'
import { parseQuery, type Query } from '../query.ts'
import { wireDate } from '../render.ts'

const Params = Type.Object({ requestId: Type.String() })

/** What clients poll after every mutation. */
export async function requestRoutes(app: FastifyInstance, services: Services): Promise<void> {
  const { db } = services.store
  const found = async (account: Account, id: string): Promise<RequestRow> => {
    const row = await findRequest(db, account.contractNumber, id.toLowerCase())
    if (row === undefined) throw notFound()
    const isOthers = account.role === 'member' && !account.operator && row.created_by_id !== account.userId
    if (isOthers) throw notFound()
    return row
  }

  app.get(`${API_BASE}/requests`, async (request) => {
    const query = parseQuery(request.query)
    const filter = filterOf(request.account!, query)
    const base = services.base(request)
    const { rows, total } = await page(db, filter, query)
    const items = rows.map((it) => (query.depth === 0 ? referenceTo(base, it) : rendered(base, it)))
    const frame = { id: 'requests', href: `${base}/requests`, url: request.url }
    return renderCollection(frame, items, { offset: query.offset, limit: query.limit, total })
  })

  app.get(`${API_BASE}/requests/:requestId`, { schema: { params: Params } }, async (request) => {
    parseQuery(request.query)
    const { requestId } = request.params as { requestId: string }
    return rendered(services.base(request), await found(request.account!, requestId))
  })

  app.get(`${API_BASE}/requests/:requestId/status`, { schema: { params: Params } }, async (request) => {
    parseQuery(request.query)
    const { requestId } = request.params as { requestId: string }
    const row = await found(request.account!, requestId)
    return renderedStatus(services.base(request), row, await targetsOf(db, row.id))
  })
}

async function page(
  db: Services['store']['db'],
  filter: RequestFilter,
  query: Query,
): Promise<{ rows: RequestRow[]; total: number }> {
  const { offset, limit } = query
  const filters = query.filters.filter(({ name }) => !SQL_FILTERS.includes(name))
  if (filters.length === 0 && query.orderBy === undefined) {
    const rows = await listRequests(db, filter, { offset, limit })
    return { rows, total: await countRequests(db, filter) }
  }
  const wanted = { ...query, filters, maxResults: undefined }
  const rows = refine({ of: attributesOf }, await listRequests(db, filter), wanted)
  return { rows: rows.slice(offset, offset + limit), total: rows.length }
}

const SQL_FILTERS = ['status', 'requestStatus', 'createdAfter', 'createdBefore']

function attributesOf({ method, headers, body, url, ...row }: RequestRow) {
  const { created_by: createdBy, etag, status: requestStatus } = row
  const metadata = { createdDate: wireDate(row.created_at), createdBy, etag, requestStatus }
  return { properties: { method, headers, body, url }, metadata }
}

/** Members without the overview see their own requests. */
function filterOf(account: Account, query: Query): RequestFilter {
  const values = (name: string) => query.filters.filter((it) => it.name === name).flatMap((it) => it.values)
  const status = [...values('status'), ...values('requestStatus')].map((it) => it.toUpperCase())
  const after = values('createdAfter').map((it) => timeOf(it) ?? Number.MAX_SAFE_INTEGER)
  const before = values('createdBefore').map((it) => timeOf(it) ?? 0)
  return {
    contractNumber: account.contractNumber,
    ...(account.role === 'member' && !account.operator ? { onlyUserId: account.userId } : {}),
    ...(status.length > 0 ? { status } : {}),
    ...(after.length === 0 ? {} : { createdAfterMs: Math.max(...after) }),
    ...(before.length === 0 ? {} : { createdBeforeMs: Math.min(...before) }),
    ...(query.maxResults === undefined ? {} : { firstOf: query.maxResults }),
  }
}

/** `yyyy-MM-dd HH:mm:ss`, in UTC; undefined when it cannot be read: it then matches nothing. */
function timeOf(value: string): number | undefined {
  const time = Date.parse(`${value.trim().replace(' ', 'T').replace(/Z$/, '')}Z`)
  return Number.isNaN(time) ? undefined : time
}

function referenceTo(base: string, row: RequestRow): Record<string, unknown> {
  return { id: row.id, type: 'request', href: `${base}/requests/${row.id}` }
}

function rendered(base: string, row: RequestRow): Record<string, unknown> {
  const reference = referenceTo(base, row)
  const status = { id: `${row.id}/status`, type: 'request-status', href: `${reference['href']}/status` }
  return {
    ...reference,
    metadata: {
      createdDate: wireDate(row.created_at),
      createdBy: row.created_by,
      etag: row.etag,
      requestStatus: { ...status, metadata: { status: row.status, message: row.message, etag: row.etag } },
    },
    properties: { method: row.method, headers: JSON.parse(row.headers), body: row.body, url: row.url },
  }
}

function renderedStatus(base: string, row: RequestRow, targets: RequestTargetRow[]): Record<string, unknown> {
  const metadata = {
    status: row.status,
    message: row.message,
    etag: row.etag,
    targets: targets
      .filter((it) => it.role === 'target')
      .map(({ path, type }) => {
        const id = path.slice(path.lastIndexOf('/') + 1)
        return { target: { id, type, href: `${base}${path}` }, status: row.status }
      }),
  }
  return {
    id: `${row.id}/status`,
    type: 'request-status',
    href: `${base}/requests/${row.id}/status`,
    metadata,
  }
}
