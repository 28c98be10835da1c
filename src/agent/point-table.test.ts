import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import type { Assignment } from '../model/agent-protocol.ts'
import { PointTable } from './point-table.ts'

test('a table read from disk knows what was taken and retired', (t) => {
  const file = path.join(directory(t), 'points.json')
  const before = openTable(file)
  const [first, second] = before.take([assignment('a'), assignment('b')])
  before.retire([first!.point], 1_700_000_000)

  const after = openTable(file)

  assert.equal(after.live('a'), undefined)
  assert.deepEqual(after.live('b'), second)
  assert.equal(after.all().length, 2)
})

test('a number is not taken again while a window may mention it', (t) => {
  const table = openTable(path.join(directory(t), 'points.json'))
  const [first] = table.take([assignment('a')])
  table.retire([first!.point], 1000)

  table.forgetRetiredBefore(1000) // A window that began at 1000 may have seen the point.
  assert.equal(table.all().length, 1)
  table.forgetRetiredBefore(1001)
  assert.equal(table.all().length, 0)
  assert.notEqual(table.take([assignment('c')])[0]!.point, first!.point)
})

test('a damaged table is told apart from an empty one', (t) => {
  const file = path.join(directory(t), 'points.json')
  writeFileSync(file, '{"version":1,"last"')

  assert.throws(() => openTable(file), { code: 'WEIR_CONFIG_INVALID' })
})

function openTable(file: string): PointTable {
  const table = new PointTable({ file })
  table.load()
  return table
}

function directory(t: { after(callback: () => void): void }): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'weir-points-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return folder
}

function assignment(flowLogId: string): Assignment {
  return {
    flowLogId,
    interfaceId: `nic-of-${flowLogId}`,
    contractNumber: 12_345_678,
    action: 'ALL',
    direction: 'BIDIRECTIONAL',
    bucket: 'flowlogs',
    prefix: '',
    binding: { device: 'eth0', side: 'own' },
  }
}
