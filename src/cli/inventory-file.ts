import Schema from 'typebox/schema'
import { isAlias, isMap, isPair, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml'
import { enumOf, RESOURCE_TYPES, type ResourceType } from '../api/resource-types.ts'
import { WeirError } from '../model/errors.ts'
import { KINDS, type Kind, type Wanted } from './inventory-plan.ts'

/** Keys and indexes that lead to a place in the file. */
type Path = readonly (string | number)[]

/**
 * Reads an inventory from YAML. Every attribute is checked against what the API takes, and every fault is told with
 * file and line, before anything is asked of a server.
 */
export function readInventory(text: string, fileName: string): Wanted[] {
  const file = new YamlFile(text, fileName)
  const content = file.mapping(file.content, [])
  for (const key of Object.keys(content)) {
    if (key !== 'datacenters') throw file.fault([key], `'${key}' is not known; the file holds 'datacenters'`)
  }
  return readList(file, 'datacenter', content['datacenters'] ?? [], ['datacenters'])
}

function readList(file: YamlFile, kind: Kind, content: unknown, at: Path): Wanted[] {
  if (!Array.isArray(content)) throw file.fault(at, `'${at.at(-1)}' is not a list`)
  const names = new Set<string>()
  return content.map((it, index) => {
    const place = [...at, index]
    const wanted = readOne(file, kind, it, place)
    if (names.has(wanted.name)) throw file.fault(place, `'${wanted.name}' is here twice: names must differ`)
    names.add(wanted.name)
    return wanted
  })
}

function readOne(file: YamlFile, kind: Kind, content: unknown, at: Path): Wanted {
  const mapping = file.mapping(content, at)
  const properties: Record<string, unknown> = {}
  const children: Wanted[] = []
  for (const [key, value] of Object.entries(mapping)) {
    const child = KINDS[kind].children.find((it) => keyOf(it) === key)
    if (child === undefined) properties[key] = readProperty(file, kind, value, [...at, key])
    else if (child === 'flowlog') children.push(readOne(file, 'flowlog', value, [...at, key]))
    else children.push(...readList(file, child, value, [...at, key]))
  }
  const kinds: readonly Kind[] = KINDS[kind].children
  children.sort((a, b) => kinds.indexOf(a.kind) - kinds.indexOf(b.kind))
  const { name } = properties
  if (typeof name !== 'string' || name === '') throw file.fault(at, `this ${kind} has no 'name'`)
  return { kind, name, properties, children, place: file.place(at) }
}

/** An interface has one flow log, so the file has no list of them. */
function keyOf(kind: Kind): string {
  return kind === 'flowlog' ? 'flowlog' : KINDS[kind].collection
}

/** Checked, and in the form that the API keeps: otherwise a file in lower case would differ for ever. */
function readProperty(file: YamlFile, kind: Kind, value: unknown, at: Path): unknown {
  const type = typeOf(kind)
  const name = String(at.at(-1))
  const schema = type.properties[name]
  const settable = Object.keys(type.properties).filter((it) => !type.readOnly.includes(it))
  if (schema === undefined || type.readOnly.includes(name)) {
    const known = [...settable, ...KINDS[kind].children.map(keyOf)].join(', ')
    throw file.fault(at, `'${name}' is not known; a ${kind} has ${known}`)
  }
  const raised = enumOf(type, name) !== undefined && typeof value === 'string' ? value.toUpperCase() : value
  const [isRight, faults] = Schema.Errors(schema, raised)
  if (!isRight) {
    const { instancePath, message, params } = faults[0]!
    const allowed = 'allowedValues' in params ? `: ${params.allowedValues.join(', ')}` : ''
    const inner = instancePath.split('/').slice(1)
    throw file.fault([...at, ...inner], `'${[name, ...inner].join('.')}' ${message}${allowed}`)
  }
  if (kind === 'flowlog' && name === 'bucket') return String(raised).replace(/^s3:\/\//, '')
  if (name === 'mac') return String(raised).toLowerCase()
  return raised
}

function typeOf(kind: Kind): ResourceType {
  return RESOURCE_TYPES[kind === 'flowlog' ? 'flow-log' : kind]
}

/** A parsed file that knows the lines of what is in it. */
class YamlFile {
  readonly content: unknown
  readonly #name: string
  readonly #lines = new LineCounter()
  readonly #document

  constructor(text: string, name: string) {
    this.#name = name
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false })
    const [error] = this.#document.errors
    if (error !== undefined) {
      throw new WeirError('WEIR_CONFIG_INVALID', `${this.#lineAt(error.pos[0])}: ${error.message}`)
    }
    try {
      this.content = this.#document.toJS({ maxAliasCount: 1_000 })
    } catch (cause) {
      throw new WeirError('WEIR_CONFIG_INVALID', `${name}: ${(cause as Error).message}`, { cause })
    }
  }

  mapping(content: unknown, at: Path): Record<string, unknown> {
    if (typeof content === 'object' && content !== null && !Array.isArray(content)) {
      return content as Record<string, unknown>
    }
    throw this.fault(at, `${at.length === 0 ? 'the file' : 'this'} is not a mapping`)
  }

  fault(at: Path, what: string): WeirError {
    return new WeirError('WEIR_CONFIG_INVALID', `${this.place(at)}: ${what}`)
  }

  /** Such as `inventory.yaml:12`: the deepest part of the path that the file has. */
  place(at: Path): string {
    let node = this.#document.contents as Node | null | undefined
    let offset = node?.range?.[0] ?? 0
    for (const step of at) {
      if (isAlias(node)) node = node.resolve(this.#document)
      if (isMap(node)) {
        const pair = node.items.find((it) => isPair(it) && isScalar(it.key) && String(it.key.value) === step)
        if (pair === undefined) break
        offset = (pair.key as Node).range?.[0] ?? offset
        node = pair.value as Node | null
      } else if (isSeq(node)) {
        node = node.items[Number(step)] as Node | undefined
        offset = node?.range?.[0] ?? offset
      } else break
    }
    return this.#lineAt(offset)
  }

  #lineAt(offset: number): string {
    return `${this.#name}:${Math.max(1, this.#lines.linePos(offset).line)}`
  }
}
