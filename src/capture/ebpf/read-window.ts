import { WeirError } from '../../model/errors.ts'
import { lookup, openMapById, openPin, readAll } from './ffi/libbpf.ts'
import { COUNTERS, COUNTERS_SIZE, FLOW_SIZE, KEY4_SIZE, KEY6_SIZE, SKIPPED_SIZE } from './layout.ts'
import { layoutPath, type MapName } from './pins.ts'
import { type OnBatch, RowWriter } from './row-writer.ts'
import { readState } from './state.ts'

const BATCH_SIZE = 8192

/**
 * Reads one closed window out of the kernel, as batches of rows (model/flow-rows.ts) and the point of each; `rows` and
 * `points` are only valid until `onBatch` returns. Opens the pins itself, so it can run in any thread. Changes nothing:
 * reading again gives the same rows until the window is cleared.
 */
export function readWindow(
  pinPath: string,
  generation: bigint,
  options: { rowsMax: number },
  onBatch: OnBatch,
): void {
  const directory = layoutPath(pinPath)
  using stateMap = openPin(`${directory}/state`)
  const { slots, tickNs } = readState(stateMap.fd)
  const slot = slots.find((it) => it.generation === generation)
  if (slot === undefined) {
    throw new WeirError('WEIR_NOT_FOUND', `the kernel has no window of generation ${generation}`)
  }
  const writer = new RowWriter(slot, tickNs, options.rowsMax, onBatch)
  readFlows({ directory, name: 'windows4', slot: slot.slot, keySize: KEY4_SIZE }, writer)
  readFlows({ directory, name: 'windows6', slot: slot.slot, keySize: KEY6_SIZE }, writer)
  readSkipped(directory, slot.slot, writer)
  writer.deliver()
}

function readFlows(
  window: { directory: string; name: MapName; slot: number; keySize: number },
  writer: RowWriter,
): void {
  using outer = openPin(`${window.directory}/${window.name}`)
  const key = Buffer.alloc(4)
  const id = Buffer.alloc(4)
  key.writeUInt32LE(window.slot)
  if (!lookup(outer.fd, key, id)) return
  using inner = openMapById(id.readUInt32LE())
  const shape = { fd: inner.fd, keySize: window.keySize, valueSize: FLOW_SIZE, batchSize: BATCH_SIZE }
  readAll(shape, (keys, values, count) => writer.flows(keys, window.keySize, values, count))
}

function readSkipped(directory: string, slot: number, writer: RowWriter): void {
  using counters = openPin(`${directory}/counters`)
  const shape = { fd: counters.fd, keySize: 4, valueSize: COUNTERS_SIZE, batchSize: BATCH_SIZE }
  readAll(shape, (keys, values, count) => {
    for (let i = 0; i < count; i++) {
      const key = keys.readUInt32LE(i * 4)
      if (key >>> 16 !== slot) continue
      for (let direction = 0; direction < 2; direction++) {
        writer.skipped(
          key & 0xffff,
          direction,
          values,
          i * COUNTERS_SIZE + COUNTERS.skipped + direction * SKIPPED_SIZE,
        )
      }
    }
  })
}
