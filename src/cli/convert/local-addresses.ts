import { WeirError } from '../../model/errors.ts'
import { ROW, ROW_EGRESS, ROW_IPV6, ROW_SKIPPED } from '../../model/flow-rows.ts'
import { parseAddress } from '../../model/ip-address.ts'

/**
 * What a capture's observer calls its own: then each flow has a direction. With MAC addresses it is seen in
 * each frame; with IP addresses in each row, by its source (EGRESS when that is local, else INGRESS).
 */
export interface LocalAddresses {
  isEmpty: boolean
  macs: Uint8Array[]
  blocks: { address: Uint8Array; bits: number }[]
}

export const MAC_SIZE = 6

export function parseLocal(values: readonly string[]): LocalAddresses {
  const local: LocalAddresses = { isEmpty: values.length === 0, macs: [], blocks: [] }
  for (const value of values) {
    if (/^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$/.test(value)) {
      local.macs.push(Uint8Array.from(value.split(/[:-]/), (it) => Number.parseInt(it, 16)))
    } else local.blocks.push(parseBlock(value))
  }
  return local
}

function parseBlock(value: string): { address: Uint8Array; bits: number } {
  const [text = '', bitsText] = value.split('/')
  const address = parseAddress(text)
  const bitsMax = address === undefined ? 0 : address.length * 8
  const bits = bitsText === undefined ? bitsMax : /^\d+$/.test(bitsText) ? Number(bitsText) : Number.NaN
  if (address !== undefined && bits <= bitsMax) return { address, bits }
  throw new WeirError('WEIR_USAGE', `--local '${value}' is no IP address, CIDR block or MAC address`)
}

/** Sets the direction of a row from its source address. */
export function directRow(rows: Uint8Array, at: number, local: LocalAddresses): void {
  const attributes = rows[at + ROW.attributes]!
  if ((attributes & ROW_SKIPPED) !== 0) return
  const size = (attributes & ROW_IPV6) !== 0 ? 16 : 4
  if (local.blocks.some((it) => it.address.length === size && contains(it, rows, at + ROW.source))) {
    rows[at + ROW.attributes] = attributes | ROW_EGRESS
  }
}

function contains(block: { address: Uint8Array; bits: number }, bytes: Uint8Array, at: number): boolean {
  const whole = block.bits >> 3
  for (let i = 0; i < whole; i++) if (bytes[at + i] !== block.address[i]) return false
  const rest = block.bits & 7
  return rest === 0 || (bytes[at + whole]! ^ block.address[whole]!) >> (8 - rest) === 0
}

export function isLocalMac(bytes: Uint8Array, at: number, local: LocalAddresses): boolean {
  return local.macs.some((mac) => mac.every((byte, i) => bytes[at + i] === byte))
}
