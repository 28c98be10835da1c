import { parseArgs } from 'node:util'
import type { AgentHealth, PointState } from '../../model/agent-protocol.ts'
import { systemClock } from '../../stdx/clock.ts'
import { connect, SERVER_HELP, SERVER_OPTIONS } from '../api-client.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { type Column, formatBytes, formatSeconds, printTable } from '../table.ts'

export const status: Command = {
  usage: 'weir status',
  summary: 'Show agents, interfaces, windows, spool and the last delivery; exit 1 if an agent is away',
  help: SERVER_HELP,
  async run(args, context) {
    const { values } = parseArgs({ args, options: SERVER_OPTIONS })
    const answer = await connect(values, context).get<Status>('/weir/v1/status')
    if (values.json) context.stdout.write(`${JSON.stringify(answer)}\n`)
    else show(answer, context)
    return answer.agents.every((it) => it.live) ? ExitCode.ok : ExitCode.failed
  },
}

interface Point {
  flowLogId: string
  state: PointState
  device?: string
  message?: string
}

interface Agent {
  host: string
  live: boolean
  lastSeenAt: string | null
  agentVersion: string | null
  points: Point[] | null
  health: AgentHealth | null
}

interface Status {
  agents: Agent[]
  flowLogs: { id: string; name?: string; bucket: string; delivery?: Delivery }[]
}

interface Delivery {
  state?: string
  lastObject?: string
  lastError?: string
}

function show(answer: Status, context: CommandContext): void {
  const { stdout } = context
  if (answer.agents.length === 0) stdout.write('no agent has reported yet\n')
  for (const agent of answer.agents) {
    const version = agent.agentVersion === null ? '' : `, version ${agent.agentVersion}`
    stdout.write(
      `agent ${agent.host}: ${agent.live ? 'running' : `away since ${agent.lastSeenAt ?? 'ever'}`}${version}\n`,
    )
    if (agent.health !== null) showHealth(agent.health, context)
    showPoints(agent.points ?? [], answer.flowLogs, context)
  }
}

function showHealth(health: AgentHealth, { stdout }: CommandContext): void {
  const nowS = systemClock.nowMs() / 1000
  const left = Math.max(0, health.windowStartS + health.windowSizeS - nowS)
  stdout.write(
    `  window     ${clockTime(health.windowStartS)}, ${health.windowSizeS} s, ${formatSeconds(left)} left\n`,
  )
  const skipped = health.skippedPackets > 0 ? `, ${health.skippedPackets} packets skipped` : ''
  stdout.write(`  flows      ${health.flows} of ${health.flowsMax}${skipped}\n`)
  if (health.hookRuns > 0) {
    const perRun = (health.hookNs / health.hookRuns).toFixed(0)
    stdout.write(`  hooks      ${health.hookRuns} runs, ${perRun} ns each\n`)
  }
  const { segments, bytes, oldestWindowStartS } = health.spool
  const oldest = oldestWindowStartS === undefined ? '' : `, oldest from ${clockTime(oldestWindowStartS)}`
  stdout.write(`  spool      ${segments} segments, ${formatBytes(bytes)}${oldest}\n`)
  const { lastDelivery, lastError } = health
  if (lastDelivery !== undefined) {
    const { bucket, object, records, bytes: size, at } = lastDelivery
    const ago = formatSeconds(Math.max(0, nowS - Date.parse(at) / 1000))
    stdout.write(`  delivered  ${bucket}/${object}, ${records} records, ${formatBytes(size)}, ${ago} ago\n`)
  }
  if (lastError !== undefined) stdout.write(`  error      ${lastError.message} (${lastError.at})\n`)
}

function showPoints(points: Point[], flowLogs: Status['flowLogs'], context: CommandContext): void {
  if (points.length === 0) return
  const targetOf = (point: Point): string => flowLogs.find((it) => it.id === point.flowLogId)?.bucket ?? '-'
  const columns: Column<Point>[] = [
    { title: '  FLOW LOG', value: (it) => `  ${it.flowLogId}` },
    { title: 'BUCKET', value: targetOf },
    { title: 'DEVICE', value: (it) => it.device ?? '-' },
    { title: 'STATE', value: (it) => it.state, colour: (it) => (it.state === 'attached' ? '32' : '33') },
    { title: '', value: (it) => it.message ?? '' },
  ]
  printTable(context.stdout, columns, points, { colours: context.stdoutIsTerminal })
}

function clockTime(seconds: number): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19).replace('T', ' ')} UTC`
}
