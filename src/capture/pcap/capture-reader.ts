import { WeirError } from '../../model/errors.ts'
import { assert } from '../../stdx/assert.ts'
import type { ByteSource } from './byte-source.ts'
import {
  type CaptureCounters,
  isCooked,
  linkName,
  METERED_LINKS,
  markOutbound,
  meteredLink,
  type PacketBatch,
  type PacketIndexer,
} from './packet-batch.ts'
import { PCAP_HEADER_SIZE, PcapIndexer, pcapByteOrder } from './pcap-indexer.ts'
import { PcapngIndexer, SECTION_HEADER } from './pcapng-indexer.ts'

/** The least room that a reader needs: the largest packet and as much again. */
export const READER_SIZE_MIN = 4 << 20

/** At a time: what is read should still be in the processor's cache when it is metered. */
const READ_SIZE = 512 << 10

const SNOOP = 0x736e6f6f
const KUZNETZOV = [0xa1b2cd34, 0x34cdb2a1]

/**
 * Reads one capture, whatever its format, in a piece of memory that it is given (so that the bytes are
 * where the metering loop wants them). Memory does not depend on the size of the capture.
 */
export class CaptureReader {
  readonly name: string
  readonly counters: CaptureCounters = { cutPackets: 0, unsupported: new Map(), undirected: 0 }
  /** What was wrong with the capture; what could be read before was read. */
  fault: string | undefined
  readonly #source: ByteSource
  readonly #memory: Uint8Array
  readonly #view: DataView
  readonly #isDirected: boolean
  readonly #from: number
  readonly #limit: number
  #indexer: PacketIndexer | undefined
  #begin: number
  #end: number
  /** How much was read up to `#end`, decompressed. */
  #endPosition = 0
  #isOver = false

  /** May use `memory` from `from` to `limit`. Directed: marks packets that were sent as OUTBOUND. */
  constructor(
    options: { name: string; memory: Uint8Array; from: number; limit: number; directed?: boolean },
    dependencies: { source: ByteSource },
  ) {
    assert(options.limit - options.from >= READER_SIZE_MIN && options.limit <= options.memory.length)
    this.name = options.name
    this.#source = dependencies.source
    this.#memory = options.memory
    this.#view = new DataView(options.memory.buffer, options.memory.byteOffset, options.memory.length)
    this.#isDirected = options.directed === true
    this.#from = options.from
    this.#limit = options.limit
    this.#begin = options.from
    this.#end = options.from
  }

  /** Bytes read and, where known, to read: for a progress bar. */
  get progress(): { position: number; size: number | undefined } {
    return { position: this.#source.position, size: this.#source.size }
  }

  /** Where in the decompressed capture the next packet begins. */
  get #position(): number {
    return this.#endPosition - (this.#end - this.#begin)
  }

  get unsupportedPackets(): number {
    return this.counters.unsupported.values().reduce((sum, it) => sum + it, 0)
  }

  /** Reads the file's header. Throws when this is no capture that can be metered. */
  async open(): Promise<void> {
    while (this.#end - this.#begin < PCAP_HEADER_SIZE && (await this.#readMore()));
    const size = this.#end - this.#begin
    const magic = size >= 4 ? this.#view.getUint32(this.#begin, false) : undefined
    if (magic === SECTION_HEADER && size >= 12) {
      this.#indexer = new PcapngIndexer(this.counters, { directed: this.#isDirected })
    } else if (isPcap(magic) && size >= PCAP_HEADER_SIZE) {
      const header = new DataView(
        this.#memory.buffer,
        this.#memory.byteOffset + this.#begin,
        PCAP_HEADER_SIZE,
      )
      const indexer = new PcapIndexer(header, this.counters)
      if (meteredLink(indexer.link) === undefined) {
        throw this.#unreadable(`its packets are of ${linkName(indexer.link)}; ${METERED_LINKS}`)
      }
      if (this.#isDirected && !isCooked(indexer.link)) {
        throw this.#unreadable('it does not tell which way its packets went: say what is --local')
      }
      this.#indexer = indexer
      this.#begin += PCAP_HEADER_SIZE
    } else throw this.#unreadable(this.#source.fault ?? notACapture(magic, size))
  }

  /** Fills the batch with the packets that come next. Returns false when there are none. */
  async next(batch: PacketBatch): Promise<boolean> {
    assert(this.#indexer !== undefined, 'a reader is opened first')
    batch.count = 0
    while (this.fault === undefined) {
      this.#begin = this.#indexer.index(this.#view, this.#begin, this.#end, batch)
      if (this.#indexer.fault !== undefined) this.fault = `${this.#indexer.fault}, at byte ${this.#position}`
      if (this.#isDirected && isCooked(batch.link)) markOutbound(this.#view, batch)
      if (batch.count > 0) return true
      if (this.fault !== undefined || this.#isOver) break
      if (!(await this.#readMore())) this.#finish()
    }
    return false
  }

  /** Makes room behind what is not yet used and reads into it. Returns false at the end. */
  async #readMore(): Promise<boolean> {
    this.#memory.copyWithin(this.#from, this.#begin, this.#end)
    this.#end = this.#from + (this.#end - this.#begin)
    this.#begin = this.#from
    const pending = this.#source.read(this.#memory, this.#end, Math.min(READ_SIZE, this.#limit - this.#end))
    const size = typeof pending === 'number' ? pending : await pending // A microtask less for plain files.
    if (size === 0) return false
    const indexer = this.#indexer
    const skipSize = indexer === undefined ? 0 : Math.min(size, indexer.skipSize)
    if (indexer !== undefined) indexer.skipSize -= skipSize
    this.#begin += skipSize
    this.#end += size
    this.#endPosition += size
    return true
  }

  #finish(): void {
    this.#isOver = true
    const rest = this.#end - this.#begin
    if (this.#source.fault !== undefined) this.fault = this.#source.fault
    else if (rest > 0) this.fault = `ends inside the packet at byte ${this.#position}`
    else if ((this.#indexer?.skipSize ?? 0) > 0) this.fault = `ends inside a block, at byte ${this.#position}`
  }

  close(): void {
    this.#source.close()
  }

  #unreadable(reason: string): WeirError {
    return new WeirError('WEIR_CAPTURE_UNREADABLE', `${this.name}: ${reason}`)
  }
}

function isPcap(magic: number | undefined): boolean {
  return magic !== undefined && pcapByteOrder(magic) !== undefined
}

function notACapture(magic: number | undefined, size: number): string {
  if (size === 0) return 'empty'
  if (magic === undefined || isPcap(magic) || magic === SECTION_HEADER) {
    return `ends inside its header, at byte ${size}`
  }
  if (KUZNETZOV.includes(magic)) return "a capture in Kuznetzov's variant of pcap, which is not read"
  if (magic === SNOOP) return 'a snoop capture, which is not read'
  return `not a pcap or pcapng capture (it begins with ${magic.toString(16).padStart(8, '0')})`
}
