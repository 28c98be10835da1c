import fs from 'node:fs'
import { crc32 } from 'node:zlib'
import type { Loss } from './loss-ledger.ts'
import type { Member, SegmentLine } from './manifest.ts'
import { isMissing } from './spool-error.ts'

export interface Salvage {
  whole: Buffer
  members: Member[]
  losses: Loss[]
}

/**
 * Takes from a damaged segment the members that are still what was written, and counts the others by flow log. A member
 * is found by its place, not by its contents, so one that is broken costs none that follows it. Places that the disk
 * cannot read count as broken.
 */
export function salvage(file: string, line: SegmentLine): Salvage {
  const result: Salvage = { whole: Buffer.alloc(0), members: [], losses: [] }
  const chunks: Buffer[] = []
  const fd = openIfThere(file)
  try {
    let at = 0
    for (const member of line.members) {
      const bytes = fd === undefined ? undefined : readMember(fd, at, member)
      if (bytes === undefined) result.losses.push(lossOf(line, member))
      else {
        chunks.push(bytes)
        result.members.push(member)
      }
      at += member[0]
    }
  } finally {
    if (fd !== undefined) fs.closeSync(fd)
  }
  result.whole = Buffer.concat(chunks)
  return result
}

/** Everything a segment holds, as losses by flow log. */
export function lossesOf(
  line: Pick<SegmentLine, 'flowLogIds' | 'windowStartS' | 'windowSizeS' | 'members'>,
): Loss[] {
  return line.members.map((member) => lossOf(line, member))
}

function lossOf(
  line: Pick<SegmentLine, 'flowLogIds' | 'windowStartS' | 'windowSizeS'>,
  member: Member,
): Loss {
  const [, , flowLogIndex, records, packets, octets] = member
  return {
    flowLogId: line.flowLogIds[flowLogIndex]!,
    records,
    packets,
    octets,
    startS: line.windowStartS,
    endS: line.windowStartS + line.windowSizeS,
  }
}

function readMember(fd: number, at: number, [size, checksum]: Member): Buffer | undefined {
  const bytes = Buffer.alloc(size)
  try {
    if (fs.readSync(fd, bytes, 0, size, at) !== size) return undefined
  } catch {
    return undefined // EIO: the disk lost this place.
  }
  return crc32(bytes) === checksum ? bytes : undefined
}

function openIfThere(file: string): number | undefined {
  try {
    return fs.openSync(file, 'r')
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}
