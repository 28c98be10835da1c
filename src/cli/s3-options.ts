import { readFileSync, statSync } from 'node:fs'
import type { S3Options } from '../buckets/s3/s3-store.ts'
import { WeirError } from '../model/errors.ts'

export const S3_OPTIONS = {
  's3-endpoint': { type: 'string' },
  's3-region': { type: 'string', default: 'us-east-1' },
  's3-addressing': { type: 'string', default: 'path' },
  's3-credentials': { type: 'string' },
  's3-ca': { type: 'string' },
  's3-no-conditional-writes': { type: 'boolean', default: false },
} as const

export const S3_HELP = `  --s3-endpoint URL    deliver to this object store instead of the data directory's buckets
  --s3-region REGION   as the store calls it (default us-east-1)
  --s3-addressing WHERE  the bucket's name stands in the 'path' (default) or before the host: 'virtual-host'
  --s3-credentials FILE  the technical user's keys: JSON with accessKeyId and secretAccessKey, readable for its
                       owner alone; without it WEIR_S3_ACCESS_KEY_ID and WEIR_S3_SECRET_ACCESS_KEY
  --s3-ca FILE         authorities to trust for it, PEM
  --s3-no-conditional-writes  for a store that does not know If-None-Match on PUT`

export interface S3Values {
  's3-endpoint'?: string | undefined
  's3-region': string
  's3-addressing': string
  's3-credentials'?: string | undefined
  's3-ca'?: string | undefined
  's3-no-conditional-writes': boolean
}

/** Undefined without an endpoint: the embedded buckets it is. Keys are never taken from arguments, which all may see. */
export function parseS3(values: S3Values, env: Record<string, string | undefined>): S3Options | undefined {
  const endpoint = values['s3-endpoint']
  if (endpoint === undefined) return undefined
  if (!/^https?:\/\/[^/?#]+/.test(endpoint) || !URL.canParse(endpoint)) {
    throw new WeirError(
      'WEIR_USAGE',
      `--s3-endpoint '${endpoint}' is not a URL such as https://s3.example.org`,
    )
  }
  const addressing = values['s3-addressing']
  if (addressing !== 'path' && addressing !== 'virtual-host') {
    throw new WeirError('WEIR_USAGE', `--s3-addressing is 'path' or 'virtual-host', not '${addressing}'`)
  }
  const caFile = values['s3-ca']
  return {
    endpoint,
    region: values['s3-region'],
    addressing,
    credentials: values['s3-credentials'] ? credentialsFrom(values['s3-credentials']) : credentialsOf(env),
    conditionalWrites: !values['s3-no-conditional-writes'],
    ...(caFile === undefined ? {} : { ca: read(caFile) }),
  }
}

function credentialsFrom(file: string): S3Options['credentials'] {
  const text = read(file)
  if ((statSync(file).mode & 0o077) !== 0) {
    throw new WeirError('WEIR_CONFIG_INVALID', `${file} can be read by others than its owner: chmod 600 it`)
  }
  let found: Partial<Record<'accessKeyId' | 'secretAccessKey', unknown>>
  try {
    found = JSON.parse(text) as typeof found
  } catch {
    // Without the cause: a parser's message quotes what it read.
    throw new WeirError('WEIR_CONFIG_INVALID', `${file} is not JSON`)
  }
  const { accessKeyId, secretAccessKey } = found
  if (typeof accessKeyId === 'string' && typeof secretAccessKey === 'string')
    return { accessKeyId, secretAccessKey }
  throw new WeirError('WEIR_CONFIG_INVALID', `${file} lacks accessKeyId or secretAccessKey`)
}

function credentialsOf(env: Record<string, string | undefined>): S3Options['credentials'] {
  const accessKeyId = env['WEIR_S3_ACCESS_KEY_ID']
  const secretAccessKey = env['WEIR_S3_SECRET_ACCESS_KEY']
  if (accessKeyId && secretAccessKey) return { accessKeyId, secretAccessKey }
  throw new WeirError(
    'WEIR_CONFIG_INVALID',
    'the object store needs keys: --s3-credentials FILE, or WEIR_S3_ACCESS_KEY_ID and WEIR_S3_SECRET_ACCESS_KEY',
  )
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new WeirError('WEIR_CONFIG_INVALID', `cannot read ${file}`, { cause })
  }
}
