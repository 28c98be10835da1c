import { getIfChanged, getJson, postJson } from './http.ts'

export interface DeliveryStatus {
  agents: Agent[]
  windowSizeS: number
  flowLogs: FlowLogDelivery[]
}

export interface Agent {
  host: string
  live: boolean
  /** Two machines report with its token. */
  twin: boolean
  lastSeenAt: string | null
  agentVersion: string | null
  startedAt: string | null
  points: Point[]
  health: Health | null
}

export interface Point {
  flowLogId: string
  host?: string
  state: 'attached' | 'waiting' | 'failed'
  device: string | null
  message: string | null
  /** Of a host that reports. */
  live: boolean
}

export interface Health {
  windowStartS: number
  windowSizeS: number
  flows: number
  flowsMax: number
  skippedPackets: number
  lateVerdicts?: number
  lostPackets?: number
  spool: { segments: number; bytes: number; oldestWindowStartS?: number }
  lastDelivery?: { object: string; bucket: string; records: number; bytes: number; at: string }
  lastError?: { message: string; at: string }
}

export interface FlowLogDelivery {
  id: string
  interfaceId: string
  bucket: string
  prefix: string
  host: string | null
  delivery: {
    status: string
    points: Point[]
    objects: number
    bytes: number
    records: number
    lastObject: string | null
    lastDeliveredAt: string | null
    pendingSegments: number
    pendingBytes: number
    oldestPendingWindow: string | null
    lastError: string | null
    lastErrorAt: string | null
  }
}

export interface StoredObject {
  bucket: string
  name: string
  size: number
  modifiedAt: string
}

export function loadStatus(signal?: AbortSignal): Promise<DeliveryStatus> {
  return getJson<DeliveryStatus>('/weir/v1/status', signal)
}

/** What the reader may see of the contract's flow logs; the same array as long as nothing changes. */
export function loadDeliveries(signal?: AbortSignal): Promise<FlowLogDelivery[]> {
  return getIfChanged('/weir/v1/flowlogs', signal, ({ items }: { items: FlowLogDelivery[] }) => items)
}

export async function loadBuckets(signal?: AbortSignal): Promise<string[]> {
  const { items } = await getJson<{ items: { name: string }[] }>('/weir/v1/buckets', signal)
  return items.map(({ name }) => name)
}

/** Somebody has mended the bucket: what waits for it is tried at once. */
export async function retryDelivery(bucket: string): Promise<void> {
  await postJson(`/weir/v1/buckets/${encodeURIComponent(bucket)}/retry`, {})
}

const PAGES_MAX = 20

/** The objects of one flow log whose window starts at `sinceS` or later. */
export async function loadObjects(
  { bucket, prefix, interfaceId }: FlowLogDelivery,
  sinceS: number,
  signal?: AbortSignal,
): Promise<StoredObject[]> {
  const stem = prefix === '' ? interfaceId : prefix
  const found: StoredObject[] = []
  // Names end in the window's start: sorted by name is sorted by time.
  let after: string | undefined = `${stem}-${sinceS - 1}.log.gz`
  for (let page = 0; after !== undefined && page < PAGES_MAX; page++) {
    const query = new URLSearchParams({ bucket, prefix: `${stem}-`, after })
    const answer: { items: StoredObject[]; next?: string } = await getJson(
      `/weir/v1/objects?${query}`,
      signal,
    )
    found.push(...answer.items)
    after = answer.next
  }
  return found
}

/** `web/a-1795372200.log.gz` → 1795372200; undefined for objects that are none of ours. */
export function windowStartOf(objectName: string): number | undefined {
  const match = /-(\d{9,11})\.log\.gz$/.exec(objectName)
  return match === null ? undefined : Number(match[1])
}
