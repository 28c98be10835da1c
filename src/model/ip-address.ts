/** IP addresses between text and network-order bytes (4 or 16 of them). */

/** Returns undefined for what is not an address: names, ports, zones, leading zeros, empty groups. */
export function parseAddress(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text)
}

function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split('.')
  if (parts.length !== 4) return undefined
  const bytes = new Uint8Array(4)
  for (let i = 0; i < 4; i++) {
    const part = parts[i]!
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined
    bytes[i] = Number(part)
  }
  return bytes
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const head = parseGroups(halves[0]!, halves.length === 1)
  const tail = halves.length === 2 ? parseGroups(halves[1]!, true) : []
  if (head === undefined || tail === undefined) return undefined
  const count = head.length + tail.length
  if (halves.length === 1 ? count !== 16 : count > 14) return undefined // '::' stands for one group at least.
  const bytes = new Uint8Array(16)
  bytes.set(head, 0)
  bytes.set(tail, 16 - tail.length)
  return bytes
}

/** The bytes of `a:b:c`, whose last group may be a dotted IPv4 address when `mayEndDotted`. */
function parseGroups(text: string, mayEndDotted: boolean): number[] | undefined {
  if (text === '') return []
  const groups = text.split(':')
  const bytes: number[] = []
  for (const [at, group] of groups.entries()) {
    if (mayEndDotted && at === groups.length - 1 && group.includes('.')) {
      const dotted = parseIpv4(group)
      if (dotted === undefined) return undefined
      bytes.push(...dotted)
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined
      const value = Number.parseInt(group, 16)
      bytes.push(value >> 8, value & 255)
    }
  }
  return bytes
}

/** The one text form of an address: dotted decimal, or RFC 5952. */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  const isMapped = bytes.subarray(0, 10).every((it) => it === 0) && bytes[10] === 255 && bytes[11] === 255
  if (isMapped) return `::ffff:${bytes.subarray(12).join('.')}` // RFC 5952, section 5.
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[i * 2]! << 8) | bytes[i * 2 + 1]!)
  const [from, count] = longestZeroRun(groups)
  const hex = groups.map((it) => it.toString(16))
  if (count < 2) return hex.join(':')
  return `${hex.slice(0, from).join(':')}::${hex.slice(from + count).join(':')}`
}

/** The first of the longest runs of zero groups, as [from, count]. */
function longestZeroRun(groups: number[]): [number, number] {
  let best: [number, number] = [0, 0]
  let from = 0
  groups.forEach((group, at) => {
    if (group !== 0) from = at + 1
    else if (at + 1 - from > best[1]) best = [from, at + 1 - from]
  })
  return best
}
