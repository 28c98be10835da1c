import { ROW_SIZE } from '../model/flow-rows.ts'
import { assert } from '../stdx/assert.ts'
import { wasmFunctions, wasmMemory } from '../stdx/wasm.ts'
import {
  FLOWS_MAX_LIMIT,
  FRAGMENTED_MAX_DEFAULT,
  type KernelOptions,
  type MeterKernel,
  PACKET_WORDS,
  PACKETS_MAX,
  ROWS_MAX,
  SEED_WORDS,
  type Skipped,
  type Table,
} from './kernel.ts'
import { METER_WASM } from './meter-wasm.gen.ts'

/** The exports of wasm/meter.ts. */
interface MeterFunctions {
  setup(packets: number, input: number, scratch: number, fragments: number, sets: number, keys: number): void
  notIpPackets(): number
  octets(): number
  observe(table: number, from: number, count: number, link: number, startS: number, sizeS: number): number
  clear(table: number): void
  move(source: number, target: number): void
  readRows(table: number, from: number, count: number, out: number, startS: number): void
}

const SCRATCH_SIZE = 128 * 160 + 64 + 256 * 4
const FRAGMENT_WAYS = 8
const FRAGMENT_SIZE = 52
const TABLE_SIZE = 128
const INDEX_BITS_MIN = 14

/** Offsets in a table's header: wasm/meter.ts, T_*. */
const T = {
  index4: 0,
  bits4: 4,
  rows4: 8,
  count4: 12,
  index6: 16,
  bits6: 20,
  rows6: 24,
  count6: 28,
  flowsMax: 32,
  bitsMax: 36,
  skipped: 40,
} as const
const SKIPPED_SIZE = 24

/** The fast kernel: wasm/meter.ts in memory that is laid out here, once. */
export class WasmKernel implements MeterKernel {
  readonly name = 'wasm'
  readonly input: Uint8Array
  readonly packets: Uint32Array
  readonly #functions: MeterFunctions
  readonly #view: DataView
  readonly #tables: Record<Table, number>
  readonly #rowsAt: number
  readonly #rows: Uint8Array

  constructor(options: KernelOptions) {
    assert(options.flowsMax > 0 && options.flowsMax <= FLOWS_MAX_LIMIT)
    assert(options.seeds.length === SEED_WORDS)
    const sets = 2 ** Math.ceil(Math.log2((options.fragmentedMax ?? FRAGMENTED_MAX_DEFAULT) / FRAGMENT_WAYS))
    const layout = new Layout()
    const keys = layout.take(SEED_WORDS * 4)
    const packets = layout.take(PACKETS_MAX * PACKET_WORDS * 4)
    const scratch = layout.take(SCRATCH_SIZE)
    const fragments = layout.take(sets * FRAGMENT_WAYS * FRAGMENT_SIZE)
    const headers = layout.take(2 * TABLE_SIZE)
    this.#rowsAt = layout.take(ROWS_MAX * ROW_SIZE)
    const input = layout.take(options.inputSize + 64) // Reads of whole words may pass the end, but are not used then.
    this.#tables = { main: headers, side: headers + TABLE_SIZE }
    const places = [headers, headers + TABLE_SIZE].map((at) => placeTable(layout, at, options.flowsMax))
    const memory = wasmMemory(layout.size)
    this.#functions = wasmFunctions<MeterFunctions>(METER_WASM, memory)
    this.#view = new DataView(memory.buffer)
    for (const [at, value] of places.flat()) this.#view.setUint32(at, value, true)
    new Uint32Array(memory.buffer, keys, SEED_WORDS).set(options.seeds)
    this.packets = new Uint32Array(memory.buffer, packets, PACKETS_MAX * PACKET_WORDS)
    this.input = new Uint8Array(memory.buffer, input, options.inputSize)
    this.#rows = new Uint8Array(memory.buffer, this.#rowsAt, ROWS_MAX * ROW_SIZE)
    this.#functions.setup(packets, input, scratch, fragments, sets, keys)
  }

  observe(
    table: Table,
    from: number,
    count: number,
    link: number,
    window: { startS: number; sizeS: number },
  ): number {
    return this.#functions.observe(this.#tables[table], from, count, link, window.startS, window.sizeS)
  }

  get notIpPackets(): number {
    return this.#functions.notIpPackets()
  }

  get octets(): number {
    return this.#functions.octets()
  }

  flows(table: Table): number {
    const at = this.#tables[table]
    return this.#view.getUint32(at + T.count4, true) + this.#view.getUint32(at + T.count6, true)
  }

  readRows(table: Table, from: number, count: number, startS: number): Uint8Array {
    assert(count <= ROWS_MAX && from + count <= this.flows(table))
    this.#functions.readRows(this.#tables[table], from, count, this.#rowsAt, startS)
    return this.#rows.subarray(0, count * ROW_SIZE)
  }

  skipped(table: Table, isEgress: boolean): Skipped {
    const at = this.#tables[table] + T.skipped + (isEgress ? SKIPPED_SIZE : 0)
    return {
      packets: this.#view.getBigUint64(at, true),
      octets: this.#view.getBigUint64(at + 8, true),
      firstS: this.#view.getUint32(at + 16, true),
      lastS: this.#view.getUint32(at + 20, true),
    }
  }

  clear(table: Table): void {
    this.#functions.clear(this.#tables[table])
  }

  promote(): void {
    assert(this.flows('main') === 0)
    this.#functions.move(this.#tables.side, this.#tables.main)
  }
}

/** Hands out addresses, each at the begin of a cache line. */
class Layout {
  size = 64 // Address 0 stays free.

  take(size: number): number {
    const at = this.size
    this.size += (size + 63) & ~63
    assert(this.size < 2 ** 32)
    return at
  }
}

/** Takes the room of one table and returns the words of its header. */
function placeTable(layout: Layout, at: number, flowsMax: number): [number, number][] {
  const bitsMax = Math.ceil(Math.log2(flowsMax * 2 + 2))
  const bits = Math.min(INDEX_BITS_MIN, bitsMax)
  return [
    [at + T.index4, layout.take(4 * 2 ** bitsMax)],
    [at + T.bits4, bits],
    [at + T.rows4, layout.take(32 * (flowsMax + 2))],
    [at + T.index6, layout.take(4 * 2 ** bitsMax)],
    [at + T.bits6, bits],
    [at + T.rows6, layout.take(64 * (flowsMax + 2))],
    [at + T.flowsMax, flowsMax],
    [at + T.bitsMax, bitsMax],
  ]
}
