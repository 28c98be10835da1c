import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose'
import { WeirError } from '../model/errors.ts'

export interface OpenIdOptions {
  /** As tokens name it in `iss`; `/.well-known/openid-configuration` below it says where its keys are. */
  issuer: string
  /** Tokens for anybody else's API are none for us. */
  audience: string
  /** The claim that has the user's e-mail address. */
  userClaim?: string
  /** The claim that has the number of the contract; without one it is chosen as with a password. */
  contractClaim?: string
  /** Least time between two fetches of the keys: a token with an unknown key asks for one. */
  keyCooldownMs?: number
}

/** Who a token is for, as its issuer says. */
export interface Subject {
  email: string
  contractNumber: number | undefined
}

// Signatures of a private key only: a shared secret would let whoever checks tokens make them, too.
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']
const CLOCK_TOLERANCE_S = 30
const FETCH_TIMEOUT_MS = 5_000
const KEYS_AGE_MS_MAX = 600_000
const KEY_COOLDOWN_MS = 30_000

/** Checks the tokens of one OpenID issuer. Its keys are fetched when they are first needed, and kept a while. */
export class OpenIdIssuer {
  readonly #options: OpenIdOptions
  #keys: Promise<JWTVerifyGetKey> | undefined

  constructor(options: OpenIdOptions) {
    this.#options = options
  }

  /** Undefined when the token is none of this issuer's for us: forged, outdated, or of somebody else. */
  async subject(token: string): Promise<Subject | undefined> {
    const { issuer, audience } = this.#options
    const keys = await this.#discovered()
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer,
        audience,
        algorithms: ALGORITHMS,
        clockTolerance: CLOCK_TOLERANCE_S,
        requiredClaims: ['exp', this.#userClaim],
      })
      return this.#subjectOf(payload)
    } catch (cause) {
      if (isRefusal(cause)) return undefined
      throw unavailable(issuer, cause)
    }
  }

  get #userClaim(): string {
    return this.#options.userClaim ?? 'email'
  }

  #subjectOf(payload: JWTPayload): Subject | undefined {
    const email = payload[this.#userClaim]
    // Whoever may write any address into his profile could else become anybody. Some issuers write 'false'.
    if (typeof email !== 'string' || String(payload['email_verified']) === 'false') return undefined
    const { contractClaim } = this.#options
    if (contractClaim === undefined) return { email, contractNumber: undefined }
    const contractNumber = Number(payload[contractClaim])
    return Number.isSafeInteger(contractNumber) && contractNumber > 0 ? { email, contractNumber } : undefined
  }

  /** An issuer that is away when we start may come later; one that was there is not asked again. */
  #discovered(): Promise<JWTVerifyGetKey> {
    const cooldownDuration = this.#options.keyCooldownMs ?? KEY_COOLDOWN_MS
    this.#keys ??= discover(this.#options.issuer).then((url) =>
      createRemoteJWKSet(url, {
        cacheMaxAge: KEYS_AGE_MS_MAX,
        timeoutDuration: FETCH_TIMEOUT_MS,
        cooldownDuration,
      }),
    )
    this.#keys.catch(() => {
      this.#keys = undefined
    })
    return this.#keys
  }
}

/** RFC 8414 and OpenID Connect Discovery, section 4: the document must be of the issuer that was asked. */
async function discover(issuer: string): Promise<URL> {
  try {
    const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
    const answer = await fetch(url, { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS), redirect: 'error' })
    const found = (await answer.json()) as { issuer?: unknown; jwks_uri?: unknown }
    if (found.issuer !== issuer) throw new Error(`it says that it is '${String(found.issuer)}'`)
    const keys = new URL(String(found.jwks_uri))
    assertSecure(keys)
    return keys
  } catch (cause) {
    throw unavailable(issuer, cause)
  }
}

/** Over plain HTTP anybody on the way could put his own keys in. */
export function assertSecure(url: URL): void {
  const isLocal = ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname)
  if (url.protocol === 'https:' || (url.protocol === 'http:' && isLocal)) return
  throw new WeirError('WEIR_CONFIG_INVALID', `${url.origin} of the OpenID issuer is not https`)
}

/** About the token, not about the issuer's server. */
function isRefusal(error: unknown): boolean {
  if (!(error instanceof errors.JOSEError)) return false
  return !(error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid || isBare(error))
}

/** The library's error for a key set that cannot be fetched has no class of its own. */
function isBare(error: errors.JOSEError): boolean {
  return error.code === 'ERR_JOSE_GENERIC'
}

function unavailable(issuer: string, cause: unknown): WeirError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new WeirError('WEIR_ISSUER_UNAVAILABLE', `the keys of ${issuer} cannot be had: ${reason}`, { cause })
}
