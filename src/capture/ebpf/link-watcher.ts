import { readdirSync, statSync } from 'node:fs'
import { WeirError } from '../../model/errors.ts'
import { assert } from '../../stdx/assert.ts'
import { inNetns, NetlinkSocket } from './ffi/libc.ts'
import { findLinkMessages, type LinkMessage, linkDumpRequest } from './netlink-links.ts'

/** A network device of this host. */
export interface Link {
  name: string
  ifindex: number
  /** Lower case, colons; '' for devices without a link-layer address. */
  mac: string
  /** Name of the network namespace, absent for the agent's own. */
  netns?: string
}

interface Log {
  warn(fields: object, message: string): void
}

const NETLINK_ROUTE = 0
const RTMGRP_LINK = 1
const RECEIVE_BUFFER_SIZE = 1 << 20
const DATAGRAM_SIZE_MAX = 1 << 16
const DATAGRAMS_PER_POLL_MAX = 256
const POLL_MS = 100
const NETNS_DIRECTORY = '/run/netns'

/**
 * Knows the devices of this host: those of the own network namespace and of all named ones (`ip netns`), as they appear,
 * vanish and are renamed. One netlink socket for each namespace, opened inside it and read from here ten times a second;
 * nothing is awaited, so a flood of events delays itself and nothing else.
 */
export class LinkWatcher {
  readonly #log: Log
  readonly #namespaces = new Map<string, Namespace>()
  readonly #callbacks = new Set<() => void>()
  #timer: NodeJS.Timeout | undefined

  constructor(dependencies: { log: Log }) {
    this.#log = dependencies.log
  }

  start(): void {
    assert(this.#timer === undefined, 'LinkWatcher started twice')
    this.poll()
    this.#timer = setInterval(() => this.poll(), POLL_MS)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    for (const namespace of this.#namespaces.values()) namespace[Symbol.dispose]()
    this.#namespaces.clear()
  }

  /** All devices, as of the last poll. */
  list(): Link[] {
    return [...this.#namespaces.values()].flatMap((it) => it.list())
  }

  /** Called after a poll that found anything new. */
  onChange(callback: () => void): void {
    this.#callbacks.add(callback)
  }

  /** Reads what there is to read. The timer calls it; tests do so themselves. */
  poll(): void {
    let hasChanged = this.#followNamespaces()
    for (const [name, namespace] of this.#namespaces) {
      try {
        hasChanged = namespace.poll() || hasChanged
      } catch (error) {
        if (!(error instanceof WeirError)) throw error
        this.#log.warn({ err: error, netns: name }, 'watching a network namespace failed')
        this.#close(name) // The next poll opens it anew, and with it a full list.
        hasChanged = true
      }
    }
    if (hasChanged) for (const callback of this.#callbacks) callback()
  }

  /** Opens what is new under /run/netns, closes what has gone. Returns whether there was any of that. */
  #followNamespaces(): boolean {
    const names = new Set(['', ...listNetns()])
    let hasChanged = false
    for (const [name, namespace] of [...this.#namespaces]) {
      // A name that was deleted and given again is another namespace, and its file another inode.
      if (names.has(name) && inodeOf(name) === namespace.inode) continue
      this.#close(name)
      hasChanged = true
    }
    for (const name of names) {
      if (this.#namespaces.has(name)) continue
      try {
        this.#namespaces.set(name, new Namespace(name === '' ? undefined : name))
        hasChanged = true
      } catch (error) {
        // Its file is there before it is mounted: `ip netns add` is at work, and the next poll will find it.
        if (!(error instanceof WeirError)) throw error
      }
    }
    return hasChanged
  }

  #close(name: string): void {
    this.#namespaces.get(name)?.[Symbol.dispose]()
    this.#namespaces.delete(name)
  }
}

function listNetns(): string[] {
  try {
    return readdirSync(NETNS_DIRECTORY)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

function inodeOf(netns: string): number {
  if (netns === '') return 0
  return statSync(`${NETNS_DIRECTORY}/${netns}`, { throwIfNoEntry: false })?.ino ?? -1
}

/** One namespace: its socket and the devices that it told of. */
class Namespace implements Disposable {
  readonly inode: number
  readonly #netns: string | undefined
  readonly #socket: NetlinkSocket
  readonly #links = new Map<number, Link>()
  readonly #buffer = Buffer.alloc(DATAGRAM_SIZE_MAX)

  constructor(netns: string | undefined) {
    this.#netns = netns
    this.inode = inodeOf(netns ?? '')
    const options = { protocol: NETLINK_ROUTE, groups: RTMGRP_LINK, receiveBufferSize: RECEIVE_BUFFER_SIZE }
    this.#socket = inNetns(netns, () => new NetlinkSocket(options))
    this.#socket.send(linkDumpRequest())
    this.poll()
  }

  list(): Link[] {
    return [...this.#links.values()]
  }

  poll(): boolean {
    let hasChanged = false
    for (let i = 0; i < DATAGRAMS_PER_POLL_MAX; i++) {
      const size = this.#socket.receive(this.#buffer)
      if (size === 0) break
      if (size === 'overrun') {
        // Events were lost: forget all and ask for the whole list.
        this.#links.clear()
        this.#socket.send(linkDumpRequest())
        hasChanged = true
        continue
      }
      for (const message of findLinkMessages(this.#buffer, size))
        hasChanged = this.#take(message) || hasChanged
    }
    return hasChanged
  }

  #take({ isGone, ifindex, name, mac }: LinkMessage): boolean {
    if (isGone) return this.#links.delete(ifindex)
    const before = this.#links.get(ifindex)
    if (before?.name === name && before.mac === mac) return false
    this.#links.set(ifindex, {
      name,
      ifindex,
      mac,
      ...(this.#netns === undefined ? {} : { netns: this.#netns }),
    })
    return true
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]()
  }
}
