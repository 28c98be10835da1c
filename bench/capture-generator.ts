import { closeSync, existsSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { random } from './bench.ts'

/**
 * Seeded captures with their truth, made without any code of the meter.
 *
 * imix: 200,000 open flows, popularity of a slot ~ rank^-0.8, sizes bounded Pareto (1.05) up to 10^6
 * packets and a quarter of mice (about five packets per record), packets of 40, 576 and 1500 octets as
 * 7:4:1, 70 % TCP, 15 % UDP, 7 % TCP and 3 % UDP over IPv6,
 * 4 % ICMP, 1 % ICMPv6; 10 % with an 802.1Q tag, 1 % with two tags, 2 % of the UDP flows in fragments, 1 %
 * with IPv4 options or IPv6 destination options, 0.1 % ARP; cut to 96 bytes; 1800 s.
 * scan: half a SYN scan from one host, half a SYN flood with forged sources; every packet is a flow.
 */
export type CaptureKind = 'imix' | 'scan'

export interface Truth {
  packets: number
  ipPackets: number
  octets: number
  windows: { startS: number; packets: number; octets: number; flows: number }[]
}

const T0 = 1_700_000_400 // A multiple of 600.
const DURATION_S = 1800
const WINDOW_S = 600
const SNAP_LENGTH = 96
const SLOTS = 200_000
const CHUNK_SIZE = 4 << 20
const UDP_HEADER_SIZE = 8
/** In the names of captures, so that those of an older generator are not taken for these. */
const GENERATION = 2

/** Makes the capture if it is not there yet. Returns the file and its truth. */
export function capture(kind: CaptureKind, packets: number, seed = 42): { file: string; truth: Truth } {
  const file = path.join(tmpdir(), `weir-bench-${kind}-${packets}-${seed}-${GENERATION}.pcap`)
  if (!existsSync(`${file}.json`)) {
    const part = `${file}.${process.pid}`
    const truth = writeCapture(part, kind, packets, seed)
    renameSync(part, file)
    writeFileSync(`${file}.json`, JSON.stringify(truth))
  }
  return { file, truth: JSON.parse(readFileSync(`${file}.json`, 'utf8')) as Truth }
}

export function writeCapture(file: string, kind: CaptureKind, packets: number, seed: number): Truth {
  const out = new CaptureFile(file)
  const next = random(seed)
  if (kind === 'scan') writeScan(out, packets, next)
  else writeImix(out, packets, next)
  out.end()
  return out.truth
}

/** A classic capture, little-endian, microseconds; and the sums of what goes into it. */
class CaptureFile {
  readonly truth: Truth = { packets: 0, ipPackets: 0, octets: 0, windows: [] }
  readonly #descriptor: number
  readonly #chunk = Buffer.allocUnsafe(CHUNK_SIZE + 4096)
  #size = 24

  constructor(file: string) {
    this.#descriptor = openSync(file, 'w')
    this.#chunk.fill(0, 0, 24)
    this.#chunk.writeUInt32LE(0xa1b2c3d4, 0)
    this.#chunk.writeUInt16LE(2, 4)
    this.#chunk.writeUInt16LE(4, 6)
    this.#chunk.writeUInt32LE(SNAP_LENGTH, 16)
    this.#chunk.writeUInt32LE(1, 20)
  }

  /**
   * `share` is the place in time, from 0 to 1; `octets` is 0 for what is not IP. Returns the window's
   * number.
   */
  packet(frame: Buffer, share: number, wireLength: number, octets: number): number {
    const time = share * DURATION_S
    const second = Math.floor(time)
    const captured = Math.min(frame.length, SNAP_LENGTH, wireLength)
    this.#chunk.writeUInt32LE(T0 + second, this.#size)
    this.#chunk.writeUInt32LE(Math.floor((time - second) * 1e6), this.#size + 4)
    this.#chunk.writeUInt32LE(captured, this.#size + 8)
    this.#chunk.writeUInt32LE(wireLength, this.#size + 12)
    frame.copy(this.#chunk, this.#size + 16, 0, captured)
    this.#size += 16 + captured
    if (this.#size >= CHUNK_SIZE) this.#write()
    this.truth.packets++
    const number = Math.floor(second / WINDOW_S)
    if (octets === 0) return number
    this.truth.windows[number] ??= { startS: T0 + number * WINDOW_S, packets: 0, octets: 0, flows: 0 }
    const window = this.truth.windows[number]
    this.truth.ipPackets++
    this.truth.octets += octets
    window.packets++
    window.octets += octets
    return number
  }

  #write(): void {
    writeSync(this.#descriptor, this.#chunk, 0, this.#size)
    this.#size = 0
  }

  end(): void {
    this.#write()
    closeSync(this.#descriptor)
  }
}

function writeScan(out: CaptureFile, packets: number, next: () => number): void {
  const scanner = 0xcb00_7107
  const victim = 0xc633_640a
  const scan = frameOf(ipv4Header(6, scanner, 0, 40, false), tcpHeader(43_210, 0, 0x02))
  const flood = frameOf(ipv4Header(6, 0, victim, 40, false), tcpHeader(0, 443, 0x02))
  const ports = [22, 23, 80, 443, 445, 3389, 5900, 8080]
  for (let i = 0; i < packets; i++) {
    const isScan = i % 2 === 0
    const frame = isScan ? scan : flood
    const mixed = Math.imul(i >> 1, 0x9e3779b1) >>> 0 // A bijection: no address comes twice.
    frame.writeUInt32BE(mixed, isScan ? 30 : 26)
    if (isScan) frame.writeUInt16BE(ports[next() & 7]!, 36)
    else frame.writeUInt16BE(next() & 0xffff, 34)
    frame.writeUInt32BE(next(), 38)
    const number = out.packet(frame, i / packets, 60, 40)
    out.truth.windows[number]!.flows++
  }
}

interface Flow {
  frame: Buffer
  /** Where the IP header begins. */
  network: number
  isIpv6: boolean
  headerSize: number
  /** Where the length of the UDP header stands; 0 where there is none. */
  udpLengthAt: number
  isFragmented: boolean
  packetsLeft: number
  lastWindow: number
}

function writeImix(out: CaptureFile, packets: number, next: () => number): void {
  const unit = (): number => next() / 2 ** 32
  const flows: Flow[] = []
  const numbers = { any: 0, icmp: 0 }
  const arp = Buffer.alloc(60)
  arp.writeUInt16BE(0x0806, 12)
  while (out.truth.packets < packets) {
    const share = out.truth.packets / packets
    if (next() % 1000 === 0) {
      out.packet(arp, share, 60, 0)
      continue
    }
    const slot = Math.floor(SLOTS * unit() ** 5)
    let flow = flows[slot]
    if (flow === undefined || flow.packetsLeft === 0) flow = flows[slot] = newFlow(numbers, next)
    flow.packetsLeft--
    const kind = next() % 12
    const payload = Math.max(0, (kind < 7 ? 40 : kind < 11 ? 576 : 1500) - flow.headerSize)
    for (const part of parts(flow, payload, next)) {
      const number = out.packet(flow.frame, share, flow.network + part, part)
      if (flow.lastWindow !== number) out.truth.windows[number]!.flows++
      flow.lastWindow = number
      if (out.truth.packets === packets) break
    }
  }
}

/** Prepares the frame for each packet that a datagram becomes, and yields the IP packet's octets. */
function* parts(flow: Flow, payload: number, next: () => number): Generator<number> {
  const { frame, network, isIpv6, headerSize, udpLengthAt } = flow
  const octets = headerSize + payload
  const udpLength = UDP_HEADER_SIZE + payload // A fragment more has as much again.
  if (udpLengthAt > 0) frame.writeUInt16BE(flow.isFragmented ? 2 * udpLength : udpLength, udpLengthAt)
  if (!isIpv6) frame.writeUInt16BE(octets, network + 2)
  else frame.writeUInt16BE(octets - 40, network + 4)
  if (!flow.isFragmented) {
    if (!isIpv6) frame.writeUInt16BE(next() & 0xffff, network + 4)
    yield octets
    return
  }
  frame.writeUInt16BE(next() & 0xffff, network + 4) // IPv4 only, as `newFlow` makes them.
  frame.writeUInt16BE(0x2000, network + 6)
  yield octets
  frame.writeUInt16BE(0x00b9, network + 6)
  const ports = frame.readUInt32BE(network + 20)
  frame.writeUInt32BE(0xdeadbeef, network + 20) // Where the ports were, a later fragment has data.
  yield octets
  frame.writeUInt32BE(ports, network + 20)
}

function newFlow(numbers: { any: number; icmp: number }, next: () => number): Flow {
  const kind = next() % 100
  const isIpv6 = (kind >= 85 && kind < 95) || kind === 99
  const protocol = kind < 70 ? 6 : kind < 85 ? 17 : kind < 92 ? 6 : kind < 95 ? 17 : kind < 99 ? 1 : 58
  const isIcmp = protocol === 1 || protocol === 58
  const number = isIcmp ? numbers.icmp++ : numbers.any++
  const sourcePort = Math.imul(number & 0xffff, 40_503) & 0xffff
  const client = isIcmp ? number : (number >> 16) * 97 + (next() % 97) // (client / 97, port) is unique.
  const server = Math.floor(1000 * (next() / 2 ** 32) ** 3)
  const ports = [443, 443, 80, 53, 22, 8443, 5432, 123]
  const transport =
    protocol === 6
      ? tcpHeader(sourcePort, ports[next() & 7]!, 0x10)
      : udpHeader(sourcePort, ports[next() & 7]!)
  if (isIcmp) transport.writeUInt32BE(0x0800_f00d, 0)
  const hasOptions = next() % 100 === 0
  const isFragmented = !isIpv6 && protocol === 17 && !hasOptions && next() % 50 === 0
  const header = isIpv6
    ? ipv6Header(protocol, client, server, hasOptions)
    : ipv4Header(
        protocol,
        isIcmp ? 0xac10_0000 + client : 0x0a00_0000 + client,
        0x5db8_d800 + server,
        0,
        hasOptions,
      )
  const tags = next() % 100
  const frame = frameOf(header, transport, tags < 10 ? 1 : tags === 10 ? 2 : 0)
  const size = next() % 4 === 0 ? 1 + (next() & 1) : pareto(next() / 2 ** 32)
  const network = 14 + 4 * (tags < 10 ? 1 : tags === 10 ? 2 : 0)
  return {
    frame,
    network,
    isIpv6,
    udpLengthAt: protocol === 17 ? network + header.length + 4 : 0,
    headerSize: header.length + transport.length,
    isFragmented,
    packetsLeft: size,
    lastWindow: -1,
  }
}

/** Bounded Pareto of index 1.05 on 2 to 10^6. */
function pareto(uniform: number): number {
  const [low, high, index] = [2, 1e6, 1.05]
  return Math.floor((low ** -index - uniform * (low ** -index - high ** -index)) ** (-1 / index))
}

function frameOf(header: Buffer, transport: Buffer, tags = 0): Buffer {
  const link = Buffer.alloc(14 + tags * 4)
  link.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2])
  let at = 12
  for (let i = 0; i < tags; i++) {
    link.writeUInt16BE(i === 0 && tags === 2 ? 0x88a8 : 0x8100, at)
    link.writeUInt16BE(7, at + 2)
    at += 4
  }
  link.writeUInt16BE(header[0]! >> 4 === 4 ? 0x0800 : 0x86dd, at)
  return Buffer.concat([link, header, transport, Buffer.alloc(SNAP_LENGTH)])
}

function ipv4Header(
  protocol: number,
  source: number,
  destination: number,
  octets: number,
  options: boolean,
): Buffer {
  const header = Buffer.alloc(options ? 24 : 20)
  header[0] = 0x40 | (header.length / 4)
  header.writeUInt16BE(octets, 2)
  header[8] = 64
  header[9] = protocol
  header.writeUInt32BE(source >>> 0, 12)
  header.writeUInt32BE(destination >>> 0, 16)
  if (options) header.writeUInt32BE(0x94040000, 20)
  return header
}

function ipv6Header(protocol: number, client: number, server: number, options: boolean): Buffer {
  const header = Buffer.alloc(options ? 48 : 40)
  header[0] = 0x60
  header[6] = options ? 60 : protocol
  header[7] = 64
  header.writeUInt32BE(0x2001_0db8, 8)
  header.writeUInt32BE(client, 20)
  header.writeUInt32BE(0x2001_0db8, 24)
  header.writeUInt16BE(0x0a, 30)
  header.writeUInt32BE(server + 1, 36)
  if (options) header.set([protocol, 0, 1, 4], 40)
  return header
}

function tcpHeader(source: number, destination: number, flags: number): Buffer {
  const header = Buffer.alloc(20)
  header.writeUInt16BE(source, 0)
  header.writeUInt16BE(destination, 2)
  header[12] = 0x50
  header[13] = flags
  return header
}

function udpHeader(source: number, destination: number): Buffer {
  const header = Buffer.alloc(UDP_HEADER_SIZE)
  header.writeUInt16BE(source, 0)
  header.writeUInt16BE(destination, 2)
  return header
}
