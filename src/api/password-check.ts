import { createHmac, randomBytes } from 'node:crypto'
import { WeirError } from '../model/errors.ts'
import { formatAddress, parseAddress } from '../model/ip-address.ts'
import type { Clock } from '../stdx/clock.ts'
import { hashPassword, passwordMatches } from '../store/secrets.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { RateLimitedError } from './errors.ts'
import { RateLimit } from './rate-limit.ts'

export interface PasswordTry {
  email: string
  password: string
  /** Undefined for users that do not exist: the answer takes as long. */
  hash: string | undefined
  /** Of the client. */
  address: string
}

const REMEMBERED_MAX = 10_000
const DERIVATIONS_MAX = 32
/** Guesses, which are different passwords: a program that has the former one does not shut out who has the new one. */
const GUESSES = { perMinute: 10, burst: 10 }

/**
 * Whether a password is a user's. scrypt takes tens of milliseconds: each password is derived once, and what came of
 * it remembered, keyed so that it cannot be read. Only so many may be guessed for one user from one network.
 */
export class PasswordCheck {
  readonly #key = randomBytes(32)
  readonly #right = new Set<string>()
  readonly #wrong = new Set<string>()
  readonly #running = new Map<string, Promise<boolean>>()
  readonly #guesses: RateLimit<string>
  readonly #metrics: Metrics
  #decoyHash: Promise<string> | undefined

  constructor({ clock, metrics }: { clock: Clock; metrics: Metrics }) {
    this.#guesses = new RateLimit(GUESSES, clock)
    this.#metrics = metrics
  }

  /** Throws when too many were guessed, or too many are being checked. */
  async isRight(guess: PasswordTry): Promise<boolean> {
    this.#decoyHash ??= hashPassword(randomBytes(16).toString('hex'))
    const hash = guess.hash ?? (await this.#decoyHash)
    // With the e-mail address: else the time would tell who exists.
    const text = `${hash}\0${guess.email}\0${guess.password}`
    const key = createHmac('sha256', this.#key).update(text).digest('base64')
    if (this.#wrong.has(key)) return false
    const running = this.#running.get(key)
    if (running !== undefined) return running
    const guesser = `${networkOf(guess.address)} ${guess.email}`
    // Before what is remembered: else whoever guesses would learn of a right one all the same.
    const { allowed, retryAfterS } = this.#guesses.look(guesser)
    if (!allowed) {
      this.#metrics.add('weir_api_rate_limited_total')
      throw new RateLimitedError(
        `too many wrong passwords for this user: try again in ${retryAfterS} s`,
        retryAfterS,
      )
    }
    if (this.#right.has(key)) return true
    if (this.#running.size >= DERIVATIONS_MAX) {
      throw new WeirError('WEIR_STORE_UNAVAILABLE', 'too many passwords are being checked')
    }
    this.#guesses.take(guesser)
    return this.#derive(guess, { hash, key, guesser })
  }

  #derive(
    guess: PasswordTry,
    { hash, key, guesser }: { hash: string; key: string; guesser: string },
  ): Promise<boolean> {
    const running = passwordMatches(guess.password, hash)
      .then((matches) => {
        const isRight = matches && guess.hash !== undefined
        if (isRight) this.#guesses.forget(guesser)
        remember(isRight ? this.#right : this.#wrong, key)
        return isRight
      })
      .finally(() => this.#running.delete(key))
    this.#running.set(key, running)
    return running
  }
}

function remember(keys: Set<string>, key: string): void {
  if (keys.size >= REMEMBERED_MAX) keys.clear()
  keys.add(key)
}

/** An IPv4 address, or the 64 bits that one IPv6 host has to itself. */
function networkOf(address: string): string {
  const bytes = parseAddress(address)
  if (bytes === undefined || bytes.length === 4 || address.startsWith('::ffff:')) return address
  return formatAddress(bytes.fill(0, 8))
}
