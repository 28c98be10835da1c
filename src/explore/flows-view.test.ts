import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type PackSelection, sumsSelect } from './flows-view.ts'

const RANGE = { sinceS: 1_000, untilS: 2_000 }

const selection: PackSelection = {
  packs: [
    {
      rows: 'inside',
      sums: { verdicts: 'inside.verdicts', ports: 'inside.ports', addresses: 'inside.addresses' },
      firstS: 1_000,
      lastS: 1_999,
    },
    { rows: 'early', sums: { ports: 'early.ports' }, firstS: 999, lastS: 1_500 },
    { rows: 'late', sums: { ports: 'late.ports' }, firstS: 1_500, lastS: 2_000 },
    { rows: 'without', sums: {}, firstS: 1_200, lastS: 1_300 },
  ],
  objectsGone: [],
}

/** What is read for a question by these columns. */
function filesRead(columns: string[], range = RANGE): string[] | undefined {
  return sumsSelect(selection, range, columns)
    ?.match(/(?<=')[a-z.]+(?=')/g)
    ?.sort()
}

test('packs that a range covers are read as sums, those at its edges as rows', () => {
  assert.deepEqual(filesRead(['protocol', 'dstport', 'action']), ['early', 'inside.ports', 'late', 'without'])
  assert.deepEqual(filesRead(['srcaddr']), ['early', 'inside.addresses', 'late', 'without'])
  assert.deepEqual(filesRead(['action']), ['early', 'inside.verdicts', 'late', 'without'])
})

test('columns that no sums have are asked of rows', () => {
  for (const column of ['srcport', 'bytes', 'start_s', 'end_s', 'object'])
    assert.equal(filesRead([column]), undefined)
  assert.equal(filesRead(['srcaddr', 'dstport']), undefined)
  assert.equal(filesRead(['action'], { sinceS: 1_001, untilS: 1_999 }), undefined)
})

test('who may read some interfaces only gets no sums of others', () => {
  const sql = sumsSelect({ ...selection, interfaceIds: ['mine'] }, RANGE, ['action'])!

  assert.equal(sql.split("interface_id IN ('', 'mine')").length - 1, sql.split('read_parquet').length - 1)
})
