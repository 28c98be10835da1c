import assert from 'node:assert/strict'
import { request } from 'node:http'
import { test } from 'node:test'
import { isConsolePath } from '../../src/api/routes/console.ts'
import { random } from '../../src/stdx/prng.ts'
import { type ControlPlane, startControlPlane } from './support/control-plane.ts'
import { Description } from './support/description.ts'

// Whatever comes, on whatever route: an answer in JSON that is not a 5xx, and nothing half written.

const SEED = Number(process.env['FUZZ_SEED'] ?? 20_260_301)
const ROUNDS = Number(process.env['FUZZ_ROUNDS'] ?? 6)
const TIMEOUT_MS = 20_000

type Pick = <T>(choices: readonly T[]) => T

const STRANGE: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e308,
  2 ** 53,
  '',
  ' ',
  'x'.repeat(5_000),
  '\u0000',
  'a\u0000b',
  '\ud800',
  '💧',
  "'; drop table resources; --",
  '../../etc/passwd',
  '%2e%2e%2f',
  '__proto__',
  [],
  [[[[[]]]]],
  {},
  { constructor: { prototype: {} } },
  [null],
  ['x', 1],
]

const PARAMETERS: readonly string[] = [
  '00000000-0000-0000-0000-000000000000',
  'x',
  '-1',
  '%00',
  '%ff',
  '%2e%2e',
  '..%2f..',
  "'",
  '%F0%9F%92%A7',
  'x'.repeat(400),
  'x'.repeat(3_000),
  '*',
]

const QUERIES: readonly string[] = [
  '',
  '?depth=10',
  '?depth=99999999999999999999',
  '?depth=1&depth=2',
  '?limit=-1&offset=1e3',
  '?orderBy=__proto__&depth=1',
  '?filter.name=%00&filter.constructor=x',
  '?filter.=x&filter=y',
  '?pretty=maybe&maxResults=0',
  '?%ff=%ff',
  '?bucket=..&prefix=%00&after=%ff&name=..%2f..',
  '?bucket=flowlogs&name=%00&limit=9999',
  '?version=x&waitS=0',
  `?filter.name=${'x'.repeat(5_000)}`,
]

const HEADERS: readonly Record<string, string>[] = [
  {},
  {},
  { 'content-type': 'text/plain' },
  { 'content-type': 'application/json; charset=utf-16' },
  { 'content-type': 'application/x-www-form-urlencoded' },
  { 'x-contract-number': '-1' },
  { 'x-contract-number': '99999999999' },
  { 'x-contract-number': 'x' },
  { 'if-match': '"",W/"x",*' },
  { authorization: 'Basic !!!' },
  { authorization: 'Bearer' },
  { cookie: 'weir_session=%00; x' },
]

test(`strange bodies, parameters and headers on every route (seed ${SEED})`, async () => {
  await using weir = await startControlPlane({ attachGraceMs: 0 })
  const next = random(SEED)
  const pick: Pick = (choices) => choices[next() % choices.length]!
  const faults: string[] = []
  const routes = weir.app.routeTable.filter(({ method }) => method !== 'HEAD')
  const description = new Description(weir.app)

  for (let round = 0; round < ROUNDS; round++) {
    for (const { method, url, schema } of routes) {
      const before = await countRows(weir)
      const target = targetOf(weir, url, pick) + pick(QUERIES)
      const body = method === 'GET' ? undefined : bodyOf(schema?.body, pick, next)
      const isAgent = url.startsWith('/agent/')
      const token = isAgent ? weir.owner.agentToken : weir.owner.token
      const headers = {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        ...pick(HEADERS),
      }
      const answer = await send(weir.origin + target, { method, headers, body })
      const after = await countRows(weir)
      const what = `${method} ${target.slice(0, 200)} ${body?.slice(0, 300) ?? ''} → ${answer.status} ${answer.text.slice(0, 300)}`
      if (answer.status >= 500 || answer.status === 0) faults.push(what)
      if (answer.status >= 400 && !isErrorBody(answer)) faults.push(`not an error body: ${what}`)
      if (answer.status >= 400 && before !== after) faults.push(`wrote something: ${what}`)
      const undescribed = isConsolePath(method, url)
        ? undefined
        : description.faultOfRoute(method, url, answer)
      if (undescribed !== undefined) faults.push(`${undescribed}: ${what}`)
    }
  }

  assert.deepEqual(faults.slice(0, 10), [])
})

/** Ids that exist lead deeper into the code than those that do not. */
function targetOf(weir: ControlPlane, url: string, pick: Pick): string {
  const known: Record<string, string> = {
    ':datacenterId': weir.owner.datacenterId,
    ':serverId': weir.owner.serverId,
    ':nicId': weir.owner.nics[0]!.id,
    ':lanId': '1',
  }
  return url
    .split('/')
    .map((part) => {
      if (part === '*') return pick(['flowlogs/x-1.log.gz', '..%2f..%2fx', 'flowlogs', '%00/%00'])
      if (!part.startsWith(':')) return part
      return known[part] !== undefined && pick([true, true, false]) ? known[part] : pick(PARAMETERS)
    })
    .join('/')
}

function bodyOf(schema: unknown, pick: Pick, next: () => number): string {
  const kind = next() % 8
  if (kind === 0)
    return pick(['', '{', '[]', 'null', '"x"', '{"properties":', '\ufeff{}', '{"__proto__":{}}'])
  if (kind === 1) return `${'['.repeat(50_000)}`
  const value = schema === undefined ? pick(STRANGE) : valueFor(schema as Schema, pick, next)
  return JSON.stringify(value) ?? ''
}

interface Schema {
  type?: string | string[]
  enum?: unknown[]
  properties?: Record<string, Schema>
  items?: Schema
  required?: string[]
}

/** What the schema asks for, except here and there. */
function valueFor(schema: Schema, pick: Pick, next: () => number): unknown {
  if (next() % 12 === 0) return pick(STRANGE)
  if (schema.enum !== undefined) return pick(schema.enum)
  const type = [schema.type].flat()[0]
  if (type === 'object') {
    const names = Object.keys(schema.properties ?? {}).filter(
      (name) => schema.required?.includes(name) || next() % 2 === 0,
    )
    const entries = names.map((name) => [name, valueFor(schema.properties![name]!, pick, next)] as const)
    if (next() % 10 === 0) entries.push([pick(['__proto__x', 'surprise', 'id']), pick(STRANGE)])
    return Object.fromEntries(entries)
  }
  if (type === 'array') {
    return Array.from({ length: next() % 3 }, () => valueFor(schema.items ?? {}, pick, next))
  }
  if (type === 'integer' || type === 'number') return pick([0, 1, 2, 256, 1024, 2 ** 31 - 1, 2 ** 31])
  if (type === 'boolean') return pick([true, false])
  return pick(['x', 'flowlogs', 'flowlogs/x', 'ALL', 'INGRESS', 'own', 'host-1', 'a@b', '02:00:00:00:00:01'])
}

async function countRows(weir: ControlPlane): Promise<string> {
  const { db } = weir.store
  const counts = []
  for (const table of [
    'resources',
    'flow_logs',
    'requests',
    'users',
    'user_groups',
    'buckets',
    'objects',
  ] as const) {
    const row = await db
      .selectFrom(table)
      .select((it) => it.fn.countAll().as('count'))
      .executeTakeFirstOrThrow()
    counts.push(Number(row.count))
  }
  return counts.join(' ')
}

function isErrorBody(answer: { text: string; type: string }): boolean {
  if (!answer.type.startsWith('application/json')) return false
  const { httpStatus, messages } = JSON.parse(answer.text) as { httpStatus: unknown; messages: unknown }
  return typeof httpStatus === 'number' && Array.isArray(messages) && messages.length > 0
}

/** Unlike fetch, sends paths and headers as they are. */
function send(
  url: string,
  options: { method: string; headers: Record<string, string>; body: string | undefined },
): Promise<{ status: number; text: string; type: string; body: unknown }> {
  const { origin } = new URL(url)
  const [, hostname, port] = /\/\/([^:]+):(\d+)/.exec(origin)!
  return new Promise((resolve) => {
    const sent = request(
      {
        hostname,
        port,
        path: url.slice(origin.length),
        method: options.method,
        headers: { ...options.headers, 'content-length': Buffer.byteLength(options.body ?? '') },
        timeout: TIMEOUT_MS,
      },
      async (answer) => {
        const text = Buffer.concat(await answer.toArray()).toString()
        const type = answer.headers['content-type'] ?? ''
        const body = type.startsWith('application/json') ? JSON.parse(text) : undefined
        resolve({ status: answer.statusCode ?? 0, text, type, body })
      },
    )
    sent.once('timeout', () => sent.destroy(new Error(`no answer in ${TIMEOUT_MS} ms`)))
    sent.once('error', (error) => resolve({ status: 0, text: error.message, type: '', body: undefined }))
    sent.end(options.body)
  })
}
