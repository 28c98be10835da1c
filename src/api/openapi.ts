import type { RouteRow } from './route-table.ts'

type Json = Record<string, unknown>

const LIST_PARAMETERS: Json[] = [
  { name: 'depth', in: 'query', schema: { type: 'integer', minimum: 0, maximum: 10, default: 0 } },
  { name: 'pretty', in: 'query', schema: { type: 'boolean', default: true } },
  { name: 'offset', in: 'query', schema: { type: 'integer', minimum: 0, default: 0 } },
  { name: 'limit', in: 'query', schema: { type: 'integer', minimum: 1, maximum: 10_000, default: 1_000 } },
  { name: 'orderBy', in: 'query', schema: { type: 'string' } },
  { name: 'maxResults', in: 'query', schema: { type: 'integer', minimum: 1 } },
  { name: 'X-Contract-Number', in: 'header', schema: { type: 'integer' } },
]

const ERROR = {
  description: 'What went wrong',
  content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
}

/** The API's description (OpenAPI 3.1), made of the schemas that requests are checked with. */
export function describeApi(routes: readonly RouteRow[], server: string, version: string): Json {
  const paths: Record<string, Json> = {}
  for (const route of routes) {
    if (route.method === 'HEAD') continue
    const path = route.url.replace(/:([A-Za-z]+)/g, '{$1}').replace('*', '{object}')
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operationOf(route, path) }
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Weir', version, description: 'Flow logs for networks you run yourself.' },
    servers: [{ url: server }],
    security: [{ basic: [] }, { bearer: [] }],
    paths,
    components: {
      securitySchemes: {
        basic: { type: 'http', scheme: 'basic' },
        bearer: { type: 'http', scheme: 'bearer' },
      },
      schemas: { Error: errorSchema() },
    },
  }
}

function operationOf(route: RouteRow, path: string): Json {
  const isMutation = route.method !== 'GET'
  const isCloud = path.startsWith('/cloudapi/')
  const success = isCloud && isMutation ? '202' : '200'
  const body = route.schema?.body
  return {
    operationId: operationId(route.method, path),
    tags: [path.split('/')[1] ?? ''],
    parameters: [
      ...[...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => pathParameter(name!)),
      ...(isCloud && !isMutation ? LIST_PARAMETERS : queryParameters(route.schema?.querystring)),
    ],
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { 'application/json': { schema: body } } } }),
    responses: { [success]: { description: 'As asked' }, '4XX': ERROR, '5XX': ERROR },
  }
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

function errorSchema(): Json {
  const message = {
    type: 'object',
    required: ['errorCode', 'message'],
    properties: { errorCode: { type: 'string' }, message: { type: 'string' } },
  }
  return {
    type: 'object',
    required: ['httpStatus', 'messages'],
    properties: { httpStatus: { type: 'integer' }, messages: { type: 'array', items: message } },
  }
}
