import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Link, type Namespace, proposeNics } from './discovery.ts'

function link(ifindex: number, ifname: string, more: Partial<Link> & { ip?: string } = {}): Link {
  const { ip, ...rest } = more
  const local = { local: `fe80::${ifindex}`, scope: 'link' }
  const addresses = ip === undefined ? [local] : [{ local: ip, scope: 'global' }, local]
  const address = `02:00:00:00:00:${String(ifindex).padStart(2, '0')}`
  return { ifindex, ifname, address, link_type: 'ether', addr_info: addresses, ...rest }
}

const veth = (link_index: number, link_netnsid: number): Partial<Link> => ({
  link_index,
  link_netnsid,
  linkinfo: { info_kind: 'veth' },
})
const tun = (type: string): Partial<Link> => ({ linkinfo: { info_kind: 'tun', info_data: { type } } })

function namesOf(namespaces: Namespace[]): string[] {
  return proposeNics(namespaces, 'hv-1').nics.map(({ name, binding }) => `${name} ${binding.side}`)
}

test('what holds an address is the own interface of the machine; a port of a bridge and an idle device stay out', () => {
  const links = [
    link(1, 'lo', { link_type: 'loopback', ip: '127.0.0.1' }),
    link(2, 'eth0', { master: 'br0' }),
    link(3, 'br0', { ip: '192.0.2.1', linkinfo: { info_kind: 'bridge' } }),
    link(4, 'eth1'),
    link(5, 'wg0', { ip: '10.9.0.1', address: '', link_type: 'none' }),
  ]

  const { nics, leftOut } = proposeNics([{ links, names: new Map() }], 'hv-1')

  const binding = { host: 'hv-1', side: 'own' }
  assert.deepEqual(nics, [
    {
      name: 'br0',
      mac: '02:00:00:00:00:03',
      ips: ['192.0.2.1'],
      dhcp: false,
      lan: 1,
      binding: { ...binding, device: 'br0' },
    },
    { name: 'wg0', ips: ['10.9.0.1'], dhcp: false, lan: 1, binding: { ...binding, device: 'wg0' } },
  ])
  assert.deepEqual(leftOut, [
    { name: 'eth0', reason: 'a port of br0' },
    { name: 'eth1', reason: 'has no address' },
  ])
})

test("taps and the host's ends of veths are guests', once each, with the guest's addresses where they can be seen", () => {
  const own: Namespace = {
    links: [
      link(7, 'vnet0', { ...tun('tap'), master: 'br0' }),
      link(8, 'vpn0', { ...tun('tun'), ip: '10.8.0.1' }),
      link(9, 'veth-web', { ...veth(2, 0), master: 'br0' }),
      link(10, 'veth-unnamed', veth(2, 7)),
    ],
    names: new Map([[0, 'web']]),
  }
  const web: Namespace = {
    netns: 'web',
    links: [link(2, 'eth0', { ...veth(9, 0), ip: '192.0.2.7' })],
    names: new Map(),
  }
  const other: Namespace = { netns: 'other', links: [link(2, 'eth0', veth(9, 3))], names: new Map() }

  const { nics, leftOut } = proposeNics([own, other, web], 'hv-1')

  assert.deepEqual(
    nics.map(({ name, mac, ips, binding }) => [name, binding.side, mac, ...ips]),
    [
      ['vnet0', 'guest', undefined],
      ['vpn0', 'own', '02:00:00:00:00:08', '10.8.0.1'],
      ['veth-web', 'guest', '02:00:00:00:00:02', '192.0.2.7'],
      ['veth-unnamed', 'guest', undefined],
    ],
  )
  assert.deepEqual(leftOut.at(-1), { name: 'web:eth0', reason: "the guest's end of veth-web" })
})

test('a veth between two named namespaces is an own interface of each', () => {
  const a: Namespace = {
    netns: 'a',
    links: [link(2, 'eth0', { ...veth(2, 0), ip: '192.0.2.1' })],
    names: new Map([[0, 'b']]),
  }
  const b: Namespace = {
    netns: 'b',
    links: [link(2, 'eth0', { ...veth(2, 0), ip: '192.0.2.2' })],
    names: new Map([[0, 'a']]),
  }

  assert.deepEqual(namesOf([{ links: [], names: new Map() }, a, b]), ['a:eth0 own', 'b:eth0 own'])
})
