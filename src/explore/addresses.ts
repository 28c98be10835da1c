import { formatAddress, parseAddress } from '../model/ip-address.ts'

/**
 * Addresses compare as numbers of 128 bits, IPv4 as ::ffff:0:0/96. DuckDB and Parquet have one type of that size that
 * both sort without a sign: UUID. It is used for its order; nobody gets to see one.
 */
export interface AddressRange {
  first: string
  last: string
  /** The range as it is written: an address, or a network with its host bits cleared. */
  text: string
}

/** An address or a network such as `10.0.0.0/8`; undefined for anything else. */
export function parseNetwork(text: string): AddressRange | undefined {
  const slash = text.indexOf('/')
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash))
  if (address === undefined) return undefined
  const bitsMax = address.length * 8
  const bits = slash < 0 ? bitsMax : parseBits(text.slice(slash + 1), bitsMax)
  if (bits === undefined) return undefined
  const first = address.map((byte, at) => byte & maskOf(at, bits))
  const last = address.map((byte, at) => byte | (~maskOf(at, bits) & 255))
  const suffix = bits === bitsMax ? '' : `/${bits}`
  return { first: keyOf(first), last: keyOf(last), text: `${formatAddress(first)}${suffix}` }
}

/**
 * A number of eight bits for two keys that is the same for both ways: of all rows, it leaves one in 256 to be looked at.
 * As wasm/record-columns.ts makes it.
 */
export function pairHash(key: string | undefined, other: string | undefined): number {
  return (keyHash(key) + keyHash(other)) & 255
}

function keyHash(key: string | undefined): number {
  if (key === undefined) return 0
  const bytes = Buffer.from(key.replaceAll('-', ''), 'hex')
  const mixed = bytes.readBigUInt64LE(0) ^ (bytes.readBigUInt64LE(8) * 0x9e3779b97f4a7c15n)
  return Number(BigInt.asUintN(64, BigInt.asUintN(64, mixed) * 0xff51afd7ed558ccdn) >> 56n)
}

function parseBits(text: string, max: number): number | undefined {
  return /^(0|[1-9]\d{0,2})$/.test(text) && Number(text) <= max ? Number(text) : undefined
}

/** The part of a netmask of `bits` bits in byte `at`. */
function maskOf(at: number, bits: number): number {
  const ones = Math.min(8, Math.max(0, bits - at * 8))
  return (0xff00 >> ones) & 255
}

function keyOf(address: Uint8Array): string {
  const hex = Buffer.from(address).toString('hex')
  const whole = address.length === 4 ? `${'0'.repeat(20)}ffff${hex}` : hex
  return whole.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
