import { closeSync } from 'node:fs'
import koffi from 'koffi'
import { findDeviceByName, inNetns } from '../../src/capture/ebpf/ffi/libc.ts'

const library = koffi.load('libc.so.6')
const C = {
  socket: library.func('int socket(int domain, int type, int protocol)'),
  sendto: library.func(
    'long sendto(int fd, const void *data, size_t size, int flags, const void *address, unsigned int addressSize)',
  ),
  setsockopt: library.func(
    'int setsockopt(int fd, int level, int name, const void *value, unsigned int size)',
  ),
}
const AF_PACKET = 17
const SOCK_RAW = 3
const SOL_PACKET = 263
const PACKET_VNET_HDR = 15
const ADDRESS_SIZE = 20 // struct sockaddr_ll

/** What virtio tells of a frame (struct virtio_net_hdr), as guests do through their taps. */
export interface Offload {
  gso: 'tcp4' | 'tcp6' | 'udp4-fragments' | 'udp-segments'
  headerSize: number
  segmentSize: number
  checksumStart: number
  checksumOffset: number
}

const GSO = { tcp4: 1, 'udp4-fragments': 3, tcp6: 4, 'udp-segments': 5 } as const

/** Sends frames out of a device as they are, past the IP stack (packet(7)). */
export class PacketSocket implements Disposable {
  readonly #fd: number
  readonly #address = Buffer.alloc(ADDRESS_SIZE)
  readonly #hasOffload: boolean

  constructor(netns: string, device: string, options: { offload?: boolean } = {}) {
    const { fd, ifindex } = inNetns(netns, () => ({
      fd: C.socket(AF_PACKET, SOCK_RAW, 0) as number,
      ifindex: findDeviceByName(device)!.ifindex,
    }))
    this.#fd = fd
    this.#hasOffload = options.offload ?? false
    if (this.#hasOffload) {
      const on = Buffer.from([1, 0, 0, 0])
      if (C.setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, on, 4) !== 0) throw new Error('no PACKET_VNET_HDR')
    }
    this.#address.writeUInt16LE(AF_PACKET, 0)
    this.#address.writeInt32LE(ifindex, 4)
  }

  send(frame: Buffer, offload?: Offload): void {
    const data = this.#hasOffload ? Buffer.concat([offloadHeader(offload), frame]) : frame
    // Two bytes of protocol let the kernel find the network header of its own packets' kind.
    this.#address.writeUInt16BE(frame.readUInt16BE(12), 2)
    const sent = Number(C.sendto(this.#fd, data, data.length, 0, this.#address, ADDRESS_SIZE))
    if (sent !== data.length) throw new Error(`sent ${sent} of ${data.length} bytes, errno ${koffi.errno()}`)
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd)
  }
}

function offloadHeader(offload: Offload | undefined): Buffer {
  const header = Buffer.alloc(10)
  if (offload === undefined) return header
  header[0] = 1 // The checksum is left to the device.
  header[1] = GSO[offload.gso]
  header.writeUInt16LE(offload.headerSize, 2)
  header.writeUInt16LE(offload.segmentSize, 4)
  header.writeUInt16LE(offload.checksumStart, 6)
  header.writeUInt16LE(offload.checksumOffset, 8)
  return header
}
