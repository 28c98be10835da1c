/**
 * `import { … } from 'weir/record'`: flow log records in Node, one by one, as streams, and as gzip objects.
 * docs/library.md shows how.
 */

export { ROW, ROW_EGRESS, ROW_IPV6, ROW_REJECT, ROW_SIZE, ROW_SKIPPED } from '../model/flow-rows.ts'
export { type CodecName, createCodec } from './codecs.ts'
export { type GzipCodec, MEMBER_ROWS_MAX, ZlibCodec } from './gzip-codec.ts'
export {
  FIELD_NAMES,
  type FlowLogRecord,
  formatRecord,
  isFault,
  type ParseOptions,
  parseRecord,
  type RecordFault,
  recordToRow,
  rowToRecord,
} from './record.ts'
export { readObject, writeObject } from './record-object.ts'
export { type RecordLine, readRecords } from './record-stream.ts'
export { encodeText, RECORD_SIZE_MAX, RecordContext } from './record-text.ts'
