import { closeSync, constants, openSync } from 'node:fs'
import koffi from 'koffi'
import { WeirError } from '../../../model/errors.ts'
import { assert } from '../../../stdx/assert.ts'

// Network namespaces, device ioctls and netlink: what node has no API for. Prototypes as the manual pages give them.
const library = koffi.load('libc.so.6')
const C = {
  setns: library.func('int setns(int fd, int nstype)'),
  mount: library.func(
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data)',
  ),
  socket: library.func('int socket(int domain, int type, int protocol)'),
  bind: library.func('int bind(int fd, const void *address, unsigned int size)'),
  send: library.func('long send(int fd, const void *data, size_t size, int flags)'),
  recv: library.func('long recv(int fd, void *data, size_t size, int flags)'),
  getsockopt: library.func('int getsockopt(int fd, int level, int name, void *value, void *size)'),
  setsockopt: library.func(
    'int setsockopt(int fd, int level, int name, const void *value, unsigned int size)',
  ),
  ioctl: library.func('int ioctl(int fd, unsigned long request, void *argument)'),
  strerror: library.func('const char *strerror(int errno)'),
}

export const ERRNO = {
  ENOENT: 2,
  EINTR: 4,
  EAGAIN: 11,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ENOSPC: 28,
  ENOLINK: 67,
  ENOBUFS: 105,
} as const

const CLONE_NEWNET = 0x40000000
const AF_INET = 2
const AF_NETLINK = 16
const SOCK_DGRAM = 2
const SOCK_RAW = 3
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SO_RCVBUF = 8
const SO_NETNS_COOKIE = 71
const SIOCGIFHWADDR = 0x8927
const SIOCGIFINDEX = 0x8933
const MSG_DONTWAIT = 0x40
const ARPHRD_ETHER = 1
const ARPHRD_LOOPBACK = 772
const NETNS_DIRECTORY = '/run/netns'
const IFREQ_SIZE = 40
const IFNAME_SIZE = 16

/** `doing` reads like "attaching to eth0"; a positive errno. */
export function nativeError(doing: string, errno: number): WeirError {
  const reason = `${C.strerror(errno)} (errno ${errno})`
  return new WeirError('WEIR_NATIVE_CALL', `${doing} failed: ${reason.toLowerCase()}`)
}

export function hasLibrary(name: string): boolean {
  try {
    koffi.load(name)
    return true
  } catch {
    return false
  }
}

export function mountBpffs(path: string): void {
  if (C.mount('bpf', path, 'bpf', 0, null) !== 0)
    throw nativeError(`mounting bpffs on ${path}`, koffi.errno())
}

/**
 * Runs `action`, which must be synchronous, with this thread in a named network namespace. The thread is back in its
 * own before anything else can run on it; sockets and BPF links that were made keep belonging to the namespace.
 */
export function inNetns<T>(netns: string | undefined, action: () => T): T {
  if (netns === undefined) return action()
  const own = openSync('/proc/thread-self/ns/net', constants.O_RDONLY)
  try {
    enterNetns(netns)
    try {
      return action()
    } finally {
      // Nothing may run in the wrong namespace: to fail to return is the end of the process.
      assert(C.setns(own, CLONE_NEWNET) === 0, 'cannot return to the own network namespace')
    }
  } finally {
    closeSync(own)
  }
}

function enterNetns(netns: string): void {
  let fd: number
  try {
    fd = openSync(`${NETNS_DIRECTORY}/${netns}`, constants.O_RDONLY)
  } catch (cause) {
    throw new WeirError('WEIR_NOT_FOUND', `there is no network namespace ${netns}`, { cause })
  }
  const result = C.setns(fd, CLONE_NEWNET)
  const errno = koffi.errno()
  closeSync(fd)
  if (result !== 0) throw nativeError(`entering network namespace ${netns}`, errno)
}

function openSocket(domain: number, type: number, protocol: number): number {
  const fd: number = C.socket(domain, type | SOCK_CLOEXEC, protocol)
  if (fd < 0) throw nativeError('opening a socket', koffi.errno())
  return fd
}

/** The kernel's number for the network namespace that this thread is in; never reused. */
export function netnsCookie(): bigint {
  const fd = openSocket(AF_INET, SOCK_DGRAM, 0)
  try {
    const value = Buffer.alloc(8)
    const size = Buffer.alloc(4)
    size.writeUInt32LE(8)
    if (C.getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, value, size) !== 0) {
      throw nativeError('reading the network namespace cookie', koffi.errno())
    }
    return value.readBigUInt64LE()
  } finally {
    closeSync(fd)
  }
}

/** A device of the namespace that this thread is in; undefined if there is none of that name. */
export function findDeviceByName(name: string): { ifindex: number; hasEthernetHeader: boolean } | undefined {
  const fd = openSocket(AF_INET, SOCK_DGRAM, 0)
  try {
    const request = Buffer.alloc(IFREQ_SIZE)
    if (Buffer.byteLength(name) >= IFNAME_SIZE) return undefined
    request.write(name)
    if (C.ioctl(fd, SIOCGIFINDEX, request) !== 0) {
      if (koffi.errno() === ERRNO.ENODEV) return undefined
      throw nativeError(`looking up device ${name}`, koffi.errno())
    }
    const ifindex = request.readInt32LE(IFNAME_SIZE)
    request.fill(0, IFNAME_SIZE)
    if (C.ioctl(fd, SIOCGIFHWADDR, request) !== 0) {
      throw nativeError(`reading the link type of device ${name}`, koffi.errno())
    }
    const type = request.readUInt16LE(IFNAME_SIZE)
    return { ifindex, hasEthernetHeader: type === ARPHRD_ETHER || type === ARPHRD_LOOPBACK }
  } finally {
    closeSync(fd)
  }
}

/** A netlink socket of the namespace that this thread is in, subscribed to `groups` (a bit mask). */
export class NetlinkSocket implements Disposable {
  #fd: number
  constructor(options: { protocol: number; groups: number; receiveBufferSize: number }) {
    this.#fd = openSocket(AF_NETLINK, SOCK_RAW, options.protocol)
    const size = Buffer.alloc(4)
    size.writeUInt32LE(options.receiveBufferSize)
    C.setsockopt(this.#fd, SOL_SOCKET, SO_RCVBUF, size, 4) // Smaller is slower, not wrong.
    const address = Buffer.alloc(12)
    address.writeUInt16LE(AF_NETLINK, 0)
    address.writeUInt32LE(options.groups, 8)
    if (C.bind(this.#fd, address, address.length) === 0) return
    const errno = koffi.errno()
    this[Symbol.dispose]()
    throw nativeError('subscribing to netlink', errno)
  }

  send(message: Buffer): void {
    assert(this.#fd >= 0, 'NetlinkSocket used after dispose')
    if (C.send(this.#fd, message, message.length, 0) < 0)
      throw nativeError('sending to netlink', koffi.errno())
  }

  /** One datagram into `buffer`, its size, without waiting. 0: nothing there. 'overrun': messages were lost. */
  receive(buffer: Buffer): number | 'overrun' {
    assert(this.#fd >= 0, 'NetlinkSocket used after dispose')
    const size = Number(C.recv(this.#fd, buffer, buffer.length, MSG_DONTWAIT))
    if (size >= 0) return size
    const errno = koffi.errno()
    if (errno === ERRNO.EAGAIN) return 0
    if (errno === ERRNO.ENOBUFS) return 'overrun'
    throw nativeError('receiving from netlink', errno)
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) closeSync(this.#fd)
    this.#fd = -1
  }
}
