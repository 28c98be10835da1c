import assert from 'node:assert/strict'
import { test } from 'node:test'
import { IDLE_HEALTH } from '../../test/contract/support/agent.ts'
import { createContract, createUser, issueToken, moveToken, revokeToken, setPassword } from './accounts.ts'
import { issueAgentToken, recordHeartbeat, renewAgentToken, revokeAgent, touchAssignments } from './agents.ts'
import { insertAudit } from './audit.ts'
import { removeMember, setRole, updateUser } from './members.ts'
import { insertResource } from './resources.ts'
import { type Change, openStore } from './store.ts'

const CONTRACT = 1
const USER = { email: 'a@example.org', passwordHash: '', firstName: 'A', lastName: 'B', operator: false }

test('whoever remembers who may ask is told of every change that may say otherwise, and of no other', async () => {
  const store = await openStore({ sqlitePath: ':memory:' })
  const userId = await store.change(async (change) => {
    await createContract(change, { contractNumber: CONTRACT, name: 'x' })
    return createUser(change, { ...USER, contractNumber: CONTRACT, role: 'member' })
  })
  const tells = async (work: (change: Change) => Promise<unknown>): Promise<boolean> => {
    const before = store.accessVersion
    await store.change(work)
    return store.accessVersion !== before
  }
  let token = ''
  const access = {
    issueToken: async (it: Change) => {
      token = (await issueToken(it, { userId, contractNumber: CONTRACT, purpose: 'x' })).token
    },
    moveToken: (it: Change) => moveToken(it, token, CONTRACT),
    setRole: (it: Change) => setRole(it, { contractNumber: CONTRACT, userId, role: 'admin' }),
    setPassword: (it: Change) => setPassword(it, userId, 'another long password'),
    updateUser: (it: Change) => updateUser(it, userId, { active: 0 }),
    revokeToken: (it: Change) => revokeToken(it, token),
    removeMember: (it: Change) => removeMember(it, CONTRACT, userId),
    issueAgentToken: (it: Change) => issueAgentToken(it, { host: 'h', purpose: 'x' }),
    renewAgentToken: (it: Change) => renewAgentToken(it, { host: 'h', purpose: 'x' }),
    revokeAgent: (it: Change) => revokeAgent(it, 'h'),
  }
  const other = {
    insertResource: (it: Change) =>
      insertResource(
        it,
        { userId, email: 'a@example.org' },
        {
          id: 'x',
          type: 'datacenter',
          contractNumber: CONTRACT,
          parentId: '',
          path: '/datacenters/x',
          properties: {},
        },
      ),
    touchAssignments: (it: Change) => touchAssignments(it, 'h'),
    recordHeartbeat: (it: Change) =>
      recordHeartbeat(it, {
        host: 'h',
        agentVersion: '1',
        startedAt: '',
        health: IDLE_HEALTH,
      }),
    insertAudit: (it: Change) =>
      insertAudit(it, [
        {
          contractNumber: CONTRACT,
          atMs: 0,
          userId,
          email: '',
          address: '',
          method: 'GET',
          path: '/',
          status: 200,
          requestId: null,
        },
      ]),
  }

  const silent: string[] = []
  for (const [name, work] of Object.entries(access)) if (!(await tells(work))) silent.push(name)
  const loud: string[] = []
  for (const [name, work] of Object.entries(other)) if (await tells(work)) loud.push(name)
  await store.close()

  assert.deepEqual({ silent, loud }, { silent: [], loud: [] })
})
