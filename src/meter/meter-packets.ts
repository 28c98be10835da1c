import { getRandomValues } from 'node:crypto'
import { ROW_SIZE } from '../model/flow-rows.ts'
import { assert } from '../stdx/assert.ts'
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
import { WindowMeter } from './window-meter.ts'

/** A packet as a capture library hands it out. */
export interface MeteredPacket {
  bytes: Uint8Array
  /** Unix seconds; a fraction is cut off. */
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

/**
 * Meters packets into windows, from any (async) iterable. A window comes when it is over, in pieces of at
 * most 8192 rows. For many millions of packets a second use `WindowMeter` with batches in the kernel's own
 * memory instead.
 */
export async function* meterPackets(
  packets: AsyncIterable<MeteredPacket> | Iterable<MeteredPacket>,
  options: { windowSizeS?: number; lateS?: number; flowsMax?: number } = {},
): AsyncGenerator<MeteredWindow> {
  const seeds = getRandomValues(new Uint32Array(SEED_WORDS))
  const kernel = new WasmKernel({
    flowsMax: options.flowsMax ?? FLOWS_MAX_LIMIT,
    inputSize: INPUT_SIZE,
    seeds,
  })
  const sealed: MeteredWindow[] = []
  const meter = new WindowMeter(
    {
      windowSizeS: options.windowSizeS ?? 600,
      ...(options.lateS === undefined ? {} : { lateS: options.lateS }),
    },
    {
      kernel,
      onSeal: ({ startS, readRows }) =>
        readRows((rows, count) => sealed.push({ startS, rows: rows.slice(0, count * ROW_SIZE), count })),
    },
  )
  let [count, size, link]: [number, number, number] = [0, 0, LINK.ethernet]
  for await (const packet of packets) {
    const itsLink = packet.link ?? LINK.ethernet
    assert(packet.bytes.length <= INPUT_SIZE, 'a packet larger than 4 MiB')
    if (count === PACKETS_MAX || itsLink !== link || size + packet.bytes.length > INPUT_SIZE) {
      meter.observe(count, link)
      ;[count, size, link] = [0, 0, itsLink]
      yield* sealed.splice(0)
    }
    place(kernel, packet, count++, size)
    size += packet.bytes.length
  }
  meter.observe(count, link)
  meter.end()
  yield* sealed
}

function place(kernel: WasmKernel, packet: MeteredPacket, number: number, at: number): void {
  const word = number * PACKET_WORDS
  const flags = (packet.isEgress ? PACKET_EGRESS : 0) + (packet.isReject ? PACKET_REJECT : 0)
  kernel.input.set(packet.bytes, at)
  kernel.packets[word + PACKET.at] = at
  kernel.packets[word + PACKET.captured] = packet.bytes.length + flags
  kernel.packets[word + PACKET.wireLength] = packet.wireLength ?? packet.bytes.length
  kernel.packets[word + PACKET.second] = packet.timeS
}
