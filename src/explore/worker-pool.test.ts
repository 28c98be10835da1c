import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import type { Job } from './jobs.ts'
import type { SettledQuestion } from './question.ts'
import { WorkerPool, type WorkerPoolOptions } from './worker-pool.ts'

const LINE =
  '2 12345678 7ffd6527-ce80-4e57-a949-f9a45824ebe2 10.0.0.1 10.0.0.2 50000 443 6 1 60 1000 1001 ACCEPT OK\n'

const directory = await mkdtemp(path.join(tmpdir(), 'weir-pool-'))
after(() => rm(directory, { recursive: true, force: true }))
await writeFile(path.join(directory, 'one.gz'), gzipSync(LINE.repeat(2_000)))

function makePool(
  options: Partial<WorkerPoolOptions> & { memoryMaxMib?: number } = {},
): WorkerPool & AsyncDisposable {
  const { memoryMaxMib = 256, ...rest } = options
  const spillDirectory = path.join(directory, 'spill')
  const database = { threads: 1, memoryMaxMib, spillDirectory, spillMaxMib: 1, directories: [directory] }
  const pool = new WorkerPool({ workers: 1, timeLimitMs: 30_000, queueMax: 2, ...rest, database })
  return Object.assign(pool, { [Symbol.asyncDispose]: () => pool.stop() })
}

const packPath = path.join(directory, 'one.parquet')
const pack = {
  kind: 'pack',
  packPath,
  inputs: [{ object: 'b/one', windowS: 1000, path: path.join(directory, 'one.gz') }],
} as const

function askFor(filter: string, kind: 'summary' | 'sankey' = 'summary'): Extract<Job, { kind: 'ask' }> {
  const range = { sinceS: 0, untilS: 5_000 }
  const question = { kind, since: '0', filter, metric: 'bytes' } as SettledQuestion['question']
  const settled: SettledQuestion = { question, range, readRange: range, nowMs: 5_000_000 }
  return {
    kind: 'ask',
    inquest: {
      settled,
      selection: { packs: [{ rows: packPath, sums: {}, firstS: 0, lastS: 0 }], objectsGone: [] },
      interfaces: [],
    },
  }
}

test('a worker packs objects and answers questions', async () => {
  await using pool = makePool()

  const written = await pool.run<'pack'>({ ...pack, inputs: [...pack.inputs] })
  const finding = await pool.run<'ask'>(askFor('tcp/443'))

  assert.deepEqual(written.objects, [{ object: 'b/one', records: 2_000, linesFailed: 0 }])
  assert.equal(finding.totals.flows, 2_000)
})

test('a worker keeps out of other directories', async () => {
  await using pool = makePool()
  const outside = path.join(tmpdir(), `weir-outside-${process.pid}.parquet`)
  const job = { kind: 'merge', packPath: outside, from: [packPath] } as const

  await assert.rejects(pool.run<'merge'>({ ...job, from: [...job.from] }), {
    code: 'WEIR_QUERY_FAILED',
    message: /[Pp]ermission|disabled/,
  })
})

test('an error of a question has its code and words, and the worker lives on', async () => {
  await using pool = makePool()

  await assert.rejects(pool.run<'ask'>(askFor('interface = nowhere')), {
    code: 'WEIR_INVALID',
    message: /no interface is called 'nowhere'/,
  })
  assert.equal((await pool.run<'ask'>(askFor(''))).totals.flows, 2_000)
})

test('a question that takes too long is ended, and the next one is answered', async () => {
  await using slow = makePool({ timeLimitMs: 1 })

  await assert.rejects(slow.run<'ask'>(askFor('', 'sankey')), {
    code: 'WEIR_QUERY_LIMIT',
    message: /longer than/,
  })
  await assert.rejects(slow.run<'ask'>(askFor('', 'sankey')), { code: 'WEIR_QUERY_LIMIT' })
})

test('an asker who leaves frees the worker, waiting or at work', async () => {
  await using pool = makePool()
  const leave = new AbortController()

  const left = ['sankey', 'summary'].map((kind) =>
    assert.rejects(pool.run<'ask'>(askFor('', kind as 'sankey'), leave.signal), { name: 'AbortError' }),
  )
  const stays = pool.run<'ask'>(askFor(''))
  setImmediate(() => leave.abort())
  await Promise.all(left)

  assert.equal((await stays).totals.flows, 2_000)
})

test('more questions than can wait are refused at once', async () => {
  await using pool = makePool({ queueMax: 2 })

  const outcomes = await Promise.allSettled([1, 2, 3, 4].map(() => pool.run<'ask'>(askFor(''))))

  const refused = outcomes.filter((it) => it.status === 'rejected')
  assert.equal(refused.length, 1) // One at work, two wait.
  for (const { reason } of refused) assert.equal(reason.code, 'WEIR_QUERY_BUSY')
})

test('stopping ends what waits and what is at work', async () => {
  const pool = makePool()
  const asked = [1, 2].map(() =>
    assert.rejects(pool.run<'ask'>(askFor('', 'sankey')), { code: 'WEIR_QUERY_BUSY' }),
  )

  await new Promise(setImmediate)
  await pool.stop()

  await Promise.all(asked)
})
