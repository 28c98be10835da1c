import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ControlPlane, startControlPlane } from './support/control-plane.ts'

const USER = { firstname: 'a', lastname: 'b', email: 'a@example.org', administrator: false }

function signIn(weir: ControlPlane, credentials: { username: string; password: string }): Promise<Response> {
  return fetch(`${weir.origin}/weir/v1/session`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-weir-console': '1' },
    body: JSON.stringify(credentials),
  })
}

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
  const guesses: number[] = []
  const refused: Response[] = []
  const ways = [
    (guess: string) => ask(basic(guess)),
    (guess: string) => signIn(weir, { username, password: guess }),
  ]
  for (const way of ways) {
    let answer: Response
    do {
      answer = await way(`guess ${guesses.length}`)
      guesses.push(answer.status)
    } while (answer.status === 401 && guesses.length < 100) // Every six seconds there is one more.
    refused.push(answer)
  }
  const byToken = await ask(`Bearer ${token}`)

  assert.equal(before.status, 200)
  assert.ok(guesses.length > 10, `${guesses}`)
  for (const it of refused) {
    assert.equal(it.status, 429)
    assert.match(it.headers.get('retry-after') ?? '', /^[1-6]$/)
    assert.match(await it.text(), /"too many wrong passwords for this user: try again in [1-6] s"/)
  }
  assert.equal(byToken.status, 200)
})

test('a new password ends the sessions that the former one began, and no token', async () => {
  await using weir = await startControlPlane()
  const { body: made } = await weir.post('/um/users', { properties: { ...USER, password: 'the first one' } })
  const session = (password: string) => signIn(weir, { username: USER.email, password })
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
