import { hostname } from 'node:os'
import path from 'node:path'
import type { Writable } from 'node:stream'
import { parseArgs } from 'node:util'
import { createAgent } from '../../agent/create-agent.ts'
import type { DeliveredObject } from '../../api/app.ts'
import { aborted } from '../../stdx/wait.ts'
import { AGENT_HELP, AGENT_OPTIONS, parseLimits, parseLogLevel, widenThreadPool } from '../agent-options.ts'
import { ApiClient, type Collection, type FlowLog } from '../api-client.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { credentialsPath, dataDirectory, makeDataDirectory } from '../data-dir.ts'
import { DataDirLock } from '../data-dir-lock.ts'
import { defaultRouteDevice } from '../network.ts'
import { parseListen, parseWindowSize } from '../options.ts'
import { packageVersion } from '../package-version.ts'
import { requireMetering } from '../require-metering.ts'
import { type RunningControlPlane, startControlPlane } from '../run-control-plane.ts'

const QUICKSTART_WINDOW_S = 60
const DEFAULT_WINDOW_S = 600
const FINISH_DEADLINE_MS = 15_000

export const up: Command = {
  usage: 'weir up [--quickstart] [--data-dir DIR] [--listen HOST:PORT] [--window SECONDS]',
  help: `  --quickstart         also enable a flow log on the interface of the default route
  --data-dir DIR       database, buckets, spool, credentials (WEIR_DATA_DIR; default /var/lib/weir as root)
  --listen HOST:PORT   where the API listens (default 127.0.0.1:8080)
  --window SECONDS     length of a window, any divisor of an hour from 2 (default ${DEFAULT_WINDOW_S}; ${QUICKSTART_WINDOW_S} with --quickstart)
${AGENT_HELP} (default warn)`,
  async run(args, context) {
    const { values } = parseArgs({
      args,
      options: {
        quickstart: { type: 'boolean', default: false },
        'data-dir': { type: 'string' },
        listen: { type: 'string', default: '127.0.0.1:8080' },
        window: { type: 'string' },
        ...AGENT_OPTIONS,
        'log-level': { type: 'string', default: 'warn' },
      },
    })
    const defaultWindowS = values.quickstart ? QUICKSTART_WINDOW_S : DEFAULT_WINDOW_S
    const windowSizeS = values.window === undefined ? defaultWindowS : parseWindowSize(values.window)
    const listen = parseListen(values.listen)
    const limits = parseLimits(values)
    const logLevel = parseLogLevel(values['log-level'])
    requireMetering()
    widenThreadPool(context.env)
    const dataDir = dataDirectory(values['data-dir'], context.env)
    makeDataDirectory(dataDir)
    using _server = new DataDirLock(dataDir, 'server', 'up')
    using _agent = new DataDirLock(dataDir, 'agent', 'up')
    await using controlPlane = await startControlPlane({
      dataDir,
      hostname: hostname(),
      listen,
      windowSizeS,
      withMachine: true,
      onDelivered: (object) => printDelivered(context.stdout, object),
    })
    const agent = createAgent({
      version: packageVersion(),
      dataDir,
      serverUrl: controlPlane.origin,
      agentToken: controlPlane.agentToken,
      windowSizeS,
      limits,
      logLevel,
    })
    agent.start()
    try {
      printPlaces(context.stdout, controlPlane, dataDir, windowSizeS)
      if (values.quickstart) await enableFirstFlowLog(controlPlane, context)
      context.stdout.write('ready\n')
      await aborted(context.signal)
    } finally {
      await finish(agent, context)
    }
    return ExitCode.ok
  },
}

function printPlaces(
  out: Writable,
  controlPlane: RunningControlPlane,
  dataDir: string,
  windowSizeS: number,
): void {
  if (controlPlane.consoleUrl !== undefined) out.write(`console      ${controlPlane.consoleUrl}\n`)
  out.write(`API          ${controlPlane.url}\n`)
  out.write(`credentials  ${credentialsPath(dataDir)}\n`)
  out.write(`objects      ${path.join(dataDir, 'buckets')}/<bucket>/, one per window of ${windowSizeS} s\n`)
}

/** ALL and BIDIRECTIONAL on the interface of the default route, unless it has a flow log already. */
async function enableFirstFlowLog(controlPlane: RunningControlPlane, context: CommandContext): Promise<void> {
  const device = defaultRouteDevice()
  const nic = controlPlane.nics.find((it) => it.device === device)
  if (nic === undefined) {
    const reason =
      device === undefined ? 'this machine has no default route' : `${device} is not in the inventory`
    context.stdout.write(`flow log     none: ${reason}; choose an interface with 'weir flowlog create'\n`)
    return
  }
  const api = new ApiClient({
    origin: controlPlane.origin,
    token: controlPlane.token,
    signal: context.signal,
  })
  const { items = [] } = await api.get<Collection<FlowLog>>(`${nic.path}/flowlogs?depth=1`)
  let flowLog = items[0]
  if (flowLog === undefined) {
    const bucket = `${controlPlane.bucket}/${nic.name}`
    const properties = { name: nic.name, action: 'ALL', direction: 'BIDIRECTIONAL', bucket }
    flowLog = (await api.mutate<FlowLog>('POST', `${nic.path}/flowlogs`, { properties }))!
  }
  const { bucket, action, direction } = flowLog.properties
  context.stdout.write(`flow log     ${nic.device} → ${bucket} (${action}, ${direction})\n`)
}

function printDelivered(out: Writable, { bucket, objectName, records, bytes }: DeliveredObject): void {
  out.write(`delivered    ${bucket}/${objectName}  ${records} records  ${bytes} bytes\n`)
}

async function finish(agent: ReturnType<typeof createAgent>, context: CommandContext): Promise<void> {
  context.stderr.write('draining what was captured …\n')
  const { left } = await agent.finish({ deadlineMs: FINISH_DEADLINE_MS })
  if (left === 0) return
  context.stderr.write(`${left} objects could not be delivered yet; the next start delivers them\n`)
}
