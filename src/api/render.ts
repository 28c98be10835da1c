import { childrenOf, nicsOfDatacenters } from '../store/resources.ts'
import type { ResourceRow } from '../store/schema.ts'
import type { Db } from '../store/store.ts'
import { InvalidInputError } from './errors.ts'
import { childOf, typeNamed } from './resource-types.ts'

export interface Envelope {
  id: string
  type: string
  href: string
  metadata?: Record<string, unknown>
  properties?: Record<string, unknown>
  entities?: Record<string, unknown>
}

/** Rows with everything below them that a depth shows. */
export interface Tree {
  rows: ResourceRow[]
  /** By parent id, then by collection. */
  children: Map<string, Map<string, ResourceRow[]>>
}

const RESOURCES_MAX = 100_000 // An answer with as many has 250 MB.

/**
 * Loads level by level, one query each. Every level of resources takes two of `depth` (CONTRACT, section
 * 2.4). Throws when these are more than one answer can hold.
 */
export async function loadTree(db: Db, rows: ResourceRow[], depth: number): Promise<Tree> {
  const children: Tree['children'] = new Map()
  let count = rows.length
  let level = rows.filter((it) => typeNamed(it.type).entities.length > 0)
  for (let left = depth; left >= 1 && level.length > 0; left -= 2) {
    const ids = level.map((it) => it.id)
    const found = await childrenOf(db, ids)
    for (const it of found) addChild(children, it.parent_id, it)
    const lans = level.filter((it) => it.type === 'lan')
    for (const { lan, nics } of await nicsOf(db, lans)) {
      for (const it of nics) addChild(children, lan.id, it)
      for (const it of nics) found.push(it)
    }
    count += found.length
    if (count > RESOURCES_MAX) {
      const message = `Parameter value shows more than ${RESOURCES_MAX} resources: ask for less, or with a smaller 'limit'`
      throw new InvalidInputError([`[(root).depth] ${message}`])
    }
    level = found.filter((it) => typeNamed(it.type).entities.length > 0)
  }
  return { rows, children }
}

/** A LAN's NICs hang below their servers, and name the LAN by its number. */
export async function nicsOf(
  db: Db,
  lans: ResourceRow[],
): Promise<{ lan: ResourceRow; nics: ResourceRow[] }[]> {
  if (lans.length === 0) return []
  const nics = await nicsOfDatacenters(db, [...new Set(lans.map((it) => it.parent_id))])
  const place = (row: ResourceRow) => row.path.split('/', 3).join('/')
  const byLan = Map.groupBy(nics, (nic) => `${place(nic)}/lans/${String(propertiesOf(nic)['lan'])}`)
  return lans.map((lan) => ({ lan, nics: byLan.get(lan.path) ?? [] }))
}

function addChild(children: Tree['children'], parentId: string, row: ResourceRow): void {
  const collections = children.get(parentId) ?? new Map<string, ResourceRow[]>()
  children.set(parentId, collections)
  const { collection } = typeNamed(row.type)
  const items = collections.get(collection) ?? []
  collections.set(collection, items)
  items.push(row)
}

/** A single resource: whole, its collections as far as `depth` goes. */
export function renderOne(base: string, tree: Tree, row: ResourceRow, depth: number): Envelope {
  const type = typeNamed(row.type)
  const envelope = renderWithoutEntities(base, row)
  if (type.entities.length === 0) return envelope
  const entities: Record<string, unknown> = {}
  for (const name of type.entities) {
    const collection = { id: `${envelope.id}/${name}`, type: 'collection', href: `${envelope.href}/${name}` }
    if (depth === 0) {
      entities[name] = collection
      continue
    }
    const isOurs = childOf(type, name) !== undefined || row.type === 'lan'
    const items = isOurs ? (tree.children.get(row.id)?.get(name) ?? []) : []
    entities[name] = { ...collection, items: renderItems(base, tree, items, depth - 1) }
  }
  return { ...envelope, entities }
}

export function renderItems(base: string, tree: Tree, rows: ResourceRow[], depth: number): Envelope[] {
  if (depth === 0) return rows.map((it) => renderReference(base, it))
  return rows.map((it) => renderOne(base, tree, it, depth - 1))
}

/** The answer to a mutation: the resource without what hangs below it. */
export function renderWithoutEntities(base: string, row: ResourceRow): Envelope {
  return { ...renderReference(base, row), metadata: metadataOf(row), properties: propertiesOf(row) }
}

export function renderReference(base: string, row: ResourceRow): Envelope {
  // A LAN's id is its number in the data center, so ids are taken from the path.
  const id = row.path.slice(row.path.lastIndexOf('/') + 1)
  return { id, type: row.type, href: `${base}${row.path}` }
}

export function propertiesOf(row: ResourceRow): Record<string, unknown> {
  const properties = JSON.parse(row.properties) as Record<string, unknown>
  return row.type === 'datacenter' ? { ...properties, version: row.version } : properties
}

export function metadataOf(row: ResourceRow): Record<string, unknown> {
  return {
    etag: row.etag,
    createdDate: wireDate(row.created_at),
    createdBy: row.created_by,
    createdByUserId: row.created_by_id,
    lastModifiedDate: wireDate(row.modified_at),
    lastModifiedBy: row.modified_by,
    lastModifiedByUserId: row.modified_by_id,
    state: row.pending > 0 ? 'BUSY' : row.state,
  }
}

/** RFC 3339 in whole seconds with `Z`, as clients expect it. */
export function wireDate(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}
