import type { Acknowledged, UploadGrant, UploadRequest } from '../model/agent-protocol.ts'
import type { Segment } from '../spool/segment-index.ts'
import type { LoadedSegment } from '../spool/spool.ts'

/** What the deliverer needs of the spool. */
export interface DeliverySpool {
  segments(): Segment[]
  segment(segmentId: string): Segment | undefined
  load(segmentId: string): Promise<LoadedSegment | 'damaged'>
  salvage(segmentId: string): void
  upload(segmentId: string): void
  acknowledge(segmentId: string): Promise<void>
  fail(segmentId: string): void
  park(segmentId: string): void
  release(segmentId: string): void
  enforceLimits(): void
}

interface SignalOption {
  signal: AbortSignal
}

/** What it needs of the control plane: an answer for each segment, in their order. */
export interface UploadGrants {
  requestUploads(segments: UploadRequest[], options: SignalOption): Promise<(UploadGrant | Error)[]>
  acknowledge(segmentIds: string[], options: SignalOption): Promise<(Acknowledged | Error)[]>
}

export interface DeliveryLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}
