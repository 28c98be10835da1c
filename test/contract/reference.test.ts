import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { OPERATIONS, operationFor } from '../../src/api/operations.ts'
import { isConsolePath } from '../../src/api/routes/console.ts'
import { ERRORS } from '../../src/model/errors.ts'
import { METRICS } from '../../src/telemetry/metrics.ts'
import { startControlPlane } from './support/control-plane.ts'
import { Description } from './support/description.ts'

// docs/reference says what the code does, or this fails.

const pageOf = (name: string): string =>
  readFileSync(path.join(import.meta.dirname, '../../docs/reference', name), 'utf8')

test('every error code is documented with its status, and no other', () => {
  const rows = pageOf('errors.md').matchAll(/^\| `(WEIR_\w+)` \| (\d+) \| \d+ \| (yes|no) \|/gm)
  const documented = [...rows].map(([, code, status, retry]) => [code, Number(status), retry === 'yes'])

  const expected = Object.entries(ERRORS).map(([code, { status, retryable }]) => [code, status, retryable])
  assert.deepEqual(documented.sort(), expected.sort())
})

test('every metric is documented as it is, and no other', () => {
  const rows = pageOf('metrics.md').matchAll(/^\| `(weir_\w+)` \| (\w+) \| (.+) \| (.+) \|$/gm)
  const documented = [...rows].map(([, name, kind, labels, help]) => [name, kind, labels, help])

  const expected = Object.entries(METRICS).map(([name, { kind, labels, help }]) => {
    return [name, kind, labels.join(', ') || '–', help]
  })
  assert.deepEqual(documented, expected)
})

test("every route of Weir's own and of the agent protocol is documented", async () => {
  await using weir = await startControlPlane()
  const pages = pageOf('api.md') + pageOf('agent-protocol.md').replaceAll('{segmentId}', ':segmentId')
  const routes = weir.app.routeTable.filter(
    ({ method, url }) => method !== 'HEAD' && !url.startsWith('/cloudapi/') && !isConsolePath(method, url),
  )

  const missing = routes.filter(({ method, url }) => !pages.includes(`${method} ${url}`))

  assert.deepEqual(
    missing.map(({ method, url }) => `${method} ${url}`),
    [],
  )
})

test('the description of the API names every route, and says what it does', async () => {
  await using weir = await startControlPlane()

  const { document } = new Description(weir.app)

  const operations = Object.entries(document.paths as Record<string, Record<string, Operation>>).flatMap(
    ([url, methods]) => Object.entries(methods).map(([method, it]) => ({ route: `${method} ${url}`, ...it })),
  )
  const described = weir.app.routeTable.filter(
    ({ method, url }) => method !== 'HEAD' && !isConsolePath(method, url),
  )
  const routes = described.map(
    ({ method, url }) => `${method.toLowerCase()} ${url.replace(/:(\w+)/g, '{$1}').replace('*', '{object}')}`,
  )
  assert.deepEqual(operations.map(({ route }) => route).sort(), [...new Set(routes)].sort())
  assert.deepEqual(
    described.filter((it) => operationFor(it) === undefined),
    [],
  )
  assert.equal(new Set(operations.map(({ operationId }) => operationId)).size, operations.length)
  assert.equal(new Set(operations.map(({ summary }) => summary)).size, operations.length)
})

interface Operation {
  operationId: string
  summary: string
}

test('no operation is described that is not there', async () => {
  await using weir = await startControlPlane()
  const routes = new Set(weir.app.routeTable.map(({ method, url }) => `${method} ${url}`))

  assert.deepEqual(
    Object.keys(OPERATIONS).filter((it) => !routes.has(it)),
    [],
  )
})

test('the description is valid OpenAPI 3.1, and its schemas are JSON schemas', async () => {
  await using weir = await startControlPlane()

  const { body } = await weir.get('/openapi.json')
  const { valid, errors } = await new Validator().validate(structuredClone(body))
  const schemas = schemasIn(body)
  const ajv = new Ajv2020({ strictSchema: false, validateFormats: false })
  const unsound = schemas.filter((it) => ajv.validateSchema(it as object) !== true)

  assert.match(body.openapi, /^3\.1/)
  assert.deepEqual([valid, errors], [true, undefined])
  assert.ok(schemas.length > 100)
  assert.deepEqual(unsound, [])
})

/** Every schema of a body, answer, parameter or component. */
function schemasIn(node: unknown): unknown[] {
  if (typeof node !== 'object' || node === null) return []
  return Object.entries(node).flatMap(([name, it]) => {
    if (name === 'schema') return [it]
    return name === 'schemas' ? Object.values(it as object) : schemasIn(it)
  })
}

test('the description of a body has what a request is checked for', async () => {
  await using weir = await startControlPlane()

  const { paths } = new Description(weir.app).document

  const create =
    paths['/cloudapi/v6/datacenters/{datacenterId}/servers/{serverId}/nics/{nicId}/flowlogs'].post
  const { properties } = create.requestBody.content['application/json'].schema.properties
  assert.deepEqual(properties.required.sort(), ['action', 'bucket', 'direction', 'name'])
})
