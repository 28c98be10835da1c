import { randomBytes } from 'node:crypto'
import type { Binding } from '../model/agent-protocol.ts'
import { WeirError } from '../model/errors.ts'
import type { Action, Destination, Direction } from '../model/flow-log.ts'
import { timeOrderedUuid } from '../stdx/uuid.ts'
import type { Account } from '../store/accounts.ts'
import { insertFlowLog, rebindFlowLog, removeFlowLogs } from '../store/flow-logs.ts'
import { acceptRequest, type NewTarget } from '../store/requests.ts'
import {
  ancestorsOf,
  childrenOf,
  descendantsOf,
  findByPath,
  insertResource,
  latestChild,
  listResources,
  lockDatacenters,
  markDeleting,
  updateProperties,
} from '../store/resources.ts'
import type { ResourceRow } from '../store/schema.ts'
import { settleRequests } from '../store/settle.ts'
import type { Change, Store } from '../store/store.ts'
import type { BucketStore } from './bucket-store.ts'
import { assertEditable, assertOperator, assertPrivilege, assertVisible } from './caller.ts'
import { assertBucketUsable, destinationOf, sampleOf } from './destinations.ts'
import { InvalidInputError } from './errors.ts'
import { isObject } from './normalise.ts'
import { propertiesOf } from './render.ts'
import { childOf, DEFAULTS, type ResourceType, type ResourceTypeName, typeNamed } from './resource-types.ts'

type Properties = Record<string, unknown>

const CREATED_MAX = 10_000 // They are made in one transaction, while all others wait.
const PROPERTIES_SIZE_MAX = 65_536 // A thousand IPv6 addresses fit.

/** How the mutation came, for `/requests`. */
export interface RequestLine {
  method: string
  url: string
  headers: Record<string, string>
  body: string
}

export interface Mutation {
  account: Account
  line: RequestLine
  ifMatch: string | undefined
}

/** A resource that is to be created, with its place. */
interface Draft {
  type: ResourceType
  parent: Draft | undefined
  /** Where it stands in the body, for messages. */
  at: string
  properties: Properties
  destination?: Destination
}

/**
 * The mutations of the inventory. The wanted state is written at once, in one transaction with the request
 * that clients poll; the request ends when the hosts have followed.
 */
export class Inventory {
  readonly #store: Store
  readonly #buckets: BucketStore
  readonly #attachGraceMs: number

  constructor(options: { attachGraceMs: number }, dependencies: { store: Store; buckets: BucketStore }) {
    this.#store = dependencies.store
    this.#buckets = dependencies.buckets
    this.#attachGraceMs = options.attachGraceMs
  }

  async create(
    mutation: Mutation,
    type: ResourceType,
    parentPath: string,
    body: Properties,
  ): Promise<{ row: ResourceRow; requestId: string }> {
    const { account } = mutation
    const drafts = draftsOf(type, body, undefined, '(root)')
    if (drafts.length > CREATED_MAX) {
      throw new InvalidInputError([`[(root).entities] One request creates at most ${CREATED_MAX} resources`])
    }
    if (parentPath !== '') await this.#editableRow(this.#store.db, account, parentPath)
    await this.#assertCreatable(account, drafts)
    return this.#store.change(async (change) => {
      await lockDatacenters(change, [parentPath])
      const parents = await ancestorsOf(change.tx, `${parentPath}/${type.collection}/new`)
      const parent = parents.find((it) => it.path === parentPath)
      if (parentPath !== '') assertStaying(await this.#assertEditable(change.tx, account, parent))
      const rows = new Map<Draft, ResourceRow>()
      const nextLan = lanNumbers(change)
      for (const draft of drafts) {
        const above = draft.parent === undefined ? parent : rows.get(draft.parent)
        rows.set(draft, await this.#insert(change, account, draft, above, nextLan))
      }
      const created = [...rows.values(), ...(await missingLans(change, account, [...rows.values()]))]
      const targets = created.map((resource) => this.#target(change, resource, 'create'))
      const requestId = await accept(change, mutation, created[0]!, { targets, parents })
      return { row: busy(created[0]!), requestId }
    })
  }

  /** PATCH (`whole` false) and PUT (`whole` true). */
  async update(
    mutation: Mutation,
    type: ResourceType,
    path: string,
    given: Properties,
    whole: boolean,
  ): Promise<{ row: ResourceRow; requestId: string }> {
    const { account, ifMatch } = mutation
    return this.#store.change(async (change) => {
      await lockDatacenters(change, [path])
      const row = await this.#editableRow(change.tx, account, path)
      assertStaying(row)
      assertEtag(row, ifMatch)
      if (type.type === 'flow-log') await assertPrivilege(change.tx, account, 'createFlowLog')
      const before = JSON.parse(row.properties) as Properties
      const after = changed(type, before, given, whole)
      assertBindable(account, after, before)
      assertUnchanged(type, before, after)
      assertSmall(after)
      await updateProperties(change, account, row.id, after)
      if ('binding' in after || 'mac' in after) await rebindChildren(change, row, after)
      const fresh = await findByPath(change.tx, path)
      const lans = await missingLans(change, account, [fresh!])
      const targets = [fresh!, ...lans].map((resource) => this.#target(change, resource, 'update'))
      const parents = await ancestorsOf(change.tx, path)
      const requestId = await accept(change, mutation, fresh!, { targets, parents })
      return { row: busy(fresh!), requestId }
    })
  }

  /** Deletes a resource and all that hangs on it. */
  async remove(mutation: Mutation, path: string): Promise<{ requestId: string }> {
    const { account, ifMatch } = mutation
    return this.#store.change(async (change) => {
      await lockDatacenters(change, [path])
      const row = await this.#editableRow(change.tx, account, path)
      assertEtag(row, ifMatch)
      if (row.type === 'flow-log') await assertPrivilege(change.tx, account, 'createFlowLog')
      const rows = [row, ...(await descendantsOf(change.tx, row.id))]
      await markDeleting(
        change,
        rows.map((it) => it.id),
      )
      await removeFlowLogs(
        change,
        rows.filter((it) => it.type === 'flow-log').map((it) => it.id),
      )
      const targets = rows.map((resource) => this.#target(change, resource, 'delete'))
      const parents = await ancestorsOf(change.tx, path)
      return { requestId: await accept(change, mutation, row, { targets, parents }) }
    })
  }

  async #editableRow(db: Store['db'], account: Account, path: string): Promise<ResourceRow> {
    return this.#assertEditable(db, account, await findByPath(db, path))
  }

  async #assertEditable(
    db: Store['db'],
    account: Account,
    found: ResourceRow | undefined,
  ): Promise<ResourceRow> {
    const row = await assertVisible(db, account, found)
    await assertEditable(db, account, row)
    return row
  }

  /** What must be asked outside of the transaction, because the answer may take its time. */
  async #assertCreatable(account: Account, drafts: Draft[]): Promise<void> {
    const { db } = this.#store
    if (drafts[0]!.type.type === 'datacenter') await assertPrivilege(db, account, 'createDataCenter')
    const flowLogs = drafts.filter((it) => it.type.type === 'flow-log')
    if (flowLogs.length > 0) await assertPrivilege(db, account, 'createFlowLog')
    for (const draft of drafts) assertBindable(account, draft.properties, {}, draft.at)
    for (const draft of flowLogs) {
      const at = `${draft.at}.properties.bucket`
      const destination = destinationOf(String(draft.properties['bucket']), at, this.#buckets)
      const { bucket, prefix } = destination
      draft.destination = destination
      draft.properties['bucket'] = prefix === '' ? bucket : `${bucket}/${prefix}`
    }
    const destinations = new Map(flowLogs.map((it) => [it.properties['bucket'], it.destination!]))
    for (const it of destinations.values())
      await assertBucketUsable(db, this.#buckets, account.contractNumber, sampleOf(it))
  }

  async #insert(
    change: Change,
    account: Account,
    draft: Draft,
    parent: ResourceRow | undefined,
    nextLan: (datacenter: ResourceRow) => Promise<number>,
  ): Promise<ResourceRow> {
    const id = timeOrderedUuid(change.nowMs)
    const { type } = draft
    const pathId = type.type === 'lan' ? String(await nextLan(parent!)) : id
    const properties = await completed(change, type, parent, draft.properties)
    const row = await insertResource(change, account, {
      id,
      type: type.type,
      contractNumber: account.contractNumber,
      parentId: parent?.id ?? '',
      path: `${parent?.path ?? ''}/${type.collection}/${pathId}`,
      properties,
    })
    if (draft.destination !== undefined) {
      await insertFlowLog(change, {
        id,
        interfaceId: parent!.id,
        contractNumber: account.contractNumber,
        action: properties['action'] as Action,
        direction: properties['direction'] as Direction,
        ...draft.destination,
        ...boundTo(propertiesOf(parent!)),
      })
    }
    return row
  }

  #target(change: Change, resource: ResourceRow, verb: 'create' | 'update' | 'delete'): NewTarget {
    const deletes = verb === 'delete'
    if (resource.type !== 'flow-log' || verb === 'update') {
      return { resource, wait: 'none', deletes, dueAtMs: 0 }
    }
    if (deletes) return { resource, wait: 'detach', deletes, dueAtMs: 0 }
    return { resource, wait: 'attach', deletes, dueAtMs: change.nowMs + this.#attachGraceMs }
  }
}

async function accept(
  change: Change,
  { account, line }: Mutation,
  row: ResourceRow,
  { targets, parents }: { targets: NewTarget[]; parents: ResourceRow[] },
): Promise<string> {
  const request = { ...line, contractNumber: account.contractNumber, targets, parents }
  const requestId = await acceptRequest(change, account, request)
  // No agent has heard yet of a flow log that is made in this very change.
  const isWaiting = targets.some((it) => it.wait === 'attach' && it.dueAtMs > change.nowMs)
  if (!isWaiting) await settleRequests(change, { touching: [row.id] })
  return requestId
}

/**
 * An answer says BUSY even when there was nothing to wait for: clients then poll, and see the end at once.
 */
function busy(row: ResourceRow): ResourceRow {
  return { ...row, pending: Math.max(1, row.pending) }
}

/** The resource and its inline children, parents first. */
function draftsOf(type: ResourceType, body: Properties, parent: Draft | undefined, at: string): Draft[] {
  const draft: Draft = { type, parent, at, properties: body['properties'] as Properties }
  const missing = missingOf(type, draft.properties)
  if (missing.length > 0) {
    throw new InvalidInputError(missing.map((name) => `[${at}.properties.${name}] Attribute is required`))
  }
  assertSmall(draft.properties, at)
  const drafts = [draft]
  const entities = isObject(body['entities']) ? body['entities'] : {}
  const unkept = Object.entries(entities).filter(
    ([name, it]) => childOf(type, name) === undefined && !isBare(it),
  )
  if (unkept.length > 0) {
    throw new InvalidInputError(unkept.map(([name]) => `[${at}.entities.${name}] ${notKept(name)}`))
  }
  for (const [collection, content] of Object.entries(entities)) {
    const child = childOf(type, collection)
    if (child === undefined || !isObject(content)) continue
    const items = (content['items'] ?? []) as Properties[]
    for (const [index, item] of items.entries()) {
      drafts.push(...draftsOf(child, item, draft, `${at}.entities.${collection}.items[${index}]`))
    }
  }
  return drafts
}

/** Lists show thousands of resources at once, from memory. */
function assertSmall(properties: Properties, at = '(root)'): void {
  if (JSON.stringify(properties).length <= PROPERTIES_SIZE_MAX) return
  throw new InvalidInputError([
    `[${at}.properties] Attribute values are longer than ${PROPERTIES_SIZE_MAX} in all`,
  ])
}

/** Accepted and forgotten, a firewall rule would be one that somebody relies on. */
function notKept(collection: string): string {
  return `Attribute is not allowed in create requests: ${collection} are not kept here`
}

/** Clients send back the empty collections that they got. */
function isBare(collection: unknown): boolean {
  if (collection === null || collection === undefined) return true
  if (!isObject(collection)) return false
  const items = collection['items'] ?? []
  return Array.isArray(items) && items.length === 0
}

/** PUT and PATCH are about one resource: whoever sends back its children has changed none, but a new one would be lost. */
export function assertNothingNew(body: Properties, at = '(root)'): void {
  const entities = isObject(body['entities']) ? body['entities'] : {}
  for (const [collection, content] of Object.entries(entities)) {
    const items = isObject(content) && Array.isArray(content['items']) ? content['items'] : []
    for (const [index, item] of items.entries()) {
      const place = `${at}.entities.${collection}.items[${index}]`
      if (!isObject(item)) continue
      if (item['id'] === undefined) {
        throw new InvalidInputError([
          `[${place}] Attribute is not allowed here: create it by a POST of its own`,
        ])
      }
      assertNothingNew(item, place)
    }
  }
}

/** What a schema cannot say: Cubes take cores and memory from their template. */
function missingOf(type: ResourceType, properties: Properties): string[] {
  if (type.type !== 'server' || properties['type'] === 'CUBE') return []
  return ['cores', 'ram'].filter((name) => properties[name] === undefined)
}

async function completed(
  change: Change,
  type: ResourceType,
  parent: ResourceRow | undefined,
  given: Properties,
): Promise<Properties> {
  const properties = { ...DEFAULTS[type.type as ResourceTypeName], ...given }
  if (type.type !== 'nic') return properties
  const latest = await latestChild(change.tx, parent!.id, 'nic')
  const deviceNumber =
    latest === undefined ? 1 : Number((JSON.parse(latest) as Properties)['deviceNumber']) + 1
  return { mac: newMac(), ...properties, deviceNumber, pciSlot: deviceNumber + 5 }
}

/**
 * Locally administered, and otherwise random in all its bits: agents go by it, so with fewer the NICs of a large fleet
 * would meet by chance, or by the will of a tenant who makes many, and one would get the flows of another.
 */
function newMac(): string {
  const octets = randomBytes(6)
  octets[0] = (octets[0]! & 0xfc) | 0x02
  return Array.from(octets, (it) => it.toString(16).padStart(2, '0')).join(':')
}

/** Numbers for new LANs; what is there already is read once. */
function lanNumbers(change: Change): (datacenter: ResourceRow) => Promise<number> {
  const highest = new Map<string, number>()
  return async ({ id, contract_number: contractNumber }) => {
    const known = highest.get(id)
    const lans =
      known === undefined ? await listResources(change.tx, { contractNumber, type: 'lan', parentId: id }) : []
    const number = Math.max(known ?? 0, ...lans.map((it) => Number(it.path.split('/').at(-1)))) + 1
    highest.set(id, number)
    return number
  }
}

/** A NIC may name a LAN that is not there yet: it then comes to be. */
async function missingLans(change: Change, account: Account, rows: ResourceRow[]): Promise<ResourceRow[]> {
  const wanted = new Map<string, string>()
  for (const row of rows) {
    if (row.type !== 'nic') continue
    const datacenterPath = row.path.split('/').slice(0, 3).join('/')
    wanted.set(`${datacenterPath}/lans/${String(propertiesOf(row)['lan'])}`, datacenterPath)
  }
  const made: ResourceRow[] = []
  for (const [path, datacenterPath] of wanted) {
    if ((await findByPath(change.tx, path)) !== undefined) continue
    const datacenter = await findByPath(change.tx, datacenterPath)
    const lan = {
      id: timeOrderedUuid(change.nowMs),
      type: 'lan',
      contractNumber: account.contractNumber,
      parentId: datacenter!.id,
      path,
      properties: { ...DEFAULTS.lan, name: `LAN ${path.slice(path.lastIndexOf('/') + 1)}` },
    }
    made.push(await insertResource(change, account, lan))
  }
  return made
}

/** PATCH merges; PUT replaces, but keeps what Weir set and what a client cannot know. */
function changed(type: ResourceType, before: Properties, given: Properties, whole: boolean): Properties {
  const wanted = Object.fromEntries(Object.entries(given).filter(([name]) => !type.readOnly.includes(name)))
  if (!whole) return { ...before, ...wanted }
  const keptNames = [...type.readOnly, ...type.kept]
  const kept = Object.fromEntries(Object.entries(before).filter(([name]) => keptNames.includes(name)))
  return { ...DEFAULTS[type.type as ResourceTypeName], ...kept, ...wanted }
}

function assertUnchanged(type: ResourceType, before: Properties, after: Properties): void {
  const differing = type.immutable.filter((name) => !isSame(type, name, before[name], after[name]))
  if (differing.length === 0) {
    for (const name of type.immutable) if (name in before) after[name] = before[name] // In the form it was kept in.
    return
  }
  const names = differing.map((name) => `'${name}'`).join(', ')
  const advice = `${names} cannot be changed: delete the ${type.type} and create another`
  throw new WeirError('WEIR_FLOW_LOG_IMMUTABLE', advice)
}

function isSame(type: ResourceType, name: string, before: unknown, after: unknown): boolean {
  if (type.type !== 'flow-log' || name !== 'bucket') return before === after
  const withoutScheme = (it: unknown) => String(it).replace(/^s3:\/\//, '')
  return withoutScheme(before) === withoutScheme(after)
}

/** Only the operator knows which device belongs to whom: anyone else could ask for a neighbour's packets. */
function assertBindable(account: Account, after: Properties, before: Properties, at = '(root)'): void {
  const isBinding = JSON.stringify(after['binding'] ?? null) !== JSON.stringify(before['binding'] ?? null)
  const isMac = after['mac'] !== undefined && after['mac'] !== before['mac']
  if (!isBinding && !isMac) return
  assertOperator(account)
  const binding = after['binding'] as Partial<Binding & { host: string }> | null | undefined
  if (binding === undefined || binding === null) return
  if (binding.device === undefined && binding.mac === undefined) {
    throw new InvalidInputError([`[${at}.properties.binding] 'device' or 'mac' is required`])
  }
  if (binding.device !== undefined && binding.host === undefined) {
    throw new InvalidInputError([`[${at}.properties.binding.host] Attribute is required with 'device'`])
  }
}

/** Which device, of which host, an interface is; by its MAC address anywhere when nobody said. */
function boundTo(properties: Properties): { host: string | undefined; binding: Binding } {
  const binding = properties['binding'] as (Binding & { host?: string }) | null | undefined
  const isNamed = binding?.device !== undefined
  const mac = (binding?.mac ?? (isNamed ? undefined : properties['mac'])) as string | undefined
  const address = mac === undefined ? {} : { mac: mac.toLowerCase() }
  if (binding === undefined || binding === null)
    return { host: undefined, binding: { side: 'guest', ...address } }
  const { host, device, netns, side } = binding
  const named = { ...(device === undefined ? {} : { device }), ...(netns === undefined ? {} : { netns }) }
  return { host, binding: { ...named, side, ...address } }
}

async function rebindChildren(change: Change, row: ResourceRow, properties: Properties): Promise<void> {
  for (const child of await childrenOf(change.tx, [row.id])) {
    if (child.type === 'flow-log') await rebindFlowLog(change, child.id, boundTo(properties))
  }
}

function assertStaying(row: ResourceRow): void {
  if (row.deleting === 0) return
  throw new WeirError('WEIR_RESOURCE_DELETING', `the ${typeNamed(row.type).type} is being deleted`)
}

/** Optimistic concurrency, for clients that want it. */
function assertEtag(row: ResourceRow, ifMatch: string | undefined): void {
  if (ifMatch === undefined || ifMatch === '*') return
  const tags = ifMatch.split(',').map((it) => it.trim().replace(/^W\//, '').replaceAll('"', ''))
  if (!tags.includes(row.etag)) {
    throw new WeirError('WEIR_ETAG_MISMATCH', `the ${row.type} was changed: its etag is ${row.etag} now`)
  }
}
