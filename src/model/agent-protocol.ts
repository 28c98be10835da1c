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

/**
 * GET /agent/v1/assignments?version=N&changes=true&live=K&waitS=S: answers at once when N is not the current version, or
 * somebody wants to see flow logs live and K is not the `key` of what is wanted.
 */
export interface Assignments {
  version: string
  windowSizeS: number
  /** The version since which `assignments` are new or other, and `withdrawn` are gone; without it they are all there are. */
  since?: string
  assignments: Assignment[]
  /** Flow log ids; one that is in `assignments` too has come back. */
  withdrawn?: string[]
  /** Somebody has mended these since the version that the agent has: what waits for them is to be tried at once. */
  retry?: DeliveryPlace[]
  live?: LiveWanted
}

/** What one contract has for one bucket. */
export interface DeliveryPlace {
  contractNumber: number
  bucket: string
}

/** Flow logs that somebody looks at right now. */
export interface LiveWanted {
  /** Names this set of flow logs; '' for none. */
  key: string
  flowLogIds: string[]
  /** For so long, unless it is said again. */
  forS: number
}

/** POST /agent/v1/live: replaces what was said of these flow logs before. Answer: LiveWanted. */
export interface LiveReport {
  /** The next report comes after so long. */
  everyS: number
  flowLogs: LiveFlowLog[]
}

export interface LiveFlowLog {
  flowLogId: string
  /** Windows that are not delivered: the open one, and closed ones as far as this agent still has their rows at hand. */
  windows: LiveWindow[]
  /** Closed windows on their way to the bucket whose flows are not in `windows`. */
  underway: { windows: number; oldestWindowStartS?: number }
}

export interface LiveWindow {
  startS: number
  /** Those with the most octets, accepted and refused ones each; and what was skipped. */
  rows: LiveRow[]
  /** Flows that are not in `rows`. */
  left: { flows: number; packets: number; octets: number }
}

/** A record that is not one yet. Fields without a value are null, as in a SKIPDATA record. */
export type LiveRow = [
  kind: (typeof LIVE_ROW_KINDS)[number],
  protocol: number | null,
  source: string | null,
  sourcePort: number | null,
  destination: string | null,
  destinationPort: number | null,
  packets: number,
  octets: number,
  startS: number,
  endS: number,
]
export const LIVE_ROW_KINDS = ['ACCEPT', 'REJECT', 'SKIPDATA'] as const

/** Rows in one report; in one window of it, of one flow log; and how many windows of a flow log it tells of. */
export const LIVE_REPORT_ROWS_MAX = 16_000
export const LIVE_WINDOW_ROWS_MAX = 1_000
export const LIVE_WINDOWS_MAX = 8

export type PointState = 'attached' | 'waiting' | 'failed'

/** POST /agent/v1/report: heartbeat; sent at once when a state changes. Answer: 204. */
export interface AgentReport {
  protocol: number
  agentVersion: string
  startedAt: string
  /** The version of the assignments that this report describes. */
  assignmentsVersion: string
  /**
   * One for each assignment, but for those of which the last report that was taken said the same. A withdrawn flow
   * log that is missing here is not captured any more.
   */
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
  /** Times that somebody else removed the hooks of a device, since the agent started: until they were back nothing was counted. */
  hooksRemoved?: number
  /** Reports of live flows that failed, since the agent started. */
  liveFailures?: number
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
  setAsideFiles?: number
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
