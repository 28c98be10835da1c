/** What of WebAssembly is used here; the type definitions of Node do not have it. */
interface WasmMemory {
  readonly buffer: ArrayBuffer
  grow(pages: number): number
}
declare const WebAssembly: {
  Memory: new (limits: { initial: number; maximum: number }) => WasmMemory
  Module: new (bytes: Uint8Array) => object
  Instance: new (module: object, imports: object) => { exports: unknown }
}

const PAGE_SIZE = 65_536

const memories = new WeakMap<ArrayBufferLike, WasmMemory>()

/**
 * All the memory a module will ever have: pages that are never touched cost address space only. It grows to its size,
 * because V8 takes memory that begins large for garbage to come, and would collect at once.
 */
export function wasmMemory(size: number): WasmMemory {
  const pages = Math.ceil(size / PAGE_SIZE)
  const memory = new WebAssembly.Memory({ initial: 0, maximum: pages })
  memory.grow(pages)
  memories.set(memory.buffer, memory)
  return memory
}

/** The memory that has this buffer, where one has: a second module can work on what lies in it. */
export function wasmMemoryOf(buffer: ArrayBufferLike): WasmMemory | undefined {
  return memories.get(buffer)
}

/** The functions of a module that imports nothing but its memory. The caller names their types. */
export function wasmFunctions<Functions>(base64: string, memory: WasmMemory): Functions {
  const module = new WebAssembly.Module(Buffer.from(base64, 'base64'))
  return new WebAssembly.Instance(module, { env: { memory } }).exports as Functions
}
