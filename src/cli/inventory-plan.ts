import { RESOURCE_TYPES } from '../api/resource-types.ts'
import { WeirError } from '../model/errors.ts'

/**
 * An inventory in a file, and what must be done so that the control plane's matches it. Resources are known
 * by their names: below one parent a name stands for one resource.
 */
export interface Wanted {
  kind: Kind
  name: string
  properties: Record<string, unknown>
  children: Wanted[]
  /** In the file, such as `inventory.yaml:12`. */
  place: string
}

/** What is there, as the API shows it. */
export interface Present {
  kind: Kind
  id: string
  path: string
  name: string
  properties: Record<string, unknown>
  children: Present[]
}

export type Kind = keyof typeof KINDS

/** Key in the file, collection in the API, and what may hang below. */
export const KINDS = {
  datacenter: {
    collection: 'datacenters',
    // LANs first: a NIC that names one which is not there would make another.
    children: ['lan', 'server', 'natgateway', 'networkloadbalancer', 'applicationloadbalancer'],
  },
  server: { collection: 'servers', children: ['nic'] },
  nic: { collection: 'nics', children: ['flowlog'] },
  lan: { collection: 'lans', children: [] },
  natgateway: { collection: 'natgateways', children: ['flowlog'] },
  networkloadbalancer: { collection: 'networkloadbalancers', children: ['flowlog'] },
  applicationloadbalancer: { collection: 'applicationloadbalancers', children: ['flowlog'] },
  flowlog: { collection: 'flowlogs', children: [] },
} as const satisfies Record<string, { collection: string; children: readonly string[] }>

/** Attributes that only a new resource can have. */
const IMMUTABLE: Partial<Record<Kind, readonly string[]>> = {
  datacenter: ['location'],
  flowlog: ['action', 'direction', 'bucket'],
}

export type Step =
  | { verb: 'create'; kind: Kind; label: string; parent: Place; wanted: Wanted }
  | { verb: 'change'; kind: Kind; label: string; path: string; changes: Change[] }
  | { verb: 'delete'; kind: Kind; label: string; path: string }

/** Where a resource is created: a path, or what an earlier step of the plan creates. */
export type Place = { path: string } | { createdBy: Wanted }
export interface Change {
  name: string
  before: unknown
  after: unknown
}

/**
 * The steps from what is there to what is wanted: nothing twice, parents first, deletions only with
 * `prune`.
 */
export function planInventory(wanted: Wanted[], present: Present[], options: { prune: boolean }): Step[] {
  // Whole data centers are never pruned: one that the file does not name is somebody else's.
  return planChildren(wanted, present, { path: '' }, { ...options, above: '', keepOthers: true })
}

interface Context {
  prune: boolean
  /** Names of the parents, for people. */
  above: string
  keepOthers?: boolean
}

function planChildren(wanted: Wanted[], present: Present[], parent: Place, context: Context): Step[] {
  const steps: Step[] = []
  for (const it of present) {
    const isWanted = wanted.some((other) => isSame(other, it))
    if (!isWanted && context.prune && !context.keepOthers) steps.push(deletion(it, context))
  }
  for (const it of wanted) {
    const found = present.filter((other) => isSame(it, other))
    if (found.length > 1) {
      throw fault(it, `there are ${found.length} of ${labelOf(it, context)}`)
    }
    steps.push(...(found[0] === undefined ? creations(it, parent, context) : changes(it, found[0], context)))
  }
  return steps
}

/** An interface has one flow log, whatever its name. */
function isSame(wanted: Wanted, present: Present): boolean {
  return wanted.kind === present.kind && (wanted.kind === 'flowlog' || wanted.name === present.name)
}

function creations(wanted: Wanted, parent: Place, context: Context): Step[] {
  const label = labelOf(wanted, context)
  const missing = requiredOf(wanted).find((name) => wanted.properties[name] === undefined)
  if (missing !== undefined)
    throw fault(wanted, `'${missing}' is missing: without it ${label} cannot be made`)
  const below = wanted.children.flatMap((it) =>
    creations(it, { createdBy: wanted }, { ...context, above: label }),
  )
  return [{ verb: 'create', kind: wanted.kind, label, parent, wanted }, ...below]
}

/** What the API insists on. Not for the file as a whole: of what is there already it may mention less. */
function requiredOf({ kind, properties }: Wanted): readonly string[] {
  if (kind === 'server') return properties['type'] === 'CUBE' ? [] : ['cores', 'ram']
  return RESOURCE_TYPES[kind === 'flowlog' ? 'flow-log' : kind].required
}

function fault({ place }: Wanted, what: string): WeirError {
  return new WeirError('WEIR_CONFIG_INVALID', `${place}: ${what}`)
}

function changes(wanted: Wanted, present: Present, context: Context): Step[] {
  const label = labelOf(wanted, context)
  const differing = Object.entries(wanted.properties)
    .filter(([name, value]) => !isEqual(value, present.properties[name]))
    .map(([name, after]) => ({ name, before: present.properties[name], after }))
  const fixed = differing.filter(({ name }) => IMMUTABLE[wanted.kind]?.includes(name))
  if (fixed.length > 0 && wanted.kind === 'flowlog') {
    const parent = { path: present.path.split('/').slice(0, -2).join('/') }
    return [deletion(present, context), ...creations(wanted, parent, context)]
  }
  if (fixed.length > 0) {
    throw fault(wanted, `'${fixed[0]!.name}' of ${label} cannot be changed`)
  }
  const own: Step[] =
    differing.length === 0
      ? []
      : [{ verb: 'change', kind: wanted.kind, label, path: present.path, changes: differing }]
  const below = { prune: context.prune, above: label }
  return [...own, ...planChildren(wanted.children, present.children, { path: present.path }, below)]
}

function deletion(it: Present, context: Context): Step {
  return { verb: 'delete', kind: it.kind, label: labelOf(it, context), path: it.path }
}

function labelOf({ kind, name }: { kind: Kind; name: string }, { above }: Context): string {
  return above === '' ? `${kind} ${name}` : `${above} › ${kind} ${name}`
}

/** An attribute that is wanted as a mapping must be there with these and no other keys. */
function isEqual(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null) return a === b
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const [left, right] = [Object.entries(a), Object.entries(b)]
  return left.length === right.length && left.every(([key, value]) => isEqual(value, (b as never)[key]))
}

/** One line for each step, as diffs have it. */
export function describeStep(step: Step): string[] {
  if (step.verb === 'create') return [`+ ${step.label}`]
  if (step.verb === 'delete') return [`- ${step.label}`]
  const text = (it: unknown) => (it === undefined ? '(none)' : JSON.stringify(it))
  return [
    `~ ${step.label}`,
    ...step.changes.map(({ name, before, after }) => `    ${name}: ${text(before)} → ${text(after)}`),
  ]
}
