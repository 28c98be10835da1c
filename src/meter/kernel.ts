/**
 * The loop that counts packets into flows, as an interface: `PlainKernel` is its readable reference in
 * TypeScript, `WasmKernel` the fast one. Both pass one suite and give the same flows.
 *
 * A kernel has two tables, so that a window may still take packets while the next one has begun. Packets
 * lie in `input`; `packets` says where, in PACKET_WORDS words each.
 */
export interface MeterKernel {
  readonly name: string
  readonly input: Uint8Array
  readonly packets: Uint32Array
  /**
   * Counts the packets from number `from` on whose second lies in the window, into a table. Returns the
   * number of the first packet that was not counted: `count`, or one of another window.
   */
  observe(
    table: Table,
    from: number,
    count: number,
    link: number,
    window: { startS: number; sizeS: number },
  ): number
  /** Packets of the last `observe` that were no IP: they are in no table. */
  readonly notIpPackets: number
  /** Octets of the last `observe`: of all IP packets, skipped ones too. */
  readonly octets: number
  flows(table: Table): number
  /**
   * At most ROWS_MAX flows as rows of model/flow-rows.ts, IPv4 flows first. The caller may change them; the next call
   * writes others in their place.
   */
  readRows(table: Table, from: number, count: number, startS: number): Uint8Array
  /** What found no room, or had no readable addresses; seconds count from the window's start. */
  skipped(table: Table, isEgress: boolean): Skipped
  clear(table: Table): void
  /** Moves all that the side table has to the main table, which is empty. */
  promote(): void
}

export type Table = 'main' | 'side'

export interface Skipped {
  packets: bigint
  octets: bigint
  firstS: number
  lastS: number
}

/** Rows that a kernel hands out at a time. */
export const ROWS_MAX = 8192

/** Words of a packet in a batch. */
export const PACKET = {
  at: 0,
  /** Captured length, and PACKET_EGRESS and PACKET_REJECT. */
  captured: 1,
  wireLength: 2,
  second: 3,
} as const
export const PACKET_WORDS = 4
export const PACKET_EGRESS = 0x4000_0000
export const PACKET_REJECT = 0x8000_0000
export const CAPTURED_MASK = 0x3fff_ffff

/** Packets of one batch: all that a capture's reader reads at a time, for each batch costs a microsecond or two by itself. */
export const PACKETS_MAX = 8192

export interface KernelOptions {
  /** Flows of a window; what is beyond counts as skipped. */
  flowsMax: number
  /** Bytes of `input`. */
  inputSize: number
  /** Fragmented packets whose first fragment is remembered. */
  fragmentedMax?: number
  /** Ten random words, so that nobody can choose packets that collide in the tables. */
  seeds: Uint32Array
}

/** Row numbers have 22 bits. */
export const FLOWS_MAX_LIMIT = 2 ** 22 - 2
export const FRAGMENTED_MAX_DEFAULT = 4096
export const SEED_WORDS = 10
