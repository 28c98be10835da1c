import { isUtf8 } from 'node:buffer'
import type { Server as HttpsServer } from 'node:https'
import type { Socket } from 'node:net'
import fastify, {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import type { Explorer } from '../explore/explorer.ts'
import { WeirError } from '../model/errors.ts'
import { withdrawOffered } from '../store/flow-logs.ts'
import type { Store } from '../store/store.ts'
import { type Logger, silentLogger } from '../telemetry/logger.ts'
import { Metrics } from '../telemetry/metrics.ts'
import { AssignmentFeed } from './assignment-feed.ts'
import { AuditLog } from './audit-log.ts'
import { Authentication } from './authentication.ts'
import type { BucketStore } from './bucket-store.ts'
import './caller.ts'
import { errorBody, invalidInput, RateLimitedError, sendError } from './errors.ts'
import { Inventory } from './inventory.ts'
import { createLiveBoard, type LiveBoard } from './live-board.ts'
import { OpenIdIssuer, type OpenIdOptions } from './open-id.ts'
import { isPretty } from './query.ts'
import { RateLimit } from './rate-limit.ts'
import { collectRoutes, methodsOf } from './route-table.ts'
import { agentRoutes } from './routes/agent.ts'
import { authRoutes } from './routes/auth.ts'
import { bucketRoutes } from './routes/buckets.ts'
import {
  type ConsoleFiles,
  consoleRoutes,
  isConsolePath,
  isLostReader,
  readConsole,
  sendDocument,
} from './routes/console.ts'
import { contractRoutes } from './routes/contracts.ts'
import { exploreRoutes } from './routes/explore.ts'
import { inventoryRoutes } from './routes/inventory.ts'
import { operatorRoutes } from './routes/operator.ts'
import { requestRoutes } from './routes/requests.ts'
import { sessionRoutes } from './routes/session.ts'
import { umRoutes } from './routes/um.ts'
import { weirRoutes } from './routes/weir.ts'
import { Settler } from './settler.ts'
import { type DeliveredObject, Uploads } from './uploads.ts'

export type { DeliveredObject } from './uploads.ts'

/** Certificate chain and its key, PEM. */
export interface Tls {
  cert: string
  key: string
}

export interface AppOptions {
  /** Length of the windows that agents cut, in seconds. */
  windowSizeS: number
  /**
   * Where clients reach this server, such as `https://weir.example.org`; else it is taken from their
   * requests.
   */
  publicUrl?: string
  /** How long a new flow log waits for word from an agent before it is AVAILABLE all the same. */
  attachGraceMs?: number
  /** Per contract. */
  rateLimit?: { perMinute: number; burst: number }
  /** Flow logs of interfaces that are bound to no host are for no agent; else any agent may find them by MAC address. */
  requireBindings?: boolean
  /** Takes client addresses and the protocol from the headers of a reverse proxy. */
  trustProxy?: boolean | string
  /** Serve HTTPS: certificate chain and key, PEM. */
  tls?: Tls
  /** Takes this issuer's tokens, too. */
  openId?: OpenIdOptions
  /** The built console; without one there is none. */
  consoleDirectory?: string
}

export interface AppDependencies {
  store: Store
  buckets: BucketStore
  log?: Logger
  metrics?: Metrics
  /** Answers questions about delivered flows, where they are wanted. Started; the app stops it. */
  explorer?: Explorer
  /** Told of every object, after the agent has acknowledged it. */
  onDelivered?: (object: DeliveredObject) => void
}

/** Everything that routes share. */
export interface Services {
  options: {
    windowSizeS: number
    /** Whether flow logs of no host are offered to all. */
    offered: boolean
  }
  store: Store
  buckets: BucketStore
  metrics: Metrics
  inventory: Inventory
  feed: AssignmentFeed
  live: LiveBoard
  uploads: Uploads
  /** Where this server is for whoever sent the request; without a slash at its end. */
  origin(request: FastifyRequest): string
  /** The base of the Cloud API. */
  base(request: FastifyRequest): string
}

export const API_BASE = '/cloudapi/v6'
const BODY_SIZE_MAX = 4 << 20
const BODY_LEVELS_MAX = 100 // A data center with all that can hang in it has some 20.
const RATE_LIMIT_DEFAULT = { perMinute: 600_000, burst: 100_000 }
const ATTACH_GRACE_MS = 2_000

const ROUTES = [
  authRoutes,
  contractRoutes,
  umRoutes,
  inventoryRoutes,
  requestRoutes,
  agentRoutes,
  weirRoutes,
  operatorRoutes,
]

/** The control plane. Never listens: whoever makes it decides where. Close it before the store. */
export async function createApp(
  options: AppOptions,
  dependencies: AppDependencies,
): Promise<FastifyInstance> {
  const log = dependencies.log ?? silentLogger
  const metrics = dependencies.metrics ?? new Metrics()
  const { store, buckets } = dependencies
  const live = createLiveBoard(store)
  const shared = { windowSizeS: options.windowSizeS, offered: options.requireBindings !== true }
  const services: Services = {
    options: shared,
    store,
    buckets,
    metrics,
    inventory: new Inventory({ attachGraceMs: options.attachGraceMs ?? ATTACH_GRACE_MS }, { store, buckets }),
    feed: new AssignmentFeed(shared, { store, live }),
    live,
    uploads: new Uploads(shared, { store, buckets, metrics, onDelivered: dependencies.onDelivered }),
    origin: (request) => originOf(options.publicUrl, request),
    base: (request) => `${originOf(options.publicUrl, request)}${API_BASE}`,
  }
  const openId = options.openId === undefined ? undefined : new OpenIdIssuer(options.openId)
  const authentication = new Authentication({ store, metrics, openId })
  const files =
    options.consoleDirectory === undefined ? undefined : await readConsole(options.consoleDirectory)
  const authenticate = async (request: FastifyRequest) => {
    const isConsole =
      files !== undefined && (isConsolePath(request.method, pathOf(request)) || isLostReader(app, request))
    if (!isConsole) await authenticateByPath(authentication, request)
  }
  const limit = new RateLimit<number>(options.rateLimit ?? RATE_LIMIT_DEFAULT, store.clock)
  const app = newFastify(options, { log, limit, authenticate })
  addHooks(app, { services, authenticate, limit })
  addErrorAnswers(app, { log, files })
  const settler = new Settler({ store, log, metrics })
  const audit = new AuditLog({ store, log })
  app.addHook('onResponse', async (request, reply) => audit.record(request, reply))
  app.addHook('onReady', async () => {
    if (!shared.offered) await store.change(withdrawOffered)
    settler.start()
  })
  app.addHook('preClose', async () => {
    services.feed.stop()
    await settler.stop()
  })
  app.addHook('onClose', () => audit.stop())
  for (const routes of ROUTES) await app.register(routes, services)
  await app.register(sessionRoutes, { services, authentication })
  const { explorer } = dependencies
  if (explorer !== undefined) {
    await app.register(exploreRoutes, { services, explorer })
    app.addHook('onClose', () => explorer.stop())
  }
  if (files !== undefined) await app.register(consoleRoutes, { files })
  if (buckets.embedded !== undefined) await app.register(bucketRoutes, services)
  return app
}

function tlsOptions(tls: Tls): Tls & { minVersion: 'TLSv1.2' } {
  return { ...tls, minVersion: 'TLSv1.2' }
}

/** Whoever connects from now on gets this certificate. */
export function renewCertificate(app: FastifyInstance, tls: Tls): void {
  const server: unknown = app.server // Its type says HTTP, whatever was asked for.
  ;(server as HttpsServer).setSecureContext(tlsOptions(tls))
}

type Authenticate = (request: FastifyRequest) => Promise<void>

function newFastify(
  options: AppOptions,
  { log, limit, authenticate }: { log: Logger; limit: RateLimit<number>; authenticate: Authenticate },
): FastifyInstance {
  const app = fastify({
    ...(options.tls === undefined ? {} : { https: tlsOptions(options.tls) }),
    loggerInstance: log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_SIZE_MAX,
    trustProxy: options.trustProxy ?? false,
    forceCloseConnections: 'idle',
    requestTimeout: 120_000,
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 512 },
    ajv: {
      customOptions: {
        removeAdditional: false,
        coerceTypes: false,
        useDefaults: false,
        allErrors: true,
        verbose: true,
        allowUnionTypes: true,
      },
    },
    clientErrorHandler: refuseGarbage,
    // Paths that the router cannot even read get here without passing the hooks.
    frameworkErrors: (error, request, reply) => {
      addLimits(reply as FastifyReply, limit)
      authenticate(request as FastifyRequest).then(
        () => sendError(reply as FastifyReply, new WeirError('WEIR_BAD_REQUEST', error.message)),
        (cause) => sendError(reply as FastifyReply, cause),
      )
    },
  })
  collectRoutes(app)
  app.decorateRequest('account', undefined)
  app.decorateRequest('agentHost', undefined)
  app.decorateRequest('rawBody', '')
  addJsonParser(app)
  return app
}

/** What came is no HTTP: even that is said in the usual form. */
function refuseGarbage(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return
  const body = JSON.stringify(errorBody(new WeirError('WEIR_BAD_REQUEST', 'the request is not HTTP')))
  const head = [
    'HTTP/1.1 400 Bad Request',
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
  ]
  socket.end(`${[...head, 'Connection: close'].join('\r\n')}\r\n\r\n${body}`)
}

/** JSON whatever the case; a missing body is one, since clients send the content type with every request. */
function addJsonParser(app: FastifyInstance): void {
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    const fault = encodingFault(request, body as Buffer)
    if (fault !== undefined) return done(fault)
    request.rawBody = body.toString()
    if (request.rawBody.trim() === '') return done(null, undefined)
    if (request.rawBody.includes('\\u0000')) {
      return done(new WeirError('WEIR_BAD_REQUEST', 'NUL characters in the body'))
    }
    parseJson(request, request.rawBody, (error, value) => {
      if (error !== null) {
        return done(
          new WeirError('WEIR_BAD_REQUEST', `the body is not JSON: ${error.message}`, { cause: error }),
        )
      }
      if (!isDeeper(value, BODY_LEVELS_MAX)) return done(null, value)
      done(new WeirError('WEIR_BAD_REQUEST', `the body is nested deeper than ${BODY_LEVELS_MAX} levels`))
    })
  })
}

/** What is kept of a body must fit the stack of whoever writes it out again. */
function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return levels === 0 || Object.values(value).some((it) => isDeeper(it, levels - 1))
}

/** Taken for UTF-8 all the same, a name would be kept with other characters than it has. */
function encodingFault({ headers }: FastifyRequest, body: Buffer): WeirError | undefined {
  const encoding = headers['content-encoding'] ?? 'identity'
  if (encoding !== 'identity') {
    return new WeirError('WEIR_MEDIA_TYPE', `a body with Content-Encoding '${encoding}' is not taken`)
  }
  const charset = /;\s*charset="?([^";\s]*)/i.exec(headers['content-type'] ?? '')?.[1] ?? 'utf-8'
  if (!/^(utf-?8|us-ascii)$/i.test(charset)) {
    return new WeirError('WEIR_MEDIA_TYPE', `JSON is UTF-8, not '${charset}'`)
  }
  return isUtf8(body) ? undefined : new WeirError('WEIR_BAD_REQUEST', 'the body is not UTF-8')
}

function addHooks(
  app: FastifyInstance,
  {
    services,
    authenticate,
    limit,
  }: { services: Services; authenticate: Authenticate; limit: RateLimit<number> },
): void {
  const { metrics } = services
  app.addHook('onRequest', async (request, reply) => {
    if (request.routeOptions.url?.startsWith('/agent/') !== true && isPretty(request.query)) {
      reply.serializer((payload) => toPrettyJson(reply, payload))
    }
    addLimits(reply, limit)
    await authenticate(request)
    // It becomes part of links: nothing but a name or an address, and a port.
    if (!/^[\w.~[\]:-]*$/.test(request.host)) throw new WeirError('WEIR_BAD_REQUEST', 'Host names no host')
    // PostgreSQL takes no NUL in a text, file systems none in a name, and nobody has use for one.
    if (request.url.includes('%00')) throw new WeirError('WEIR_BAD_REQUEST', 'NUL characters in the URL')
    if (request.account !== undefined) takeFromLimit(limit, request.account.contractNumber, reply, metrics)
    // Some generated clients name any type at all for a PATCH.
    if (request.headers['content-type'] === '*/*') request.headers['content-type'] = 'application/json'
  })
  app.addHook('onSend', (_request, _reply, payload, done) => {
    const { underway } = services.store
    if (underway === undefined) done(null, payload)
    else void underway.then(() => done(null, payload))
  })
  app.addHook('onResponse', async (request, reply) => {
    const { method } = request
    metrics.add('weir_api_requests_total', 1, { method, status: reply.statusCode })
    metrics.observe('weir_api_request_seconds', reply.elapsedTime / 1000, { method })
    if (reply.statusCode === 401) metrics.add('weir_api_unauthorized_total')
  })
}

function addLimits(reply: FastifyReply, limit: RateLimit<number>): void {
  reply.header('x-ratelimit-limit', limit.perMinute)
  reply.header('x-ratelimit-burst', limit.burst)
  reply.header('x-ratelimit-remaining', limit.burst)
}

/** Metrics and the like are text already. With a serializer of one's own, the type is one's own business, too. */
function toPrettyJson(reply: FastifyReply, payload: unknown): string {
  if (typeof payload === 'string') return payload
  if (!reply.hasHeader('content-type')) reply.type('application/json; charset=utf-8')
  return JSON.stringify(payload, null, 2)
}

function takeFromLimit(
  limit: RateLimit<number>,
  contractNumber: number,
  reply: FastifyReply,
  metrics: Metrics,
): void {
  const { allowed, remaining, retryAfterS } = limit.take(contractNumber)
  reply.header('x-ratelimit-remaining', remaining)
  if (allowed) return
  metrics.add('weir_api_rate_limited_total')
  throw new RateLimitedError(`more than ${limit.perMinute} requests per minute`, retryAfterS)
}

/** Everything needs a user, but for what has credentials of its own kind. */
async function authenticateByPath(authentication: Authentication, request: FastifyRequest): Promise<void> {
  const path = request.routeOptions.url ?? pathOf(request) // The route's: a path may be written in many ways.
  if (path === '/weir/v1/session' && request.method === 'POST') return // Signs in.
  if (path === '/healthz' || path === '/agent/v1/enroll') return
  if (path.startsWith('/buckets/') && request.method === 'PUT') return // By signature.
  if (path.startsWith('/agent/')) request.agentHost = await authentication.agent(request)
  else request.account = await authentication.user(request)
}

function addErrorAnswers(
  app: FastifyInstance,
  { log, files }: { log: Logger; files: ConsoleFiles | undefined },
): void {
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const { validation } = error
    if (validation !== undefined && validation.length > 0)
      return sendError(reply, invalidInput(error, request.method))
    if (error.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
      const given = request.headers['content-type']
      const what = given === undefined ? 'a body without Content-Type' : `'${given}'`
      return sendError(reply, new WeirError('WEIR_MEDIA_TYPE', `${what} is not application/json`))
    }
    if (error.code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
      return sendError(
        reply,
        new WeirError('WEIR_TOO_LARGE', `the body is larger than ${BODY_SIZE_MAX} bytes`),
      )
    }
    sendError(reply, error)
    if (reply.statusCode >= 500) {
      // Not the query: an upload's has its signature.
      log.error({ err: error, method: request.method, path: pathOf(request) }, 'request failed')
    }
    return reply
  })
  app.setNotFoundHandler((request, reply) => {
    if (files !== undefined && isLostReader(app, request)) {
      return sendDocument(request, reply.code(404), files)
    }
    const allowed = methodsOf(app, pathOf(request))
    if (allowed.length === 0)
      return sendError(reply, new WeirError('WEIR_NOT_FOUND', 'Resource does not exist'))
    reply.header('allow', allowed.join(', '))
    return sendError(
      reply,
      new WeirError('WEIR_METHOD_NOT_ALLOWED', `${request.method} is not possible here`),
    )
  })
  app.get('/healthz', async () => ({ status: 'ok' }))
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0]!
}

function originOf(publicUrl: string | undefined, request: FastifyRequest): string {
  return publicUrl?.replace(/\/+$/, '') ?? `${request.protocol}://${request.host}`
}
