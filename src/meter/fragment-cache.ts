import { assert } from '../stdx/assert.ts'
import { FRAGMENT, hasPorts, PARSED } from './packet.ts'

const WAYS = 8
const WORDS = 13 // Source 4, destination 4, id, fragment protocol, ports, protocol, last use.
const AT = { id: 8, fragmentProtocol: 9, ports: 10, protocol: 11, usedAt: 12 } as const

/**
 * Which flow the later fragments of a packet belong to: they carry no ports, their first fragment does.
 * Bounded: sets of eight, the least recently used of a set makes room. A fragment that finds nothing stays
 * with ports 0.
 */
export class FragmentCache {
  readonly #words: Uint32Array
  readonly #mask: number
  readonly #seed: number
  #uses = 0

  constructor(options: { packetsMax: number; seed: number }) {
    const sets = 2 ** Math.ceil(Math.log2(options.packetsMax / WAYS))
    assert(sets >= 1 && Number.isInteger(sets))
    this.#words = new Uint32Array(sets * WAYS * WORDS)
    this.#mask = sets - 1
    this.#seed = options.seed
  }

  /**
   * Remembers a first fragment; gives a later one its ports and protocol. `packet` is what `parsePacket`
   * wrote.
   */
  credit(packet: Uint32Array): void {
    const kind = packet[PARSED.fragment]!
    const isFirst = kind === FRAGMENT.first
    if (isFirst && isPlain(packet)) return
    const set = this.#setOf(packet)
    let at = set
    let oldest = set
    for (; at < set + WAYS * WORDS; at += WORDS) {
      if (this.#words[at + AT.usedAt] !== 0 && this.#holds(at, packet)) break
      if (this.#words[at + AT.usedAt]! < this.#words[oldest + AT.usedAt]!) oldest = at
    }
    const isKnown = at < set + WAYS * WORDS
    if (isFirst) this.#put(isKnown ? at : oldest, packet)
    else if (isKnown) {
      packet[PARSED.ports] = this.#words[at + AT.ports]!
      packet[PARSED.protocol] = this.#words[at + AT.protocol]!
      this.#words[at + AT.usedAt] = this.#next()
    }
  }

  #put(at: number, packet: Uint32Array): void {
    for (let i = 0; i < 8; i++) this.#words[at + i] = packet[PARSED.source + i]!
    this.#words[at + AT.id] = packet[PARSED.fragmentId]!
    this.#words[at + AT.fragmentProtocol] = packet[PARSED.fragmentProtocol]!
    this.#words[at + AT.ports] = packet[PARSED.ports]!
    this.#words[at + AT.protocol] = packet[PARSED.protocol]!
    this.#words[at + AT.usedAt] = this.#next()
  }

  #holds(at: number, packet: Uint32Array): boolean {
    if (this.#words[at + AT.id] !== packet[PARSED.fragmentId]) return false
    if (this.#words[at + AT.fragmentProtocol] !== packet[PARSED.fragmentProtocol]) return false
    for (let i = 0; i < 8; i++) if (this.#words[at + i] !== packet[PARSED.source + i]) return false
    return true
  }

  #setOf(packet: Uint32Array): number {
    let hash = Math.imul(packet[PARSED.fragmentId]! ^ this.#seed, 0x9e3779b1)
    for (let i = 0; i < 8; i++)
      hash = Math.imul(hash ^ packet[PARSED.source + i]! ^ (hash >>> 15), 0x85ebca77)
    return ((hash ^ (hash >>> 16)) & this.#mask) * WAYS * WORDS
  }

  /** The clock of uses starts again before it wraps; what it knew is forgotten. */
  #next(): number {
    if (this.#uses === 0xffff_ffff) {
      this.#words.fill(0)
      this.#uses = 0
    }
    return ++this.#uses
  }
}

/** A first fragment that teaches nothing: without ports, and of the protocol that the later ones name too. */
function isPlain(packet: Uint32Array): boolean {
  return packet[PARSED.protocol] === packet[PARSED.fragmentProtocol] && !hasPorts(packet[PARSED.protocol]!)
}
