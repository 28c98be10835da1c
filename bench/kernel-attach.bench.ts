import { execFileSync } from 'node:child_process'
import { ensureObject } from '../test/support/bpf-object.ts'
import { KernelWorld } from '../test/support/kernel-world.ts'
import { TestNetwork } from '../test/support/network.ts'
import { parameter, report } from './bench.ts'

// Question: how long until all devices of a host are observed, by both ways to attach; and until a new agent has
// adopted them? Budget: 5 s for 500 devices. Excludes their creation.
const devices = parameter('devices', { smoke: 10, full: 500 })

ensureObject()
for (const attachment of ['tcx', 'classic'] as const) {
  await using network = new TestNetwork()
  using world = new KernelWorld({ attachment, flowsMax: 1_000_000, flowsPerPointMax: 65_536 })
  const netns = network.namespace('k')
  const commands = Array.from({ length: devices / 2 }, (_, i) => `link add a${i} type veth peer name b${i}`)
  execFileSync('ip', ['-n', netns, '-batch', '-'], { input: commands.join('\n') })
  const names = Array.from({ length: devices }, (_, i) => `${i % 2 === 0 ? 'a' : 'b'}${i >> 1}`)
  const timed = (action: () => void): number => {
    const begin = performance.now()
    action()
    return Math.round(performance.now() - begin)
  }

  const attachMs = timed(() => {
    for (const [point, name] of names.entries()) world.attach(point, name, netns)
  })
  const inPlace = world.meter.points().length
  const pointsMs = timed(() => world.meter.points())
  const adoptMs = timed(() => world.restart())
  const detachMs = timed(() => {
    for (const point of names.keys()) world.meter.detach(point)
  })
  report(`attach by ${attachment}`, { devices, inPlace, attachMs, pointsMs, adoptMs, detachMs })
}
