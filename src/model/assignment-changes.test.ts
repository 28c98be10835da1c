import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Assignment, Assignments } from './agent-protocol.ts'
import { changedBy } from './assignment-changes.ts'

function assignment(flowLogId: string, device: string): Assignment {
  const record = { contractNumber: 1, action: 'ALL', direction: 'BIDIRECTIONAL' } as const
  const binding = { device, side: 'own' } as const
  return { ...record, flowLogId, interfaceId: `nic-${flowLogId}`, bucket: 'b', prefix: '', binding }
}

test('what is withdrawn goes, what is other is replaced, what was withdrawn and came back stays', () => {
  const known: Assignments = {
    version: '4-x',
    windowSizeS: 600,
    assignments: ['a', 'b', 'c', 'd'].map((it) => assignment(it, 'eth0')),
  }

  const now = changedBy(known, {
    version: '9-x',
    since: '4-x',
    windowSizeS: 60,
    withdrawn: ['a', 'c', 'never heard of'],
    assignments: [assignment('b', 'eth1'), assignment('c', 'eth2'), assignment('e', 'eth3')],
  })

  const devices = now.assignments.map((it) => `${it.flowLogId} ${it.binding.device}`)
  assert.deepEqual(devices.toSorted(), ['b eth1', 'c eth2', 'd eth0', 'e eth3'])
  assert.deepEqual({ ...now, assignments: [] }, { version: '9-x', windowSizeS: 60, assignments: [] })
})
