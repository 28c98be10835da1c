import { createHash, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

const deriveKey = promisify(scrypt) as (
  password: string,
  salt: Buffer,
  size: number,
  options: { N: number; r: number; p: number; maxmem: number },
) => Promise<Buffer>

// OWASP's choice for scrypt with a small memory footprint: 2^15, 8, 3.
const COST = { N: 2 ** 15, r: 8, p: 3 }
const KEY_SIZE = 32
/** Of the four threads that Node has: commits wait for the disk in the others, whoever tries passwords. */
const DERIVATIONS_AT_ONCE = 2
let derivations = 0
const waiting: (() => void)[] = []

/** `scrypt$N$r$p$salt$key`: the parameters travel along, so that they can be raised later. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16)
  const key = await derive(password, salt, COST)
  const { N, r, p } = COST
  return ['scrypt', N, r, p, salt.toString('base64url'), key.toString('base64url')].join('$')
}

export async function passwordMatches(password: string, hash: string): Promise<boolean> {
  const [scheme, N, r, p, salt, key] = hash.split('$')
  if (scheme !== 'scrypt' || salt === undefined || key === undefined) return false
  const expected = Buffer.from(key, 'base64url')
  const cost = { N: Number(N), r: Number(r), p: Number(p) }
  const actual = await derive(password, Buffer.from(salt, 'base64url'), cost)
  return actual.length === expected.length && timingSafeEqual(actual, expected)
}

async function derive(password: string, salt: Buffer, cost: typeof COST): Promise<Buffer> {
  if (derivations < DERIVATIONS_AT_ONCE) derivations++
  else await new Promise<void>((resolve) => waiting.push(resolve))
  try {
    return await deriveKey(password, salt, KEY_SIZE, { ...cost, maxmem: 256 * cost.N * cost.r })
  } finally {
    const next = waiting.shift()
    if (next === undefined) derivations--
    else next()
  }
}

/** A random secret of 256 bits; the prefix tells a person who finds one what it opens. */
export function newToken(kind: 'user' | 'agent' | 'enrol'): string {
  return `weir_${kind}_${randomBytes(32).toString('base64url')}`
}

/** Tokens are random, so a plain digest is enough to keep a stolen database from opening anything. */
export function hashToken(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}
