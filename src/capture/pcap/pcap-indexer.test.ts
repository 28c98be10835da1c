import assert from 'node:assert/strict'
import { test } from 'node:test'
import { random } from '../../stdx/prng.ts'
import { wasmMemory } from '../../stdx/wasm.ts'
import { BATCH_WORDS, type CaptureCounters, type PacketBatch } from './packet-batch.ts'
import { PcapIndexer } from './pcap-indexer.ts'

const MAGIC = 0xa1b2c3d4
const SIZE = 65_536
const COUNT_MAX = 64

interface Found {
  words: number[][]
  counters: CaptureCounters
  stoppedAt: number
  fault: string | undefined
}

test('packets are found alike in plain memory and in that of the metering loop, whatever their headers claim', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const isLittle = seed % 2 === 0
    const bytes = mutatedCapture(seed, isLittle)
    const buffer = wasmMemory(2 * SIZE).buffer

    const fast = find(bytes, isLittle, new Uint8Array(buffer, 64, SIZE), new Uint32Array(buffer, SIZE + 4096))
    const plain = find(bytes, isLittle, new Uint8Array(SIZE), new Uint32Array(COUNT_MAX * BATCH_WORDS))

    assert.deepEqual(fast, plain, `seed ${seed}`)
    assert.ok(plain.words.length > 0, `seed ${seed}`)
  }
})

/** Whole packets, and sometimes one whose length is damaged or that the end cuts. */
function mutatedCapture(seed: number, isLittle: boolean): Buffer {
  const next = random(seed)
  const bytes = Buffer.alloc(SIZE)
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  let at = 0
  for (let packet = 0; at + 256 < SIZE; packet++) {
    const captured = next() % 100
    const isDamaged = packet > 20 && next() % 50 === 0
    view.setUint32(at, next(), isLittle)
    view.setUint32(at + 8, isDamaged ? next() : captured, isLittle)
    view.setUint32(at + 12, captured + (next() & 1) * (next() % 1500), isLittle)
    at += 16 + captured
    if (isDamaged) break
  }
  return bytes.subarray(0, at + (next() % 40))
}

function find(bytes: Buffer, isLittle: boolean, memory: Uint8Array, words: Uint32Array): Found {
  memory.set(bytes)
  const header = new DataView(memory.buffer, memory.byteOffset + bytes.length, 24)
  header.setUint32(0, MAGIC, isLittle)
  header.setUint32(20, 1, isLittle)
  const counters: CaptureCounters = { cutPackets: 0, unsupported: new Map(), undirected: 0 }
  const indexer = new PcapIndexer(header, counters)
  const view = new DataView(memory.buffer, memory.byteOffset, memory.length)
  const found: Found = { words: [], counters, stoppedAt: 0, fault: undefined }
  for (;;) {
    const batch: PacketBatch = { words, count: 0, countMax: COUNT_MAX, link: 0 }
    found.stoppedAt = indexer.index(view, found.stoppedAt, bytes.length, batch)
    for (let word = 0; word < batch.count * BATCH_WORDS; word += BATCH_WORDS)
      found.words.push([...words.subarray(word, word + BATCH_WORDS)])
    if (batch.count < COUNT_MAX) break
  }
  return { ...found, fault: indexer.fault }
}
