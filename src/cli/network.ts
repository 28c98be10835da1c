import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'

export interface MachineInterface {
  device: string
  mac: string
  ips: string[]
}

/** The interfaces of this machine that are up, without loopback. */
export function machineInterfaces(): MachineInterface[] {
  return Object.entries(networkInterfaces())
    .filter(([, addresses]) => addresses !== undefined && !addresses.some((it) => it.internal))
    .map(([device, addresses]) => ({
      device,
      mac: addresses![0]!.mac,
      ips: addresses!
        .filter((it) => it.family === 'IPv4' || !it.address.startsWith('fe80:'))
        .map((it) => it.address),
    }))
}

/** The interface of the default route, IPv4 before IPv6; undefined where there is none. */
export function defaultRouteDevice(
  routes4 = readTable('/proc/net/route'),
  routes6 = readTable('/proc/net/ipv6_route'),
): string | undefined {
  const defaults4 = routes4
    .slice(1) // Titles.
    .map((line) => line.split(/\s+/))
    .filter(([, destination, , , , , , mask]) => destination === '00000000' && mask === '00000000')
    .sort((a, b) => Number(a[6]) - Number(b[6])) // By metric.
  if (defaults4.length > 0) return defaults4[0]![0]
  const zero = '0'.repeat(32)
  const defaults6 = routes6
    .map((line) => line.trim().split(/\s+/))
    .filter(
      ([destination, size, , , , , , , , device]) => destination === zero && size === '00' && device !== 'lo',
    )
    .sort((a, b) => Number.parseInt(a[5]!, 16) - Number.parseInt(b[5]!, 16))
  return defaults6[0]?.[9]
}

function readTable(file: string): string[] {
  try {
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
  } catch {
    return [] // IPv6 is switched off, or this is not Linux.
  }
}
