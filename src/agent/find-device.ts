import type { Binding } from '../model/agent-protocol.ts'

/** What the agent needs to know of a network device of this host. */
export interface Device {
  name: string
  ifindex: number
  /** Lower case, colons; '' for devices without a link-layer address. */
  mac: string
  /** Name of the network namespace, absent for the agent's own. */
  netns?: string
}

/** The device that a binding means, or why there is none. */
export function findDevice(binding: Binding, devices: Device[]): Device | { waitingFor: string } {
  if (binding.device !== undefined) {
    const where = binding.netns === undefined ? '' : ` in network namespace ${binding.netns}`
    const found = devices.find((it) => it.name === binding.device && it.netns === binding.netns)
    return found ?? { waitingFor: `no device ${binding.device}${where}` }
  }
  if (binding.mac === undefined) return { waitingFor: 'neither a device nor a MAC address is known' }
  const wanted = addressesOf(binding.mac.toLowerCase(), binding.side)
  const found = devices.filter((it) => wanted.includes(it.mac))
  if (found.length === 1) return found[0]!
  if (found.length === 0) return { waitingFor: `no device with MAC address ${wanted.join(' or ')}` }
  const names = found.map((it) => (it.netns === undefined ? it.name : `${it.name}@${it.netns}`)).join(', ')
  return {
    waitingFor: `${found.length} devices have MAC address ${binding.mac}: ${names}; bind by device name`,
  }
}

/** libvirt gives the host's tap the guest's address with first byte fe, so that a bridge never takes it for its own. */
function addressesOf(mac: string, side: Binding['side']): string[] {
  return side === 'guest' ? [`fe${mac.slice(2)}`, mac] : [mac]
}
