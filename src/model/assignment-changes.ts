import { assert } from '../stdx/assert.ts'
import type { Assignments } from './agent-protocol.ts'

/** What an agent has to do after an answer that tells only what has changed. */
export function changedBy(known: Assignments, { since, withdrawn, ...answer }: Assignments): Assignments {
  assert(since === known.version, 'changes since another version')
  const assignments = new Map(known.assignments.map((it) => [it.flowLogId, it]))
  for (const id of withdrawn ?? []) assignments.delete(id)
  for (const it of answer.assignments) assignments.set(it.flowLogId, it)
  return { ...answer, assignments: [...assignments.values()] }
}
