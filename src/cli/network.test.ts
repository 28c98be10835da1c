import assert from 'node:assert/strict'
import { test } from 'node:test'
import { defaultRouteDevice } from './network.ts'

const TITLES = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT'
const route4 = (device: string, destination: string, metric: number, mask: string): string =>
  `${device}\t${destination}\t0100000A\t0003\t0\t0\t${metric}\t${mask}\t0\t0\t0`

test('the default route with the smallest metric gives the interface', () => {
  const routes = [
    TITLES,
    route4('eth0', '0000000A', 0, '00FFFFFF'),
    route4('wlan0', '00000000', 600, '00000000'),
    route4('eth1', '00000000', 100, '00000000'),
  ]

  assert.equal(defaultRouteDevice(routes, []), 'eth1')
})

test('a machine with IPv6 alone has a default route too', () => {
  const zero = '0'.repeat(32)
  const route6 = (device: string, metric: string, flags: string): string =>
    `${zero} 00 ${zero} 00 ${zero} ${metric} 00000001 00000000 ${flags}     ${device}`

  const routes = [route6('lo', 'ffffffff', '00200200'), route6('eth0', '00000400', '00000003')]

  assert.equal(defaultRouteDevice([TITLES], routes), 'eth0')
})

test('without a default route there is no interface', () => {
  assert.equal(defaultRouteDevice([TITLES], []), undefined)
})
