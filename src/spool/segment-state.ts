import { assert } from '../stdx/assert.ts'

export type SegmentState = 'sealed' | 'uploading' | 'parked' | 'delivered' | 'givenUp'
export type SegmentEvent = 'upload' | 'acknowledge' | 'fail' | 'refuse' | 'release' | 'giveUp'

/**
 * The life of a segment from the moment it is sealed, that is: its window was committed. What is not in this table
 * cannot happen. Only the file's existence is kept on disk, so after a restart every segment is sealed again.
 */
const TRANSITIONS: Record<SegmentState, Partial<Record<SegmentEvent, SegmentState>>> = {
  sealed: { upload: 'uploading', giveUp: 'givenUp' },
  uploading: { acknowledge: 'delivered', fail: 'sealed', refuse: 'parked', giveUp: 'givenUp' },
  parked: { release: 'sealed', giveUp: 'givenUp' }, // Refused for good: tried again slowly.
  delivered: {}, // The file may now be unlinked.
  givenUp: {}, // Likewise; what it held is in the ledger.
}

export function advance(state: SegmentState, event: SegmentEvent): SegmentState {
  const next = TRANSITIONS[state][event]
  assert(next !== undefined, `segment '${state}' cannot '${event}'`)
  return next
}
