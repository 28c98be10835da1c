import { attachmentOf, isBeingDetached } from './points.ts'
import {
  type Concerning,
  finishRequest,
  hasQueued,
  isBlocked,
  placesOf,
  startRequest,
  targetsOf,
  unfinishedRequests,
} from './requests.ts'
import { lockDatacenters, setResourceState } from './resources.ts'
import type { RequestTargetRow } from './schema.ts'
import type { Change } from './store.ts'

/** An agent that was silent for this long is not waited for. */
const LIVE_MS = 15_000

/** Whether an agent that was heard then, if ever, still counts. */
export function isLive(lastSeenAtMs: number | null | undefined, nowMs: number): boolean {
  return nowMs - (lastSeenAtMs ?? Number.NEGATIVE_INFINITY) < LIVE_MS
}

/**
 * Finishes what can be finished among these requests, or those that touch these resources. One that ends may
 * free the next in line, which is of the same data center, so this goes on until nothing moves.
 */
export async function settleRequests(
  change: Change,
  which: Concerning | { ids: readonly string[] },
): Promise<void> {
  let queue = await unfinishedRequests(change.tx, which)
  // All at once: two replicas that lock one after the other may wait for each other.
  const ids = queue.map((it) => it.id)
  if (change.dialect === 'postgres') await lockDatacenters(change, await placesOf(change.tx, ids))
  while (queue.length > 0) {
    const freed = { touching: new Set<string>(), changing: new Set<string>() }
    for (const request of queue) {
      const targets = await targetsOf(change.tx, request.id)
      // One that has started was the first in its line, and nobody gets in before it.
      if (request.status === 'QUEUED' && (await isBlocked(change, request, targets))) continue
      await startRequest(change, request)
      const outcome = await outcomeOf(change, targets)
      if (outcome === 'waiting') continue
      await finishRequest(change, request, targets, outcome.failure)
      for (const it of targets) freed[it.role === 'target' ? 'touching' : 'changing'].add(it.resource_id)
    }
    if (freed.touching.size === 0 || !(await hasQueued(change.tx))) return
    queue = await unfinishedRequests(change.tx, {
      touching: [...freed.touching],
      changing: [...freed.changing],
    })
  }
}

type Outcome = 'waiting' | { failure: string | undefined }

async function outcomeOf(change: Change, targets: RequestTargetRow[]): Promise<Outcome> {
  let failure: string | undefined
  for (const target of targets) {
    if (target.wait === 'none') continue
    const outcome =
      target.wait === 'attach' ? await attachOutcome(change, target) : await detachOutcome(change, target)
    if (outcome === 'waiting') return outcome
    failure ??= outcome.failure
  }
  return { failure }
}

/**
 * Attached, known not to be there yet, or nobody has said anything for long enough: all of them end the
 * waiting.
 */
async function attachOutcome(change: Change, target: RequestTargetRow): Promise<Outcome> {
  const points = await attachmentOf(change.tx, target.resource_id)
  if (points === undefined || points.some((it) => it.state === 'attached')) return { failure: undefined }
  const failed = points.find((it) => it.state === 'failed')
  if (failed !== undefined) {
    await setResourceState(change, target.resource_id, 'INACTIVE')
    return {
      failure: `[VDC-5-1810] host ${failed.host} cannot attach: ${failed.message ?? 'no reason given'}`,
    }
  }
  if (points.some((it) => it.state === 'waiting')) return { failure: undefined }
  return target.due_at <= change.nowMs ? { failure: undefined } : 'waiting'
}

/**
 * Gone from every host that is alive; a dead agent's flow log is gone as soon as it asks for its
 * assignments.
 */
async function detachOutcome(change: Change, target: RequestTargetRow): Promise<Outcome> {
  const isHeld = await isBeingDetached(change.tx, target.resource_id, change.nowMs - LIVE_MS)
  return isHeld ? 'waiting' : { failure: undefined }
}
