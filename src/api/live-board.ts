import type { LiveFlowLog, LiveReport, LiveWanted } from '../model/agent-protocol.ts'
import type { Clock } from '../stdx/clock.ts'
import { forgetLive, type LivePoint, liveTold, liveWanted, tellLive, wantLive } from '../store/live.ts'
import type { Store } from '../store/store.ts'
import { etagOf } from './etag.ts'

export type { LivePoint } from '../store/live.ts'

/** What an agent said last about a flow log. */
export interface LiveTold extends LivePoint {
  flowLog: LiveFlowLog
  ageMs: number
}

/**
 * Where those who want to see flows live and the agents that have them meet: who asks pins up what is wanted, agents
 * find it, pin up what they have, and do so again until nobody has asked for a while. Only the newest is kept.
 */
export interface LiveBoard {
  /** Returns whether one of them was not wanted before: its agent has yet to hear of it. */
  want(points: LivePoint[]): Promise<boolean>
  /** Of these hosts, those without anything too. */
  wanted(hosts: string[]): Promise<Map<string, LiveWanted>>
  /** Takes over what is wanted of the host, and leaves aside what is not. */
  tell(host: string, report: LiveReport): Promise<void>
  told(points: LivePoint[]): Promise<LiveTold[]>
}

/** How long agents go on after the last question. */
const WANTED_MS = 30_000
const WANTED_RENEWED_MS = 10_000
const TOLD_MS_MIN = 10_000
const NOTHING: LiveWanted = { key: '', flowLogIds: [], forS: 0 }

/** In memory, unless there can be other replicas. */
export function createLiveBoard(store: Store): LiveBoard {
  return store.dialect === 'sqlite' ? new MemoryBoard(store) : new SharedBoard(store)
}

function wantedOf(them: { flowLogId: string; forMs: number }[]): LiveWanted {
  if (them.length === 0) return NOTHING
  const flowLogIds = them.map(({ flowLogId }) => flowLogId).sort()
  const key = etagOf(flowLogIds.join())
  return { key, flowLogIds, forS: Math.ceil(Math.max(...them.map(({ forMs }) => forMs)) / 1000) }
}

/** A report that is late once is no reason to take its flows off the page. */
function lifeOf({ everyS }: LiveReport): number {
  return Math.max(TOLD_MS_MIN, everyS * 2_500)
}

class MemoryBoard implements LiveBoard {
  readonly #store: Store
  readonly #clock: Clock
  /** By host and flow log; until when. */
  readonly #wanted = new Map<string, Map<string, number>>()
  readonly #told = new Map<string, { flowLog: LiveFlowLog; atMs: number; untilMs: number }>()

  constructor(store: Store) {
    this.#store = store
    this.#clock = store.clock
  }

  async want(points: LivePoint[]): Promise<boolean> {
    const nowMs = this.#nowMs()
    this.#forget(nowMs)
    const woken = new Set<string>()
    for (const { host, flowLogId } of points) {
      const flowLogs = this.#wanted.get(host) ?? new Map<string, number>()
      this.#wanted.set(host, flowLogs)
      if (!flowLogs.has(flowLogId)) woken.add(host)
      flowLogs.set(flowLogId, nowMs + WANTED_MS)
    }
    for (const host of woken) this.#store.signals.emit('assignments', host)
    return woken.size > 0
  }

  async wanted(hosts: string[]): Promise<Map<string, LiveWanted>> {
    const nowMs = this.#nowMs()
    this.#forget(nowMs)
    return new Map(
      hosts.map((host) => {
        const flowLogs = [...(this.#wanted.get(host) ?? [])]
        return [host, wantedOf(flowLogs.map(([flowLogId, until]) => ({ flowLogId, forMs: until - nowMs })))]
      }),
    )
  }

  async tell(host: string, report: LiveReport): Promise<void> {
    const nowMs = this.#nowMs()
    this.#forget(nowMs)
    const wanted = this.#wanted.get(host)
    for (const flowLog of report.flowLogs) {
      if (!wanted?.has(flowLog.flowLogId)) continue
      const key = `${flowLog.flowLogId} ${host}`
      this.#told.set(key, { flowLog, atMs: nowMs, untilMs: nowMs + lifeOf(report) })
    }
  }

  async told(points: LivePoint[]): Promise<LiveTold[]> {
    const nowMs = this.#nowMs()
    this.#forget(nowMs)
    return points.flatMap(({ host, flowLogId }) => {
      const found = this.#told.get(`${flowLogId} ${host}`)
      if (found === undefined) return []
      return [{ host, flowLogId, flowLog: found.flowLog, ageMs: nowMs - found.atMs }]
    })
  }

  #forget(nowMs: number): void {
    for (const [host, flowLogs] of this.#wanted) {
      for (const [flowLogId, untilMs] of flowLogs) if (untilMs <= nowMs) flowLogs.delete(flowLogId)
      if (flowLogs.size === 0) this.#wanted.delete(host)
    }
    for (const [key, { untilMs }] of this.#told) if (untilMs <= nowMs) this.#told.delete(key)
  }

  #nowMs(): number {
    return Number(this.#clock.monotonicNs() / 1_000_000n)
  }
}

/** Through the database: the agent may have reached another replica than the one who asks. */
class SharedBoard implements LiveBoard {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  async want(points: LivePoint[]): Promise<boolean> {
    if (points.length === 0) return false
    const { db } = this.#store
    const wanted = await liveWanted(db, [...new Set(points.map(({ host }) => host))])
    const lasting = new Set(
      wanted
        .filter(({ forMs }) => forMs > WANTED_MS - WANTED_RENEWED_MS)
        .map((it) => `${it.flowLogId} ${it.host}`),
    )
    const due = points.filter((it) => !lasting.has(`${it.flowLogId} ${it.host}`))
    if (due.length === 0) return false
    await this.#store.change(async (change) => {
      await forgetLive(change)
      await wantLive(change, due, WANTED_MS)
    })
    const known = new Set(wanted.map((it) => `${it.flowLogId} ${it.host}`))
    const woken = due.filter((it) => !known.has(`${it.flowLogId} ${it.host}`)).map(({ host }) => host)
    for (const host of new Set(woken)) this.#store.signals.emit('assignments', host)
    return woken.length > 0
  }

  async wanted(hosts: string[]): Promise<Map<string, LiveWanted>> {
    const byHost = Map.groupBy(await liveWanted(this.#store.db, hosts), ({ host }) => host)
    return new Map(hosts.map((host) => [host, wantedOf(byHost.get(host) ?? [])]))
  }

  async tell(host: string, report: LiveReport): Promise<void> {
    const wanted = new Set((await liveWanted(this.#store.db, [host])).map(({ flowLogId }) => flowLogId))
    const told = report.flowLogs
      .filter(({ flowLogId }) => wanted.has(flowLogId))
      .map((flowLog) => ({ flowLogId: flowLog.flowLogId, text: JSON.stringify(flowLog) }))
    await this.#store.change(async (change) => {
      if (told.length === 0) await forgetLive(change)
      else await tellLive(change, host, { told, forMs: lifeOf(report) })
    })
  }

  async told(points: LivePoint[]): Promise<LiveTold[]> {
    const wanted = new Set(points.map(({ host, flowLogId }) => `${flowLogId} ${host}`))
    return (await liveTold(this.#store.db, points))
      .filter(({ host, flowLogId }) => wanted.has(`${flowLogId} ${host}`))
      .map(({ text, ...it }) => ({ ...it, flowLog: JSON.parse(text) as LiveFlowLog }))
  }
}
