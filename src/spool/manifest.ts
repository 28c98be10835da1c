import { crc32 } from 'node:zlib'

/**
 * The manifest of a committed window, file `manifest`: lines of text, each guarded by itself, so that a flipped bit
 * costs one line and a cut file only the lines after the cut.
 *
 *   <crc32 of the JSON, 8 hex digits> <JSON>\n
 *
 *   {"windowKey":…,"tells":[…]}     the window; written first and once more at the end
 *   {"segmentId":…,"file":…,…}      one for each segment; one with "replaces" takes the place of that earlier one
 */
export const MANIFEST = 'manifest'

export interface WindowLine {
  windowKey: string
  /** Ids of the losses whose SKIPDATA records stand in this window's objects: the ledger forgets them. */
  tells: string[]
}

/** What one append put into a segment: whole gzip members. [size, crc32, index in flowLogIds, records, packets, octets] */
export type Member = readonly [number, number, number, number, number, number]

export interface SegmentLine {
  segmentId: string
  /** The damaged segment that this one was saved from. */
  replaces?: string
  /** Name within the window's folder. */
  file: string
  contractNumber: number
  bucket: string
  /** What the object's name begins with: the prefix, or the interface's UUID. */
  stem: string
  /** 0, or higher where a destination's bytes were split by size. */
  part: number
  windowStartS: number
  windowSizeS: number
  size: number
  sha256: string
  flowLogIds: string[]
  members: Member[]
}

export interface Manifest {
  window: WindowLine | undefined
  segments: SegmentLine[]
  damagedLines: number
}

export function manifestLine(line: WindowLine | SegmentLine): string {
  const text = JSON.stringify(line)
  return `${crc32(text).toString(16).padStart(8, '0')} ${text}\n`
}

/** Reads what is whole, and counts what is not. Never throws, whatever the bytes. */
export function parseManifest(bytes: Buffer): Manifest {
  const manifest: Manifest = { window: undefined, segments: [], damagedLines: 0 }
  const segments = new Map<string, SegmentLine>()
  for (let at = 0; at < bytes.length; ) {
    const newline = bytes.indexOf(0x0a, at)
    const end = newline < 0 ? bytes.length : newline
    const line = newline < 0 ? undefined : parseLine(bytes.subarray(at, end))
    if (line === undefined) manifest.damagedLines++
    else if ('segmentId' in line) {
      segments.set(line.segmentId, line)
      if (line.replaces !== undefined) segments.delete(line.replaces)
    } else manifest.window = line
    at = end + 1
  }
  manifest.segments = [...segments.values()]
  return manifest
}

function parseLine(line: Buffer): WindowLine | SegmentLine | undefined {
  const text = line.subarray(9)
  if (line[8] !== 0x20 || crc32(text) !== Number.parseInt(line.toString('latin1', 0, 8), 16)) return undefined
  try {
    return JSON.parse(text.toString()) as WindowLine | SegmentLine // The checksum says that we wrote it.
  } catch {
    return undefined
  }
}
