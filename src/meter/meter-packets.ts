import { getRandomValues } from 'node:crypto'
import { ROW_SIZE } from '../model/flow-rows.ts'
import {
  FLOWS_MAX_LIMIT,
  PACKET,
  PACKET_EGRESS,
  PACKET_REJECT,
  PACKET_WORDS,
  PACKETS_MAX,
  SEED_WORDS,
} from './kernel.ts'
import { LINK } from './packet.ts'
import { WasmKernel } from './wasm-kernel.ts'
import { LATE_S_DEFAULT, WINDOW_SIZE_S_MAX, WindowMeter } from './window-meter.ts'

/** A packet as a capture library hands it out. */
export interface MeteredPacket {
  bytes: Uint8Array
  /** Unix seconds; a fraction is cut off. Before 1970 and after 2106: the nearest that a record can hold. */
  timeS: number
  /** Length on the wire where `bytes` was cut. */
  wireLength?: number
  /** LINK; Ethernet where it is left out. */
  link?: number
  isEgress?: boolean
  isReject?: boolean
}

export interface MeteredWindow {
  startS: number
  /** `count` rows of ROW_SIZE bytes: for `encodeText`, a codec, or `rowToRecord` of weir/record. */
  rows: Uint8Array
  count: number
}

const INPUT_SIZE = 4 << 20
const UINT32_MAX = 0xffff_ffff
const WINDOW_SIZE_S_DEFAULT = 600
const LINKS: ReadonlySet<number> = new Set(Object.values(LINK))

/**
 * Meters packets into windows, from any (async) iterable. A window comes when it is over, in pieces of at
 * most 8192 rows. For many millions of packets a second use `WindowMeter` with batches in the kernel's own
 * memory instead. Throws a RangeError for options, link types and sizes that cannot be.
 */
export async function* meterPackets(
  packets: AsyncIterable<MeteredPacket> | Iterable<MeteredPacket>,
  options: { windowSizeS?: number; lateS?: number; flowsMax?: number } = {},
): AsyncGenerator<MeteredWindow> {
  const { windowSizeS = WINDOW_SIZE_S_DEFAULT, lateS = LATE_S_DEFAULT, flowsMax = FLOWS_MAX_LIMIT } = options
  checkRange('windowSizeS', windowSizeS, 1, WINDOW_SIZE_S_MAX)
  checkRange('lateS', lateS, 0, UINT32_MAX)
  checkRange('flowsMax', flowsMax, 1, FLOWS_MAX_LIMIT)
  const seeds = getRandomValues(new Uint32Array(SEED_WORDS))
  const kernel = new WasmKernel({ flowsMax, inputSize: INPUT_SIZE, seeds })
  const sealed: MeteredWindow[] = []
  const meter = new WindowMeter(
    { windowSizeS, lateS },
    {
      kernel,
      onSeal: ({ startS, readRows }) =>
        readRows((rows, count) => sealed.push({ startS, rows: rows.slice(0, count * ROW_SIZE), count })),
    },
  )
  let [count, size, link]: [number, number, number] = [0, 0, LINK.ethernet]
  let dueS = 0
  for await (const packet of packets) {
    const itsLink = packet.link ?? LINK.ethernet
    const { length } = packet.bytes
    checkRange('length of a packet', length, 0, INPUT_SIZE)
    if (!LINKS.has(itsLink)) throw new RangeError(`link type ${itsLink} cannot be metered: see LINK`)
    if (count > 0 && (itsLink !== link || size + length > INPUT_SIZE)) {
      meter.observe(count, link)
      ;[count, size] = [0, 0]
    }
    link = itsLink
    const second = place(kernel, packet, count++, size)
    size += length
    if (count < PACKETS_MAX && second < dueS) continue
    meter.observe(count, link)
    ;[count, size] = [0, 0]
    dueS = nextSealS(second, windowSizeS, lateS)
    yield* sealed.splice(0)
  }
  meter.observe(count, link)
  meter.end()
  yield* sealed
}

/** When the next window may be over: its packets are metered at once then, however few there are. */
function nextSealS(second: number, windowSizeS: number, lateS: number): number {
  const offsetS = Math.min(lateS, windowSizeS - 1)
  return (Math.floor((second - offsetS) / windowSizeS) + 1) * windowSizeS + offsetS
}

/** Returns the second that the packet belongs to. */
function place(kernel: WasmKernel, packet: MeteredPacket, number: number, at: number): number {
  const word = number * PACKET_WORDS
  const flags = (packet.isEgress ? PACKET_EGRESS : 0) + (packet.isReject ? PACKET_REJECT : 0)
  kernel.input.set(packet.bytes, at)
  kernel.packets[word + PACKET.at] = at
  kernel.packets[word + PACKET.captured] = packet.bytes.length + flags
  kernel.packets[word + PACKET.wireLength] = uint32(packet.wireLength ?? packet.bytes.length)
  if (Number.isNaN(packet.timeS)) throw new RangeError('timeS is not a number')
  const second = uint32(packet.timeS)
  kernel.packets[word + PACKET.second] = second
  return second
}

function uint32(value: number): number {
  return Math.trunc(Math.max(0, Math.min(UINT32_MAX, value)))
}

function checkRange(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return
  throw new RangeError(`${name} is a whole number from ${min} to ${max}, not ${value}`)
}
