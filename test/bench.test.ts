import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { withoutRoot } from './support/network.ts'

// Small sizes, so that no benchmark rots. What a benchmark measures is not judged here, but that it finds itself right.
const BENCHMARKS = ['metering', 'record-codecs', 'convert-peers', 'api', 'explore', 'delivery']
const IN_THE_KERNEL = ['kernel-hook', 'kernel-live', 'kernel-drain', 'kernel-attach', 'seal', 'forwarding']

for (const name of [...BENCHMARKS, ...IN_THE_KERNEL]) {
  const file = `bench/${name}.bench.ts`
  test(`${file} runs and reports`, { skip: IN_THE_KERNEL.includes(name) && withoutRoot }, () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [file], {
      encoding: 'utf8',
      env: { ...process.env, BENCH: 'smoke' },
    })

    assert.equal(status, 0, stderr)
    const reports = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { name: string })
    assert.ok(reports.length > 0 && reports.every((it) => it.name !== ''))
  })
}
