import { lookup } from './ffi/libbpf.ts'
import { SLOT, SLOT_SIZE, SLOTS, STATE, STATE_SIZE } from './layout.ts'

export interface SlotHeader {
  slot: number
  isOpen: boolean
  generation: bigint
  openedNs: bigint
  endNs: bigint
  startS: number
  endS: number
  wallOffsetNs: bigint
  flows: number
  extensions: bigint
}

export interface KernelState {
  /** 0n until the first window is opened. */
  current: bigint
  wallOffsetNs: bigint
  windowSizeS: number
  flowsMax: number
  flowsPerPointMax: number
  verdictsLate: bigint
  verdictsUnmatched: bigint
  lostPackets: bigint
  lostOctets: bigint
  instance: bigint
  /** Those in use, oldest first. */
  slots: SlotHeader[]
}

const KEY_ZERO = Buffer.alloc(4)

/** A snapshot of the kernel's global state (struct state). */
export function readState(stateFd: number): KernelState {
  const buffer = Buffer.alloc(STATE_SIZE)
  lookup(stateFd, KEY_ZERO, buffer)
  const current = buffer.readBigUInt64LE(STATE.current)
  const open = Number(current & 3n)
  const slots: SlotHeader[] = []
  for (let slot = 0; slot < SLOTS; slot++) {
    const at = STATE.slots + slot * SLOT_SIZE
    if (buffer.readUInt32LE(at + SLOT.state) === 0) continue
    slots.push({
      slot,
      isOpen: slot === open,
      generation: buffer.readBigUInt64LE(at + SLOT.generation),
      openedNs: buffer.readBigUInt64LE(at + SLOT.openedNs),
      endNs: buffer.readBigUInt64LE(at + SLOT.endNs),
      startS: Number(buffer.readBigUInt64LE(at + SLOT.startS)),
      endS: Number(buffer.readBigUInt64LE(at + SLOT.endS)),
      wallOffsetNs: buffer.readBigInt64LE(at + SLOT.wallOffsetNs),
      flows: buffer.readUInt32LE(at + SLOT.flows),
      extensions: buffer.readBigUInt64LE(at + SLOT.extensions),
    })
  }
  slots.sort((a, b) => (a.generation < b.generation ? -1 : 1))
  return {
    current,
    wallOffsetNs: buffer.readBigInt64LE(STATE.wallOffsetNs),
    windowSizeS: Number(buffer.readBigUInt64LE(STATE.windowSizeS)),
    flowsMax: buffer.readUInt32LE(STATE.flowsMax),
    flowsPerPointMax: buffer.readUInt32LE(STATE.flowsPerPointMax),
    verdictsLate: buffer.readBigUInt64LE(STATE.verdictsLate),
    verdictsUnmatched: buffer.readBigUInt64LE(STATE.verdictsUnmatched),
    lostPackets: buffer.readBigUInt64LE(STATE.lostPackets),
    lostOctets: buffer.readBigUInt64LE(STATE.lostOctets),
    instance: buffer.readBigUInt64LE(STATE.instance),
    slots,
  }
}
