import {
  createHashMap,
  createHashMapAside,
  type Descriptor,
  type HashMapShape,
  lookup,
  mapEntriesMax,
  openMapById,
  readAll,
  remove,
  update,
} from './ffi/libbpf.ts'
import { COUNTERS_SIZE, FLOW_SIZE, KEY4_SIZE, KEY6_SIZE } from './layout.ts'
import type { Pins } from './pins.ts'
import type { KernelState } from './state.ts'

const FAMILIES = [
  { outer: 'windows4', name: 'weir_flows4', keySize: KEY4_SIZE },
  { outer: 'windows6', name: 'weir_flows6', keySize: KEY6_SIZE },
] as const
const POINTS_SMALL_MAX = 4

interface Spare {
  maps: Descriptor[]
  entriesMax: number
}

/**
 * The maps that hold flows, two for each slot of the ring. Entries are allocated as flows appear, but the buckets
 * (16 bytes for each possible entry) are there from the start: so few points get small maps, and more points large ones.
 */
export class WindowMaps {
  /** An empty pair for the next window to be cleared, made aside: so clearing does not keep the caller waiting. */
  #spare: Spare | undefined
  #isPreparing = false
  #isStopped = false
  readonly #pins: Pins
  readonly #flowsMax: number
  readonly #flowsPerPointMax: number

  constructor(pins: Pins, options: { flowsMax: number; flowsPerPointMax: number }) {
    this.#pins = pins
    this.#flowsMax = options.flowsMax
    this.#flowsPerPointMax = options.flowsPerPointMax
  }

  /** Gives a slot empty maps for so many points; the old ones are freed as a whole. */
  replace(slot: number, points: number): void {
    const key = Buffer.alloc(4)
    key.writeUInt32LE(slot)
    const spare = this.#takeSpare(this.#entriesMax(points))
    FAMILIES.forEach(({ outer }, family) => {
      using inner = spare?.maps[family] ?? createHashMap(this.#shape(family, points))
      const value = Buffer.alloc(4)
      value.writeUInt32LE(inner.fd)
      update(this.#pins.map(outer), key, value)
    })
    this.#clearCounters(slot)
  }

  /** Makes the spare pair, if there is none of the right size. Returns at once; a failure is left to `replace`. */
  prepare(points: number): void {
    const entriesMax = this.#entriesMax(points)
    if (this.#isPreparing || this.#spare?.entriesMax === entriesMax) return
    this.#isPreparing = true
    const making = FAMILIES.map((_, family) => createHashMapAside(this.#shape(family, points)))
    Promise.allSettled(making).then((made) => {
      this.#isPreparing = false
      const maps = made.filter((it) => it.status === 'fulfilled').map((it) => it.value)
      if (maps.length < FAMILIES.length || this.#isStopped) return closeAll(maps)
      closeAll(this.#spare?.maps ?? [])
      this.#spare = { maps, entriesMax }
    })
  }

  stop(): void {
    this.#isStopped = true
    closeAll(this.#spare?.maps ?? [])
    this.#spare = undefined
  }

  #takeSpare(entriesMax: number): Spare | undefined {
    const spare = this.#spare
    if (spare?.entriesMax !== entriesMax) return undefined
    this.#spare = undefined
    return spare
  }

  #shape(family: number, points: number): HashMapShape {
    const { name, keySize } = FAMILIES[family]!
    return { name, keySize, valueSize: FLOW_SIZE, entriesMax: this.#entriesMax(points) }
  }

  /**
   * Makes room in the windows to come. The open window keeps its maps, swapping them could lose a packet: until it
   * ends, its points share what there is, and what does not fit is in their skipped counters.
   */
  reserve(points: number, state: KernelState): void {
    const used = new Set(state.slots.map((it) => it.slot))
    for (let slot = 0; slot < 4; slot++) {
      if (!used.has(slot) && this.#capacity(slot) < this.#entriesMax(points)) this.replace(slot, points)
    }
  }

  #entriesMax(points: number): number {
    const small = Math.min(this.#flowsMax, POINTS_SMALL_MAX * this.#flowsPerPointMax)
    return points < POINTS_SMALL_MAX ? small : this.#flowsMax
  }

  #capacity(slot: number): number {
    const key = Buffer.alloc(4)
    const id = Buffer.alloc(4)
    key.writeUInt32LE(slot)
    if (!lookup(this.#pins.map('windows4'), key, id)) return 0
    using inner = openMapById(id.readUInt32LE())
    return mapEntriesMax(inner.fd)
  }

  #clearCounters(slot: number): void {
    const fd = this.#pins.map('counters')
    const cleared: Buffer[] = []
    readAll({ fd, keySize: 4, valueSize: COUNTERS_SIZE, batchSize: 4096 }, (keys, _values, count) => {
      for (let at = 0; at < count * 4; at += 4) {
        if (keys.readUInt32LE(at) >>> 16 === slot) cleared.push(Buffer.from(keys.subarray(at, at + 4)))
      }
    })
    for (const key of cleared) remove(fd, key)
  }
}

function closeAll(maps: Descriptor[]): void {
  for (const map of maps) map[Symbol.dispose]()
}
