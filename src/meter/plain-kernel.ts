import { ROW_SIZE } from '../model/flow-rows.ts'
import { FlowTable } from './flow-table.ts'
import { FragmentCache } from './fragment-cache.ts'
import {
  CAPTURED_MASK,
  FRAGMENTED_MAX_DEFAULT,
  type KernelOptions,
  type MeterKernel,
  PACKET,
  PACKET_WORDS,
  PACKETS_MAX,
  ROWS_MAX,
  type Skipped,
  type Table,
} from './kernel.ts'
import { FRAGMENT, OUTCOME, PARSED, PARSED_WORDS, parsePacket } from './packet.ts'

/**
 * The kernel to read, and the one that runs where there is no WebAssembly: packet by packet, in TypeScript.
 */
export class PlainKernel implements MeterKernel {
  readonly name = 'plain'
  readonly input: Uint8Array
  readonly packets = new Uint32Array(PACKETS_MAX * PACKET_WORDS)
  notIpPackets = 0
  octets = 0
  readonly #tables: Record<Table, FlowTable>
  readonly #fragments: FragmentCache
  readonly #packet = new Uint32Array(PARSED_WORDS)
  readonly #rows = new Uint8Array(ROWS_MAX * ROW_SIZE)

  constructor(options: KernelOptions) {
    const [seed = 0] = options.seeds
    const { flowsMax } = options
    this.input = new Uint8Array(options.inputSize)
    this.#tables = { main: new FlowTable({ flowsMax, seed }), side: new FlowTable({ flowsMax, seed }) }
    const packetsMax = options.fragmentedMax ?? FRAGMENTED_MAX_DEFAULT
    this.#fragments = new FragmentCache({ packetsMax, seed })
  }

  observe(
    table: Table,
    from: number,
    count: number,
    link: number,
    window: { startS: number; sizeS: number },
  ): number {
    const { packets, input } = this
    const packet = this.#packet
    const flows = this.#tables[table]
    this.notIpPackets = 0
    this.octets = 0
    for (let i = from; i < count; i++) {
      const at = i * PACKET_WORDS
      const second = packets[at + PACKET.second]! - window.startS
      if (second < 0 || second >= window.sizeS) return i
      const captured = packets[at + PACKET.captured]!
      const wireLength = packets[at + PACKET.wireLength]!
      const outcome = parsePacket(
        input,
        packets[at + PACKET.at]!,
        captured & CAPTURED_MASK,
        wireLength,
        packet,
        link,
      )
      if (packet[PARSED.fragment] !== FRAGMENT.none) this.#fragments.credit(packet)
      if (outcome === OUTCOME.notIp) this.notIpPackets++
      else {
        this.octets += packet[PARSED.octets]!
        flows.observe(packet, captured >>> 30, second)
      }
    }
    return count
  }

  flows(table: Table): number {
    return this.#tables[table].flows
  }

  readRows(table: Table, from: number, count: number, startS: number): Uint8Array {
    this.#tables[table].readRows(from, count, this.#rows, startS)
    return this.#rows.subarray(0, count * ROW_SIZE)
  }

  skipped(table: Table, isEgress: boolean): Skipped {
    return this.#tables[table].skipped(isEgress)
  }

  clear(table: Table): void {
    this.#tables[table].clear()
  }

  promote(): void {
    const { main, side } = this.#tables
    this.#tables.main = side
    this.#tables.side = main
    main.clear()
  }
}
