import { existsSync } from 'node:fs'
import path from 'node:path'
import { testRun } from '../../src/capture/ebpf/ffi/libbpf.ts'
import { ERRNO, inNetns } from '../../src/capture/ebpf/ffi/libc.ts'
import {
  KernelMeter,
  type KernelMeterOptions,
  type PointConfig,
  readWindow,
} from '../../src/capture/ebpf/kernel-meter.ts'
import { layoutPath, Pins } from '../../src/capture/ebpf/pins.ts'
import { WeirError } from '../../src/model/errors.ts'
import { ROW, ROW_EGRESS, ROW_IPV6, ROW_REJECT, ROW_SIZE, ROW_SKIPPED } from '../../src/model/flow-rows.ts'
import { formatAddress } from '../../src/model/ip-address.ts'
import { type Clock, systemClock } from '../../src/stdx/clock.ts'

export const OBJECT_PATH = path.resolve(import.meta.dirname, '../../build/bpf/flow.bpf.o')

const silent = { info() {}, warn() {} }
let count = 0

/** A row of a window, in words. */
export interface ReadRow {
  point: number
  direction: 'INGRESS' | 'EGRESS'
  source: string
  destination: string
  ports: [number, number]
  protocol: number
  action: 'ACCEPT' | 'REJECT' | 'SKIPPED'
  tcpFlags: number
  reason: number
  packets: number
  octets: number
  startS: number
  endS: number
}

/** A wall clock that tests can step; the monotonic one is the kernel's. */
export class SteppedClock implements Clock {
  stepMs = 0
  nowMs(): number {
    return systemClock.nowMs() + this.stepMs
  }
  monotonicNs(): bigint {
    return systemClock.monotonicNs()
  }
}

/** A kernel meter with pins of its own; every trace of it is gone when it is disposed of. */
export class KernelWorld implements Disposable {
  readonly options: KernelMeterOptions
  readonly clock = new SteppedClock()
  meter: KernelMeter

  constructor(options: Partial<KernelMeterOptions> = {}) {
    this.options = {
      objectPath: OBJECT_PATH,
      pinPath: `/sys/fs/bpf/weir-test-${process.pid}-${count++}`,
      windowSizeS: 3600,
      flowsMax: 100_000,
      flowsPerPointMax: 20_000,
      ...options,
    }
    // Two thirds into a window, whenever a test runs: only a step of its clock brings the next one.
    const windowMs = this.options.windowSizeS * 1000
    this.clock.stepMs = (windowMs * 2) / 3 - (this.clock.nowMs() % windowMs)
    this.meter = new KernelMeter(this.options, { clock: this.clock, log: silent })
    this.meter.start()
  }

  attach(point: number, device: string, netns: string, options: Partial<PointConfig> = {}): void {
    const ids = { flowLogId: `flow-log-${point}`, interfaceId: `interface-${point}` }
    this.meter.attach({ point, ...ids, device, netns, mirrored: false, ...options })
  }

  /** As a new agent would: lets go, and adopts what the kernel has. */
  restart(options: Partial<KernelMeterOptions> = {}): void {
    this.meter.stop()
    this.meter = new KernelMeter({ ...this.options, ...options }, { clock: this.clock, log: silent })
    this.meter.start()
  }

  /** All rows of a window, or of all windows. */
  rows(generation?: bigint): ReadRow[] {
    const rows: ReadRow[] = []
    for (const window of this.meter.windows()) {
      if (generation !== undefined && window.generation !== generation) continue
      readWindow(this.options.pinPath, window.generation, { rowsMax: 1000 }, (buffer, points, rowCount) => {
        for (let i = 0; i < rowCount; i++) rows.push(readRow(buffer, i * ROW_SIZE, points[i]!))
      })
    }
    return rows
  }

  /**
   * Gives frames to the programs as if a device had received or was to send them, and returns those that were taken:
   * newer kernels refuse to run programs on frames that end within their IP header.
   */
  run(
    netns: string,
    ifindex: number,
    frames: Buffer[],
    hook: 'ingress' | 'egress' = 'ingress',
    segmentation?: Segmentation,
  ): Buffer[] {
    using pins = new Pins(layoutPath(this.options.pinPath))
    const program = pins.program(hook === 'ingress' ? 'tc_ingress' : 'tc_egress')
    const context = skContext(ifindex, segmentation)
    return inNetns(netns, () =>
      frames.filter((frame) => {
        try {
          testRun(program, { frame, context })
          return true
        } catch (error) {
          if (error instanceof WeirError && error.message.includes(`errno ${ERRNO.EINVAL}`)) return false
          throw error
        }
      }),
    )
  }

  [Symbol.dispose](): void {
    this.meter.detachAll()
    if (existsSync(this.options.pinPath)) throw new Error('detachAll left its pins behind')
  }
}

/** Segmentation that is left to the device: bytes of payload in each segment, and how many (0: nobody counted them). */
export interface Segmentation {
  size: number
  segments: number
}

/** struct __sk_buff: the device, and segmentation if there is any. */
export function skContext(ifindex: number, segmentation: Segmentation = { size: 0, segments: 0 }): Buffer {
  const context = Buffer.alloc(192)
  context.writeUInt32LE(ifindex, 40)
  context.writeUInt32LE(segmentation.segments, 164)
  context.writeUInt32LE(segmentation.size, 176)
  return context
}

function readRow(buffer: Buffer, at: number, point: number): ReadRow {
  const attributes = buffer[at + ROW.attributes]!
  const size = attributes & ROW_IPV6 ? 16 : 4
  const address = (offset: number) => formatAddress(buffer.subarray(at + offset, at + offset + size))
  return {
    point,
    direction: attributes & ROW_EGRESS ? 'EGRESS' : 'INGRESS',
    source: address(ROW.source),
    destination: address(ROW.destination),
    ports: [buffer.readUInt16LE(at + ROW.sourcePort), buffer.readUInt16LE(at + ROW.destinationPort)],
    protocol: buffer[at + ROW.protocol]!,
    action: attributes & ROW_SKIPPED ? 'SKIPPED' : attributes & ROW_REJECT ? 'REJECT' : 'ACCEPT',
    tcpFlags: buffer[at + ROW.tcpFlags]!,
    reason: buffer[at + ROW.rejectReason]!,
    packets: Number(buffer.readBigUInt64LE(at + ROW.packets)),
    octets: Number(buffer.readBigUInt64LE(at + ROW.octets)),
    startS: buffer.readUInt32LE(at + ROW.startS),
    endS: buffer.readUInt32LE(at + ROW.endS),
  }
}

/** Packets, octets and TCP flags by flow, in a form that reads well when an assertion fails. */
export function flowTotals(rows: ReadRow[]): Record<string, string> {
  const totals = new Map<string, { packets: number; octets: number; flags: number }>()
  for (const row of rows) {
    const { point, direction, source, destination, ports, protocol, action } = row
    const flow = action === 'SKIPPED' ? '' : ` ${source} ${ports[0]} ${destination} ${ports[1]} ${protocol}`
    const key = `${point} ${direction}${flow} ${action}`
    const sum = totals.get(key) ?? { packets: 0, octets: 0, flags: 0 }
    sum.packets += row.packets
    sum.octets += row.octets
    sum.flags |= row.tcpFlags
    totals.set(key, sum)
  }
  const sorted = [...totals].sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(
    sorted.map(([key, it]) => [key, `${it.packets} packets, ${it.octets} octets, flags ${it.flags}`]),
  )
}
