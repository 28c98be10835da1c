import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { addMember, createContract, createUser, issueToken } from '../../src/store/accounts.ts'
import { hashPassword } from '../../src/store/secrets.ts'
import { type ControlPlane, startControlPlane } from '../contract/support/control-plane.ts'

const CONSOLE = { 'x-weir-console': '1', 'content-type': 'application/json' }

/** As browsers ask for a page. */
const BROWSER = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' }
const API_PATHS = ['/cloudapi/v6/nothing', '/weir/v1/nothing', '/agent/v1/nothing', '/assets/nothing.js']

test('a password becomes a cookie that no script can read and that opens the API', async () => {
  await using weir = await startControlPlane()

  const answer = await signIn(weir, ownerOf(weir))
  const cookie = cookieOf(answer)
  const own = await ask(weir, 'GET', '/weir/v1/session', { cookie })
  const datacenters = await ask(weir, 'GET', '/cloudapi/v6/datacenters', { cookie })

  assert.equal(answer.status, 201)
  assert.match(answer.headers.get('set-cookie')!, /; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/)
  assert.equal(((await own.json()) as { email: string }).email, weir.owner.username)
  assert.equal(datacenters.status, 200)
  assert.ok(!cookie.includes(weir.owner.token), 'the session has a token of its own')
})

test('behind a proxy with TLS the cookie never goes over plain HTTP', async () => {
  await using weir = await startControlPlane({ publicUrl: 'https://weir.example' })

  const answer = await signIn(weir, ownerOf(weir))

  assert.match(answer.headers.get('set-cookie')!, /; HttpOnly; SameSite=Strict; Secure$/)
})

test('a token signs in too, and what is wrong does not', async () => {
  await using weir = await startControlPlane()
  const { username, token } = weir.owner

  const byToken = await signIn(weir, { token })
  const wrong = [
    await signIn(weir, { username, password: 'wrong' }),
    await signIn(weir, { token: 'weir_user_wrong' }),
    await signIn(weir, { token: weir.owner.agentToken }),
  ]
  const nothing = await signIn(weir, { username })

  assert.equal(byToken.status, 201)
  assert.deepEqual(
    wrong.map((it) => it.status),
    [401, 401, 401],
  )
  assert.equal(nothing.status, 422)
  assert.equal(wrong[0]!.headers.get('www-authenticate'), null, "no dialog of the browser's own")
})

test('signing out ends the session for whoever has copied the cookie', async () => {
  await using weir = await startControlPlane()
  const cookie = cookieOf(await signIn(weir, ownerOf(weir)))

  const out = await ask(weir, 'DELETE', '/weir/v1/session', { ...CONSOLE, cookie })
  const after = await ask(weir, 'GET', '/weir/v1/session', { cookie })

  assert.equal(out.status, 204)
  assert.match(out.headers.get('set-cookie')!, /^weir_session=; .*Max-Age=0/)
  assert.equal(after.status, 401)
})

test('with nothing but the cookie no other site changes or learns anything', async () => {
  await using weir = await startControlPlane()
  const cookie = cookieOf(await signIn(weir, ownerOf(weir)))
  const body = JSON.stringify({ properties: { location: 'x' } })
  const target = '/cloudapi/v6/datacenters'
  const json = { 'content-type': 'application/json', cookie }

  const bare = await ask(weir, 'POST', target, json, body)
  const elsewhere = await ask(
    weir,
    'POST',
    target,
    { ...CONSOLE, cookie, 'sec-fetch-site': 'same-site' },
    body,
  )
  const read = await ask(weir, 'GET', '/auth/v1/tokens/generate', { cookie, 'sec-fetch-site': 'cross-site' })
  const preflight = await ask(weir, 'OPTIONS', target, { origin: 'http://evil.example', cookie })
  const signingIn = await ask(weir, 'POST', '/weir/v1/session', json, JSON.stringify({ token: 'x' }))
  const own = await ask(weir, 'POST', target, { ...CONSOLE, cookie, 'sec-fetch-site': 'same-origin' }, body)

  assert.deepEqual([bare.status, elsewhere.status, read.status, signingIn.status], [403, 403, 403, 403])
  assert.equal(preflight.headers.get('access-control-allow-origin'), null)
  assert.equal(own.status, 202)
})

test('a session is of one contract: it sees neither data centers nor objects of another', async () => {
  await using weir = await startControlPlane()
  const stranger = { username: 'stranger@example.org', password: 'a long password' }
  const contractNumber = 4711
  await weir.store.change((change) => createContract(change, { contractNumber, name: 'other' }))
  await addUser(weir, { email: stranger.username, password: stranger.password }, contractNumber)

  const cookie = cookieOf(await signIn(weir, stranger))
  const datacenters = await ask(weir, 'GET', '/cloudapi/v6/datacenters', { cookie })
  const objects = await ask(weir, 'GET', '/weir/v1/objects?bucket=flowlogs', { cookie })
  const asOther = { ...stranger, contractNumber: weir.owner.contractNumber }
  const foreign = await signIn(weir, asOther)

  assert.deepEqual(((await datacenters.json()) as { items: unknown[] }).items, [])
  assert.equal(objects.status, 404)
  assert.equal(foreign.status, 403)
})

test('a session goes to any contract of its user, a session of a token to none but its own', async () => {
  await using weir = await startControlPlane()
  const { contractNumber } = weir.owner
  const consultant = { email: 'consultant@example.org', password: 'a long password' }
  for (const [name, number] of Object.entries({ north: 4711, south: 4712 })) {
    const owner = { email: `${name}@example.org`, password: 'a long password' }
    await weir.post('/weir/v1/contracts', { contractNumber: number, name, owner })
  }
  const userId = await addUser(weir, consultant, 4711)
  await weir.store.change((change) => addMember(change, { contractNumber: 4712, userId, role: 'member' }))
  const { token } = await weir.store.change((change) =>
    issueToken(change, { userId, contractNumber: 4711, purpose: 'test' }),
  )
  const go = async (cookie: string, to: number) =>
    ask(weir, 'PUT', '/weir/v1/session', { ...CONSOLE, cookie }, JSON.stringify({ contractNumber: to }))
  const seen = async (cookie: string) => (await ask(weir, 'GET', '/weir/v1/session', { cookie })).json()

  const wide = cookieOf(await signIn(weir, { username: consultant.email, password: consultant.password }))
  const narrow = cookieOf(await signIn(weir, { token }))
  const operator = cookieOf(await signIn(weir, { token: weir.owner.token }))
  const statuses = [
    (await go(wide, 4712)).status,
    (await go(wide, contractNumber)).status,
    (await go(narrow, 4712)).status,
    (await go(operator, 4711)).status,
    (await go(operator, 1)).status,
  ]

  assert.deepEqual(statuses, [200, 403, 403, 200, 403])
  assert.partialDeepStrictEqual(await seen(wide), {
    contractNumber: 4712,
    role: 'member',
    contracts: [
      { contractNumber: 4711, name: 'north', role: 'admin' },
      { contractNumber: 4712, name: 'south', role: 'member' },
    ],
  })
  const own = { contractNumber: 4711, name: 'north', role: 'admin' }
  assert.partialDeepStrictEqual(await seen(narrow), { contractNumber: 4711, contracts: [own] })
  const session = (await seen(operator)) as { contractNumber: number; contracts: unknown[] }
  assert.deepEqual([session.contractNumber, session.contracts.length], [4711, 3])
})

test('the console is served without a session, under a policy that lets nothing in from elsewhere', async () => {
  const directory = await mkdtemp(path.join(tmpdir(), 'weir-console-'))
  await mkdir(path.join(directory, 'assets'))
  await writeFile(path.join(directory, 'index.html'), '<!doctype html><title>Weir</title>')
  await writeFile(path.join(directory, 'assets/app-1.js'), 'export const a = 1')
  await using weir = await startControlPlane({ consoleDirectory: directory })

  const page = await ask(weir, 'GET', '/explore?since=2h', {})
  const script = await ask(weir, 'GET', '/assets/app-1.js', {})
  const others = [
    await ask(weir, 'GET', '/assets/..%2findex.html', {}),
    await ask(weir, 'GET', '/assets/app-2.js', {}),
    await ask(weir, 'GET', '/cloudapi/v6/datacenters', {}),
    await ask(weir, 'GET', '/nothing', {}),
    ...(await Promise.all(API_PATHS.map((it) => ask(weir, 'GET', it, BROWSER)))),
    await ask(weir, 'POST', '/nothing', BROWSER),
  ]
  const lost = await ask(weir, 'GET', '/nothing', BROWSER)
  await rm(directory, { recursive: true })

  assert.equal(await page.text(), '<!doctype html><title>Weir</title>')
  assert.match(page.headers.get('content-security-policy')!, /default-src 'none'; script-src 'self'/)
  assert.doesNotMatch(page.headers.get('content-security-policy')!, /unsafe|https?:|\*/)
  assert.equal(page.headers.get('cache-control'), 'no-cache')
  assert.match(script.headers.get('cache-control')!, /immutable/)
  assert.equal(script.headers.get('content-type'), 'text/javascript; charset=utf-8')
  assert.deepEqual(
    others.map((it) => it.status),
    [404, 404, 401, 401, 401, 401, 401, 404, 401],
  )
  for (const it of others) assert.match(it.headers.get('content-type')!, /^application\/json/)
  assert.equal(lost.status, 404)
  assert.equal(await lost.text(), '<!doctype html><title>Weir</title>')
  assert.match(lost.headers.get('content-security-policy')!, /default-src 'none'/)
})

test('a server without a built console has no page, and says 401 as for any other path', async () => {
  await using weir = await startControlPlane({}, { hasPages: false })

  const answer = await ask(weir, 'GET', '/', {})

  assert.equal(answer.status, 401)
})

async function addUser(
  weir: ControlPlane,
  { email, password }: { email: string; password: string },
  contractNumber: number,
): Promise<string> {
  const passwordHash = await hashPassword(password)
  const names = { firstName: '', lastName: '', operator: false }
  return weir.store.change((change) =>
    createUser(change, { email, passwordHash, ...names, contractNumber, role: 'admin' }),
  )
}

interface Credentials {
  username?: string
  password?: string
  token?: string
  contractNumber?: number
}

function signIn(weir: ControlPlane, credentials: Credentials): Promise<Response> {
  return ask(weir, 'POST', '/weir/v1/session', CONSOLE, JSON.stringify(credentials))
}

function ownerOf({ owner }: ControlPlane): Credentials {
  return { username: owner.username, password: owner.password }
}

function ask(
  weir: ControlPlane,
  method: string,
  target: string,
  headers: Record<string, string>,
  body?: string,
): Promise<Response> {
  return fetch(weir.origin + target, { method, headers, ...(body === undefined ? {} : { body }) })
}

function cookieOf(answer: Response): string {
  return answer.headers.get('set-cookie')!.split(';')[0]!
}
