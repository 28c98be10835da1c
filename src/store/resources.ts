import { sql } from 'kysely'
import { prepared, preparedInsert } from './prepared.ts'
import type { ResourceRow } from './schema.ts'
import { type Change, type Db, newEtag } from './store.ts'

export interface Author {
  userId: string
  email: string
}

export interface NewResource {
  id: string
  type: string
  contractNumber: number
  /** '' for a data center. */
  parentId: string
  path: string
  properties: Record<string, unknown>
}

export async function insertResource(change: Change, author: Author, it: NewResource): Promise<ResourceRow> {
  const { nowMs } = change
  const row: ResourceRow = {
    id: it.id,
    type: it.type,
    contract_number: it.contractNumber,
    parent_id: it.parentId,
    path: it.path,
    properties: JSON.stringify(it.properties),
    state: 'AVAILABLE',
    pending: 0,
    deleting: 0,
    version: 1,
    etag: newEtag(),
    created_at: nowMs,
    created_by: author.email,
    created_by_id: author.userId,
    modified_at: nowMs,
    modified_by: author.email,
    modified_by_id: author.userId,
  }
  await insertRow(change.tx, row)
  return row
}

const insertRow = preparedInsert('resources')

export async function updateProperties(
  change: Change,
  author: Author,
  id: string,
  properties: Record<string, unknown>,
): Promise<void> {
  await change.tx
    .updateTable('resources')
    .set({
      properties: JSON.stringify(properties),
      etag: newEtag(),
      modified_at: change.nowMs,
      modified_by: author.email,
      modified_by_id: author.userId,
    })
    .where('id', '=', id)
    .execute()
}

export async function setResourceState(
  change: Change,
  id: string,
  state: ResourceRow['state'],
): Promise<void> {
  await change.tx.updateTable('resources').set({ state }).where('id', '=', id).execute()
}

export async function findByPath(db: Db, path: string): Promise<ResourceRow | undefined> {
  if (LAN_PATH.test(path)) return (await selectLan(db, { path }))[0]
  const [row] = await selectByIds(db, { ids: [idOf(path)] })
  return row?.path === path ? row : undefined
}

/** A LAN is named by its number in its data center; in any other path, the id of what it names stands last. */
const LAN_PATH = /\/lans\/[^/]*$/

function idOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

const selectLan = prepared((db, { path }: { path: string }) =>
  db.selectFrom('resources').selectAll().where(sql<boolean>`type = 'lan'`).where('path', '=', path),
)

const selectByIds = prepared((db, { ids }: { ids: readonly string[] }) =>
  db.selectFrom('resources').selectAll().where('id', 'in', ids).orderBy('ordinal'),
)

export function findByIds(db: Db, ids: readonly string[]): Promise<ResourceRow[]> {
  return inChunks(ids, (some) => selectByIds(db, { ids: some }))
}

/**
 * Makes the changes of one data center take turns, across replicas. Taken first in every transaction that
 * changes resources or finishes requests, so that these cannot block each other. SQLite has one writer
 * anyway.
 */
export async function lockDatacenters(change: Change, paths: Iterable<string>): Promise<void> {
  if (change.dialect === 'sqlite') return
  const roots = new Set([...paths].map((it) => it.split('/')[2] ?? ''))
  if (roots.size === 0) return
  await change.tx
    .selectFrom('resources')
    .select('id')
    .where('id', 'in', [...roots])
    .orderBy('ordinal')
    .forUpdate()
    .execute()
}

/** Of the data centers in which these resources lie. */
export async function lockDatacentersOf(change: Change, ids: readonly string[]): Promise<void> {
  if (change.dialect === 'sqlite') return
  const rows = await inChunks(ids, (some) =>
    change.tx.selectFrom('resources').select('path').where('id', 'in', some).execute(),
  )
  await lockDatacenters(
    change,
    rows.map((it) => it.path),
  )
}

export interface Listing {
  contractNumber: number
  type: string
  parentId: string
  /** Only what is shared to groups of this user. */
  sharedWith?: string | undefined
}

export async function listResources(
  db: Db,
  listing: Listing,
  page?: { offset: number; limit: number },
): Promise<ResourceRow[]> {
  let query = select(db, listing).selectAll().orderBy('ordinal')
  if (page !== undefined) query = query.limit(page.limit).offset(page.offset)
  return query.execute()
}

/** The properties of the child of a type that was made last. */
export async function latestChild(db: Db, parentId: string, type: string): Promise<string | undefined> {
  return (await selectLatestChild(db, { parentId, type }))[0]?.properties
}

const selectLatestChild = prepared((db, { parentId, type }: { parentId: string; type: string }) =>
  db
    .selectFrom('resources')
    .select('properties')
    .where('parent_id', '=', parentId)
    .where('type', '=', type)
    .orderBy('ordinal', 'desc')
    .limit(1),
)

export async function countResources(db: Db, listing: Listing): Promise<number> {
  const row = await select(db, listing)
    .select((it) => it.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow()
  return Number(row.count)
}

function select(db: Db, { contractNumber, type, parentId, sharedWith }: Listing) {
  // Each case names the columns of one index and no more: SQLite would else walk through a whole contract,
  // because that index has the order which is asked for. Only data centers have no parent.
  const all = db.selectFrom('resources')
  const query =
    parentId === ''
      ? all.where(sql<boolean>`parent_id = ''`).where('contract_number', '=', contractNumber)
      : all.where('parent_id', '=', parentId).where('type', '=', type)
  if (sharedWith === undefined) return query
  return query.where('id', 'in', (it) =>
    it
      .selectFrom('group_users')
      .innerJoin('user_groups', 'user_groups.id', 'group_users.group_id')
      .innerJoin('group_shares', 'group_shares.group_id', 'group_users.group_id')
      .select('group_shares.resource_id')
      .where('group_users.user_id', '=', sharedWith)
      .where('user_groups.contract_number', '=', contractNumber),
  )
}

/** The children of many parents at once, in the order of their creation. */
export function childrenOf(db: Db, parentIds: readonly string[]): Promise<ResourceRow[]> {
  return inChunks(parentIds, (some) =>
    db.selectFrom('resources').selectAll().where('parent_id', 'in', some).orderBy('ordinal').execute(),
  )
}

/** The NICs of whole data centers: a LAN's are among them. */
export function nicsOfDatacenters(db: Db, datacenterIds: readonly string[]): Promise<ResourceRow[]> {
  return inChunks(datacenterIds, (some) =>
    db
      .selectFrom('resources')
      .selectAll()
      .where('type', '=', 'nic')
      .where('parent_id', 'in', (it) =>
        it.selectFrom('resources as servers').select('servers.id').where('servers.parent_id', 'in', some),
      )
      .orderBy('ordinal')
      .execute(),
  )
}

/** Everything below a resource, nearest first. */
export async function descendantsOf(db: Db, id: string): Promise<ResourceRow[]> {
  const found: ResourceRow[] = []
  for (let level = [id]; level.length > 0; ) {
    const children = await childrenOf(db, level)
    for (const it of children) found.push(it)
    level = children.map((it) => it.id)
  }
  return found
}

export async function markDeleting(change: Change, ids: readonly string[]): Promise<void> {
  await inChunks(ids, async (some) => {
    await change.tx.updateTable('resources').set({ deleting: 1 }).where('id', 'in', some).execute()
    return []
  })
}

/** `/a/1/b/2/c/3` → its ancestors' paths, the topmost first. */
function ancestorPaths(path: string): string[] {
  const parts = path.split('/')
  const paths: string[] = []
  for (let count = 3; count < parts.length; count += 2) paths.push(parts.slice(0, count).join('/'))
  return paths
}

/** The topmost first. */
export async function ancestorsOf(db: Db, path: string): Promise<ResourceRow[]> {
  const paths = ancestorPaths(path)
  if (paths.length === 0) return []
  const found = await selectByIds(db, { ids: paths.map(idOf) })
  const byPath = new Map(found.map((it) => [it.path, it]))
  return paths.map((it) => byPath.get(it)).filter((it) => it !== undefined)
}

const PARAMETERS_MAX = 500

async function inChunks<T>(
  ids: readonly string[],
  query: (some: readonly string[]) => Promise<T[]>,
): Promise<T[]> {
  if (ids.length <= PARAMETERS_MAX) return ids.length === 0 ? [] : query(ids)
  const found: T[] = []
  for (let at = 0; at < ids.length; at += PARAMETERS_MAX) {
    for (const it of await query(ids.slice(at, at + PARAMETERS_MAX))) found.push(it) // Too many for a call's arguments.
  }
  return found
}
