import {
  POINT_RECORD,
  POINT_RECORD_CLASSIC,
  POINT_RECORD_ETHERNET,
  POINT_RECORD_MIRRORED,
  POINT_RECORD_SIZE,
  POINT_RECORD_TEXT_SIZES,
} from './layout.ts'

export interface PointConfig {
  /** 0 to 65535, chosen by the agent; not used again while a window in the kernel mentions it. */
  point: number
  flowLogId: string
  interfaceId: string
  device: string
  /** Name of a network namespace as `ip netns` knows it. */
  netns?: string
  /** The device's other end is the guest: what comes in at the device, the NIC sent. */
  mirrored: boolean
}

export interface AttachedPoint extends PointConfig {
  ifindex: number
}

export interface PointRecord extends AttachedPoint {
  netnsCookie: bigint
  hasEthernetHeader: boolean
  /** Attached by clsact filters, not by tcx links. */
  isClassic: boolean
}

type TextField = keyof typeof POINT_RECORD_TEXT_SIZES

/** Whether all texts of a point fit into its record. */
export function pointFits(point: PointConfig): boolean {
  const fields = Object.keys(POINT_RECORD_TEXT_SIZES) as TextField[]
  return fields.every((field) => Buffer.byteLength(point[field] ?? '') < POINT_RECORD_TEXT_SIZES[field])
}

export function encodePoint(point: PointRecord): Buffer {
  const record = Buffer.alloc(POINT_RECORD_SIZE)
  record.write(point.flowLogId, POINT_RECORD.flowLogId)
  record.write(point.interfaceId, POINT_RECORD.interfaceId)
  record.writeBigUInt64LE(point.netnsCookie, POINT_RECORD.netnsCookie)
  record.writeUInt32LE(point.ifindex, POINT_RECORD.ifindex)
  const flags =
    (point.mirrored ? POINT_RECORD_MIRRORED : 0) |
    (point.isClassic ? POINT_RECORD_CLASSIC : 0) |
    (point.hasEthernetHeader ? POINT_RECORD_ETHERNET : 0)
  record.writeUInt32LE(flags, POINT_RECORD.flags)
  record.write(point.device, POINT_RECORD.device)
  record.write(point.netns ?? '', POINT_RECORD.netns)
  return record
}

export function decodePoint(point: number, record: Buffer): PointRecord {
  const text = (field: TextField): string => {
    const at = POINT_RECORD[field]
    const bytes = record.subarray(at, at + POINT_RECORD_TEXT_SIZES[field])
    return bytes.toString('utf8', 0, bytes.indexOf(0))
  }
  const flags = record.readUInt32LE(POINT_RECORD.flags)
  const netns = text('netns')
  return {
    point,
    flowLogId: text('flowLogId'),
    interfaceId: text('interfaceId'),
    device: text('device'),
    ...(netns === '' ? {} : { netns }),
    mirrored: (flags & POINT_RECORD_MIRRORED) !== 0,
    ifindex: record.readUInt32LE(POINT_RECORD.ifindex),
    netnsCookie: record.readBigUInt64LE(POINT_RECORD.netnsCookie),
    hasEthernetHeader: (flags & POINT_RECORD_ETHERNET) !== 0,
    isClassic: (flags & POINT_RECORD_CLASSIC) !== 0,
  }
}
