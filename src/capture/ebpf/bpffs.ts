import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readlinkSync, statfsSync } from 'node:fs'
import { WeirError } from '../../model/errors.ts'
import { mountBpffs } from './ffi/libc.ts'

const BPF_FS_MAGIC = 0xcafe4a11

const ROOT = '/sys/fs/bpf' // Where BPF objects are pinned by custom.
const OF_INIT = '/proc/1/root'

/**
 * Where BPF objects are pinned: in the mount namespace of the machine's first process. `ip netns exec` and service
 * managers give a program mounts of its own, and what is pinned there goes with the program.
 */
export function bpffsRoot(): string {
  try {
    const isOwn = readlinkSync('/proc/self/ns/mnt') !== readlinkSync('/proc/1/ns/mnt')
    return isOwn && existsSync(`${OF_INIT}${ROOT}`) ? `${OF_INIT}${ROOT}` : ROOT
  } catch {
    return ROOT // Not allowed to look, so not allowed to pin there either.
  }
}

function isBpffs(path: string): boolean {
  try {
    return statfsSync(path).type === BPF_FS_MAGIC
  } catch {
    return false
  }
}

/** Makes sure that the root is a BPF file system: minimal systems and containers do not always mount it. */
export function ensureBpffs(root = bpffsRoot()): void {
  if (isBpffs(root)) return
  if (root.startsWith(OF_INIT)) {
    // mount(2) refuses paths of other namespaces.
    const { status, stderr } = spawnSync('nsenter', [
      '--mount=/proc/1/ns/mnt',
      'mount',
      '-t',
      'bpf',
      'bpf',
      ROOT,
    ])
    if (status !== 0) throw new WeirError('WEIR_UNSUPPORTED', `mounting bpffs on ${root} failed: ${stderr}`)
    return
  }
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
