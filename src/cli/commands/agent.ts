import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { AGENT_LIMITS, createAgent, createMeter } from '../../agent/create-agent.ts'
import { WeirError } from '../../model/errors.ts'
import { aborted } from '../../stdx/wait.ts'
import { AGENT_HELP, AGENT_OPTIONS, parseLimits, parseLogLevel, widenThreadPool } from '../agent-options.ts'
import { originOf } from '../api-client.ts'
import { CA_OPTION, trustAuthorities } from '../authorities.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { dataDirectory, makeDataDirectory, readEnrolment } from '../data-dir.ts'
import { DataDirLock } from '../data-dir-lock.ts'
import { packageVersion } from '../package-version.ts'
import { requireMetering } from '../require-metering.ts'
import { ENROLMENT, ENROLMENT_HELP, ENROLMENT_USAGE } from './agent-enrolment.ts'

const WINDOW_UNTIL_TOLD_S = 600

export const agent: Command = {
  usage: [
    'weir agent [--server URL] [--token-file FILE] [--ca-file FILE] [--data-dir DIR] [--finish]',
    'weir agent --detach-all [--data-dir DIR]',
    ...ENROLMENT_USAGE,
  ].join('\n'),
  help: `  --server URL       the control plane (WEIR_SERVER; else the one that this host was enrolled with)
  --token-file FILE  holds the agent's token (else WEIR_AGENT_TOKEN, else what enroll has kept)
  --ca-file FILE     authorities to trust for control plane and object store beside the usual ones, PEM (WEIR_CA_FILE,
                     else what enroll has kept)
  --data-dir DIR     spool and state (WEIR_DATA_DIR; default /var/lib/weir as root)
  --finish           at the end, stop capturing and deliver what is left; without it the kernel goes on counting for
                     the next agent
  --detach-all       remove every program, link and map of this data directory's agent; what they hold is lost
${AGENT_HELP} (default info)
${ENROLMENT_HELP}`,
  async run(args, context) {
    const enrolment = ENROLMENT[args[0] ?? '']
    if (enrolment !== undefined) return enrolment(args.slice(1), context)
    const { values } = parseArgs({
      args,
      options: {
        server: { type: 'string' },
        'token-file': { type: 'string' },
        'data-dir': { type: 'string' },
        ...CA_OPTION,
        finish: { type: 'boolean', default: false },
        'detach-all': { type: 'boolean', default: false },
        ...AGENT_OPTIONS,
        'log-level': { type: 'string', default: 'info' },
      },
    })
    requireMetering()
    widenThreadPool(context.env)
    const dataDir = dataDirectory(values['data-dir'], context.env)
    if (values['detach-all']) {
      createMeter(dataDir, WINDOW_UNTIL_TOLD_S, AGENT_LIMITS).detachAll()
      context.stderr.write('nothing of this agent is left in the kernel\n')
      return ExitCode.ok
    }
    const { serverUrl, agentToken } = findWayIn(values, dataDir, context)
    makeDataDirectory(dataDir)
    using _lock = new DataDirLock(dataDir, 'agent', 'agent')
    const running = createAgent({
      version: packageVersion(),
      dataDir,
      serverUrl,
      agentToken,
      windowSizeS: WINDOW_UNTIL_TOLD_S,
      limits: parseLimits(values),
      logLevel: parseLogLevel(values['log-level']),
    })
    running.start()
    await aborted(context.signal)
    if (values.finish) await running.finish({ deadlineMs: 15_000 })
    else await running.stop()
    return ExitCode.ok
  },
}

/** What is given stands before what `weir agent enroll` has kept. */
function findWayIn(
  values: Partial<Record<'server' | 'token-file' | 'ca-file', string | undefined>>,
  dataDir: string,
  { env }: CommandContext,
): { serverUrl: string; agentToken: string } {
  const enrolment = readEnrolment(dataDir)
  trustAuthorities(values, env, enrolment?.caFile)
  const server = values.server ?? (env['WEIR_SERVER'] || enrolment?.server)
  if (server === undefined) {
    throw new WeirError('WEIR_USAGE', "--server is missing, and 'weir agent enroll' was not here")
  }
  const file = values['token-file']
  const token = file === undefined ? env['WEIR_AGENT_TOKEN'] || enrolment?.token : readTokenFile(file)
  const agentToken = token?.trim()
  if (agentToken) return { serverUrl: originOf(server), agentToken }
  throw new WeirError(
    'WEIR_USAGE',
    "no agent token: use 'weir agent enroll', --token-file or WEIR_AGENT_TOKEN",
  )
}

function readTokenFile(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new WeirError('WEIR_CONFIG_INVALID', `token file ${file} cannot be read (${code})`, { cause })
  }
}
