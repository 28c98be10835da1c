import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import * as layout from '../../src/capture/ebpf/layout.ts'
import { ensureObject } from '../support/bpf-object.ts'
import { readStructs } from '../support/btf.ts'
import { OBJECT_PATH } from '../support/kernel-world.ts'

before(ensureObject)

const STRUCTS = [
  { name: 'flow', size: layout.FLOW_SIZE, offsets: layout.FLOW },
  { name: 'point_counters', size: layout.COUNTERS_SIZE, offsets: layout.COUNTERS },
  { name: 'skipped', size: layout.SKIPPED_SIZE, offsets: layout.SKIPPED },
  { name: 'slot', size: layout.SLOT_SIZE, offsets: layout.SLOT },
  { name: 'state', size: layout.STATE_SIZE, offsets: layout.STATE },
  { name: 'command', size: layout.COMMAND_SIZE, offsets: layout.COMMAND },
  { name: 'key6', size: layout.KEY6_SIZE, offsets: {} },
]

for (const { name, size, offsets } of STRUCTS) {
  test(`struct ${name} is in the compiled programs as TypeScript has it`, () => {
    const struct = readStructs(OBJECT_PATH).get(name)

    assert.equal(struct?.size, size)
    for (const [field, offset] of Object.entries(offsets)) {
      const member = field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
      assert.equal(struct.members[member], offset, `${name}.${member}`)
    }
  })
}
