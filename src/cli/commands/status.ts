import { parseArgs } from 'node:util'
import type { AgentHealth, PointState, SpoolHealth } from '../../model/agent-protocol.ts'
import { systemClock } from '../../stdx/clock.ts'
import { connect, SERVER_HELP, SERVER_OPTIONS } from '../api-client.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { type Column, formatBytes, formatSeconds, printable, printTable } from '../table.ts'

export const status: Command = {
  usage: 'weir status',
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
  twin: boolean
  lastSeenAt: string | null
  agentVersion: string | null
  points: Point[] | null
  health: AgentHealth | null
}

interface Status {
  agents: Agent[]
  flowLogs: { id: string; bucket: string; prefix: string }[]
  buckets: Bucket[]
}

interface Bucket {
  bucket: string
  lastDeliveredAt: string | null
  oldestPendingWindow: string | null
  lastError: string | null
  lastErrorAt: string | null
}

function show(answer: Status, context: CommandContext): void {
  const { stdout } = context
  if (answer.agents.length === 0) stdout.write('no agent has reported yet\n')
  for (const agent of answer.agents) {
    const version = agent.agentVersion === null ? '' : `, version ${agent.agentVersion}`
    stdout.write(
      `agent ${agent.host}: ${agent.live ? 'running' : `away since ${agent.lastSeenAt ?? 'ever'}`}${version}\n`,
    )
    if (agent.twin)
      stdout.write("  two machines use its token: enrol the copy as another host ('weir agent invite')\n")
    if (agent.health !== null) showHealth(agent.health, context)
    showPoints(agent.points ?? [], answer.flowLogs, context)
  }
  showBuckets(answer.buckets, context)
}

function showBuckets(buckets: Bucket[], context: CommandContext): void {
  if (buckets.length === 0) return
  const columns: Column<Bucket>[] = [
    { title: 'BUCKET', value: (it) => it.bucket },
    { title: 'LAST DELIVERY', value: (it) => it.lastDeliveredAt ?? '-' },
    { title: 'OLDEST WAITING', value: (it) => it.oldestPendingWindow ?? '-' },
    {
      title: 'STATE',
      value: (it) => (it.lastError === null ? 'ok' : `${it.lastError} (${it.lastErrorAt})`),
      colour: (it) => (it.lastError === null ? '32' : '31'),
    },
  ]
  printTable(context.stdout, columns, buckets, { colours: context.stdoutIsTerminal })
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
  stdout.write(`  spool      ${spoolText(health.spool)}\n`)
  const lost = lossText(health.spool)
  if (lost !== '') stdout.write(`  lost       ${lost}\n`)
  const { lastDelivery, lastError } = health
  if (lastDelivery !== undefined) {
    const { bucket, object, records, bytes: size, at } = lastDelivery
    const ago = formatSeconds(Math.max(0, nowS - Date.parse(at) / 1000))
    const name = printable(`${bucket}/${object}`)
    stdout.write(`  delivered  ${name}, ${records} records, ${formatBytes(size)}, ${ago} ago\n`)
  }
  if (lastError !== undefined) {
    stdout.write(`  error      ${printable(`${lastError.message} (${lastError.at})`)}\n`)
  }
}

function spoolText(spool: SpoolHealth): string {
  const { segments, bytes, bytesMax, oldestWindowStartS, parkedSegments = 0 } = spool
  return [
    `${segments} segments`,
    formatBytes(bytes) + (bytesMax === undefined ? '' : ` of ${formatBytes(bytesMax)}`),
    ...(oldestWindowStartS === undefined ? [] : [`oldest from ${clockTime(oldestWindowStartS)}`]),
    ...(parkedSegments > 0 ? [`${parkedSegments} refused`] : []),
  ].join(', ')
}

/** Since the agent started; empty when nothing was. */
function lossText(spool: SpoolHealth): string {
  const { givenUpSegments = 0, givenUpPackets = 0 } = spool
  const { damagedSegments = 0, damagedManifestLines = 0, setAsideFiles = 0 } = spool
  return [
    ...(givenUpSegments > 0 ? [`${givenUpSegments} segments given up (${givenUpPackets} packets)`] : []),
    ...(damagedSegments > 0 ? [`${damagedSegments} segments damaged`] : []),
    ...(damagedManifestLines > 0 ? [`${damagedManifestLines} manifest lines damaged`] : []),
    ...(setAsideFiles > 0 ? [`${setAsideFiles} files set aside`] : []),
  ].join(', ')
}

function showPoints(points: Point[], flowLogs: Status['flowLogs'], context: CommandContext): void {
  if (points.length === 0) return
  const targets = new Map(
    flowLogs.map(({ id, bucket, prefix }) => [id, prefix === '' ? bucket : `${bucket}/${prefix}`]),
  )
  const targetOf = (point: Point): string => targets.get(point.flowLogId) ?? '-'
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
