import type { Assignment } from '../model/agent-protocol.ts'
import { ROW_EGRESS, ROW_REJECT, ROW_SKIPPED } from '../model/flow-rows.ts'

/** Which rows of an observation point become records of its flow log. */
export interface RecordSelection {
  /** Attribute bits that a row must not have. */
  refused: number
  /** Attribute bits that a row must have, unless it is a SKIPDATA row: that one needs its direction only. */
  required: number
}

export function selectionOf({ action, direction }: Assignment): RecordSelection {
  return {
    refused: (action === 'ACCEPTED' ? ROW_REJECT : 0) | (direction === 'INGRESS' ? ROW_EGRESS : 0),
    required: (action === 'REJECTED' ? ROW_REJECT : 0) | (direction === 'EGRESS' ? ROW_EGRESS : 0),
  }
}

export function isSelected(attributes: number, { refused, required }: RecordSelection): boolean {
  const wanted = (attributes & ROW_SKIPPED) === 0 ? required : required & ROW_EGRESS
  return (attributes & refused) === 0 && (attributes & wanted) === wanted
}
