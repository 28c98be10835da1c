import { ROW, ROW_EGRESS, ROW_SIZE, ROW_SKIPPED } from '../model/flow-rows.ts'
import { assert } from '../stdx/assert.ts'
import { type MeterKernel, PACKET, PACKET_WORDS, ROWS_MAX, type Table } from './kernel.ts'

/** A window that takes no more packets. Valid only while `onSeal` runs. */
export interface SealedWindow {
  startS: number
  /** Calls back with rows of model/flow-rows.ts; the buffer is used again for the next batch. */
  readRows(onRows: (rows: Uint8Array, count: number) => void): void
}

export interface MeterCounters {
  packets: number
  notIpPackets: number
  /** Of all IP packets, skipped ones too. Exact below 2^53, which is 9 PB. */
  octets: number
  skippedPackets: bigint
  skippedOctets: bigint
  flows: number
  windows: number
}

export const LATE_S_DEFAULT = 2
export const WINDOW_SIZE_S_MAX = 65_536
const SECONDS_END = 2 ** 32

/**
 * Cuts the packets of one observation point into windows that are aligned to the wall clock. A packet
 * belongs to the window of its own time, in whatever order packets come: the window before is kept open for
 * `lateS` seconds (of packet time) into the next one; what comes later still opens its window again, which
 * gives a second set of rows for it, and loses nothing. At most two windows are open, so that clock jumps
 * cannot take memory.
 */
export class WindowMeter {
  readonly counters: MeterCounters = {
    packets: 0,
    notIpPackets: 0,
    octets: 0,
    skippedPackets: 0n,
    skippedOctets: 0n,
    flows: 0,
    windows: 0,
  }
  readonly #kernel: MeterKernel
  readonly #sizeS: number
  readonly #lateS: number
  readonly #onSeal: (window: SealedWindow) => void
  readonly #skippedRow = new Uint8Array(ROW_SIZE)
  #mainS: number | undefined
  #sideS: number | undefined

  constructor(
    options: { windowSizeS: number; lateS?: number },
    dependencies: { kernel: MeterKernel; onSeal: (window: SealedWindow) => void },
  ) {
    assert(options.windowSizeS >= 1 && options.windowSizeS <= WINDOW_SIZE_S_MAX, 'window size')
    this.#sizeS = options.windowSizeS
    this.#lateS = Math.min(options.lateS ?? LATE_S_DEFAULT, options.windowSizeS - 1)
    this.#kernel = dependencies.kernel
    this.#onSeal = dependencies.onSeal
  }

  /** Counts the first `count` packets of the kernel's batch. */
  observe(count: number, link: number): void {
    const { packets } = this.#kernel
    for (let at = 0; at < count; ) {
      const second = packets[at * PACKET_WORDS + PACKET.second]!
      const startS = second - (second % this.#sizeS)
      const table = this.#tableOf(startS)
      const sizeS = Math.min(this.#sizeS, SECONDS_END - startS) // The last window of 32 bits may be cut short.
      const next = this.#kernel.observe(table, at, count, link, { startS, sizeS })
      assert(next > at)
      this.counters.packets += next - at
      this.counters.notIpPackets += this.#kernel.notIpPackets
      this.counters.octets += this.#kernel.octets
      at = next
      if (table === 'side' && this.#isNext()) {
        const lastS = packets[(at - 1) * PACKET_WORDS + PACKET.second]!
        if (lastS >= startS + this.#lateS) this.#advance()
      }
    }
  }

  /**
   * Seals the windows that were over at this second, where no packet comes to tell. What comes for them later opens them
   * again, as a late packet does.
   */
  expire(second: number): void {
    while (this.#mainS !== undefined && this.#mainS + this.#sizeS + this.#lateS <= second) {
      if (this.#isNext()) this.#advance()
      else this.end()
    }
  }

  /** Seals what is open. */
  end(): void {
    if (this.#sideS !== undefined && this.#isNext()) this.#advance()
    else if (this.#sideS !== undefined) this.#sealSide()
    this.#sealMain()
    this.#mainS = undefined
  }

  #tableOf(startS: number): Table {
    this.#mainS ??= startS
    if (startS === this.#mainS) return 'main'
    if (startS === this.#sideS) return 'side'
    if (this.#sideS !== undefined) {
      if (this.#isNext()) this.#advance()
      else this.#sealSide()
      return this.#tableOf(startS)
    }
    this.#sideS = startS
    return 'side'
  }

  /** Whether the side table holds the window after the main one, and not a late packet's. */
  #isNext(): boolean {
    return this.#sideS !== undefined && this.#mainS !== undefined && this.#sideS > this.#mainS
  }

  #advance(): void {
    this.#sealMain()
    this.#kernel.promote()
    this.#mainS = this.#sideS
    this.#sideS = undefined
  }

  #sealMain(): void {
    if (this.#mainS !== undefined) this.#seal('main', this.#mainS)
  }

  #sealSide(): void {
    if (this.#sideS !== undefined) this.#seal('side', this.#sideS)
    this.#sideS = undefined
  }

  #seal(table: Table, startS: number): void {
    const flows = this.#kernel.flows(table)
    const skipped = [false, true].map((isEgress) => this.#kernel.skipped(table, isEgress))
    const skippedPackets = skipped.reduce((sum, it) => sum + it.packets, 0n)
    if (flows > 0 || skippedPackets > 0n) {
      this.counters.windows++
      this.counters.flows += flows
      this.counters.skippedPackets += skippedPackets
      this.counters.skippedOctets += skipped.reduce((sum, it) => sum + it.octets, 0n)
      const readRows = (onRows: (rows: Uint8Array, count: number) => void): void =>
        this.#readRows(table, startS, onRows)
      this.#onSeal({ startS, readRows })
    }
    this.#kernel.clear(table)
  }

  #readRows(table: Table, startS: number, onRows: (rows: Uint8Array, count: number) => void): void {
    const flows = this.#kernel.flows(table)
    for (let from = 0; from < flows; from += ROWS_MAX) {
      const count = Math.min(ROWS_MAX, flows - from)
      onRows(this.#kernel.readRows(table, from, count, startS), count)
    }
    for (const isEgress of [false, true]) {
      const it = this.#kernel.skipped(table, isEgress)
      if (it.packets === 0n) continue
      const view = new DataView(this.#skippedRow.buffer)
      this.#skippedRow.fill(0)
      view.setUint8(ROW.attributes, ROW_SKIPPED | (isEgress ? ROW_EGRESS : 0))
      view.setBigUint64(ROW.packets, it.packets, true)
      view.setBigUint64(ROW.octets, it.octets, true)
      view.setUint32(ROW.startS, startS + it.firstS, true)
      view.setUint32(ROW.endS, startS + it.lastS, true)
      onRows(this.#skippedRow, 1)
    }
  }
}
