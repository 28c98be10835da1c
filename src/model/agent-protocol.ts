import type { Action, Direction } from './flow-log.ts'

/** What an agent and the control plane say to each other, as JSON over HTTP (docs/reference/agent-protocol.md). */
export const AGENT_PROTOCOL_VERSION = 1

/** Which device a NIC or gateway is. `guest`: the device's other end is the guest, so directions are mirrored. */
export interface Binding {
  device?: string
  /** Name of a network namespace as `ip netns` knows it. */
  netns?: string
  side: 'guest' | 'own'
  mac?: string
}

export interface Assignment {
  flowLogId: string
  /** UUID of the NIC or gateway: the record's interface-id. */
  interfaceId: string
  /** The record's account-id. */
  contractNumber: number
  action: Action
  direction: Direction
  bucket: string
  /** '' when the tenant gave no prefix. */
  prefix: string
  binding: Binding
}

/** GET /agent/v1/assignments?version=N&waitS=S: answers at once when N is not the current version. */
export interface Assignments {
  version: string
  windowSizeS: number
  assignments: Assignment[]
}

export type PointState = 'attached' | 'waiting' | 'failed'

/** POST /agent/v1/report: heartbeat; sent at once when a state changes. Answer: 204. */
export interface AgentReport {
  protocol: number
  agentVersion: string
  startedAt: string
  /** The version of the assignments that this report describes. */
  assignmentsVersion: string
  /** One for each assignment; a flow log that is missing here is not captured any more. */
  points: { flowLogId: string; state: PointState; device?: string; message?: string }[]
  health: AgentHealth
}

export interface AgentHealth {
  windowStartS: number
  windowSizeS: number
  /** Flows of the open window in the kernel, and how many fit. */
  flows: number
  flowsMax: number
  /** Since the agent started: packets in SKIPDATA records, and those of the open window. */
  skippedPackets: number
  /** Runs of the hooks and their nanoseconds; 0 unless the sysctl kernel.bpf_stats_enabled is on. */
  hookRuns: number
  hookNs: number
  /** Refused after their window was closed (a queue held them): these stayed ACCEPT. */
  lateVerdicts: number
  /** Counted nowhere, for want of kernel memory. */
  lostPackets: number
  spool: SpoolHealth
  lastDelivery?: { object: string; bucket: string; records: number; bytes: number; at: string }
  lastError?: { message: string; at: string }
  /** Flow logs with something in the spool; those that wait longest, when there are very many. */
  deliveries?: PendingDelivery[]
}

/** An older agent says segments and bytes only. */
export interface SpoolHealth {
  segments: number
  bytes: number
  bytesMax?: number
  oldestWindowStartS?: number
  /** Refused by the control plane; tried again slowly. */
  parkedSegments?: number
  /** Since the agent started: found not to be what was written, and given up for want of room or for age. */
  damagedSegments?: number
  damagedManifestLines?: number
  givenUpSegments?: number
  givenUpPackets?: number
}

/** What one flow log has in the spool of one host. */
export interface PendingDelivery {
  flowLogId: string
  segments: number
  /** Of its segments, which it may share with others of the same prefix. */
  bytes: number
  oldestWindowStartS: number
  /** Of its bucket, while that fails. `reason`: the store's word, such as AccessDenied, or ours. */
  lastError?: { reason: string; message: string; at: string }
}

/** The most segments that one request asks for or acknowledges. */
export const SEGMENTS_PER_REQUEST_MAX = 100

/** POST /agent/v1/uploads: asks where to put segments. The same segment gets the same answer until acknowledged. */
export interface UploadsRequest {
  segments: UploadRequest[]
}

/** In the order of the segments. One that is refused costs the others nothing. */
export interface UploadsAnswer {
  answers: (UploadGrant | SegmentRefusal)[]
}

export interface UploadRequest {
  segmentId: string
  flowLogIds: string[]
  windowStartS: number
  /** Bytes of the gzip object. */
  size: number
  /** SHA-256 of these bytes, hex. */
  sha256: string
  records: number
}

/** `delivered`: the object is there already, nothing is to be sent. */
export interface UploadGrant {
  bucket: string
  objectName: string
  delivered: boolean
  url: string
  headers: Record<string, string>
  expiresAt: string
}

/** POST /agent/v1/uploads/acknowledge: the store has taken these. */
export interface AcknowledgeRequest {
  segmentIds: string[]
}

/** In the order of the segments. */
export interface AcknowledgeAnswer {
  answers: (Acknowledged | SegmentRefusal)[]
}

export interface Acknowledged {
  acknowledged: true
}

/** `status` and `code` as they would be of a request for this segment alone. */
export interface SegmentRefusal {
  error: { status: number; code?: string; message: string }
}
