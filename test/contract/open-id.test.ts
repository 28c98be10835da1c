import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SignJWT } from 'jose'
import { parseOpenId } from '../../src/cli/openid-options.ts'
import { startControlPlane } from './support/control-plane.ts'
import { AUDIENCE, Issuer } from './support/issuer.ts'
import { CONTRACT, makeTenants, STRANGER_CONTRACT } from './support/tenants.ts'

const NOW_S = Math.floor(Date.now() / 1000)

async function startWithIssuer(more: { contractClaim?: string; userClaim?: string } = {}) {
  const issuer = new Issuer()
  await issuer.start()
  const openId = { issuer: issuer.url, audience: AUDIENCE, keyCooldownMs: 0, ...more }
  const weir = await startControlPlane({ openId })
  const tenants = await makeTenants(weir)
  /** What `/contracts` says to the bearer: a contract's number, else the status. */
  const asked = async (token: string, headers: Record<string, string> = {}): Promise<number> => {
    const answer = await weir.call('GET', '/contracts', undefined, {
      authorization: `Bearer ${token}`,
      ...headers,
    })
    return answer.status === 200 ? answer.body.items[0].properties.contractNumber : answer.status
  }
  const end = async () => {
    await weir[Symbol.asyncDispose]()
    await issuer.stop()
  }
  return { issuer, weir, tenants, asked, [Symbol.asyncDispose]: end }
}

test('a token of the issuer is its user, and nothing that is wrong with it passes', async () => {
  await using world = await startWithIssuer()
  const { issuer, asked } = world
  const who = 'editor@example.org'
  const plain = (it: object) => Buffer.from(JSON.stringify(it)).toString('base64url')
  const claims = { iss: issuer.url, aud: AUDIENCE, exp: NOW_S + 300, email: who }
  const symmetric = new SignJWT(claims).setProtectedHeader({ alg: 'HS256' })
  await using other = new Issuer()
  await other.start()
  const good = await issuer.token(who)
  const [head, , signature] = good.split('.')

  const answers = {
    good: await asked(good),
    list: await asked(await issuer.token(who, { aud: ['other', AUDIENCE] })),
    justExpired: await asked(await issuer.token(who, { exp: NOW_S - 5 })),
    expired: await asked(await issuer.token(who, { exp: NOW_S - 3_600 })),
    endless: await asked(await issuer.token(who, { exp: undefined })),
    tooEarly: await asked(await issuer.token(who, { nbf: NOW_S + 3_600 })),
    audience: await asked(await issuer.token(who, { aud: 'other' })),
    noAudience: await asked(await issuer.token(who, { aud: undefined })),
    issuer: await asked(await issuer.token(who, { iss: other.url })),
    foreignKey: await asked(await other.token(who, { iss: issuer.url })),
    none: await asked(`${plain({ alg: 'none' })}.${plain(claims)}.`),
    symmetric: await asked(await symmetric.sign(Buffer.alloc(32, 1))),
    changed: await asked(`${head}.${plain({ ...claims, email: 'owner@example.org' })}.${signature}`),
    unknownUser: await asked(await issuer.token('nobody@example.org')),
    noUser: await asked(await issuer.token(who, { email: undefined })),
    unverified: await asked(await issuer.token(who, { email_verified: false })),
    unverifiedText: await asked(await issuer.token(who, { email_verified: 'false' })),
    garbage: await asked('a.b.c'),
  }

  const { good: first, list, justExpired, ...refused } = answers
  assert.deepEqual([first, list, justExpired], [CONTRACT, CONTRACT, CONTRACT])
  assert.deepEqual(
    Object.entries(refused).filter(([, status]) => status !== 401),
    [],
  )
})

test('keys are kept, rotated ones are fetched, withdrawn ones open nothing', async () => {
  await using world = await startWithIssuer()
  const { issuer, asked } = world
  const first = await issuer.token('owner@example.org')
  const before = [await asked(first), await asked(first)]
  const fetchesBefore = issuer.fetches

  await issuer.rotate('RS256')
  const after = await asked(await issuer.token('owner@example.org'))
  const withdrawn = await asked(first)

  assert.deepEqual([...before, fetchesBefore], [CONTRACT, CONTRACT, 1])
  assert.deepEqual([after, withdrawn], [CONTRACT, 401])
})

test('an issuer that is away stops nobody whose key is known, and is found when it comes back', async () => {
  await using world = await startWithIssuer()
  const { issuer, tenants, weir, asked } = world
  await issuer.stop()
  const early = await asked(await issuer.token('reader@example.org'))
  const byPassword = await weir.call('GET', '/contracts', undefined, {
    authorization: tenants.authorization.reader!,
  })

  await issuer.start()
  const back = await asked(await issuer.token('reader@example.org'))
  await issuer.stop()
  const known = await asked(await issuer.token('reader@example.org'))
  await issuer.rotate()
  const unknown = await asked(await issuer.token('reader@example.org'))

  assert.deepEqual([early, byPassword.status, back, known, unknown], [503, 200, CONTRACT, CONTRACT, 503])
})

test('claims name the user and the contract; whoever is shut out here is out at once', async () => {
  await using world = await startWithIssuer({ userClaim: 'upn', contractClaim: 'contract' })
  const { issuer, tenants, weir, asked } = world
  const token = (upn: string, contract: unknown) => issuer.token('x', { upn, contract })
  const editor = await token('editor@example.org', CONTRACT)

  const named = await asked(editor)
  const asText = await asked(await token('editor@example.org', String(CONTRACT)))
  const foreign = await asked(await token('editor@example.org', STRANGER_CONTRACT))
  const missing = await asked(await token('editor@example.org', undefined))
  const other = await asked(editor, { 'x-contract-number': String(STRANGER_CONTRACT) })
  const operator = await asked(await token(weir.owner.username, STRANGER_CONTRACT))
  await tenants.call('DELETE', `/um/users/${tenants.userIds.editor}`)
  const deleted = await asked(editor)

  assert.deepEqual([named, asText, operator], [CONTRACT, CONTRACT, STRANGER_CONTRACT])
  assert.deepEqual([foreign, missing, other, deleted], [403, 401, 403, 401])
})

test('an issuer is taken with an audience, and over TLS', () => {
  const issuer = 'https://id.example.org'
  const full = parseOpenId({ 'oidc-issuer': issuer, 'oidc-audience': 'weir', 'oidc-contract-claim': 'c' })

  assert.deepEqual(full, { issuer, audience: 'weir', contractClaim: 'c' })
  assert.equal(parseOpenId({}), undefined)
  assert.throws(() => parseOpenId({ 'oidc-issuer': issuer }), /--oidc-audience is missing/)
  assert.throws(() => parseOpenId({ 'oidc-audience': 'weir' }), /--oidc-issuer is missing/)
  assert.throws(
    () => parseOpenId({ 'oidc-issuer': 'http://id.example.org', 'oidc-audience': 'weir' }),
    /is not https/,
  )
})
