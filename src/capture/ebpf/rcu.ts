import { readFileSync, writeFileSync } from 'node:fs'

const SWITCH = '/sys/kernel/rcu_expedited'

/**
 * Runs `action` with the kernel's grace periods expedited. Attaching a program or swapping a map waits for every CPU to
 * have passed by; that takes some 12 ms each time, half a minute for a host with 500 devices, and less than a tenth of
 * a millisecond when the CPUs are asked by an interrupt. The switch is the machine's, so it is set for this moment only.
 */
export function expedited<T>(action: () => T): T {
  const before = readSwitch()
  if (before !== '0' || !writeSwitch('1')) return action()
  try {
    return action()
  } finally {
    writeSwitch(before)
  }
}

function readSwitch(): string | undefined {
  try {
    return readFileSync(SWITCH, 'utf8').trim()
  } catch {
    return undefined // Kernels without it, containers with another sysfs: slower, not wrong.
  }
}

function writeSwitch(value: string): boolean {
  try {
    writeFileSync(SWITCH, value)
    return true
  } catch {
    return false
  }
}
