import { readFileSync } from 'node:fs'

/**
 * Sizes and member offsets (in bytes) of the structures in an object file's .BTF section.
 *
 *   header   u16 magic   u8 version   u8 flags   u32 header size   u32 types at, size   u32 strings at, size
 *   type     u32 name   u32 kind << 24 | members   u32 size or type   then what its kind brings
 */
export interface StructShape {
  size: number
  members: Record<string, number>
}

const STRUCT = 4
/** Bytes behind a type, by kind: fixed, and for each member. */
const EXTRA: Record<number, [number, number]> = {
  1: [4, 0], // integer
  3: [12, 0], // array
  4: [0, 12], // struct
  5: [0, 12], // union
  6: [0, 8], // enum
  13: [0, 8], // function prototype
  14: [4, 0], // variable
  15: [0, 12], // section
  17: [4, 0], // tag
  19: [0, 12], // enum of 64 bits
}

export function readStructs(objectFile: string): Map<string, StructShape> {
  const btf = sectionOf(readFileSync(objectFile), '.BTF')
  if (btf.readUInt16LE(0) !== 0xeb9f) throw new Error(`${objectFile} has no BTF`)
  const headerSize = btf.readUInt32LE(4)
  const types = btf.subarray(
    headerSize + btf.readUInt32LE(8),
    headerSize + btf.readUInt32LE(8) + btf.readUInt32LE(12),
  )
  const strings = btf.subarray(headerSize + btf.readUInt32LE(16))
  const text = (at: number) => strings.toString('latin1', at, strings.indexOf(0, at))
  const structs = new Map<string, StructShape>()
  for (let at = 0; at < types.length; ) {
    const kind = (types.readUInt32LE(at + 4) >>> 24) & 31
    const count = types.readUInt32LE(at + 4) & 0xffff
    if (kind === STRUCT) {
      const members: Record<string, number> = {}
      for (let i = 0; i < count; i++) {
        const member = at + 12 + i * 12
        members[text(types.readUInt32LE(member))] = (types.readUInt32LE(member + 8) & 0xffffff) / 8
      }
      structs.set(text(types.readUInt32LE(at)), { size: types.readUInt32LE(at + 8), members })
    }
    const [fixed, each] = EXTRA[kind] ?? [0, 0]
    at += 12 + fixed + each * count
  }
  return structs
}

/** A section of a 64-bit little-endian ELF file. */
function sectionOf(file: Buffer, name: string): Buffer {
  const headersAt = Number(file.readBigUInt64LE(40))
  const [size, count, namesIndex] = [file.readUInt16LE(58), file.readUInt16LE(60), file.readUInt16LE(62)]
  const header = (index: number) => file.subarray(headersAt + index * size)
  const content = (it: Buffer) => {
    const at = Number(it.readBigUInt64LE(24))
    return file.subarray(at, at + Number(it.readBigUInt64LE(32)))
  }
  const names = content(header(namesIndex))
  for (let index = 0; index < count; index++) {
    const at = header(index).readUInt32LE(0)
    if (names.toString('latin1', at, names.indexOf(0, at)) === name) return content(header(index))
  }
  throw new Error(`no section ${name}`)
}
