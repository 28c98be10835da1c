import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createContract, createUser, findToken, issueToken } from './accounts.ts'
import { findFlowLogs, insertFlowLog, removeFlowLogs } from './flow-logs.ts'
import { findRequest, recordDoneRequest } from './requests.ts'
import { deleteOutdated, KEPT_MS } from './retention.ts'
import { openStore } from './store.ts'

test('what is over is deleted in time, and what is not over never', async () => {
  let nowMs = 1_700_000_000_000
  const clock = { nowMs: () => nowMs, monotonicNs: () => BigInt(nowMs) * 1_000_000n }
  const store = await openStore({ sqlitePath: ':memory:' }, { clock })
  const contractNumber = 12_345_678
  const author = { userId: 'u', email: 'e' }
  const flowLog = (id: string) => ({
    id,
    interfaceId: `nic-${id}`,
    contractNumber,
    action: 'ALL' as const,
    direction: 'INGRESS' as const,
    bucket: 'b',
    prefix: '',
    host: 'host-1',
    binding: { side: 'own' as const },
  })
  const made = await store.change(async (change) => {
    await createContract(change, { contractNumber, name: 'x' })
    const names = { firstName: 'x', lastName: 'y', email: 'a@b', passwordHash: null, operator: false }
    const userId = await createUser(change, { ...names, contractNumber, role: 'owner' })
    const token = { userId, contractNumber, purpose: 'x' }
    const forever = await issueToken(change, token)
    for (let i = 0; i < 3; i++) await issueToken(change, { ...token, expiresAtMs: change.nowMs + 1 })
    await insertFlowLog(change, flowLog('kept'))
    await insertFlowLog(change, flowLog('gone'))
    await removeFlowLogs(change, ['gone'])
    const line = { method: 'POST', url: '/', headers: {}, body: '' }
    const target = { id: 't', type: 'user', path: '/um/users/t' }
    return {
      forever,
      requestId: await recordDoneRequest(change, author, { ...line, contractNumber, target }),
    }
  })

  const early = await store.change((change) => deleteOutdated(change))
  const stillThere = await findRequest(store.db, contractNumber, made.requestId)
  nowMs += KEPT_MS.flowLogs + 2
  const late: number[] = []
  while (late.at(-1) !== 0) late.push(await store.change((change) => deleteOutdated(change, 1)))

  assert.equal(early, 0)
  assert.deepEqual(late, [3, 1, 1, 0]) // One of each kind at a time: changes wait meanwhile.
  assert.notEqual(stillThere, undefined)
  assert.equal(await findRequest(store.db, contractNumber, made.requestId), undefined)
  assert.deepEqual(
    (await findFlowLogs(store.db, ['kept', 'gone'])).map((it) => it.id),
    ['kept'],
  )
  assert.notEqual(await findToken(store.db, made.forever.token, nowMs), undefined)
  await store.close()
})
