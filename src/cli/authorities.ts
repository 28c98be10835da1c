import { readFileSync } from 'node:fs'
import path from 'node:path'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { WeirError } from '../model/errors.ts'

/** What every command that speaks TLS to servers takes. */
export const CA_OPTION = { 'ca-file': { type: 'string' } } as const

/**
 * Trusts further authorities in whatever this process connects to from now on: `--ca-file`, else `WEIR_CA_FILE`, else
 * what `kept` says. Returns the file, as a path that is good in every directory; undefined without one.
 */
export function trustAuthorities(
  values: { 'ca-file'?: string | undefined },
  env: Record<string, string | undefined>,
  kept?: string,
): string | undefined {
  const named = values['ca-file'] ?? (env['WEIR_CA_FILE'] || kept)
  if (named === undefined) return undefined
  const file = path.resolve(named)
  try {
    const certificates = readFileSync(file, 'utf8')
    if (!certificates.includes('-----BEGIN CERTIFICATE-----')) throw new Error('it has no certificate')
    setDefaultCACertificates([...getCACertificates('default'), certificates])
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    throw new WeirError('WEIR_CONFIG_INVALID', `--ca-file ${file} cannot be used: ${code ?? message}`, {
      cause,
    })
  }
  return file
}
