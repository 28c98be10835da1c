import { closeSync } from 'node:fs'
import koffi from 'koffi'
import { WeirError } from '../../../model/errors.ts'
import { assert } from '../../../stdx/assert.ts'
import { ERRNO, nativeError } from './libc.ts'

// Prototypes as libbpf 1.x gives them in libbpf.h and bpf.h. No other folder sees one of these, or a raw pointer.
const library = loadLibrary()
const C = {
  setPrint: library.func('void *libbpf_set_print(void *callback)'),
  objectOpen: library.func('void *bpf_object__open_file(const char *path, const void *opts)'),
  objectLoad: library.func('int bpf_object__load(void *object)'),
  objectClose: library.func('void bpf_object__close(void *object)'),
  findMap: library.func('void *bpf_object__find_map_by_name(void *object, const char *name)'),
  reuseMap: library.func('int bpf_map__reuse_fd(void *map, int fd)'),
  findMapFd: library.func('int bpf_object__find_map_fd_by_name(void *object, const char *name)'),
  findProgram: library.func('void *bpf_object__find_program_by_name(void *object, const char *name)'),
  programFd: library.func('int bpf_program__fd(void *program)'),
  pin: library.func('int bpf_obj_pin(int fd, const char *path)'),
  get: library.func('int bpf_obj_get(const char *path)'),
  describe: library.func('int bpf_obj_get_info_by_fd(int fd, void *description, void *size)'),
  mapCreate: library.func(
    'int bpf_map_create(int type, const char *name, uint32_t keySize, uint32_t valueSize, uint32_t entriesMax, const void *opts)',
  ),
  mapFdById: library.func('int bpf_map_get_fd_by_id(uint32_t id)'),
  lookup: library.func('int bpf_map_lookup_elem(int fd, const void *key, void *value)'),
  update: library.func('int bpf_map_update_elem(int fd, const void *key, const void *value, uint64_t flags)'),
  remove: library.func('int bpf_map_delete_elem(int fd, const void *key)'),
  lookupBatch: library.func(
    'int bpf_map_lookup_batch(int fd, void *from, void *next, void *keys, void *values, void *count, const void *opts)',
  ),
  linkCreate: library.func('int bpf_link_create(int program, int target, int attachType, const void *opts)'),
  linkUpdate: library.func('int bpf_link_update(int fd, int program, const void *opts)'),
  linkDetach: library.func('int bpf_link_detach(int fd)'),
  rawTracepointOpen: library.func('int bpf_raw_tracepoint_open(const char *name, int program)'),
  programLoad: library.func(
    'int bpf_prog_load(int type, const char *name, const char *license, const void *instructions, size_t count, const void *opts)',
  ),
  testRun: library.func('int bpf_prog_test_run_opts(int program, void *opts)'),
  tcHookCreate: library.func('int bpf_tc_hook_create(void *hook)'),
  tcAttach: library.func('int bpf_tc_attach(const void *hook, void *opts)'),
  tcDetach: library.func('int bpf_tc_detach(const void *hook, const void *opts)'),
  tcQuery: library.func('int bpf_tc_query(const void *hook, void *opts)'),
}
C.setPrint(null) // libbpf talks to stderr; what went wrong is in our errors instead.

const MAP_TYPE_HASH = 1
const MAP_NO_PREALLOC = 1
const BPF_TCX_INGRESS = 46
const BPF_TCX_EGRESS = 47
const BPF_F_BEFORE = 1 << 3
const BPF_TC_INGRESS = 1
const BPF_TC_F_REPLACE = 1
const BPF_PROG_TYPE_SCHED_CLS = 3
const BPF_TC_EGRESS = 2
const OPEN_OPTS_SIZE = 80
const VERIFIER_LOG_SIZE = 1 << 20

export type Hook = 'ingress' | 'egress'

function loadLibrary(): ReturnType<typeof koffi.load> {
  try {
    return koffi.load('libbpf.so.1')
  } catch (cause) {
    throw new WeirError('WEIR_UNSUPPORTED', 'libbpf.so.1 is missing: apt-get install libbpf1', { cause })
  }
}

/** libbpf 1.x returns -errno. */
function check(result: number, doing: string): number {
  if (result < 0) throw nativeError(doing, -result)
  return result
}

/** An owned descriptor of a map, program or link: use it with `using`. */
export class Descriptor implements Disposable {
  #fd: number
  constructor(fd: number) {
    assert(fd >= 0)
    this.#fd = fd
  }
  get fd(): number {
    assert(this.#fd >= 0, 'Descriptor used after dispose')
    return this.#fd
  }
  [Symbol.dispose](): void {
    if (this.#fd >= 0) closeSync(this.#fd)
    this.#fd = -1
  }
}

/**
 * A BPF object file, loaded into the kernel. With `maps`, its programs work on these instead of new ones. Descriptors
 * that are handed out live until it is disposed of.
 */
export class BpfObject implements Disposable {
  #object: unknown = null
  readonly #log = Buffer.alloc(VERIFIER_LOG_SIZE)

  constructor(path: string, maps: ReadonlyMap<string, number> = new Map()) {
    const opts = Buffer.alloc(OPEN_OPTS_SIZE) // struct bpf_object_open_opts
    opts.writeBigUInt64LE(BigInt(OPEN_OPTS_SIZE), 0)
    opts.writeBigUInt64LE(koffi.address(this.#log), 56) // kernel_log_buf, filled when the verifier says no
    opts.writeBigUInt64LE(BigInt(this.#log.length), 64)
    this.#object = C.objectOpen(path, opts)
    if (this.#object === null) throw nativeError(`opening ${path}`, koffi.errno())
    try {
      for (const [name, fd] of maps) {
        check(C.reuseMap(C.findMap(this.#object, name), fd), `keeping map ${name} for ${path}`)
      }
      this.#load(path)
    } catch (error) {
      this[Symbol.dispose]()
      throw error
    }
  }

  #load(path: string): void {
    const result: number = C.objectLoad(this.#object)
    if (result >= 0) return
    const text = this.#log.toString('latin1', 0, this.#log.indexOf(0))
    const verifier = text.trim().split('\n').slice(-8).join('\n')
    const error = nativeError(`loading the programs of ${path}`, -result)
    throw verifier === ''
      ? error
      : new WeirError(error.code, `${error.message}; the verifier says:\n${verifier}`)
  }

  mapFd(name: string): number {
    return check(C.findMapFd(this.#object, name), `finding map ${name}`)
  }

  programFd(name: string): number {
    const program = C.findProgram(this.#object, name)
    assert(program !== null, `the object has no program ${name}`)
    return check(C.programFd(program), `finding program ${name}`)
  }

  [Symbol.dispose](): void {
    if (this.#object !== null) C.objectClose(this.#object)
    this.#object = null
  }
}

export function pin(fd: number, path: string): void {
  check(C.pin(fd, path), `pinning ${path}`)
}

export function openPin(path: string): Descriptor {
  return new Descriptor(check(C.get(path), `opening pin ${path}`))
}

export interface HashMapShape {
  name: string
  keySize: number
  valueSize: number
  entriesMax: number
}

function hashMapArguments({ name, keySize, valueSize, entriesMax }: HashMapShape) {
  const opts = Buffer.alloc(48) // struct bpf_map_create_opts
  opts.writeBigUInt64LE(BigInt(opts.length), 0)
  opts.writeUInt32LE(MAP_NO_PREALLOC, 28) // map_flags
  return [MAP_TYPE_HASH, name, keySize, valueSize, entriesMax, opts] as const
}

export function createHashMap(shape: HashMapShape): Descriptor {
  const fd: number = C.mapCreate(...hashMapArguments(shape))
  return new Descriptor(check(fd, `making map ${shape.name} for ${shape.entriesMax} entries`))
}

/** The same on another thread: the buckets of a large map take the kernel tens of milliseconds. */
export function createHashMapAside(shape: HashMapShape): Promise<Descriptor> {
  return new Promise((resolve, reject) => {
    C.mapCreate.async(...hashMapArguments(shape), (error: Error | null, fd: number) => {
      if (error !== null) reject(error)
      else if (fd < 0) reject(nativeError(`making map ${shape.name}`, -fd))
      else resolve(new Descriptor(fd))
    })
  })
}

export function openMapById(id: number): Descriptor {
  return new Descriptor(check(C.mapFdById(id), `opening map ${id}`))
}

/** Whether there is such an element; if so, it is in `value`. */
export function lookup(fd: number, key: Buffer, value: Buffer): boolean {
  const result: number = C.lookup(fd, key, value)
  if (result === -ERRNO.ENOENT) return false
  check(result, 'looking up a map element')
  return true
}

export function update(fd: number, key: Buffer, value: Buffer): void {
  check(C.update(fd, key, value, 0), 'changing a map element')
}

export function remove(fd: number, key: Buffer): void {
  const result: number = C.remove(fd, key)
  if (result !== -ERRNO.ENOENT) check(result, 'removing a map element')
}

/** Reads a hash map from end to end, in batches that are only valid until `onBatch` returns. */
export function readAll(
  map: { fd: number; keySize: number; valueSize: number; batchSize: number },
  onBatch: (keys: Buffer, values: Buffer, count: number) => void,
): void {
  const keys = Buffer.alloc(map.keySize * map.batchSize)
  const values = Buffer.alloc(map.valueSize * map.batchSize)
  const position = Buffer.alloc(Math.max(4, map.keySize))
  const count = Buffer.alloc(4)
  for (let isFirst = true; ; isFirst = false) {
    count.writeUInt32LE(map.batchSize)
    const result: number = C.lookupBatch(
      map.fd,
      isFirst ? null : position,
      position,
      keys,
      values,
      count,
      null,
    )
    if (result < 0 && result !== -ERRNO.ENOENT) throw nativeError('reading a map', -result)
    const size = count.readUInt32LE()
    if (size > 0) onBatch(keys, values, size)
    if (result < 0) return // ENOENT: that was the last batch.
  }
}

/** Attaches in front of other programs, in the network namespace that this thread is in. Kernel 6.6 and newer. */
export function attachTcx(program: number, ifindex: number, hook: Hook): Descriptor {
  const opts = Buffer.alloc(16) // struct bpf_link_create_opts, its first two fields
  opts.writeBigUInt64LE(BigInt(opts.length), 0)
  opts.writeUInt32LE(BPF_F_BEFORE, 8)
  const type = hook === 'ingress' ? BPF_TCX_INGRESS : BPF_TCX_EGRESS
  return new Descriptor(check(C.linkCreate(program, ifindex, type, opts), `attaching to tcx ${hook}`))
}

/** Puts another program in a link's place; no packet passes by in between. */
export function updateLink(fd: number, program: number): void {
  check(C.linkUpdate(fd, program, null), 'updating a link')
}

/** The ifindex that a tcx link is attached to; 0 when the device has gone. */
export function tcxLinkIfindex(fd: number): number {
  const description = Buffer.alloc(64) // struct bpf_link_info
  const size = Buffer.alloc(4)
  size.writeUInt32LE(description.length)
  check(C.describe(fd, description, size), 'reading a link')
  return description.readUInt32LE(16)
}

/** Detaches at once; closing or unpinning alone leaves that to a kernel thread. */
export function detachLink(fd: number): void {
  const result: number = C.linkDetach(fd)
  if (result !== -ERRNO.ENOLINK) check(result, 'detaching a link')
}

export function mapEntriesMax(fd: number): number {
  const description = Buffer.alloc(80) // struct bpf_map_info
  const size = Buffer.alloc(4)
  size.writeUInt32LE(description.length)
  check(C.describe(fd, description, size), 'reading a map')
  return description.readUInt32LE(16)
}

export function attachTracepoint(program: number): Descriptor {
  return new Descriptor(check(C.rawTracepointOpen(null, program), 'attaching to the tracepoint kfree_skb'))
}

/** A hash of a program's instructions, the same wherever and whenever it is loaded on one kernel. */
export function programTag(fd: number): string {
  const description = Buffer.alloc(232) // struct bpf_prog_info
  const size = Buffer.alloc(4)
  size.writeUInt32LE(description.length)
  check(C.describe(fd, description, size), 'reading a program')
  return description.toString('hex', 8, 16)
}

/** How often a program ran, and for how long in all; zeros unless the sysctl kernel.bpf_stats_enabled is on. */
export function programRuns(fd: number): { runs: bigint; ns: bigint } {
  const description = Buffer.alloc(232) // struct bpf_prog_info
  const size = Buffer.alloc(4)
  size.writeUInt32LE(description.length)
  check(C.describe(fd, description, size), 'reading a program')
  return { ns: description.readBigUInt64LE(192), runs: description.readBigUInt64LE(200) }
}

/** A tc program given as instructions: for benchmarks and tests, which need others' programs beside ours. */
export function loadClassifier(name: string, instructions: Buffer): Descriptor {
  const fd = C.programLoad(BPF_PROG_TYPE_SCHED_CLS, name, 'GPL', instructions, instructions.length / 8, null)
  return new Descriptor(check(fd, `loading program ${name}`))
}

export interface TestRun {
  /** The frame, or nothing for a program that takes none. */
  frame?: Buffer
  /** struct __sk_buff, or the argument of a syscall program. */
  context?: Buffer
  repeat?: number
}

/** Runs a program once or many times; returns what it returned and the mean duration in nanoseconds. */
export function testRun(program: number, run: TestRun): { result: number; ns: number } {
  const opts = Buffer.alloc(80) // struct bpf_test_run_opts
  opts.writeBigUInt64LE(BigInt(opts.length), 0)
  if (run.frame !== undefined) {
    opts.writeBigUInt64LE(koffi.address(run.frame), 8)
    opts.writeUInt32LE(run.frame.length, 24)
  }
  if (run.context !== undefined) {
    opts.writeBigUInt64LE(koffi.address(run.context), 32)
    opts.writeUInt32LE(run.context.length, 48)
  }
  opts.writeUInt32LE(run.repeat ?? 0, 60)
  let outcome: number
  do outcome = C.testRun(program, opts)
  while (outcome === -ERRNO.EINTR) // A signal ends a long run early; it begins anew.
  check(outcome, 'running a program')
  return { result: opts.readUInt32LE(56), ns: opts.readUInt32LE(64) }
}

function tcHook(ifindex: number, hook: Hook): Buffer {
  const buffer = Buffer.alloc(24) // struct bpf_tc_hook
  buffer.writeBigUInt64LE(24n, 0)
  buffer.writeInt32LE(ifindex, 8)
  buffer.writeUInt32LE(hook === 'ingress' ? BPF_TC_INGRESS : BPF_TC_EGRESS, 12)
  return buffer
}

const TC_OPTS_SIZE = 32 // struct bpf_tc_opts: size, fd, flags, program id, handle, priority

function tcOpts(handle: number): Buffer {
  const opts = Buffer.alloc(TC_OPTS_SIZE)
  opts.writeBigUInt64LE(BigInt(TC_OPTS_SIZE), 0)
  opts.writeUInt32LE(handle, 20)
  opts.writeUInt32LE(1, 24) // priority: before all others
  return opts
}

/** The filter of older kernels, on a clsact qdisc that is made if need be. `handle` tells it from others'. */
export function attachClassic(
  program: number,
  ifindex: number,
  hook: Hook,
  handle: number,
  options: { replace?: boolean } = {},
): void {
  const place = tcHook(ifindex, hook)
  const made: number = C.tcHookCreate(place)
  if (made !== -ERRNO.EEXIST) check(made, 'making a clsact qdisc')
  const opts = tcOpts(handle)
  opts.writeInt32LE(program, 8)
  opts.writeUInt32LE(options.replace ? BPF_TC_F_REPLACE : 0, 12)
  check(C.tcAttach(place, opts), `attaching to tc ${hook}`)
}

export function isClassicAttached(ifindex: number, hook: Hook, handle: number): boolean {
  return C.tcQuery(tcHook(ifindex, hook), tcOpts(handle)) === 0
}

export function detachClassic(ifindex: number, hook: Hook, handle: number): void {
  const result: number = C.tcDetach(tcHook(ifindex, hook), tcOpts(handle))
  const isGone = result === -ERRNO.ENOENT || result === -ERRNO.EINVAL || result === -ERRNO.ENODEV
  if (!isGone) check(result, `detaching from tc ${hook}`)
}
