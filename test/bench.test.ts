import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'

// Small sizes, so that no benchmark rots. What a benchmark measures is not judged here, but that it finds itself right.
const BENCHMARKS = ['metering', 'record-codecs', 'convert-peers'] // Those that need no rights and no server.

for (const name of BENCHMARKS) {
  const file = `bench/${name}.bench.ts`
  test(`${file} runs and reports`, () => {
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
