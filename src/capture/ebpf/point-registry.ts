import { existsSync } from 'node:fs'
import { release } from 'node:os'
import path from 'node:path'
import { WeirError } from '../../model/errors.ts'
import { assert } from '../../stdx/assert.ts'
import {
  attachClassic,
  attachTcx,
  detachClassic,
  detachLink,
  type Hook,
  isClassicAttached,
  openPin,
  pin,
  readAll,
  remove,
  tcxLinkIfindex,
  update,
  updateLink,
} from './ffi/libbpf.ts'
import { findDeviceByName, inNetns, netnsCookie } from './ffi/libc.ts'
import {
  POINT_AMBIGUOUS,
  POINT_ETHERNET,
  POINT_MIRRORED,
  POINT_RECORD_SIZE,
  POINTS_BY_IFINDEX,
} from './layout.ts'
import { type Pins, type ProgramName, removePin } from './pins.ts'
import {
  type AttachedPoint,
  decodePoint,
  encodePoint,
  type PointConfig,
  type PointRecord,
  pointFits,
} from './point-record.ts'

export type Attachment = 'tcx' | 'classic'

interface Log {
  warn(fields: object, message: string): void
}

type Found = Pick<PointRecord, 'ifindex' | 'netnsCookie' | 'hasEthernetHeader'>

const HOOKS = ['ingress', 'egress'] as const satisfies Hook[]
const CLASSIC_HANDLE = 0x77650000 // 'we', then the point: tells our filters from others.

/** The observation points in the kernel: hooks on devices, and the tables by which the programs find a point. */
export class PointRegistry {
  readonly #directory: string
  readonly #attachment: Attachment
  readonly #pins: Pins
  readonly #log: Log
  readonly #records = new Map<number, PointRecord>()

  constructor(
    options: { directory: string; attachment: Attachment | undefined },
    dependencies: { pins: Pins; log: Log },
  ) {
    this.#directory = options.directory
    this.#attachment = options.attachment ?? (hasTcx() ? 'tcx' : 'classic')
    this.#pins = dependencies.pins
    this.#log = dependencies.log
  }

  get size(): number {
    return this.#records.size
  }

  /** Reads what an earlier agent left; points whose device has gone are cleaned up. */
  load(): void {
    const fd = this.#pins.map('points')
    readAll({ fd, keySize: 4, valueSize: POINT_RECORD_SIZE, batchSize: 1024 }, (keys, values, count) => {
      for (let i = 0; i < count; i++) {
        const at = i * POINT_RECORD_SIZE
        const point = keys.readUInt32LE(i * 4)
        this.#records.set(point, decodePoint(point, values.subarray(at, at + POINT_RECORD_SIZE)))
      }
    })
    for (const record of [...this.#records.values()]) if (!this.#isInPlace(record)) this.detach(record.point)
  }

  attach(config: PointConfig): AttachedPoint {
    const { point, device, netns } = config
    assert(point >= 0 && point <= 0xffff && !this.#records.has(point), `point ${point} is in use`)
    if (!pointFits(config)) throw new WeirError('WEIR_INVALID', `the names of point ${point} are too long`)
    const where = netns === undefined ? device : `${device} in network namespace ${netns}`
    const found = findDevice(config)
    if (found === undefined) throw new WeirError('WEIR_NOT_FOUND', `there is no device ${where}`)
    const other = this.#find(found.netnsCookie, found.ifindex)
    if (other !== undefined) {
      throw new WeirError(
        'WEIR_RESOURCE_EXISTS',
        `device ${where} is observed already, as point ${other.point}`,
      )
    }
    const record: PointRecord = { ...config, ...found, isClassic: this.#attachment === 'classic' }
    try {
      this.#remember(record)
      inNetns(netns, () => {
        for (const hook of HOOKS) this.#hook(record, hook)
      })
    } catch (error) {
      this.detach(point)
      if (!(error instanceof WeirError)) throw error
      throw new WeirError(error.code, `cannot observe device ${where}: ${error.message}`, { cause: error })
    }
    return publicPoint(record)
  }

  detach(point: number): void {
    const record = this.#records.get(point)
    if (record === undefined) return
    for (const hook of HOOKS) this.#unhook(record, hook)
    this.#records.delete(point)
    this.#forget(record)
  }

  detachAll(): void {
    for (const point of [...this.#records.keys()]) this.detach(point)
  }

  /** Puts other programs in the place of those that the hooks run. */
  refresh(programFd: (name: ProgramName) => number): void {
    for (const record of this.#records.values()) {
      for (const hook of HOOKS) {
        const program = programFd(programOf(hook))
        if (record.isClassic) {
          const handle = CLASSIC_HANDLE | record.point
          inNetns(record.netns, () => attachClassic(program, record.ifindex, hook, handle, { replace: true }))
        } else {
          using link = openPin(this.#linkPath(record.point, hook))
          updateLink(link.fd, program)
        }
      }
    }
  }

  inPlace(): AttachedPoint[] {
    return [...this.#records.values()].filter((it) => this.#isInPlace(it)).map(publicPoint)
  }

  /** Those whose device is there, and whose hooks somebody has removed. */
  robbed(): AttachedPoint[] {
    const removed = [...this.#records.values()].filter((it) => !this.#isInPlace(it))
    return removed.filter(isDeviceThere).map(publicPoint)
  }

  #find(netnsCookie: bigint, ifindex: number): PointRecord | undefined {
    const all = [...this.#records.values()]
    return all.find((it) => it.netnsCookie === netnsCookie && it.ifindex === ifindex)
  }

  #linkPath(point: number, hook: Hook): string {
    return path.join(this.#directory, 'links', `${point}-${hook}`)
  }

  #hook(record: PointRecord, hook: Hook): void {
    const program = this.#pins.program(programOf(hook))
    if (record.isClassic) {
      attachClassic(program, record.ifindex, hook, CLASSIC_HANDLE | record.point)
      return
    }
    using link = attachTcx(program, record.ifindex, hook)
    pin(link.fd, this.#linkPath(record.point, hook))
  }

  #unhook(record: PointRecord, hook: Hook): void {
    if (record.isClassic) {
      try {
        inNetns(record.netns, () => {
          // A name may be another device's by now; a filter with our handle is ours wherever it is.
          if (netnsCookie() !== record.netnsCookie) return
          detachClassic(record.ifindex, hook, CLASSIC_HANDLE | record.point)
        })
      } catch (error) {
        if (!(error instanceof WeirError && error.code === 'WEIR_NOT_FOUND')) throw error
        this.#log.warn({ point: record.point, netns: record.netns }, 'network namespace of a point has gone')
      }
      return
    }
    const file = this.#linkPath(record.point, hook)
    if (!existsSync(file)) return
    using link = openPin(file)
    detachLink(link.fd)
    removePin(file)
  }

  #isInPlace(record: PointRecord): boolean {
    return HOOKS.every((hook) => {
      if (!record.isClassic) {
        const file = this.#linkPath(record.point, hook)
        if (!existsSync(file)) return false
        using link = openPin(file)
        return tcxLinkIfindex(link.fd) === record.ifindex
      }
      try {
        return inNetns(
          record.netns,
          () =>
            netnsCookie() === record.netnsCookie &&
            isClassicAttached(record.ifindex, hook, CLASSIC_HANDLE | record.point),
        )
      } catch (error) {
        if (error instanceof WeirError && error.code === 'WEIR_NOT_FOUND') return false
        throw error
      }
    })
  }

  /** Tables first, hooks after: the first packet that a hook sees finds its point. */
  #remember(record: PointRecord): void {
    const number = u32(record.point)
    const cookie = Buffer.alloc(8)
    cookie.writeBigUInt64LE(record.netnsCookie)
    this.#records.set(record.point, record)
    update(this.#pins.map('points'), number, encodePoint(record))
    update(this.#pins.map('point_netns'), number, cookie)
    update(this.#pins.map('by_netns'), netnsKey(record), u64(tableEntry(record)))
    this.#indexByIfindex(record.ifindex)
  }

  #forget(record: PointRecord): void {
    this.#indexByIfindex(record.ifindex)
    remove(this.#pins.map('by_netns'), netnsKey(record))
    update(this.#pins.map('point_netns'), u32(record.point), Buffer.alloc(8))
    remove(this.#pins.map('points'), u32(record.point))
  }

  /** The table by ifindex answers for one device alone; where several share a place, it sends on to by_netns. */
  #indexByIfindex(ifindex: number): void {
    const place = ifindex % POINTS_BY_IFINDEX
    const sharers = [...this.#records.values()].filter((it) => it.ifindex % POINTS_BY_IFINDEX === place)
    const [only] = sharers
    const entry = only === undefined ? 0n : sharers.length === 1 ? tableEntry(only) : POINT_AMBIGUOUS
    update(this.#pins.map('by_ifindex'), u32(place), u64(entry))
  }
}

function findDevice({ device, netns }: PointConfig): Found | undefined {
  return inNetns(netns, () => {
    const link = findDeviceByName(device)
    return link === undefined ? undefined : { ...link, netnsCookie: netnsCookie() }
  })
}

function isDeviceThere(record: PointRecord): boolean {
  try {
    const found = findDevice(record)
    return found?.ifindex === record.ifindex && found.netnsCookie === record.netnsCookie
  } catch (error) {
    if (error instanceof WeirError && error.code === 'WEIR_NOT_FOUND') return false
    throw error
  }
}

function programOf(hook: Hook): ProgramName {
  return hook === 'ingress' ? 'tc_ingress' : 'tc_egress'
}

function hasTcx(): boolean {
  const [major = 0, minor = 0] = release()
    .split('.')
    .map((it) => Number.parseInt(it, 10))
  return major > 6 || (major === 6 && minor >= 6)
}

function tableEntry(record: PointRecord): bigint {
  const flags = (record.mirrored ? POINT_MIRRORED : 0n) | (record.hasEthernetHeader ? POINT_ETHERNET : 0n)
  return BigInt(record.ifindex) | (BigInt(record.point) << 32n) | flags
}

function netnsKey(record: PointRecord): Buffer {
  const key = Buffer.alloc(16)
  key.writeBigUInt64LE(record.netnsCookie, 0)
  key.writeUInt32LE(record.ifindex, 8)
  return key
}

function publicPoint(record: PointRecord): AttachedPoint {
  const { netnsCookie: _, hasEthernetHeader: _h, isClassic: _c, ...point } = record
  return point
}

function u32(value: number): Buffer {
  const buffer = Buffer.alloc(4)
  buffer.writeUInt32LE(value)
  return buffer
}

function u64(value: bigint): Buffer {
  const buffer = Buffer.alloc(8)
  buffer.writeBigUInt64LE(value)
  return buffer
}
