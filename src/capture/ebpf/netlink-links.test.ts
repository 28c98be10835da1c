import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findLinkMessages } from './netlink-links.ts'

const NEW_LINK = 16
const DELETE_LINK = 17

function message(
  type: number,
  ifindex: number,
  name: string,
  options: { mac?: number[]; family?: number } = {},
): Buffer {
  const attribute = (kind: number, value: Buffer) => {
    const head = Buffer.alloc(4)
    head.writeUInt16LE(4 + value.length, 0)
    head.writeUInt16LE(kind, 2)
    return Buffer.concat([head, value, Buffer.alloc(-value.length & 3)])
  }
  const link = Buffer.alloc(16)
  link[0] = options.family ?? 0
  link.writeInt32LE(ifindex, 4)
  const mac = options.mac === undefined ? [] : [attribute(1, Buffer.from(options.mac))]
  const body = Buffer.concat([link, attribute(3, Buffer.from(`${name}\0`)), ...mac])
  const header = Buffer.alloc(16)
  header.writeUInt32LE(16 + body.length, 0)
  header.writeUInt16LE(type, 4)
  return Buffer.concat([header, body])
}

test('a datagram tells of devices that appear and vanish', () => {
  const datagram = Buffer.concat([
    message(NEW_LINK, 7, 'tap0', { mac: [0xfe, 0x54, 0, 1, 2, 0xab] }),
    message(DELETE_LINK, 8, 'wg0'),
  ])

  assert.deepEqual(findLinkMessages(datagram, datagram.length), [
    { isGone: false, ifindex: 7, name: 'tap0', mac: 'fe:54:00:01:02:ab' },
    { isGone: true, ifindex: 8, name: 'wg0', mac: '' },
  ])
})

test('a port that leaves its bridge has not gone', () => {
  const datagram = message(DELETE_LINK, 7, 'tap0', { family: 7 })

  assert.deepEqual(findLinkMessages(datagram, datagram.length), [])
})

test('a datagram cut anywhere gives no more than its whole messages', () => {
  const one = message(NEW_LINK, 7, 'tap0')
  const datagram = Buffer.concat([one, message(NEW_LINK, 8, 'tap1')])

  for (let size = 0; size < datagram.length; size++) {
    const found = findLinkMessages(datagram.subarray(0, size), size)
    assert.deepEqual(
      found.map((it) => it.ifindex),
      size >= one.length ? [7] : [],
    )
  }
})
