/**
 * `import { … } from 'weir/meter'`: packets to flows by window, in Node. docs/library.md shows how.
 */

export { ROW, ROW_EGRESS, ROW_IPV6, ROW_REJECT, ROW_SIZE, ROW_SKIPPED } from '../model/flow-rows.ts'
export { FragmentCache } from './fragment-cache.ts'
export {
  FLOWS_MAX_LIMIT,
  type KernelOptions,
  type MeterKernel,
  PACKET,
  PACKET_EGRESS,
  PACKET_REJECT,
  PACKET_WORDS,
  PACKETS_MAX,
  SEED_WORDS,
} from './kernel.ts'
export { type MeteredPacket, type MeteredWindow, meterPackets } from './meter-packets.ts'
export { FRAGMENT, LINK, OUTCOME, PARSED, PARSED_WORDS, parsePacket } from './packet.ts'
export { PlainKernel } from './plain-kernel.ts'
export { WasmKernel } from './wasm-kernel.ts'
export { type MeterCounters, type SealedWindow, WindowMeter } from './window-meter.ts'
