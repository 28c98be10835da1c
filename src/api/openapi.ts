import { type Operation, operationFor, TAGS, typeOfPath } from './operations.ts'
import type { ResourceType } from './resource-types.ts'
import type { RouteRow } from './route-table.ts'
import { isConsolePath } from './routes/console.ts'
import { SCHEMAS } from './schemas/answers.ts'

type Json = Record<string, unknown>

const whole = (minimum: number, maximum: number, preset?: number): Json => ({
  type: 'integer',
  minimum,
  maximum,
  ...(preset === undefined ? {} : { default: preset }),
})

const PARAMETERS: Record<string, Json> = {
  depth: { in: 'query', schema: whole(0, 10, 0), description: 'How much of what hangs below comes along' },
  pretty: { in: 'query', schema: { type: 'boolean', default: true }, description: 'Indented' },
  offset: { in: 'query', schema: whole(0, 2 ** 31 - 1, 0) },
  limit: { in: 'query', schema: whole(1, 10_000, 1_000) },
  orderBy: {
    in: 'query',
    schema: { type: 'string' },
    description: 'Attribute to order by, ascending; order-by too',
  },
  maxResults: {
    in: 'query',
    schema: whole(1, 2 ** 31 - 1),
    description: 'Cuts before the filters; limit after them',
  },
  'X-Contract-Number': {
    in: 'header',
    schema: { type: 'integer' },
    description: 'For whoever is a member of several contracts',
  },
  'If-None-Match': {
    in: 'header',
    schema: { type: 'string' },
    description: 'Only if the ETag is another one by now',
  },
  'If-Match': {
    in: 'header',
    schema: { type: 'string' },
    description: 'Only if the etag is still this one',
  },
}

const REQUEST_FILTERS = [
  'status',
  'requestStatus',
  'createdAfter',
  'createdBefore',
  'createdDate',
  'createdBy',
  'etag',
  'method',
  'headers',
  'body',
  'url',
]

const HEADERS: Record<string, Json> = {
  'X-RateLimit-Limit': { schema: { type: 'integer' }, description: 'Requests per minute, on average' },
  'X-RateLimit-Burst': { schema: { type: 'integer' }, description: 'Requests at once' },
  'X-RateLimit-Remaining': { schema: { type: 'integer' } },
  'Retry-After': { schema: { type: 'integer' }, description: 'Seconds' },
  Location: { schema: { type: 'string', format: 'uri' }, description: "The request's state, to be polled" },
  ETag: { schema: { type: 'string' }, description: 'Of a single resource: when no depth was asked for' },
}

const FAULTS: Record<string, { name: string; description: string; headers?: string[] }> = {
  '400': { name: 'BadRequest', description: 'It cannot be read' },
  '401': { name: 'Unauthorized', description: '315: no credentials, or wrong ones' },
  '403': { name: 'Forbidden', description: '451: a privilege is missing; the message names it' },
  '404': { name: 'NotFound', description: '309: there is none, or it is not yours' },
  '412': { name: 'Changed', description: 'If-Match names a version that is no longer current' },
  '413': { name: 'TooLarge', description: 'The body is larger than 4 MiB' },
  '415': { name: 'MediaType', description: 'The body is not JSON' },
  '422': { name: 'Invalid', description: '100: an attribute is wrong. 200: a rule forbids it' },
  '429': { name: 'RateLimited', description: 'Too many requests', headers: ['Retry-After'] },
  '503': { name: 'Unavailable', description: 'Not now', headers: ['Retry-After'] },
}

/** The API's description (OpenAPI 3.1), made of the schemas that requests are checked with. */
export function describeApi(routes: readonly RouteRow[], server: string, version: string): Json {
  const paths: Record<string, Json> = {}
  for (const route of routes) {
    if (route.method === 'HEAD' || isConsolePath(route.method, route.url)) continue
    const path = route.url.replace(/:([A-Za-z]+)/g, '{$1}').replace('*', '{object}')
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: describe(route, path) }
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Weir', version, description: 'Flow logs for networks you run yourself.' },
    servers: [{ url: server }],
    security: [{ basic: [] }, { bearer: [] }, { session: [] }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths,
    components: {
      securitySchemes: {
        basic: { type: 'http', scheme: 'basic' },
        bearer: { type: 'http', scheme: 'bearer' },
        session: { type: 'apiKey', in: 'cookie', name: 'weir_session', description: "The console's" },
        agent: { type: 'http', scheme: 'bearer', description: 'The token of a host' },
      },
      parameters: Object.fromEntries(Object.entries(PARAMETERS).map(([name, it]) => [name, { name, ...it }])),
      headers: HEADERS,
      responses: Object.fromEntries(Object.values(FAULTS).map((it) => [it.name, faultAnswer(it)])),
      schemas: modern(SCHEMAS) as Json,
    },
  }
}

function faultAnswer({ description, headers = [] }: { description: string; headers?: string[] }): Json {
  const content = { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } }
  return { description, content, headers: headerRefs(headers) }
}

function headerRefs(names: readonly string[]): Json {
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]))
}

function describe(route: RouteRow, path: string): Json {
  const operation: Operation = operationFor(route) ?? { tag: 'Operator', summary: route.url }
  const { tag, summary, caller } = operation
  const body = route.method === 'PATCH' ? bareOr(route.schema?.body) : route.schema?.body
  const content = { 'application/json': { schema: modern(body) } }
  return {
    operationId: operationId(route.method, path),
    tags: [tag],
    summary,
    ...(caller === 'agent' ? { security: [{ agent: [] }] } : {}),
    ...(caller === 'anybody' ? { security: [] } : {}),
    parameters: parametersOf(route, path, operation),
    ...(body === undefined ? {} : { requestBody: { required: true, content } }),
    responses: {
      [String(operation.status ?? 200)]: successOf(route, path, operation),
      ...(operation.isCached === true ? { '304': { description: 'It is as it was' } } : {}),
      ...faultsOf(route, path, operation),
    },
  }
}

/** A PATCH comes bare or, from some clients, in an envelope: it is wrapped before it is checked. */
function bareOr(body: unknown): unknown {
  const { properties } = (body as { properties: { properties: unknown } }).properties
  return { anyOf: [properties, body] }
}

function parametersOf(route: RouteRow, path: string, operation: Operation): Json[] {
  const { query, caller, isCached } = operation
  const names = [
    ...(query === undefined ? [] : ['depth']),
    ...(query === 'list' ? ['offset', 'limit'] : []),
    ...(query === 'list' ? ['orderBy', 'maxResults'] : []),
    ...(caller === undefined ? ['pretty', 'X-Contract-Number'] : []),
    ...(hasEtag(route, path) && route.method !== 'GET' ? ['If-Match'] : []),
    ...(isCached === true ? ['If-None-Match'] : []),
  ]
  return [
    ...[...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => pathParameter(name!)),
    ...queryParameters(route.schema?.querystring),
    ...names.map((name) => ({ $ref: `#/components/parameters/${name}` })),
    ...(query === 'list' ? filtersOf(path, operation).map(filterParameter) : []),
  ]
}

/** By anything in the items that the collection's answer describes. */
function filtersOf(path: string, { answer }: Operation): string[] {
  if (path === '/cloudapi/v6/requests') return REQUEST_FILTERS
  const { items } = propertiesIn(answer)
  const { properties, metadata } = propertiesIn((items as { items?: unknown } | undefined)?.items)
  return [properties, metadata].flatMap((it) => Object.keys(propertiesIn(it)))
}

/** Of an object's schema, which may be named. */
function propertiesIn(schema: unknown): Json {
  const { $ref, properties = {} } = (schema ?? {}) as { $ref?: string; properties?: Json }
  return $ref === undefined ? properties : propertiesIn(SCHEMAS[$ref.slice($ref.lastIndexOf('/') + 1)])
}

function filterParameter(name: string): Json {
  return { name: `filter.${name}`, in: 'query', schema: { type: 'string' } }
}

function typeIn(path: string): ResourceType | undefined {
  return typeOfPath(path.replace(/\{(\w+)\}/g, ':$1'))
}

/** Single resources of the inventory. */
function hasEtag(route: RouteRow, path: string): boolean {
  return path.endsWith('}') && typeIn(path) !== undefined && route.method !== 'POST'
}

/** Answers with a single resource of the inventory in them. */
function isTagged({ method }: RouteRow, path: string): boolean {
  return typeIn(path) !== undefined && method !== 'DELETE' && (path.endsWith('}') || method === 'POST')
}

function pathParameter(name: string): Json {
  return { name, in: 'path', required: true, schema: { type: 'string' } }
}

function queryParameters(schema: unknown): Json[] {
  const { properties = {}, required = [] } = (schema ?? {}) as { properties?: Json; required?: string[] }
  return Object.entries(properties).map(([name, it]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    schema: it,
  }))
}

function successOf(route: RouteRow, path: string, operation: Operation): Json {
  const { status = 200, answer, mediaTypes, isCached } = operation
  const headers = [
    'X-RateLimit-Limit',
    'X-RateLimit-Burst',
    'X-RateLimit-Remaining',
    ...(status === 202 ? ['Location'] : []),
    ...(isTagged(route, path) || isCached === true ? ['ETag'] : []),
  ]
  const isEmpty = status === 204 || (route.method === 'DELETE' && answer === undefined)
  const types = mediaTypes ?? (isEmpty ? [] : ['application/json'])
  const schema = { schema: modern(answer ?? {}) }
  return {
    description: status === 202 ? 'Accepted: the request is under way' : 'As asked',
    headers: headerRefs(headers),
    ...(types.length === 0 ? {} : { content: Object.fromEntries(types.map((it) => [it, schema])) }),
  }
}

function faultsOf(route: RouteRow, path: string, { caller }: Operation): Json {
  const isRead = route.method === 'GET'
  const isGiven = route.schema?.body !== undefined || route.schema?.querystring !== undefined
  const codes = [
    '400',
    ...(path === '/healthz' ? [] : ['401']),
    ...(caller === 'agent' ? [] : ['403']),
    ...(path.includes('{') || isGiven ? ['404'] : []),
    ...(hasEtag(route, path) && !isRead ? ['412'] : []),
    ...(isRead ? [] : ['413', '415']), // Also of a body that nobody asked for.
    ...(isGiven || caller === undefined ? ['422'] : []), // Be it for X-Contract-Number.
    ...(caller === undefined ? ['429'] : []),
    '503',
  ]
  return Object.fromEntries(
    codes.map((code) => [code, { $ref: `#/components/responses/${FAULTS[code]!.name}` }]),
  )
}

/** `GET /cloudapi/v6/datacenters/{datacenterId}/servers` → `getDatacentersByDatacenterIdServers`. */
function operationId(method: string, path: string): string {
  const words = path
    .replace('/cloudapi/v6', '')
    .split(/[/.-]/)
    .filter((it) => it !== '')
    .map((it) =>
      it.replace(/^\{(\w)(.*)\}$/, (_, first: string, rest: string) => `By${first.toUpperCase()}${rest}`),
    )
  return method.toLowerCase() + words.map((it) => it[0]!.toUpperCase() + it.slice(1)).join('')
}

/** Requests are checked in the words of draft 7, which has another one for tuples than OpenAPI 3.1. */
function modern(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(modern)
  if (typeof schema !== 'object' || schema === null) return schema
  const entries = Object.entries(schema).map(([name, it]) => [name, modern(it)] as const)
  const { items, additionalItems: _, ...rest } = Object.fromEntries(entries)
  if (items === undefined) return rest
  return Array.isArray(items) ? { ...rest, prefixItems: items, items: false } : { ...rest, items }
}
