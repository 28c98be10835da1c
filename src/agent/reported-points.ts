import type { AgentReport, PointState } from '../model/agent-protocol.ts'

export interface PointStatus {
  state: PointState
  device?: string
  message?: string
}

const WHOLE_INTERVAL_MS = 600_000

/**
 * What the control plane knows of our points: most reports have nothing to add to it. Now and then one tells of all of
 * them again, so that a database that was restored from a backup learns what it has lost.
 */
export class ReportedPoints {
  #known: ReadonlyMap<string, PointStatus> | undefined
  #wholeAtMs = 0
  #forgotten = 0

  /** What the next report has to say; `taken` is for when the control plane has taken it. */
  begin(
    statuses: ReadonlyMap<string, PointStatus>,
    nowMs: number,
  ): { points: AgentReport['points']; taken: () => void } {
    if (Math.abs(nowMs - this.#wholeAtMs) >= WHOLE_INTERVAL_MS) this.forget()
    const before = this.#known
    const forgotten = this.#forgotten
    const now = new Map(statuses)
    const points = [...now]
      .filter(([flowLogId, status]) => !isSame(status, before?.get(flowLogId)))
      .map(([flowLogId, status]) => ({ flowLogId, ...status }))
    const taken = () => {
      if (this.#forgotten !== forgotten) return
      if (before === undefined) this.#wholeAtMs = nowMs
      this.#known = now
    }
    return { points, taken }
  }

  /** The next report tells of all points. Due whenever it is uncertain what the control plane has heard. */
  forget(): void {
    this.#known = undefined
    this.#forgotten++
  }
}

function isSame(a: PointStatus, b: PointStatus | undefined): boolean {
  return b !== undefined && a.state === b.state && a.device === b.device && a.message === b.message
}
