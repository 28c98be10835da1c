import { lookup } from './ffi/libbpf.ts'
import { SLOT, SLOT_MASK, SLOT_SIZE, SLOTS, STATE, STATE_SIZE } from './layout.ts'

export interface SlotHeader {
  slot: number
  isOpen: boolean
  generation: bigint
  /** Ticks, whose length is the state's tickNs. */
  opened: bigint
  /** On the monotonic clock. */
  endNs: bigint
  startS: number
  endS: number
  /** The wall clock's time at tick 0, as of the opening. */
  wallBaseNs: bigint
  flows: number
  extensions: bigint
}

export interface KernelState {
  /** 0n until the first window is opened. */
  current: bigint
  /** Wall clock - monotonic clock. */
  wallOffsetNs: bigint
  tickNs: bigint
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
  const tickNs = buffer.readBigUInt64LE(STATE.tickNs)
  const phaseNs = buffer.readBigInt64LE(STATE.phaseNs)
  const open = Number(current & SLOT_MASK)
  const slots: SlotHeader[] = []
  for (let slot = 0; slot < SLOTS; slot++) {
    const at = STATE.slots + slot * SLOT_SIZE
    if (buffer.readUInt32LE(at + SLOT.state) === 0) continue
    slots.push({
      slot,
      isOpen: slot === open,
      generation: buffer.readBigUInt64LE(at + SLOT.generation),
      opened: buffer.readBigUInt64LE(at + SLOT.opened),
      endNs: buffer.readBigUInt64LE(at + SLOT.end) * tickNs + phaseNs,
      startS: Number(buffer.readBigUInt64LE(at + SLOT.startS)),
      endS: Number(buffer.readBigUInt64LE(at + SLOT.endS)),
      wallBaseNs: buffer.readBigInt64LE(at + SLOT.wallBaseNs),
      flows: buffer.readUInt32LE(at + SLOT.flows),
      extensions: buffer.readBigUInt64LE(at + SLOT.extensions),
    })
  }
  slots.sort((a, b) => (a.generation < b.generation ? -1 : 1))
  return {
    current,
    wallOffsetNs: buffer.readBigInt64LE(STATE.wallBaseNs) - phaseNs,
    tickNs,
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
