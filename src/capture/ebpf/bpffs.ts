import { mkdirSync, readFileSync, statfsSync } from 'node:fs'
import { WeirError } from '../../model/errors.ts'
import { mountBpffs } from './ffi/libc.ts'

const BPF_FS_MAGIC = 0xcafe4a11

/** Where BPF objects are pinned by custom. */
export function bpffsRoot(): string {
  return '/sys/fs/bpf'
}

export function isBpffs(path: string): boolean {
  try {
    return statfsSync(path).type === BPF_FS_MAGIC
  } catch {
    return false
  }
}

/** Makes sure that the root is a BPF file system: minimal systems and containers do not always mount it. */
export function ensureBpffs(root = bpffsRoot()): void {
  if (isBpffs(root)) return
  mkdirSync(root, { recursive: true })
  mountBpffs(root)
}

/** Whether this kernel has the file system at all. */
export function isBpffsKnown(): boolean {
  try {
    return /\tbpf$/m.test(readFileSync('/proc/filesystems', 'utf8'))
  } catch (cause) {
    throw new WeirError('WEIR_UNSUPPORTED', 'cannot read /proc/filesystems', { cause })
  }
}
