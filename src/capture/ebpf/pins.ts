import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, unlinkSync } from 'node:fs'
import path from 'node:path'
import { BpfObject, type Descriptor, openPin, pin, programTag } from './ffi/libbpf.ts'
import { LAYOUT_VERSION } from './layout.ts'

/**
 * What is kept in bpffs, under `<pinPath>/v<layout>/`: the kernel counts on while no agent runs, and the next one finds
 * everything here. The folder is made under another name and then renamed, so it is whole or not there.
 *
 *   maps: state by_ifindex by_netns point_netns windows4 windows6 counters points fragments stashes
 *   programs: tc_ingress tc_egress verdict control    links: links/verdict, links/<point>-ingress, links/<point>-egress
 */
const MAPS = [
  'by_ifindex',
  'by_netns',
  'point_netns',
  'windows4',
  'windows6',
  'counters',
  'points',
  'fragments',
  'stashes',
] as const
const PROGRAMS = ['tc_ingress', 'tc_egress', 'verdict', 'control'] as const
const NAMES = [...MAPS, 'state', ...PROGRAMS] as const
const STATE_SECTION = '.data.state'

export type MapName = (typeof MAPS)[number] | 'state'
export type ProgramName = (typeof PROGRAMS)[number]

export function layoutPath(pinPath: string): string {
  return path.join(pinPath, `v${LAYOUT_VERSION}`)
}

/** Folders of other layouts: what other versions of this program left, and may be counting still. */
export function foreignLayouts(pinPath: string): string[] {
  const own = path.basename(layoutPath(pinPath))
  return readdirSync(pinPath).filter((it) => /^v\d+$/.test(it) && it !== own)
}

/** Pins a loaded object in a folder of its own. The caller adds what else belongs there, then calls `publishPins`. */
export function writePins(object: BpfObject, directory: string): void {
  removeTree(directory)
  mkdirSync(path.join(directory, 'links'), { recursive: true, mode: 0o700 })
  for (const name of MAPS) pin(object.mapFd(name), path.join(directory, name))
  pin(object.mapFd(STATE_SECTION), path.join(directory, 'state'))
  for (const name of PROGRAMS) pin(object.programFd(name), path.join(directory, name))
}

/**
 * Loads the programs of an object file over maps that are pinned already. If they differ from the pinned ones, `install`
 * is to put them in their place wherever those run; only then are they pinned, so who dies in between begins anew.
 * Returns whether they differed.
 */
export function refreshPrograms(
  objectPath: string,
  directory: string,
  install: (programFd: (name: ProgramName) => number) => void,
): boolean {
  using pins = new Pins(directory)
  const maps = new Map<string, number>([[STATE_SECTION, pins.map('state')]])
  for (const name of MAPS) maps.set(name, pins.map(name))
  using object = new BpfObject(objectPath, maps)
  const isSame = PROGRAMS.every((it) => programTag(object.programFd(it)) === programTag(pins.program(it)))
  if (isSame) return false
  install((name) => object.programFd(name))
  for (const name of PROGRAMS) {
    const file = path.join(directory, `${name}-next`) // No dots: bpffs keeps them for itself.
    removePin(file)
    pin(object.programFd(name), file)
    renameSync(file, path.join(directory, name))
  }
  return true
}

export function publishPins(directory: string, pinPath: string): void {
  renameSync(directory, layoutPath(pinPath))
}

/** Everything that is pinned, opened. */
export class Pins implements Disposable {
  readonly #maps = new Map<string, Descriptor>()

  constructor(directory: string) {
    try {
      for (const name of NAMES) this.#maps.set(name, openPin(path.join(directory, name)))
    } catch (error) {
      this[Symbol.dispose]()
      throw error
    }
  }

  map(name: MapName): number {
    return this.#maps.get(name)!.fd
  }

  program(name: ProgramName): number {
    return this.#maps.get(name)!.fd
  }

  /** Pins again what somebody has removed: it lives on as long as it is open here. */
  restore(directory: string): void {
    const missing = missingPins(directory)
    if (missing.length === 0) return
    mkdirSync(path.join(directory, 'links'), { recursive: true, mode: 0o700 })
    for (const name of missing) pin(this.#maps.get(name)!.fd, path.join(directory, name))
  }

  [Symbol.dispose](): void {
    for (const descriptor of this.#maps.values()) descriptor[Symbol.dispose]()
    this.#maps.clear()
  }
}

export function missingPins(directory: string): string[] {
  return NAMES.filter((name) => !existsSync(path.join(directory, name)))
}

/** Removes a folder of pins. What only the pins held is gone with them: links detach, maps are freed. */
export function removeTree(directory: string): void {
  let names: { name: string; isDirectory(): boolean }[]
  try {
    names = readdirSync(directory, { withFileTypes: true })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  for (const entry of names) {
    const child = path.join(directory, entry.name)
    if (entry.isDirectory()) removeTree(child)
    else unlinkSync(child)
  }
  rmdirSync(directory)
}

export function removePin(file: string): void {
  try {
    unlinkSync(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
