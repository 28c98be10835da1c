import { type GzipCodec, ZlibCodec } from './gzip-codec.ts'

export function createCodec(_name: 'fused' | 'zlib', level = 1): GzipCodec {
  return new ZlibCodec({ level })
}
