/** Writes captures by hand, so that readers are tested against the formats and not against themselves. */
export interface WrittenPacket {
  bytes: Uint8Array
  /** Unix seconds, with fraction. */
  time: number
  wireLength?: number
}

export interface PcapOptions {
  bigEndian?: boolean
  nanoseconds?: boolean
  link?: number
}

export function pcap(packets: WrittenPacket[], it: PcapOptions = {}): Buffer {
  const words = wordsOf(it.bigEndian === true)
  const magic = it.nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4
  const header = [
    words.u32(magic),
    words.u16(2),
    words.u16(4),
    words.u32(0),
    words.u32(0),
    words.u32(262_144),
  ]
  const units = it.nanoseconds ? 1e9 : 1e6
  const records = packets.flatMap(({ bytes, time, wireLength }) => {
    const second = Math.floor(time)
    const fraction = words.u32(Math.floor((time - second) * units))
    return [
      words.u32(second),
      fraction,
      words.u32(bytes.length),
      words.u32(wireLength ?? bytes.length),
      bytes,
    ]
  })
  return Buffer.concat([...header, words.u32(it.link ?? 1), ...records])
}

export interface PcapngOptions {
  bigEndian?: boolean
}

/** A section: its header and the blocks that `build` makes. */
export function pcapngSection(build: (blocks: Blocks) => Buffer[], it: PcapngOptions = {}): Buffer {
  const blocks = new Blocks(it.bigEndian === true)
  return Buffer.concat([blocks.sectionHeader(), ...build(blocks)])
}

export class Blocks {
  readonly #words: ReturnType<typeof wordsOf>

  constructor(bigEndian: boolean) {
    this.#words = wordsOf(bigEndian)
  }

  block(type: number, ...parts: Uint8Array[]): Buffer {
    const body = padded(Buffer.concat(parts))
    const size = this.#words.u32(body.length + 12)
    return Buffer.concat([this.#words.u32(type), size, body, size])
  }

  sectionHeader(): Buffer {
    const unknownSize = Buffer.alloc(8, 0xff)
    const { u16, u32 } = this.#words
    return this.block(0x0a0d0d0a, u32(0x1a2b3c4d), u16(1), u16(0), unknownSize)
  }

  interface(it: { link?: number; resolution?: number; offsetS?: bigint; snapLength?: number } = {}): Buffer {
    const { u16, u32 } = this.#words
    const options = [
      ...(it.resolution === undefined ? [] : [this.option(9, Buffer.from([it.resolution]))]),
      ...(it.offsetS === undefined ? [] : [this.option(14, this.#words.u64(it.offsetS))]),
      this.option(0, new Uint8Array(0)),
    ]
    return this.block(1, u16(it.link ?? 1), u16(0), u32(it.snapLength ?? 0), ...options)
  }

  option(code: number, value: Uint8Array): Buffer {
    return Buffer.concat([this.#words.u16(code), this.#words.u16(value.length), padded(value)])
  }

  /** `stamp` is in units of the interface. */
  packet(
    number: number,
    stamp: bigint,
    bytes: Uint8Array,
    it: { wireLength?: number; flags?: number | undefined } = {},
  ): Buffer {
    const { u32 } = this.#words
    const times = [u32(Number(stamp >> 32n)), u32(Number(stamp & 0xffff_ffffn))]
    const comment = this.option(1, Buffer.from('comment'))
    const options =
      it.flags === undefined ? [] : [comment, this.option(2, u32(it.flags)), this.option(0, Buffer.of())]
    const lengths = [u32(bytes.length), u32(it.wireLength ?? bytes.length)]
    return this.block(6, u32(number), ...times, ...lengths, padded(bytes), ...options)
  }

  oldPacket(number: number, stamp: bigint, bytes: Uint8Array): Buffer {
    const { u16, u32 } = this.#words
    const times = [u32(Number(stamp >> 32n)), u32(Number(stamp & 0xffff_ffffn))]
    return this.block(2, u16(number), u16(0), ...times, u32(bytes.length), u32(bytes.length), padded(bytes))
  }

  simplePacket(bytes: Uint8Array, wireLength = bytes.length): Buffer {
    return this.block(3, this.#words.u32(wireLength), padded(bytes))
  }
}

function padded(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)])
}

function wordsOf(bigEndian: boolean) {
  const make = (size: number, write: (view: DataView) => void): Buffer => {
    const bytes = Buffer.alloc(size)
    write(new DataView(bytes.buffer, bytes.byteOffset, size))
    return bytes
  }
  return {
    u16: (value: number) => make(2, (view) => view.setUint16(0, value, !bigEndian)),
    u32: (value: number) => make(4, (view) => view.setUint32(0, value, !bigEndian)),
    u64: (value: bigint) => make(8, (view) => view.setBigInt64(0, value, !bigEndian)),
  }
}
