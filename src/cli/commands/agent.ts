import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { AGENT_LIMITS, createAgent, createMeter } from '../../agent/create-agent.ts'
import { WeirError } from '../../model/errors.ts'
import { AGENT_HELP, AGENT_OPTIONS, parseLimits, parseLogLevel } from '../agent-options.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { dataDirectory, makeDataDirectory } from '../data-dir.ts'
import { DataDirLock } from '../data-dir-lock.ts'
import { packageVersion } from '../package-version.ts'
import { requireMetering } from '../require-metering.ts'
import { ENROLMENT, ENROLMENT_HELP, ENROLMENT_USAGE } from './agent-enrolment.ts'

const WINDOW_UNTIL_TOLD_S = 600

export const agent: Command = {
  usage: [
    'weir agent --server URL [--token-file FILE] [--data-dir DIR] [--finish]',
    'weir agent --detach-all [--data-dir DIR]',
    ...ENROLMENT_USAGE,
  ].join('\n'),
  summary: 'Run the agent of a host alone, remove its traces from the kernel, let it in or shut it out',
  help: `  --server URL       the control plane (WEIR_SERVER)
  --token-file FILE  holds the agent's token (default: the environment variable WEIR_AGENT_TOKEN)
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
        finish: { type: 'boolean', default: false },
        'detach-all': { type: 'boolean', default: false },
        ...AGENT_OPTIONS,
        'log-level': { type: 'string', default: 'info' },
      },
    })
    requireMetering()
    const dataDir = dataDirectory(values['data-dir'], context.env)
    if (values['detach-all']) {
      createMeter(dataDir, WINDOW_UNTIL_TOLD_S, AGENT_LIMITS).detachAll()
      context.stderr.write('nothing of this agent is left in the kernel\n')
      return ExitCode.ok
    }
    const serverUrl = values.server ?? context.env['WEIR_SERVER']
    if (serverUrl === undefined) throw new WeirError('WEIR_USAGE', '--server is missing')
    makeDataDirectory(dataDir)
    using _lock = new DataDirLock(dataDir, 'agent')
    const running = createAgent({
      version: packageVersion(),
      dataDir,
      serverUrl,
      agentToken: readToken(values['token-file'], context),
      windowSizeS: WINDOW_UNTIL_TOLD_S,
      limits: parseLimits(values),
      logLevel: parseLogLevel(values['log-level']),
    })
    running.start()
    await new Promise<void>((resolve) => {
      if (context.signal.aborted) resolve()
      context.signal.addEventListener('abort', () => resolve(), { once: true })
    })
    if (values.finish) await running.finish({ deadlineMs: 15_000 })
    else await running.stop()
    return ExitCode.ok
  },
}

function readToken(file: string | undefined, context: CommandContext): string {
  const text = file === undefined ? context.env['WEIR_AGENT_TOKEN'] : readTokenFile(file)
  const token = text?.trim()
  if (!token) throw new WeirError('WEIR_USAGE', 'no agent token: give --token-file or WEIR_AGENT_TOKEN')
  return token
}

function readTokenFile(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new WeirError('WEIR_CONFIG_INVALID', `token file ${file} cannot be read (${code})`, { cause })
  }
}
