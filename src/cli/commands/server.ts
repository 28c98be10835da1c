import { hostname } from 'node:os'
import { parseArgs } from 'node:util'
import { type Command, ExitCode } from '../command.ts'
import { credentialsPath, dataDirectory, makeDataDirectory } from '../data-dir.ts'
import { DataDirLock } from '../data-dir-lock.ts'
import { parseListen, parseWindowSize } from '../options.ts'
import { startControlPlane } from '../run-control-plane.ts'
import { parseS3, S3_HELP, S3_OPTIONS } from '../s3-options.ts'

export const server: Command = {
  usage:
    'weir server [--data-dir DIR] [--listen HOST:PORT] [--window SECONDS] [--public-url URL] [--s3-endpoint URL …]',
  summary: 'Run the control plane alone',
  help: `  --data-dir DIR       database, buckets, credentials (WEIR_DATA_DIR; default /var/lib/weir as root)
  --listen HOST:PORT   where the API listens (default 127.0.0.1:8080)
  --window SECONDS     length of a window on all agents, any divisor of an hour from 2 (default 600)
  --public-url URL     what clients call it, behind a reverse proxy
${S3_HELP}`,
  async run(args, context) {
    const { values } = parseArgs({
      args,
      options: {
        'data-dir': { type: 'string' },
        listen: { type: 'string', default: '127.0.0.1:8080' },
        window: { type: 'string', default: '600' },
        'public-url': { type: 'string' },
        ...S3_OPTIONS,
      },
    })
    const s3 = parseS3(values, context.env)
    const dataDir = dataDirectory(values['data-dir'], context.env)
    makeDataDirectory(dataDir)
    using _lock = new DataDirLock(dataDir, 'server')
    await using controlPlane = await startControlPlane({
      dataDir,
      hostname: hostname(),
      listen: parseListen(values.listen),
      windowSizeS: parseWindowSize(values.window),
      ...(values['public-url'] === undefined ? {} : { publicUrl: values['public-url'].replace(/\/+$/, '') }),
      ...(s3 === undefined ? {} : { s3 }),
      withMachine: false,
    })
    context.stdout.write(`API          ${controlPlane.url}\n`)
    context.stdout.write(`credentials  ${credentialsPath(dataDir)}\nready\n`)
    await new Promise<void>((resolve) => {
      if (context.signal.aborted) resolve()
      context.signal.addEventListener('abort', () => resolve(), { once: true })
    })
    return ExitCode.ok
  },
}
