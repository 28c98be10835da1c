import { testRun } from './ffi/libbpf.ts'
import { COMMAND, COMMAND_SIZE, OPERATION } from './layout.ts'

// User space never writes the kernel's state itself, it asks the program `control`: only there are updates atomic.

function run(program: number, operation: number, fill: (command: Buffer) => void = () => {}): Buffer {
  const command = Buffer.alloc(COMMAND_SIZE)
  command.writeUInt32LE(operation, COMMAND.operation)
  fill(command)
  testRun(program, { context: command })
  return command // Answers are written into it.
}

export interface Opening {
  generation: bigint
  wallOffsetNs: bigint
  windowSizeS: number
  instance: bigint
  tickNs: bigint
}

/** Opens the first window; a second call changes nothing. */
export function openWindows(program: number, opening: Opening): void {
  run(program, OPERATION.open, (command) => {
    command.writeBigUInt64LE(opening.generation, COMMAND.generation)
    command.writeBigInt64LE(opening.wallOffsetNs, COMMAND.wallOffsetNs)
    command.writeBigUInt64LE(BigInt(opening.windowSizeS), COMMAND.windowSizeS)
    command.writeBigUInt64LE(opening.instance, COMMAND.instance)
    command.writeBigUInt64LE(opening.tickNs, COMMAND.tickNs)
  })
}

/** Tells the wall clock's offset, and closes the open window if it has ended: no packet may come to do so. */
export function syncWindows(program: number, options: { wallOffsetNs: bigint; windowSizeS: number }): void {
  run(program, OPERATION.sync, (command) => {
    command.writeBigInt64LE(options.wallOffsetNs, COMMAND.wallOffsetNs)
    command.writeBigUInt64LE(BigInt(options.windowSizeS), COMMAND.windowSizeS)
  })
}

/** Ends the open window now and opens the next, if a slot is free. */
export function cutWindow(program: number): void {
  run(program, OPERATION.cut)
}

export function freeSlot(program: number, slot: number, generation: bigint): void {
  run(program, OPERATION.clear, (command) => {
    command.writeUInt32LE(slot, COMMAND.slot)
    command.writeBigUInt64LE(generation, COMMAND.generation)
  })
}

export function setLimits(program: number, limits: { flowsMax: number; flowsPerPointMax: number }): void {
  run(program, OPERATION.limits, (command) => {
    command.writeUInt32LE(limits.flowsMax, COMMAND.flowsMax)
    command.writeUInt32LE(limits.flowsPerPointMax, COMMAND.flowsPerPointMax)
  })
}

/** Now, in the kernel's ticks and on its monotonic clock. */
export function readClock(program: number): { ticks: bigint; monotonicNs: bigint } {
  const answer = run(program, OPERATION.clock)
  return {
    ticks: answer.readBigUInt64LE(COMMAND.ticks),
    monotonicNs: answer.readBigUInt64LE(COMMAND.monotonicNs),
  }
}
