import assert from 'node:assert/strict'
import { issueToken, revokeTokenById } from '../../../src/store/accounts.ts'
import { issueAgentToken } from '../../../src/store/agents.ts'
import { type Answer, type ControlPlane, HOST } from './control-plane.ts'
import type { Issuer } from './issuer.ts'

export const CONTRACT = 31_000_001
export const STRANGER_CONTRACT = 31_000_002

/** Everybody who may come: each has a header, none has an `Authorization` of anybody else. */
export const CALLERS = [
  'nobody',
  'stranger',
  'outsider',
  'reader',
  'editor',
  'admin',
  'owner',
  'operator',
  'federated',
  'agent',
  'expired',
  'revoked',
] as const
export type Caller = (typeof CALLERS)[number]

export interface Tenants {
  authorization: Record<Caller, string | undefined>
  /**
   * Of the contract: shared to be edited with `editor`, to be read with `reader`, not at all with
   * `outsider`.
   */
  datacenterId: string
  groupId: string
  userIds: Record<'outsider' | 'reader' | 'editor' | 'admin', string>
  /** As the operator, for the contract. */
  call(method: string, target: string, body?: unknown): Promise<Answer>
}

/**
 * A contract with one user of each kind, beside that of the operator, and a second one for the stranger.
 * `federated` is the editor again, who comes with a token of the issuer, if there is one.
 */
export async function makeTenants(weir: ControlPlane, issuer?: Issuer): Promise<Tenants> {
  const call = async (method: string, target: string, body?: unknown) => {
    const answer = await weir.call(method, target, body, { 'x-contract-number': String(CONTRACT) })
    assert.ok(answer.status < 300, `${method} ${target}: ${answer.status} ${JSON.stringify(answer.body)}`)
    return answer
  }
  const owners = { owner: CONTRACT, stranger: STRANGER_CONTRACT }
  for (const [name, contractNumber] of Object.entries(owners)) {
    const owner = { email: `${name}@example.org`, password: 'a long password' }
    const made = await weir.post('/weir/v1/contracts', { contractNumber, name, owner })
    assert.equal(made.status, 201, JSON.stringify(made.body))
  }
  const datacenter = await call('POST', '/datacenters', { properties: { name: 'dc', location: 'x' } })
  const datacenterId = datacenter.body.id as string
  await call('POST', '/weir/v1/buckets', { name: 'tenant-logs' })

  const userIds = {} as Tenants['userIds']
  for (const name of ['outsider', 'reader', 'editor', 'admin'] as const) {
    const names = {
      firstname: name,
      lastname: 'x',
      email: `${name}@example.org`,
      password: 'a long password',
    }
    const user = await call('POST', '/um/users', {
      properties: { ...names, administrator: name === 'admin' },
    })
    userIds[name] = user.body.id
  }
  const group = async (name: string, privilege: boolean, userId: string, mayEdit: boolean) => {
    const made = await call('POST', '/um/groups', {
      properties: {
        name,
        createFlowLog: privilege,
        createDataCenter: privilege,
        accessActivityLog: privilege,
      },
    })
    await call('POST', `/um/groups/${made.body.id}/users`, { id: userId })
    const share = { properties: { editPrivilege: mayEdit } }
    await call('POST', `/um/groups/${made.body.id}/shares/${datacenterId}`, share)
    return made.body.id as string
  }
  const groupId = await group('editors', true, userIds.editor, true)
  await group('readers', false, userIds.reader, false)
  const authorization = await authorizations(weir, userIds, issuer)
  return { authorization, datacenterId, groupId, userIds, call }
}

async function authorizations(
  weir: ControlPlane,
  userIds: Tenants['userIds'],
  issuer: Issuer | undefined,
): Promise<Tenants['authorization']> {
  const basic = (name: string) =>
    `Basic ${Buffer.from(`${name}@example.org:a long password`).toString('base64')}`
  const made = await weir.store.change(async (change) => {
    const token = { userId: userIds.admin, contractNumber: CONTRACT, purpose: 'test' }
    const expired = await issueToken(change, { ...token, expiresAtMs: change.nowMs - 1 })
    const revoked = await issueToken(change, token)
    await revokeTokenById(change, userIds.admin, revoked.id)
    return { expired, revoked, agent: await issueAgentToken(change, { host: HOST, purpose: 'test' }) }
  })
  return {
    nobody: undefined,
    stranger: basic('stranger'),
    outsider: basic('outsider'),
    reader: basic('reader'),
    editor: basic('editor'),
    admin: basic('admin'),
    owner: basic('owner'),
    operator: `Bearer ${weir.owner.token}`,
    federated: issuer && `Bearer ${await issuer.token('editor@example.org')}`,
    agent: `Bearer ${made.agent}`,
    expired: `Bearer ${made.expired.token}`,
    revoked: `Bearer ${made.revoked.token}`,
  }
}
