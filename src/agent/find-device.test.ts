import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findDevice } from './find-device.ts'

const devices = [
  { name: 'eth0', ifindex: 2, mac: '02:00:00:00:00:01' },
  { name: 'eth0', ifindex: 2, mac: '02:00:00:00:00:02', netns: 'gw' },
  { name: 'vnet3', ifindex: 9, mac: 'fe:54:00:aa:bb:cc' },
  { name: 'a', ifindex: 10, mac: '02:00:00:00:00:07' },
  { name: 'b', ifindex: 11, mac: '02:00:00:00:00:07' },
]

test('a device is found by its name in its own namespace only', () => {
  assert.equal(findDevice({ device: 'eth0', side: 'own' }, devices), devices[0])
  assert.equal(findDevice({ device: 'eth0', netns: 'gw', side: 'own' }, devices), devices[1])
  assert.deepEqual(findDevice({ device: 'eth0', netns: 'x', side: 'own' }, devices), {
    waitingFor: 'no device eth0 in network namespace x',
  })
})

test("a guest's tap is found by the guest's MAC address with first byte fe", () => {
  assert.equal(findDevice({ mac: '52:54:00:AA:BB:CC', side: 'guest' }, devices), devices[2])
})

test("an interface of the machine is not found by another device's fe address", () => {
  assert.ok('waitingFor' in findDevice({ mac: '52:54:00:aa:bb:cc', side: 'own' }, devices))
})

test('a MAC address that two devices have is no binding', () => {
  const answer = findDevice({ mac: '02:00:00:00:00:07', side: 'own' }, devices)

  assert.match('waitingFor' in answer ? answer.waitingFor : '', /2 devices have MAC address .*: a, b/)
})
