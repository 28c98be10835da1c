import { FusedCodec } from './fused-codec.ts'
import { type GzipCodec, ZlibCodec } from './gzip-codec.ts'

export type CodecName = 'fused' | 'zlib'

/** The codec of this name; `level` is zlib's. Costs memory: make one per thread and keep it. */
export function createCodec(name: CodecName = 'fused', level = 1): GzipCodec {
  return name === 'fused' ? new FusedCodec() : new ZlibCodec({ level })
}
