import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createContract, createUser, issueToken } from '../store/accounts.ts'
import { KEPT_MS } from '../store/retention.ts'
import { openStore } from '../store/store.ts'
import { silentLogger } from '../telemetry/logger.ts'
import { Metrics } from '../telemetry/metrics.ts'
import { Settler } from './settler.ts'

test('what one round does not delete is deleted by the rounds that follow, not by the next days’', async (t) => {
  let nowMs = 1_700_000_000_000
  const clock = { nowMs: () => nowMs, monotonicNs: () => BigInt(nowMs) * 1_000_000n }
  const store = await openStore({ sqlitePath: ':memory:' }, { clock })
  t.after(() => store.close())
  const contractNumber = 12_345_678
  await store.change(async (change) => {
    await createContract(change, { contractNumber, name: 'x' })
    const names = { firstName: 'x', lastName: 'y', email: 'a@b', passwordHash: null, operator: false }
    const userId = await createUser(change, { ...names, contractNumber, role: 'owner' })
    for (let i = 0; i < 251; i++) {
      const expiresAtMs = change.nowMs + (i === 250 ? 60_000 : 1)
      await issueToken(change, { userId, contractNumber, purpose: 'x', expiresAtMs })
    }
  })
  const settler = new Settler({ store, log: silentLogger, metrics: new Metrics() })
  nowMs += KEPT_MS.tokens + 2

  const left: number[] = []
  for (const passMs of [0, 0, 0, 60_000, 600_000]) {
    nowMs += passMs
    await settler.settle()
    left.push((await store.db.selectFrom('tokens').select('id').execute()).length)
  }

  assert.deepEqual(left, [151, 51, 1, 1, 0]) // A trickle does not make every round one that writes.
})
