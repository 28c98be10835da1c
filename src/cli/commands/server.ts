import { readFileSync, unwatchFile, watchFile } from 'node:fs'
import { hostname } from 'node:os'
import { createSecureContext } from 'node:tls'
import { parseArgs } from 'node:util'
import { WeirError } from '../../model/errors.ts'
import { aborted } from '../../stdx/wait.ts'
import { originOf } from '../api-client.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { credentialsPath, dataDirectory, makeDataDirectory } from '../data-dir.ts'
import { DataDirLock } from '../data-dir-lock.ts'
import { OPENID_HELP, OPENID_OPTIONS, parseOpenId } from '../openid-options.ts'
import { parseListen, parseWindowSize } from '../options.ts'
import { type RunningControlPlane, startControlPlane } from '../run-control-plane.ts'
import { parseS3, S3_HELP, S3_OPTIONS } from '../s3-options.ts'

const TLS_LOOK_INTERVAL_MS = 2_000

export const server: Command = {
  usage:
    'weir server [--data-dir DIR] [--listen HOST:PORT] [--window SECONDS] [--public-url URL] [--database URL] [--tls-cert FILE --tls-key FILE] [--oidc-issuer URL --oidc-audience NAME] [--s3-endpoint URL …]',
  help: `  --data-dir DIR       database, buckets, credentials (WEIR_DATA_DIR; default /var/lib/weir as root)
  --listen HOST:PORT   where the API listens (default 127.0.0.1:8080)
  --window SECONDS     length of a window on all agents, any divisor of an hour from 2 (default 600)
  --public-url URL     what clients call it, behind a reverse proxy
  --require-bindings   give agents only flow logs of interfaces that are bound to their host, none to find by MAC address
  --trust-proxy        take client addresses from the reverse proxy's X-Forwarded-For
  --database URL       postgres://…, shared by several replicas (WEIR_DATABASE, which keeps its password out of sight)
  --tls-cert FILE      certificate chain, PEM, to serve HTTPS
  --tls-key FILE       its key, PEM
${OPENID_HELP}
${S3_HELP}`,
  async run(args, context) {
    const { values } = parseArgs({
      args,
      options: {
        'data-dir': { type: 'string' },
        listen: { type: 'string', default: '127.0.0.1:8080' },
        window: { type: 'string', default: '600' },
        'public-url': { type: 'string' },
        'require-bindings': { type: 'boolean', default: false },
        'trust-proxy': { type: 'boolean', default: false },
        database: { type: 'string' },
        'tls-cert': { type: 'string' },
        'tls-key': { type: 'string' },
        ...OPENID_OPTIONS,
        ...S3_OPTIONS,
      },
    })
    const s3 = parseS3(values, context.env)
    const openId = parseOpenId(values)
    const tls = readTls(values['tls-cert'], values['tls-key'])
    const databaseUrl = values.database ?? (context.env['WEIR_DATABASE'] || undefined) // An empty variable is an unset one.
    const listen = parseListen(values.listen)
    const windowSizeS = parseWindowSize(values.window)
    const publicUrl = values['public-url'] === undefined ? undefined : originOf(values['public-url'])
    const dataDir = dataDirectory(values['data-dir'], context.env)
    makeDataDirectory(dataDir)
    using _lock = new DataDirLock(dataDir, 'server', 'server')
    await using controlPlane = await startControlPlane({
      dataDir,
      hostname: hostname(),
      listen,
      windowSizeS,
      ...(publicUrl === undefined ? {} : { publicUrl }),
      ...(s3 === undefined ? {} : { s3 }),
      ...(openId === undefined ? {} : { openId }),
      ...(tls === undefined ? {} : { tls }),
      ...(databaseUrl === undefined ? {} : { databaseUrl }),
      trustProxy: values['trust-proxy'],
      requireBindings: values['require-bindings'],
      withMachine: false,
    })
    if (controlPlane.consoleUrl !== undefined)
      context.stdout.write(`console      ${controlPlane.consoleUrl}\n`)
    context.stdout.write(`API          ${controlPlane.url}\n`)
    context.stdout.write(`credentials  ${credentialsPath(dataDir)}\nready\n`)
    using _watch = tls === undefined ? undefined : watchTls(values, controlPlane, context)
    await aborted(context.signal)
    return ExitCode.ok
  },
}

interface TlsFiles {
  'tls-cert'?: string | undefined
  'tls-key'?: string | undefined
}

/** Certificates are renewed while servers run. One that cannot be used leaves the former in its place. */
function watchTls(
  { 'tls-cert': certFile, 'tls-key': keyFile }: TlsFiles,
  controlPlane: RunningControlPlane,
  { stderr }: CommandContext,
): Disposable {
  const files = [certFile!, keyFile!]
  const renew = (): void => {
    try {
      controlPlane.renewCertificate(readTls(certFile, keyFile)!)
    } catch (error) {
      stderr.write(`weir: ${(error as Error).message}; the certificate stays as it was\n`)
    }
  }
  for (const it of files) watchFile(it, { interval: TLS_LOOK_INTERVAL_MS, persistent: false }, renew)
  return {
    [Symbol.dispose]: () => {
      for (const it of files) unwatchFile(it, renew)
    },
  }
}

function readTls(
  certFile: string | undefined,
  keyFile: string | undefined,
): { cert: string; key: string } | undefined {
  if (certFile === undefined && keyFile === undefined) return undefined
  if (certFile === undefined || keyFile === undefined) {
    throw new WeirError('WEIR_USAGE', '--tls-cert and --tls-key belong together')
  }
  try {
    const tls = { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') }
    createSecureContext(tls) // Refuses here what is no PEM, and a key of another certificate.
    return tls
  } catch (cause) {
    throw new WeirError('WEIR_CONFIG_INVALID', `--tls-cert and --tls-key cannot be used: ${String(cause)}`, {
      cause,
    })
  }
}
