import { type TSchema, Type } from 'typebox'
import {
  LIVE_ROW_KINDS,
  LIVE_WINDOW_ROWS_MAX,
  LIVE_WINDOWS_MAX,
  SEGMENTS_PER_REQUEST_MAX,
} from '../../model/agent-protocol.ts'

// What agents send (docs/reference/agent-protocol.md).

const Segment = Type.Unsafe<string>({ type: 'string', pattern: '^[A-Za-z0-9._-]{1,200}$' })
const text = Type.String({ maxLength: 4000 })

export const Upload = Type.Object({
  segmentId: Segment,
  flowLogIds: Type.Array(Type.String({ maxLength: 64 }), { minItems: 1, maxItems: 10_000 }),
  windowStartS: Type.Integer({ minimum: 0, maximum: 2 ** 32 }),
  size: Type.Integer({ minimum: 1, maximum: 2 ** 40 }),
  sha256: Type.Unsafe<string>({ type: 'string', pattern: '^[0-9a-f]{64}$' }),
  records: Type.Integer({ minimum: 0, maximum: 2 ** 40 }),
})

// What a segment says is checked for each of them: one that is wrong must not fail the others.
export const Uploads = Type.Object({
  segments: Type.Array(Type.Unknown(), { minItems: 1, maxItems: SEGMENTS_PER_REQUEST_MAX }),
})
export const Acknowledgement = Type.Object({
  segmentIds: Type.Array(Segment, { minItems: 1, maxItems: SEGMENTS_PER_REQUEST_MAX }),
})

const Point = Type.Object({
  flowLogId: Type.String({ maxLength: 64 }),
  state: Type.Unsafe<string>({ type: 'string', enum: ['attached', 'waiting', 'failed'] }),
  device: Type.Optional(text),
  message: Type.Optional(text),
})

// What would break whoever shows it, such as a date beyond all calendars, is refused here.
const amount = Type.Number({ minimum: 0, maximum: 2 ** 64 })
const seconds = Type.Number({ minimum: 0, maximum: 2 ** 32 })
const Pending = Type.Object({
  flowLogId: Type.String({ maxLength: 64 }),
  segments: amount,
  bytes: amount,
  oldestWindowStartS: seconds,
  lastError: Type.Optional(Type.Object({ reason: text, message: text, at: text })),
})
const Spool = Type.Object({
  segments: amount,
  bytes: amount,
  bytesMax: Type.Optional(amount),
  oldestWindowStartS: Type.Optional(seconds),
  parkedSegments: Type.Optional(amount),
  damagedSegments: Type.Optional(amount),
  damagedManifestLines: Type.Optional(amount),
  setAsideFiles: Type.Optional(amount),
  givenUpSegments: Type.Optional(amount),
  givenUpPackets: Type.Optional(amount),
})
const LastDelivery = Type.Object({ object: text, bucket: text, records: amount, bytes: amount, at: text })
export const healthProperties = {
  windowStartS: seconds,
  windowSizeS: amount,
  flows: amount,
  flowsMax: amount,
  skippedPackets: amount,
  hookRuns: Type.Optional(amount),
  hookNs: Type.Optional(amount),
  lateVerdicts: Type.Optional(amount),
  lostPackets: Type.Optional(amount),
  hooksRemoved: Type.Optional(amount),
  liveFailures: Type.Optional(amount),
  spool: Spool,
  lastDelivery: Type.Optional(LastDelivery),
  lastError: Type.Optional(Type.Object({ message: text, at: text })),
  deliveries: Type.Optional(Type.Array(Pending, { maxItems: 10_000 })),
}

// Newer agents may say more than we know, and older ones less: what every agent says is checked.
export const Report: TSchema = Type.Object({
  protocol: Type.Integer(),
  agentVersion: text,
  startedAt: text,
  assignmentsVersion: text,
  points: Type.Array(Point, { maxItems: 100_000 }),
  health: Type.Object(healthProperties),
})

// Rows go into a database as they are, so the types are exact here.
const second = Type.Integer({ minimum: 0, maximum: 2 ** 32 - 1 })
const counter = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const orNull = (type: TSchema) => Type.Union([type, Type.Null()])
const port = orNull(Type.Integer({ minimum: 0, maximum: 65_535 }))
const address = orNull(Type.String({ maxLength: 45 }))
const LiveWindow = Type.Object({
  startS: second,
  rows: Type.Array(
    Type.Tuple([
      Type.Unsafe<string>({ type: 'string', enum: [...LIVE_ROW_KINDS] }),
      orNull(Type.Integer({ minimum: 0, maximum: 255 })),
      address,
      port,
      address,
      port,
      counter,
      counter,
      second,
      second,
    ]),
    { maxItems: 2 * LIVE_WINDOW_ROWS_MAX },
  ),
  left: Type.Object({ flows: counter, packets: counter, octets: counter }),
})
export const Live = Type.Object({
  everyS: Type.Integer({ minimum: 1, maximum: 60 }),
  flowLogs: Type.Array(
    Type.Object({
      flowLogId: Type.String({ maxLength: 64 }),
      windows: Type.Array(LiveWindow, { maxItems: LIVE_WINDOWS_MAX }),
      underway: Type.Object({ windows: counter, oldestWindowStartS: Type.Optional(second) }),
    }),
    { maxItems: 10_000 },
  ),
})

export const Enrolment = Type.Object({ code: Type.String({ minLength: 1, maxLength: 200 }) })

export const WaitQuery = Type.Object({
  version: Type.Optional(text),
  live: Type.Optional(Type.String({ maxLength: 64 })),
  changes: Type.Optional(Type.Unsafe<string>({ type: 'string', enum: ['true', 'false'] })),
  waitS: Type.Optional(Type.Unsafe<string>({ type: 'string', pattern: '^\\d{1,4}$' })),
})
