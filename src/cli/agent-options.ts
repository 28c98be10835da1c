import { AGENT_LIMITS, type AgentLimits } from '../agent/create-agent.ts'
import { WeirError } from '../model/errors.ts'
import { parseCount } from './options.ts'

/** What `weir up` and `weir agent` both take. */
export const AGENT_OPTIONS = {
  'flows-max': { type: 'string', default: String(AGENT_LIMITS.flowsMax) },
  'flows-per-nic': { type: 'string', default: String(AGENT_LIMITS.flowsPerPointMax) },
  'spool-mib-max': { type: 'string', default: String(AGENT_LIMITS.spoolBytesMax / 2 ** 20) },
  'spool-hours-max': { type: 'string', default: String(AGENT_LIMITS.spoolAgeMsMax / 3_600_000) },
} as const

export const AGENT_HELP = `  --flows-max N        flows that the kernel keeps per window (default ${AGENT_LIMITS.flowsMax})
  --flows-per-nic N    of which one interface may have this many (default ${AGENT_LIMITS.flowsPerPointMax})
  --spool-mib-max N    disk space for what is not delivered yet (default ${AGENT_LIMITS.spoolBytesMax / 2 ** 20})
  --spool-hours-max N  how long that is kept (default ${AGENT_LIMITS.spoolAgeMsMax / 3_600_000})
  --log-level LEVEL    log on stderr: error, warn, info, debug`

/**
 * As many files as a commit to the spool syncs side by side. libuv's pool has 4 threads otherwise, and the file system
 * would commit its journal for four files at a time.
 */
const THREADS = 32

/** Good as long as nothing has used the pool yet: called when a command begins. */
export function widenThreadPool(env: Record<string, string | undefined>): void {
  env['UV_THREADPOOL_SIZE'] ??= String(THREADS)
}

const LOG_LEVELS = ['error', 'warn', 'info', 'debug', 'trace', 'silent']
const FLOWS = { min: 1, max: 16_777_216 }

export function parseLimits(values: Record<keyof typeof AGENT_OPTIONS, string>): AgentLimits {
  const flowsMax = parseCount('flows-max', values['flows-max'], FLOWS)
  const isOwnQuota = values['flows-per-nic'] !== AGENT_OPTIONS['flows-per-nic'].default
  const flowsPerPointMax = parseCount('flows-per-nic', values['flows-per-nic'], FLOWS)
  if (flowsPerPointMax > flowsMax && isOwnQuota) {
    throw new WeirError(
      'WEIR_USAGE',
      `--flows-per-nic ${flowsPerPointMax} is more than --flows-max ${flowsMax}`,
    )
  }
  const spoolMib = parseCount('spool-mib-max', values['spool-mib-max'], { min: 1, max: 2 ** 30 })
  const spoolHours = parseCount('spool-hours-max', values['spool-hours-max'], { min: 1, max: 24 * 3650 })
  return {
    flowsMax,
    flowsPerPointMax: Math.min(flowsPerPointMax, flowsMax),
    spoolBytesMax: spoolMib * 2 ** 20,
    spoolAgeMsMax: spoolHours * 3_600_000,
  }
}

export function parseLogLevel(text: string): string {
  if (LOG_LEVELS.includes(text)) return text
  throw new WeirError('WEIR_USAGE', `--log-level '${text}' is not one of ${LOG_LEVELS.join(', ')}`)
}
