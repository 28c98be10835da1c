import { assertSecure, type OpenIdOptions } from '../api/open-id.ts'
import { WeirError } from '../model/errors.ts'

export const OPENID_OPTIONS = {
  'oidc-issuer': { type: 'string' },
  'oidc-audience': { type: 'string' },
  'oidc-user-claim': { type: 'string' },
  'oidc-contract-claim': { type: 'string' },
} as const

export const OPENID_HELP = `  --oidc-issuer URL    also take the bearer tokens (JWT) of this OpenID issuer
  --oidc-audience NAME what its tokens must be for
  --oidc-user-claim C  claim with the e-mail address of a user who is known here (default email)
  --oidc-contract-claim C  claim with the contract's number (default: the user's first, or X-Contract-Number)`

type Values = Partial<Record<keyof typeof OPENID_OPTIONS, string | undefined>>

export function parseOpenId(values: Values): OpenIdOptions | undefined {
  const { 'oidc-issuer': issuer, 'oidc-audience': audience } = values
  const { 'oidc-user-claim': userClaim, 'oidc-contract-claim': contractClaim } = values
  if (issuer === undefined) {
    if (audience === undefined && userClaim === undefined && contractClaim === undefined) return undefined
    throw new WeirError('WEIR_USAGE', '--oidc-issuer is missing')
  }
  if (audience === undefined) throw new WeirError('WEIR_USAGE', '--oidc-audience is missing')
  if (!URL.canParse(issuer)) throw new WeirError('WEIR_USAGE', `--oidc-issuer is not a URL: ${issuer}`)
  assertSecure(new URL(issuer))
  return {
    issuer,
    audience,
    ...(userClaim === undefined ? {} : { userClaim }),
    ...(contractClaim === undefined ? {} : { contractClaim }),
  }
}
