import { type SelectQueryBuilder, sql } from 'kysely'
import { timeOrderedUuid } from '../stdx/uuid.ts'
import { someAtATime } from './batches.ts'
import { prepared, preparedInsert } from './prepared.ts'
import type { Author } from './resources.ts'
import type { RequestRow, RequestTargetRow, ResourceRow, Tables } from './schema.ts'
import { type Change, type Db, newEtag } from './store.ts'

export interface NewRequest {
  contractNumber: number
  method: string
  url: string
  headers: Record<string, string>
  body: string
  targets: NewTarget[]
  /** What hangs above the targets: BUSY as long as they are. */
  parents: ResourceRow[]
}

export interface NewTarget {
  resource: ResourceRow
  /** What must have happened on a host before this target is done. */
  wait: RequestTargetRow['wait']
  deletes: boolean
  /** When waiting ends for good. */
  dueAtMs: number
}

const DONE_MESSAGE = 'Request has been successfully executed'
const QUEUED_MESSAGE = 'Request is waiting for earlier requests on the same resources'
const RUNNING_MESSAGE = 'Request is being executed'

/**
 * Takes a mutation, whose wanted state is in the database already, as a request that clients can poll. It
 * is finished at once when it waits for nothing, but the caller still answers BUSY.
 */
export async function acceptRequest(change: Change, author: Author, request: NewRequest): Promise<string> {
  const id = timeOrderedUuid(change.nowMs)
  const touching = request.targets.map((it) => it.resource.id)
  const changing = request.parents.map((it) => it.id)
  const isFirst = (await unfinishedRequests(change.tx, { touching, changing })).length === 0
  const status = isFirst ? 'RUNNING' : 'QUEUED'
  await insertRequest(change.tx, {
    id,
    contract_number: request.contractNumber,
    method: request.method,
    url: request.url,
    headers: JSON.stringify(request.headers),
    body: request.body,
    status,
    message: isFirst ? RUNNING_MESSAGE : QUEUED_MESSAGE,
    etag: newEtag(),
    created_at: change.nowMs,
    created_by: author.email,
    created_by_id: author.userId,
    finished_at: null,
  })
  const rows: RequestTargetRow[] = [
    ...request.targets.map((it) => targetRow(id, it)),
    ...request.parents.map((resource) =>
      targetRow(id, { resource, wait: 'none', deletes: false, dueAtMs: 0 }, 'parent'),
    ),
  ]
  for (let at = 0; at < rows.length; at += ROWS_MAX) {
    await insertTargets(change.tx, ...rows.slice(at, at + ROWS_MAX))
  }
  await markPending(change.tx, { id })
  return id
}

const insertTargets = preparedInsert('request_targets')

const markPending = prepared((db, { id }: { id: string }) =>
  db
    .updateTable('resources')
    .set((it) => ({ pending: it('pending', '+', 1), version: it('version', '+', 1) }))
    .where('id', 'in', (it) =>
      it.selectFrom('request_targets').select('resource_id').where('request_id', '=', id),
    ),
)

const insertRequest = preparedInsert('requests')

/** For what is done as soon as it is accepted and touches no inventory: users, groups, shares. */
export async function recordDoneRequest(
  change: Change,
  author: Author,
  request: Omit<NewRequest, 'targets' | 'parents'> & { target: { id: string; type: string; path: string } },
): Promise<string> {
  const { target, headers, contractNumber, ...line } = request
  const id = timeOrderedUuid(change.nowMs)
  await insertRequest(change.tx, {
    ...line,
    id,
    contract_number: contractNumber,
    headers: JSON.stringify(headers),
    status: 'DONE',
    message: DONE_MESSAGE,
    etag: newEtag(),
    created_at: change.nowMs,
    created_by: author.email,
    created_by_id: author.userId,
    finished_at: change.nowMs,
  })
  const row = { request_id: id, resource_id: target.id, type: target.type, path: target.path }
  const rest = { role: 'target', wait: 'none', deletes: 0, due_at: 0 } as const
  await insertTargets(change.tx, { ...row, ...rest })
  return id
}

const ROWS_MAX = 100 // SQLite takes 32766 parameters in one statement.

function targetRow(
  requestId: string,
  it: NewTarget,
  role: RequestTargetRow['role'] = 'target',
): RequestTargetRow {
  const { resource, wait, deletes, dueAtMs } = it
  const { id, type, path } = resource
  return {
    request_id: requestId,
    resource_id: id,
    type,
    path,
    role,
    wait,
    deletes: deletes ? 1 : 0,
    due_at: dueAtMs,
  }
}

/** Which unfinished requests are meant: any that touch these resources, or those that change these. */
export interface Concerning {
  touching: readonly string[]
  changing?: readonly string[]
}

/** The unfinished ones among some requests, or those that concern some resources; oldest first. */
export async function unfinishedRequests(
  db: Db,
  which: Concerning | { ids: readonly string[] },
): Promise<RequestRow[]> {
  const found = new Map<string, RequestRow>()
  const add = (rows: RequestRow[]) => {
    for (const it of rows) found.set(it.id, it)
  }
  if ('ids' in which) {
    for (const ids of someAtATime(which.ids)) add(await selectUnfinished(db, { ids }))
  } else {
    const touched = [...someAtATime(which.touching)]
    const changed = [...someAtATime(which.changing ?? [])]
    for (let i = 0; i < Math.max(touched.length, changed.length); i++) {
      const touching = touched[i] ?? ['']
      const changing = changed[i]
      add(
        await (changing === undefined
          ? selectTouching(db, { touching })
          : selectConcerning(db, { touching, changing })),
      )
    }
  }
  return [...found.values()].sort((a, b) => a.ordinal - b.ordinal)
}

const selectUnfinished = prepared((db, { ids }: { ids: readonly string[] }) =>
  unfinished(db).where('id', 'in', ids),
)

const selectTouching = prepared((db, { touching }: { touching: readonly string[] }) =>
  unfinished(db).where('id', 'in', targetsAt(db, touching)),
)

const selectConcerning = prepared((db, { touching, changing }: Required<Concerning>) =>
  unfinished(db).where(
    'id',
    'in',
    targetsAt(db, touching).unionAll(targetsAt(db, changing).where('role', '=', 'target')),
  ),
)

function unfinished(db: Db) {
  return db.selectFrom('requests').selectAll().where('finished_at', 'is', null)
}

function targetsAt(db: Db, ids: readonly string[]) {
  return db.selectFrom('request_targets').select('request_targets.request_id').where('resource_id', 'in', ids)
}

/**
 * Unfinished requests that wait for no moment to come any more, oldest first. Asked several times a second, so
 * it must cost no transaction.
 */
export function dueRequests(
  db: Db,
  { nowMs, after, limit }: { nowMs: number; after: number; limit: number },
): Promise<Pick<RequestRow, 'id' | 'ordinal'>[]> {
  return db
    .selectFrom('requests')
    .select(['id', 'ordinal'])
    .where('finished_at', 'is', null)
    .where('ordinal', '>', after)
    .where(({ exists, not, selectFrom }) => {
      const waiting = selectFrom('request_targets')
        .select('request_targets.request_id')
        .whereRef('request_targets.request_id', '=', 'requests.id')
      return not(exists(waiting.where('wait', '=', 'attach').where('due_at', '>', nowMs)))
    })
    .orderBy('ordinal')
    .limit(limit)
    .execute()
}

/** Whether any request waits for its turn: there is an index of these alone, and it is mostly empty. */
export async function hasQueued(db: Db): Promise<boolean> {
  return (await selectQueued(db, {})).length > 0
}

const selectQueued = prepared((db) =>
  db.selectFrom('requests').select('id').where(sql<boolean>`status = 'QUEUED'`).limit(1),
)

/** Two requests must keep their order when one changes what the other touches; siblings need not wait. */
export async function isBlocked(
  change: Change,
  request: RequestRow,
  targets: RequestTargetRow[],
): Promise<boolean> {
  const idsOf = (role: RequestTargetRow['role']) =>
    targets.filter((it) => it.role === role).map((it) => it.resource_id)
  const concerning = { touching: idsOf('target'), changing: idsOf('parent') }
  const unfinished = await unfinishedRequests(change.tx, concerning)
  return unfinished.some((it) => it.ordinal < request.ordinal)
}

export function targetsOf(db: Db, requestId: string): Promise<RequestTargetRow[]> {
  return selectTargets(db, { requestId })
}

const selectTargets = prepared((db, { requestId }: { requestId: string }) =>
  db.selectFrom('request_targets').selectAll().where('request_id', '=', requestId),
)

/** A path for each request: all that it touches is of one data center. */
export async function placesOf(db: Db, requestIds: readonly string[]): Promise<string[]> {
  const paths: string[] = []
  for (const ids of someAtATime(requestIds))
    paths.push(...(await selectPlaces(db, { ids })).map((it) => it.path))
  return paths
}

const selectPlaces = prepared((db, { ids }: { ids: readonly string[] }) =>
  db
    .selectFrom('request_targets')
    .select((it) => it.fn.min('path').as('path'))
    .where('request_id', 'in', ids)
    .groupBy('request_id'),
)

export async function startRequest(change: Change, request: RequestRow): Promise<void> {
  if (request.status === 'RUNNING') return
  await change.tx
    .updateTable('requests')
    .set({ status: 'RUNNING', message: RUNNING_MESSAGE, etag: newEtag() })
    .where('id', '=', request.id)
    .where('finished_at', 'is', null)
    .execute()
}

/** Ends a request: its resources are no longer BUSY for it, and what it deletes is gone. */
export async function finishRequest(
  change: Change,
  request: RequestRow,
  targets: RequestTargetRow[],
  failure: string | undefined,
): Promise<void> {
  const status = failure === undefined ? 'DONE' : 'FAILED'
  const message = failure ?? DONE_MESSAGE
  const { id } = request
  const end = { id, status, message, etag: newEtag(), nowMs: change.nowMs } as const
  if ((await endRequest(change.tx, end)).length === 0) return // Another replica has done it.
  await markNotPending(change.tx, { id })
  await forgetParents(change.tx, { id })
  const gone = targets.filter((it) => it.deletes === 1).map((it) => it.resource_id)
  for (let at = 0; at < gone.length; at += ROWS_MAX) {
    const some = gone.slice(at, at + ROWS_MAX)
    await change.tx.deleteFrom('resources').where('id', 'in', some).execute()
    await change.tx.deleteFrom('group_shares').where('resource_id', 'in', some).execute()
  }
}

const endRequest = prepared(
  (db, it: Pick<RequestRow, 'id' | 'status' | 'message' | 'etag'> & { nowMs: number }) =>
    db
      .updateTable('requests')
      .set({ status: it.status, message: it.message, etag: it.etag, finished_at: it.nowMs })
      .where('id', '=', it.id)
      .where('finished_at', 'is', null)
      .returning('id'),
)

const markNotPending = prepared((db, { id }: { id: string }) =>
  db
    .updateTable('resources')
    .set((it) => ({ pending: it('pending', '-', 1) }))
    .where('id', 'in', (it) =>
      it.selectFrom('request_targets').select('resource_id').where('request_id', '=', id),
    ),
)

const forgetParents = prepared((db, { id }: { id: string }) =>
  db.deleteFrom('request_targets').where('request_id', '=', id).where('role', '=', 'parent'),
)

export function findRequest(db: Db, contractNumber: number, id: string): Promise<RequestRow | undefined> {
  return db
    .selectFrom('requests')
    .selectAll()
    .where('id', '=', id)
    .where('contract_number', '=', contractNumber)
    .executeTakeFirst()
}

export interface RequestFilter {
  contractNumber: number
  /** Only those that touch one of these resources, or that this user made. */
  onlyUserId?: string
  status?: string[]
  createdAfterMs?: number
  createdBeforeMs?: number
  /** Only of the first so many of the contract or the user. */
  firstOf?: number
}

export function listRequests(
  db: Db,
  filter: RequestFilter,
  page?: { offset: number; limit: number },
): Promise<RequestRow[]> {
  let query = selectRequests(db, filter).selectAll().orderBy('ordinal')
  if (page !== undefined) query = query.limit(page.limit).offset(page.offset)
  return query.execute()
}

export async function countRequests(db: Db, filter: RequestFilter): Promise<number> {
  const row = await selectRequests(db, filter)
    .select((it) => it.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow()
  return Number(row.count)
}

function selectRequests(db: Db, filter: RequestFilter): SelectQueryBuilder<Tables, 'requests', object> {
  let query = db.selectFrom('requests').where('contract_number', '=', filter.contractNumber)
  if (filter.onlyUserId !== undefined) query = query.where('created_by_id', '=', filter.onlyUserId)
  if (filter.status !== undefined) {
    query = query.where('status', 'in', filter.status as RequestRow['status'][])
  }
  if (filter.createdAfterMs !== undefined) query = query.where('created_at', '>', filter.createdAfterMs)
  if (filter.createdBeforeMs !== undefined) query = query.where('created_at', '<', filter.createdBeforeMs)
  if (filter.firstOf !== undefined) {
    const { contractNumber, onlyUserId } = filter
    const all = selectRequests(db, { contractNumber, ...(onlyUserId === undefined ? {} : { onlyUserId }) })
    query = query.where('ordinal', 'in', all.select('ordinal').orderBy('ordinal').limit(filter.firstOf))
  }
  return query
}
