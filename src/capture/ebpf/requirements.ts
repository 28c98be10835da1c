import { existsSync, readFileSync } from 'node:fs'
import { release } from 'node:os'
import { isBpffsKnown } from './bpffs.ts'
import { hasLibrary } from './ffi/libc.ts'

const CAP_NET_ADMIN = 12n
const CAP_SYS_ADMIN = 21n // Opening maps by id and mounting bpffs take it; CAP_BPF is not enough.

/** What this machine lacks for metering in the kernel, one sentence each with the remedy; [] when nothing. */
export function missingForMetering(): string[] {
  if (process.platform !== 'linux') return [`Metering needs Linux; this is ${process.platform}.`]
  const missing: string[] = []
  if (isOlder(release(), [5, 18])) {
    missing.push(`The kernel is ${release()}; 5.18 is the first that says why it drops a packet.`)
  }
  if (!hasCapabilities([CAP_NET_ADMIN, CAP_SYS_ADMIN])) {
    missing.push(
      'Root is needed (CAP_SYS_ADMIN and CAP_NET_ADMIN): start weir with sudo or as a system service.',
    )
  }
  if (!existsSync('/sys/kernel/btf/vmlinux')) {
    missing.push(
      'The kernel has no BTF (/sys/kernel/btf/vmlinux): use one built with CONFIG_DEBUG_INFO_BTF=y.',
    )
  }
  if (!isBpffsKnown())
    missing.push('The kernel knows no BPF file system: use one built with CONFIG_BPF_SYSCALL=y.')
  if (!hasLibrary('libbpf.so.1')) missing.push('The library libbpf.so.1 is missing: apt-get install libbpf1.')
  return missing
}

function isOlder(version: string, [major, minor]: [number, number]): boolean {
  const [a = 0, b = 0] = version.split('.').map((it) => Number.parseInt(it, 10))
  return a < major || (a === major && b < minor)
}

function hasCapabilities(wanted: bigint[]): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/thread-self/status', 'utf8'))?.[1]
  if (effective === undefined) return false
  return wanted.every((it) => (BigInt(`0x${effective}`) >> it) & 1n)
}
