import { setTimeout } from 'node:timers/promises'
import { isReopenable, openFile, openStream } from '../../capture/pcap/byte-source.ts'
import { type CaptureInput, CaptureMerge } from '../../capture/pcap/capture-merge.ts'
import { CaptureReader, READER_SIZE_MIN } from '../../capture/pcap/capture-reader.ts'
import { linkName, type PacketBatch } from '../../capture/pcap/packet-batch.ts'
import {
  CAPTURED_MASK,
  type MeterKernel,
  PACKET,
  PACKET_EGRESS,
  PACKET_WORDS,
  PACKETS_MAX,
  SEED_WORDS,
} from '../../meter/kernel.ts'
import { LINK } from '../../meter/packet.ts'
import { PlainKernel } from '../../meter/plain-kernel.ts'
import { WasmKernel } from '../../meter/wasm-kernel.ts'
import { type SealedWindow, WindowMeter } from '../../meter/window-meter.ts'
import { WeirError } from '../../model/errors.ts'
import { ROW, ROW_EGRESS, ROW_REJECT, ROW_SIZE, ROW_SKIPPED } from '../../model/flow-rows.ts'
import { type Clock, systemClock } from '../../stdx/clock.ts'
import type { CommandContext } from '../command.ts'
import { directRow, isLocalMac, MAC_SIZE } from './local-addresses.ts'
import type { ConvertOptions } from './options.ts'
import type { RecordSink } from './record-sinks.ts'
import { Verdicts } from './verdicts.ts'

/** As many captures may overlap in time. */
const READERS_MAX = 16
/** After so many packets the event loop gets a turn: signals, the progress bar, other streams. */
const TURN_PACKETS = 1 << 19
const VERDICT_DELAY_S = 2
/** How often it is asked, while a stream has no packets, whether a window is over or written. */
const SILENCE_MS = 1000
/** Where the sender's MAC address stands. */
const SENDER_AT: Record<number, number> = {
  [LINK.ethernet]: 6,
  [LINK.linuxCooked]: 6,
  [LINK.linuxCooked2]: 12,
}
/** A stream is live when its last packet was no older than this, and its windows wait for so long. */
const LIVE_S = 10

export interface Summary {
  packets: number
  ipPackets: number
  octets: bigint
  flows: number
  records: number
  windows: number
  rejectedPackets: bigint
  skippedPackets: bigint
  skippedOctets: bigint
  notIpPackets: number
  cutPackets: number
  unsupportedPackets: number
  /** Those, and of --after, by capture and link type. */
  unsupported: { name: string; link: string; packets: number }[]
  /** Packets whose capture does not tell which way they went, where only that could tell. */
  undirectedPackets: number
  /** With --before and --after: packets that came out and had gone in, or had not. */
  matchedAfter: number
  unmatchedAfter: number
  /** Refused although more had come out at that time than is remembered. */
  unsurePackets: number
  /** Refused before the first packet of --after, or behind its last. */
  outsidePackets: number
  faults: { name: string; fault: string }[]
  refused: { name: string; reason: string }[]
  outputs: string[]
}

/** From captures to records: reads, meters, filters, writes. */
export class Converter {
  readonly #options: ConvertOptions
  readonly #context: CommandContext
  readonly #sink: RecordSink
  readonly #kernel: MeterKernel
  readonly #meter: WindowMeter
  readonly #merge: CaptureMerge
  readonly #clock: Clock
  /** Captures that are streams may be live: tcpdump's, for one. */
  readonly #hasStream: boolean
  #isLive = false
  #rejectedPackets = 0n
  #records = 0
  #withoutMacs = 0
  #verdicts: Verdicts | undefined
  #after: CaptureReader | undefined

  constructor(
    options: ConvertOptions,
    dependencies: { context: CommandContext; sink: RecordSink; clock?: Clock },
  ) {
    this.#options = options
    this.#clock = dependencies.clock ?? systemClock
    this.#hasStream = options.files.some((file) => file === '-' || !isReopenable(file))
    this.#context = dependencies.context
    this.#sink = dependencies.sink
    const { flowsMax } = options
    // They are shown to nobody: V8's generator, which the system's seeds, is enough. node:crypto takes longer to load.
    const seeds = Uint32Array.from({ length: SEED_WORDS }, () => Math.random() * 2 ** 32)
    const inputSize = (options.files.length > 1 ? READERS_MAX : 1) * READER_SIZE_MIN
    const kernelOptions = { flowsMax, inputSize, seeds }
    this.#kernel = options.kernel === 'plain' ? new PlainKernel(kernelOptions) : new WasmKernel(kernelOptions)
    this.#meter = new WindowMeter(options, { kernel: this.#kernel, onSeal: (window) => this.#write(window) })
    const directed = options.direction !== 'BIDIRECTIONAL' && options.local.isEmpty
    this.#merge = new CaptureMerge({ memory: this.#kernel.input, batchMax: PACKETS_MAX, directed })
  }

  /** Returns when all captures are read, or at the next opportunity after the signal. */
  async run(onProgress: (converter: Converter) => void): Promise<Summary> {
    const { signal } = this.#context
    const onAbort = (): void => this.#close() // A pipe may be waited for; what was read is kept.
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await this.#open()
      const batch: PacketBatch = { words: this.#kernel.packets, count: 0, countMax: PACKETS_MAX, link: 0 }
      const hasMacs = this.#options.direction !== 'BIDIRECTIONAL' && this.#options.local.macs.length > 0
      let turn = TURN_PACKETS
      while (await this.#next(batch)) {
        if (hasMacs) this.#direct(batch)
        await this.#verdicts?.judge(this.#kernel.input, batch)
        if (signal.aborted && this.#verdicts !== undefined) break // Judged without what was still to come out.
        this.#meter.observe(batch.count, batch.link)
        if (this.#hasStream) this.#isLive = this.#nowS() - lastSecond(batch) <= LIVE_S
        await this.#sink.settle?.(false)
        onProgress(this)
        turn -= batch.count
        if (turn > 0) continue
        turn = TURN_PACKETS
        await new Promise(setImmediate)
        if (signal.aborted) break
      }
      this.#meter.end()
      if (!signal.aborted) await this.#verdicts?.end()
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#close()
      this.#sink.end()
    }
    await this.#sink.settle?.(true)
    return this.#summary()
  }

  /**
   * The next packets. While a live capture has none, windows end by the clock: its last packet was the present, and what
   * follows cannot be older. Of a stream that is read from the past nothing is known but its packets.
   */
  async #next(batch: PacketBatch): Promise<boolean> {
    const next = this.#merge.next(batch)
    while (this.#hasStream && !(await isSettledWithin(next, SILENCE_MS))) {
      if (this.#isLive) this.#meter.expire(this.#nowS() - LIVE_S)
      await this.#sink.settle?.(false)
    }
    return next
  }

  #close(): void {
    this.#merge.close()
    this.#after?.close()
  }

  #nowS(): number {
    return Math.floor(this.#clock.nowMs() / 1000)
  }

  get packets(): number {
    return this.#meter.counters.packets
  }

  /** Bytes of the captures read so far and in all; undefined where one is a stream. */
  get progress(): { position: number; size: number | undefined } {
    const all = this.#merge.readers.map((it) => it.progress)
    const isKnown = all.every((it) => it.size !== undefined)
    return {
      position: all.reduce((sum, it) => sum + it.position, 0),
      size: isKnown ? all.reduce((sum, it) => sum + it.size!, 0) : undefined,
    }
  }

  async #open(): Promise<void> {
    const { before, after, files } = this.#options
    if (before !== undefined && after !== undefined) {
      await this.#merge.open([this.#input(before)])
      const memory = new Uint8Array(READER_SIZE_MIN)
      const { name, open } = this.#input(after)
      this.#after = new CaptureReader({ name, memory, from: 0, limit: memory.length }, { source: open() })
      await this.#after.open()
      this.#verdicts = new Verdicts({ memory, delayS: VERDICT_DELAY_S }, { after: this.#after })
    } else await this.#merge.open(files.map((file) => this.#input(file)))
  }

  #input(file: string): CaptureInput {
    if (file === '-') {
      return { name: 'standard input', open: () => openStream(this.#context.stdin), once: true }
    }
    return { name: file, open: () => openFile(file), once: !isReopenable(file) }
  }

  /** Marks the frames that come from a local MAC address, of links that have such. */
  #direct(batch: PacketBatch): void {
    const { words } = batch
    const senderAt = SENDER_AT[batch.link]
    if (senderAt === undefined) {
      if (this.#options.local.blocks.length === 0) this.#withoutMacs += batch.count
      return
    }
    for (let word = 0; word < batch.count * PACKET_WORDS; word += PACKET_WORDS) {
      const captured = words[word + PACKET.captured]!
      const at = words[word + PACKET.at]!
      if ((captured & CAPTURED_MASK) < senderAt + MAC_SIZE) continue
      if (isLocalMac(this.#kernel.input, at + senderAt, this.#options.local)) {
        words[word + PACKET.captured] = (captured | PACKET_EGRESS) >>> 0
      }
    }
  }

  #write(window: SealedWindow): void {
    this.#sink.beginWindow(window.startS)
    window.readRows((rows, count) => {
      const kept = this.#select(rows, count)
      this.#records += kept
      if (kept > 0) this.#sink.write(rows, kept)
    })
    this.#sink.endWindow()
  }

  /** Moves the rows that are asked for to the front. Returns how many they are. */
  #select(rows: Uint8Array, count: number): number {
    const { action, direction, local } = this.#options
    const isAll = action === 'ALL' && direction === 'BIDIRECTIONAL'
    if (isAll && local.blocks.length === 0 && this.#verdicts === undefined) return count
    const view = new DataView(rows.buffer, rows.byteOffset, rows.length)
    let kept = 0
    for (let at = 0; at < count * ROW_SIZE; at += ROW_SIZE) {
      if (local.blocks.length > 0) directRow(rows, at, local)
      const attributes = rows[at + ROW.attributes]!
      if ((attributes & ROW_REJECT) !== 0) this.#rejectedPackets += view.getBigUint64(at + ROW.packets, true)
      if (!isAll && !this.#isWanted(attributes)) continue
      if (kept * ROW_SIZE !== at) rows.copyWithin(kept * ROW_SIZE, at, at + ROW_SIZE)
      kept++
    }
    return kept
  }

  /** SKIPDATA has no action, and no direction where addresses say it: what was lost is told to whoever asks. */
  #isWanted(attributes: number): boolean {
    const { action, direction, local } = this.#options
    const isSkipped = (attributes & ROW_SKIPPED) !== 0
    if (direction !== 'BIDIRECTIONAL' && !(isSkipped && local.blocks.length > 0)) {
      if (((attributes & ROW_EGRESS) !== 0) !== (direction === 'EGRESS')) return false
    }
    if (action === 'ALL' || isSkipped) return true
    return ((attributes & ROW_REJECT) !== 0) === (action === 'REJECTED')
  }

  #summary(): Summary {
    const { counters } = this.#meter
    const captures = this.#merge.readers
    const readers = this.#after === undefined ? captures : [...captures, this.#after]
    const { skippedPackets, skippedOctets, notIpPackets } = counters
    const unsupported = readers.flatMap(({ name, counters }) =>
      Array.from(counters.unsupported, ([link, packets]) => ({ name, link: linkName(link), packets })),
    )
    const unsupportedPackets = captures.reduce((sum, it) => sum + it.unsupportedPackets, 0)
    return {
      packets: counters.packets + unsupportedPackets,
      ipPackets: counters.packets - notIpPackets,
      octets: BigInt(counters.octets),
      flows: counters.flows,
      records: this.#records,
      windows: counters.windows,
      rejectedPackets: this.#rejectedPackets,
      skippedPackets,
      skippedOctets,
      notIpPackets,
      cutPackets: captures.reduce((sum, it) => sum + it.counters.cutPackets, 0),
      unsupportedPackets,
      unsupported,
      undirectedPackets: captures.reduce((sum, it) => sum + it.counters.undirected, this.#withoutMacs),
      matchedAfter: this.#verdicts?.matched ?? 0,
      unmatchedAfter: this.#verdicts?.unmatched ?? 0,
      unsurePackets: this.#verdicts?.unsure ?? 0,
      outsidePackets: this.#verdicts?.outside ?? 0,
      faults: readers.flatMap(({ name, fault }) => {
        // Where it was asked to stop, a capture's end is no fault of its own.
        return fault === undefined || this.#context.signal.aborted ? [] : [{ name, fault }]
      }),
      refused: this.#merge.refused.flatMap(({ name, error }) => {
        return this.#context.signal.aborted ? [] : [{ name, reason: error.message }]
      }),
      outputs: this.#sink.outputs,
    }
  }
}

function lastSecond(batch: PacketBatch): number {
  return batch.words[(batch.count - 1) * PACKET_WORDS + PACKET.second]!
}

async function isSettledWithin(promise: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  const timeout = new AbortController()
  const settled = promise.then(
    () => true,
    () => true, // The caller waits for it, too.
  )
  const late = setTimeout(timeoutMs, false, { signal: timeout.signal }).catch(() => false)
  const isSettled = await Promise.race([settled, late])
  timeout.abort()
  return isSettled
}

/** Thrown errors that mean: this capture is none. */
export function isUnreadable(error: unknown): error is WeirError {
  return error instanceof WeirError && error.code === 'WEIR_CAPTURE_UNREADABLE'
}
