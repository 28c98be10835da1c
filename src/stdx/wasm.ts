/** What of WebAssembly is used here; the type definitions of Node do not have it. */
interface WasmMemory {
  readonly buffer: ArrayBuffer
}
declare const WebAssembly: {
  Memory: new (limits: { initial: number; maximum: number }) => WasmMemory
  Module: new (bytes: Uint8Array) => object
  Instance: new (module: object, imports: object) => { exports: unknown }
}

const PAGE_SIZE = 65_536

/** All the memory a module will ever have: pages that are never touched cost address space only. */
export function wasmMemory(size: number): WasmMemory {
  const pages = Math.ceil(size / PAGE_SIZE)
  return new WebAssembly.Memory({ initial: pages, maximum: pages })
}

/** The functions of a module that imports nothing but its memory. The caller names their types. */
export function wasmFunctions<Functions>(base64: string, memory: WasmMemory): Functions {
  const module = new WebAssembly.Module(Buffer.from(base64, 'base64'))
  return new WebAssembly.Instance(module, { env: { memory } }).exports as Functions
}
