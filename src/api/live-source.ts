import { isBelow } from '../explore/explorer.ts'
import { parseFilter } from '../explore/filter.ts'
import { interfacesIn } from '../explore/filter-sql.ts'
import type { LiveBatch, LiveSource } from '../explore/live-rows.ts'
import { parseObjectName } from '../explore/object-name.ts'
import type { LiveCoverage, LiveSilence, Question } from '../explore/question.ts'
import type { LiveRow, LiveWindow } from '../model/agent-protocol.ts'
import { pause } from '../stdx/wait.ts'
import { agentsSeen } from '../store/agents.ts'
import { isContested } from '../store/claims.ts'
import { findObjectsNamed } from '../store/objects.ts'
import { pointsOf } from '../store/points.ts'
import type { FlowLogRow } from '../store/schema.ts'
import { isLive } from '../store/settle.ts'
import type { Db } from '../store/store.ts'
import type { Services } from './app.ts'
import type { CallerAccess } from './explore-access.ts'
import type { LiveBoard, LivePoint, LiveTold } from './live-board.ts'

/** Flow logs that one question follows. Who has more names the interface in the filter. */
const FLOW_LOGS_MAX = 50
const ROWS_MAX = 20_000
const SILENT_SHOWN_MAX = 20
/** Agents that hear of it for the first time get a moment, so that the first answer has something already. */
const FIRST_WAIT_MS = 2_500
const FIRST_POLL_MS = 50

/**
 * Has agents tell of the flows that a question is about, and gives what they told last. That is read before the buckets
 * are: a window that is delivered meanwhile is in both, and counts once.
 */
export async function liveSourceOf(
  services: Services,
  access: CallerAccess,
  { question, signal }: { question: Question; signal: AbortSignal },
): Promise<LiveSource | undefined> {
  if (question.live !== true) return undefined
  const { store, live } = services
  const flowLogs = meantBy(question, access, store.clock.nowMs())
  const { points, silent } = await reachable(store.db, flowLogs, store.clock.nowMs())
  const isNew = await live.want(points)
  if (isNew) await firstTold(live, points, signal)
  const told = await live.told(points)
  return {
    beside: async (objects) => {
      const left = await undelivered(store.db, { flowLogs, told }, objects)
      return answerOf(flowLogs, { points, told, silent }, left)
    },
  }
}

/** Those that the caller sees, in the buckets of the question, of the interfaces in its filter. */
function meantBy(question: Question, access: CallerAccess, nowMs: number): FlowLogRow[] {
  const named = interfacesIn(parseFilter(question.filter ?? '', nowMs))
  const isNamed = (id: string): boolean => {
    const name = access.interfaces.find((it) => it.id === id)?.name
    return named === undefined || named.some((it) => it === name || it.toLowerCase() === id)
  }
  const isInside = (it: FlowLogRow): boolean =>
    question.buckets === undefined ||
    question.buckets.some((text) => {
      const [bucket, ...prefix] = text.split('/')
      return bucket === it.bucket && isBelow(stemOf(it), prefix.join('/'))
    })
  return access.flowLogs.filter((it) => isNamed(it.interface_id) && isInside(it))
}

function stemOf(it: FlowLogRow): string {
  return it.prefix === '' ? it.interface_id : it.prefix
}

type Silent = LiveCoverage['silent'][number]

/** Where flow logs are attached to a device by an agent that is there; and of the others, why they are not. */
async function reachable(
  db: Db,
  flowLogs: FlowLogRow[],
  nowMs: number,
): Promise<{ points: LivePoint[]; silent: Silent[] }> {
  const rows = await pointsOf(
    db,
    flowLogs.map(({ id }) => id),
  )
  const hosts = [...rows.map(({ host }) => host), ...flowLogs.flatMap(({ host }) => host ?? [])]
  const seen = await agentsSeen(db, [...new Set(hosts)])
  const isThere = (host: string): boolean => isLive(seen.get(host), nowMs)
  const points: LivePoint[] = []
  const silent: Silent[] = []
  const followed = new Set<string>()
  for (const flowLog of flowLogs) {
    const own = rows.filter((it) => it.flow_log_id === flowLog.id && it.removed_version === null)
    const attached = own.filter((it) => it.state === 'attached' && !isContested(flowLog, it, own))
    const connected = attached.filter((it) => isThere(it.host))
    if (connected.length > 0 && followed.size < FLOW_LOGS_MAX) {
      followed.add(flowLog.id)
      points.push(...connected.map(({ host }) => ({ host, flowLogId: flowLog.id })))
      continue
    }
    const host = attached[0]?.host ?? flowLog.host ?? own[0]?.host
    const reason = ((): LiveSilence => {
      if (connected.length > 0) return 'too many'
      if (host === undefined || !seen.has(host)) return 'no agent'
      return isThere(host) ? 'waiting' : 'not connected'
    })()
    silent.push({ interface: flowLog.interface_id, reason, ...(host === undefined ? {} : { host }) })
  }
  return { points, silent }
}

async function firstTold(live: LiveBoard, points: LivePoint[], signal: AbortSignal): Promise<void> {
  for (let waitedMs = 0; waitedMs < FIRST_WAIT_MS && !signal.aborted; waitedMs += FIRST_POLL_MS) {
    if ((await live.told(points)).length >= points.length) return
    await pause(FIRST_POLL_MS, signal)
  }
}

interface Left {
  flowLog: FlowLogRow
  window: LiveWindow
}

/** Windows whose object was not found in the bucket. A window in several objects counts as there with the first. */
async function undelivered(
  db: Db,
  { flowLogs, told }: { flowLogs: FlowLogRow[]; told: LiveTold[] },
  objects: ReadonlySet<string>,
): Promise<Left[]> {
  const byId = new Map(flowLogs.map((it) => [it.id, it]))
  const places = new Set(told.map(({ flowLogId }) => placeOf(byId.get(flowLogId)!)))
  const oldestS = Math.min(...told.flatMap(({ flowLog }) => flowLog.windows.map(({ startS }) => startS)))
  const names = new Map<string, string[]>()
  for (const object of objects) {
    const slash = object.indexOf('/')
    const parsed = parseObjectName(object.slice(slash + 1))
    // Names are never before their window.
    if (parsed === undefined || parsed.windowS < oldestS) continue
    const bucket = object.slice(0, slash)
    if (!places.has(`${bucket}/${parsed.stem}`)) continue
    names.set(bucket, [...(names.get(bucket) ?? []), object.slice(slash + 1)])
  }
  const delivered = new Set<string>()
  for (const [bucket, some] of names) {
    for (const { host, windowStartS, flowLogIds } of await findObjectsNamed(db, bucket, some)) {
      for (const id of flowLogIds) delivered.add(`${id} ${windowStartS} ${host}`)
    }
  }
  return told.flatMap(({ host, flowLogId, flowLog: { windows } }) =>
    windows
      .filter(({ startS }) => !delivered.has(`${flowLogId} ${startS} ${host}`))
      .map((window) => ({ flowLog: byId.get(flowLogId)!, window })),
  )
}

function placeOf(it: FlowLogRow): string {
  return `${it.bucket}/${stemOf(it)}`
}

function answerOf(
  flowLogs: FlowLogRow[],
  { points, told, silent }: { points: LivePoint[]; told: LiveTold[]; silent: Silent[] },
  left: Left[],
): { batches: LiveBatch[]; coverage: LiveCoverage } {
  const rowsMax = Math.floor(ROWS_MAX / Math.max(1, left.length))
  const cut = left.map(({ flowLog, window }) => ({ flowLog, window: cutTo(rowsMax, window) }))
  const answering = new Set(told.map(({ flowLogId }) => flowLogId))
  const notYet = points.filter(({ flowLogId }) => !answering.has(flowLogId))
  const interfaceOf = new Map(flowLogs.map((it) => [it.id, it.interface_id]))
  const all: Silent[] = [
    ...notYet.map(({ flowLogId, host }) => ({
      interface: interfaceOf.get(flowLogId)!,
      reason: 'not yet' as const,
      host,
    })),
    ...silent,
  ]
  const underway = told.map(({ flowLog }) => flowLog.underway)
  const oldest = underway.flatMap((it) => it.oldestWindowStartS ?? [])
  const sum = (of: (window: LiveWindow) => number) => cut.reduce((total, it) => total + of(it.window), 0)
  return {
    batches: cut.map(({ flowLog, window }) => ({
      accountId: String(flowLog.contract_number),
      interfaceId: flowLog.interface_id,
      windowS: window.startS,
      rows: window.rows,
    })),
    coverage: {
      flowLogs: flowLogs.length,
      answering: answering.size,
      silent: all.slice(0, SILENT_SHOWN_MAX),
      ageS: told.length === 0 ? null : Math.max(...told.map(({ ageMs }) => ageMs)) / 1000,
      left: {
        flows: sum(({ left }) => left.flows),
        packets: sum(({ left }) => left.packets),
        bytes: sum(({ left }) => left.octets),
      },
      underway: {
        windows: underway.reduce((total, it) => total + it.windows, 0),
        oldestWindowS: oldest.length === 0 ? null : Math.min(...oldest),
      },
    },
  }
}

/** Half of the room, if they need it, is for what was refused or skipped: these are few and small, and what is looked for. */
function cutTo(rowsMax: number, window: LiveWindow): LiveWindow {
  if (window.rows.length <= rowsMax) return window
  const accepted = window.rows.filter(([kind]) => kind === 'ACCEPT')
  const others = window.rows.filter(([kind]) => kind !== 'ACCEPT')
  const othersMax = Math.max(Math.floor(rowsMax / 2), rowsMax - accepted.length)
  const kept = others.slice(0, othersMax)
  const rows = [...accepted.slice(0, rowsMax - kept.length), ...kept]
  const gone: LiveRow[] = [...accepted.slice(rowsMax - kept.length), ...others.slice(othersMax)]
  const left = {
    flows: window.left.flows + gone.length,
    packets: gone.reduce((sum, row) => sum + row[6], window.left.packets),
    octets: gone.reduce((sum, row) => sum + row[7], window.left.octets),
  }
  return { ...window, rows, left }
}
