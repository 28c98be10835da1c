import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { ERRORS } from '../../src/model/errors.ts'
import { METRICS } from '../../src/telemetry/metrics.ts'
import { startControlPlane } from './support/control-plane.ts'

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
    ({ method, url }) => method !== 'HEAD' && !url.startsWith('/cloudapi/'),
  )

  const missing = routes.filter(({ method, url }) => !pages.includes(`${method} ${url}`))

  assert.deepEqual(
    missing.map(({ method, url }) => `${method} ${url}`),
    [],
  )
})

test('the description of the API names every route and resolves its own references', async () => {
  await using weir = await startControlPlane()

  const { body } = await weir.get('/openapi.json')

  const described = Object.entries(body.paths as Record<string, object>).flatMap(([url, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${url}`),
  )
  const routes = weir.app.routeTable.filter(({ method }) => method !== 'HEAD')
  const operations = Object.values(body.paths as Record<string, Record<string, { operationId: string }>>)
  const ids = operations.flatMap((it) => Object.values(it).map((operation) => operation.operationId))
  assert.equal(new Set(described).size, new Set(routes.map(({ method, url }) => `${method} ${url}`)).size)
  assert.equal(new Set(ids).size, ids.length)
  assert.match(body.openapi, /^3\.1/)
  const create =
    body.paths['/cloudapi/v6/datacenters/{datacenterId}/servers/{serverId}/nics/{nicId}/flowlogs'].post
  const { properties } = create.requestBody.content['application/json'].schema.properties
  assert.deepEqual(properties.required.sort(), ['action', 'bucket', 'direction', 'name'])
})
