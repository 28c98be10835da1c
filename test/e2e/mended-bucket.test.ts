import assert from 'node:assert/strict'
import { readdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { eventually } from '../support/eventually.ts'
import { TestNetwork, withoutRoot } from '../support/network.ts'
import { WeirProcess } from '../support/weir-process.ts'

test('what waits for a bucket that was away arrives at once when somebody says that it is back', {
  skip: withoutRoot,
}, async () => {
  await using network = new TestNetwork()
  await using weir = new WeirProcess()
  const [host, guest] = network.hostAndGuest('tap0', '10.6.4')
  await weir.start(['--window', '2'])
  weir.cli('bucket', 'create', 'mended')
  weir.cli('nic', 'add', '--name', 'vm', '--device', 'tap0', '--netns', host, '--side', 'guest')
  const flowLog = weir.cli('flowlog', 'create', '--nic', 'vm', '--bucket', 'mended')
  const shown = (): string => weir.cli('flowlog', 'get', flowLog)

  const folder = path.join(weir.dataDir, 'buckets', 'mended')
  rmSync(folder, { recursive: true })
  network.run(guest, 'ping', '-qc', '3', '-i', '0.05', '10.6.4.1')
  await eventually('the failure is shown', () => /delivery fails/.test(shown()))
  const remedy = shown()
  weir.cli('bucket', 'create', 'mended')
  weir.cli('bucket', 'retry', 'mended') // Else it would be tried again after 20 s.
  await eventually('the object has arrived', () => readdirSync(folder).length > 0, 15_000)
  assert.equal(await weir.stop(), 0)

  assert.match(remedy, /weir bucket retry mended/)
  assert.deepEqual(weir.totals('mended', '').get('10.6.4.2 10.6.4.1 0 0 1 ACCEPT'), {
    packets: 3,
    octets: 252,
  })
})
