import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, realpathSync, renameSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { bpffsRoot } from '../capture/ebpf/bpffs.ts'
import { KernelMeter } from '../capture/ebpf/kernel-meter.ts'
import { LinkWatcher } from '../capture/ebpf/link-watcher.ts'
import { ControlPlaneClient } from '../deliver/control-plane-client.ts'
import { Deliverer } from '../deliver/deliverer.ts'
import type { Assignments } from '../model/agent-protocol.ts'
import { WeirError } from '../model/errors.ts'
import { Spool } from '../spool/spool.ts'
import { systemClock } from '../stdx/clock.ts'
import { createLogger } from '../telemetry/logger.ts'
import { Agent } from './agent.ts'
import { PointTable, replaceFile } from './point-table.ts'
import { SealWorker } from './seal-worker.ts'

export interface AgentLimits {
  flowsMax: number
  flowsPerPointMax: number
  spoolBytesMax: number
  spoolAgeMsMax: number
}

export const AGENT_LIMITS: AgentLimits = {
  flowsMax: 1_000_000,
  flowsPerPointMax: 65_536,
  spoolBytesMax: 10 * 2 ** 30,
  spoolAgeMsMax: 24 * 3600 * 1000,
}

export interface AgentSetup {
  /** Of the package. */
  version: string
  dataDir: string
  serverUrl: string
  agentToken: string
  windowSizeS: number
  limits: AgentLimits
  logLevel: string
}

/** An agent over a data directory, wired but not started. */
export function createAgent(setup: AgentSetup): Agent {
  const log = createLogger({ level: setup.logLevel, destination: process.stderr })
  const directory = path.join(setup.dataDir, 'agent')
  mkdirSync(directory, { recursive: true, mode: 0o750 })
  const spool = new Spool(
    {
      directory: path.join(directory, 'spool'),
      bytesMax: setup.limits.spoolBytesMax,
      ageMsMax: setup.limits.spoolAgeMsMax,
    },
    { clock: systemClock, log },
  )
  const client = new ControlPlaneClient({ serverUrl: setup.serverUrl, agentToken: setup.agentToken })
  const assignmentsFile = path.join(directory, 'assignments.json')
  return new Agent(
    { version: setup.version, windowSizeS: setup.windowSizeS },
    {
      meter: createMeter(setup.dataDir, setup.windowSizeS, setup.limits, setup.logLevel),
      devices: new LinkWatcher({ log }),
      points: new PointTable({ file: path.join(directory, 'points.json') }),
      controlPlane: client,
      sealer: new SealWorker({
        pinPath: pinPath(setup.dataDir),
        spoolDirectory: path.join(directory, 'spool'),
      }),
      spool,
      delivery: new Deliverer({}, { spool, api: client, clock: systemClock, log }),
      savedAssignments: () => readAssignments(assignmentsFile),
      saveAssignments: (assignments) => replaceFile(assignmentsFile, JSON.stringify(assignments)),
      clock: systemClock,
      log,
    },
  )
}

export function createMeter(
  dataDir: string,
  windowSizeS: number,
  limits: AgentLimits,
  logLevel = 'warn',
): KernelMeter {
  const log = createLogger({ level: logLevel, destination: process.stderr })
  takePinsAlong(dataDir)
  return new KernelMeter(
    {
      objectPath: fileURLToPath(new URL('../../build/bpf/flow.bpf.o', import.meta.url)),
      pinPath: pinPath(dataDir),
      windowSizeS,
      flowsMax: limits.flowsMax,
      flowsPerPointMax: limits.flowsPerPointMax,
    },
    { clock: systemClock, log },
  )
}

/** Agents of different data directories on one machine keep out of each other's way. */
export function pinPath(dataDir: string): string {
  const instance = createHash('sha256').update(path.resolve(dataDir)).digest('hex').slice(0, 12)
  return path.join(bpffsRoot(), 'weir', instance)
}

/**
 * The kernel's side is pinned below a name made of the data directory's path. When that was moved, or is named by a link,
 * what is pinned for it gets its new name: else it would go on counting for nobody. A copy has no claim to it.
 */
function takePinsAlong(dataDir: string): void {
  const directory = path.resolve(dataDir)
  const file = path.join(directory, 'agent', 'place')
  const before = existsSync(file) ? readFileSync(file, 'utf8') : undefined
  if (before === directory) return
  if (before !== undefined) {
    const isMoved = !existsSync(before) || realpathSync(before) === realpathSync(directory)
    if (isMoved && existsSync(pinPath(before)) && !existsSync(pinPath(directory))) {
      renameSync(pinPath(before), pinPath(directory))
    }
  }
  if (existsSync(path.dirname(file))) replaceFile(file, directory)
}

function readAssignments(file: string): Assignments | undefined {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw cause
  }
  try {
    return JSON.parse(text) as Assignments
  } catch (cause) {
    throw new WeirError('WEIR_CONFIG_INVALID', `${file} is not JSON`, { cause })
  }
}
