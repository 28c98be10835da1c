import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startControlPlane } from './support/control-plane.ts'

const USER = { firstname: 'a', lastname: 'b', email: 'a@example.org', administrator: false }

test('an address that is too long to be anybody’s is not remembered, and its passwords are not derived', async () => {
  await using weir = await startControlPlane()
  const address = `${'x'.repeat(5_000)}@example.org`

  const statuses: number[] = []
  for (let i = 0; i < 12; i++) {
    const authorization = `Basic ${Buffer.from(`${address}:guess ${i}`).toString('base64')}`
    statuses.push((await weir.call('GET', '/contracts', undefined, { authorization })).status)
  }

  assert.deepEqual(new Set(statuses), new Set([401])) // Not 429 after ten, as for an address that is kept.
})

test('who guesses passwords is told to wait, and tokens work meanwhile', async () => {
  await using weir = await startControlPlane()
  const { username, password, token } = weir.owner
  const ask = (authorization: string) => fetch(`${weir.base}/contracts`, { headers: { authorization } })
  const basic = (guess: string) => `Basic ${Buffer.from(`${username}:${guess}`).toString('base64')}`
  const right = basic(password)
  const before = await ask(right)

  const statuses: number[] = []
  let refused: Response
  do {
    refused = await ask(basic(`guess ${statuses.length}`))
    statuses.push(refused.status)
  } while (refused.status === 401 && statuses.length < 100)
  const form = { username, password: 'another guess' }
  const signIn = await fetch(`${weir.origin}/weir/v1/session`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-weir-console': '1' },
    body: JSON.stringify(form),
  })
  const byToken = await ask(`Bearer ${token}`)

  assert.equal(before.status, 200)
  assert.ok(statuses.length > 10, `${statuses}`)
  for (const it of [refused, signIn]) {
    assert.equal(it.status, 429)
    assert.match(it.headers.get('retry-after') ?? '', /^[1-6]$/)
    assert.match(await it.text(), /"too many wrong passwords for this user: try again in [1-6] s"/)
  }
  assert.equal(byToken.status, 200)
})

test('a new password ends the sessions that the former one began, and no token', async () => {
  await using weir = await startControlPlane()
  const { body: made } = await weir.post('/um/users', { properties: { ...USER, password: 'the first one' } })
  const session = (password: string) =>
    fetch(`${weir.origin}/weir/v1/session`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-weir-console': '1' },
      body: JSON.stringify({ username: USER.email, password }),
    })
  const begun = await session('the first one')
  const cookie = begun.headers.getSetCookie()[0]!.split(';', 1)[0]!
  const basic = Buffer.from(`${USER.email}:the first one`).toString('base64')
  const generated = await fetch(`${weir.origin}/auth/v1/tokens/generate`, {
    headers: { authorization: `Basic ${basic}` },
  })
  const { token } = (await generated.json()) as { token: string }
  const look = async (headers: Record<string, string>) =>
    (await fetch(`${weir.origin}/weir/v1/session`, { headers })).status

  const before = await look({ cookie })
  await weir.call('PUT', `/um/users/${made.id}`, { properties: { ...USER, lastname: 'new' } })
  const renamed = await look({ cookie })
  await weir.call('PUT', `/um/users/${made.id}`, { properties: { ...USER, password: 'the second one' } })
  const after = await look({ cookie })
  const byToken = await look({ authorization: `Bearer ${token}` })
  const [former, next] = [await session('the first one'), await session('the second one')]

  assert.deepEqual([before, renamed, after, byToken], [200, 200, 401, 200])
  assert.deepEqual([former.status, next.status], [401, 201])
})
