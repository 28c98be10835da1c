/**
 * The part of rtnetlink (rtnetlink(7), netlink(7)) that tells of devices. Native byte order, everything padded to 4:
 *
 *   nlmsghdr    u32 size   u16 type   u16 flags   u32 sequence   u32 port
 *   ifinfomsg   u8 family  u8 pad     u16 type    i32 index      u32 flags   u32 change
 *   rtattr      u16 size   u16 type   value …                    repeated to the end of the message
 */
const HEADER_SIZE = 16
const LINK_SIZE = 16
const ATTRIBUTE_SIZE = 4

const RTM_NEWLINK = 16
const RTM_DELLINK = 17
const RTM_GETLINK = 18
const NLM_F_REQUEST = 1
const NLM_F_DUMP = 0x300
const IFLA_ADDRESS = 1
const IFLA_IFNAME = 3
const AF_UNSPEC = 0

export interface LinkMessage {
  isGone: boolean
  ifindex: number
  name: string
  /** Lower case, colons; '' for devices without a link-layer address. */
  mac: string
}

/** Asks for all devices of the socket's namespace. */
export function linkDumpRequest(): Buffer {
  const request = Buffer.alloc(HEADER_SIZE + LINK_SIZE)
  request.writeUInt32LE(request.length, 0)
  request.writeUInt16LE(RTM_GETLINK, 4)
  request.writeUInt16LE(NLM_F_REQUEST | NLM_F_DUMP, 6)
  return request
}

/** The devices that a datagram tells of. Other messages, and what is cut short, are passed over. */
export function findLinkMessages(datagram: Buffer, size: number): LinkMessage[] {
  const found: LinkMessage[] = []
  for (let at = 0; at + HEADER_SIZE <= size; ) {
    const messageSize = datagram.readUInt32LE(at)
    const type = datagram.readUInt16LE(at + 4)
    if (messageSize < HEADER_SIZE || at + messageSize > size) break
    const isLink = type === RTM_NEWLINK || type === RTM_DELLINK
    // A bridge tells of its ports in a family of its own: a port that is taken off it has not gone.
    if (isLink && messageSize >= HEADER_SIZE + LINK_SIZE && datagram[at + HEADER_SIZE] === AF_UNSPEC) {
      found.push(readLink(datagram, at, at + messageSize, type === RTM_DELLINK))
    }
    at += (messageSize + 3) & ~3
  }
  return found
}

function readLink(datagram: Buffer, start: number, end: number, isGone: boolean): LinkMessage {
  const link = { isGone, ifindex: datagram.readInt32LE(start + HEADER_SIZE + 4), name: '', mac: '' }
  for (let at = start + HEADER_SIZE + LINK_SIZE; at + ATTRIBUTE_SIZE <= end; ) {
    const size = datagram.readUInt16LE(at)
    if (size < ATTRIBUTE_SIZE || at + size > end) break
    const type = datagram.readUInt16LE(at + 2) & 0x3fff
    const value = datagram.subarray(at + ATTRIBUTE_SIZE, at + size)
    if (type === IFLA_IFNAME) link.name = value.toString('utf8').replace(/\0+$/, '')
    if (type === IFLA_ADDRESS) link.mac = (value.toString('hex').match(/../g) ?? []).join(':')
    at += (size + 3) & ~3
  }
  return link
}
