import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'

const SWITCH = '/sys/kernel/rcu_expedited'
const MARK = 'expedited'

/**
 * Runs `action` with the kernel's grace periods expedited. Attaching a program or swapping a map waits for every CPU to
 * have passed by; that takes some 12 ms each time, twelve seconds for a host with 500 devices, and less than a tenth of
 * a millisecond when the CPUs are asked by an interrupt. The switch is the machine's, so it is set for this moment only,
 * and a mark in `pinPath` (in bpffs) says so: who is killed in that moment has it set back by the next start.
 */
export function expedited<T>(pinPath: string, action: () => T): T {
  const mark = path.join(pinPath, MARK)
  if (readSwitch() !== '0' || !existsSync(pinPath)) return action()
  mkdirSync(mark)
  const isSet = writeSwitch('1')
  try {
    return action()
  } finally {
    if (isSet) writeSwitch('0')
    if (existsSync(mark)) rmdirSync(mark)
  }
}

/** Sets the switch back if an agent was killed while it was set. */
export function restoreGracePeriods(pinPath: string): void {
  const mark = path.join(pinPath, MARK)
  if (!existsSync(mark)) return
  writeSwitch('0')
  rmdirSync(mark)
}

function readSwitch(): string | undefined {
  try {
    return readFileSync(SWITCH, 'utf8').trim()
  } catch {
    return undefined // Kernels without it, containers with another sysfs: slower, not wrong.
  }
}

function writeSwitch(value: '0' | '1'): boolean {
  try {
    writeFileSync(SWITCH, value)
    return true
  } catch {
    return false
  }
}
