import { WeirError } from '../model/errors.ts'
import type { FlowLogProperties } from '../model/flow-log.ts'
import { pause } from '../stdx/wait.ts'
import { CA_OPTION, trustAuthorities } from './authorities.ts'
import { dataDirectory, readCredentials } from './data-dir.ts'

/** The options that every command which talks to a server takes. */
export const SERVER_OPTIONS = {
  server: { type: 'string' },
  contract: { type: 'string' },
  'data-dir': { type: 'string' },
  ...CA_OPTION,
  json: { type: 'boolean' },
} as const

export const SERVER_HELP = `  --server URL      control plane, such as http://127.0.0.1:8080 (WEIR_SERVER; else the local one)
  --data-dir DIR    where the local server keeps its credentials.json (WEIR_DATA_DIR)
  --ca-file FILE    authorities to trust for the server beside the usual ones, PEM (WEIR_CA_FILE)
  --contract N      act in this contract instead of the token's own, where the user may (WEIR_CONTRACT)
  --json            print JSON instead of a table
The token comes from WEIR_TOKEN, else from the local server's credentials.json, for that server only. WEIR_USERNAME
and WEIR_PASSWORD may take its place.`

export interface Resource<Properties> {
  id: string
  type: string
  href: string
  metadata?: { state: string; createdDate: string; lastModifiedDate: string }
  properties: Properties
  entities?: Record<string, Collection<unknown>>
}

export interface Collection<Item> {
  id: string
  items?: Item[]
  _links?: { next?: string }
}

export interface NicProperties {
  name?: string
  mac?: string
  ips?: string[]
  lan: number
  binding?: { host?: string; device?: string; netns?: string; side: 'guest' | 'own'; mac?: string }
}

export type FlowLog = Resource<FlowLogProperties>
export type Nic = Resource<NicProperties>
export type Server = Resource<{ name: string; hostname?: string }>
export type Datacenter = Resource<{ name: string }>

/** A NIC with the names of what it belongs to. */
export interface PlacedNic {
  nic: Nic
  server: Server
  datacenter: Datacenter
  flowLogs: FlowLog[]
}

class RefusedError extends WeirError {
  readonly status: number
  constructor(status: number, message: string) {
    super('WEIR_SERVER_REFUSED', message)
    this.status = status
  }
}

const PAGE = 100
const REQUEST_TIMEOUT_MS = 30_000
const POLL_INTERVAL_MS_MAX = 500

type WayIn = { token: string } | { username: string; password: string }

function basic({ username, password }: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}

/** Speaks the Cloud API with the owner's token. Every failure names the URL and what the server said. */
export class ApiClient {
  readonly origin: string
  readonly #base: string
  readonly #authorization: string
  readonly #contract: string | undefined
  readonly #signal: AbortSignal

  constructor(options: { origin: string; contract?: string | undefined; signal: AbortSignal } & WayIn) {
    this.origin = options.origin
    this.#base = `${options.origin}/cloudapi/v6`
    this.#authorization = 'token' in options ? `Bearer ${options.token}` : basic(options)
    this.#contract = options.contract
    this.#signal = options.signal
  }

  get<T>(path: string): Promise<T> {
    return this.#json<T>('GET', path)
  }

  post<T>(path: string, body: unknown): Promise<T> {
    return this.#json<T>('POST', path, body)
  }

  async bytes(path: string): Promise<Buffer> {
    const response = await this.#send('GET', path)
    return Buffer.from(await response.arrayBuffer())
  }

  /** Sends a mutation and waits until its request is DONE. Returns the answer's body, undefined when it has none. */
  async mutate<T>(method: string, path: string, body?: unknown): Promise<T | undefined> {
    const { answer, request } = await this.begin<T>(method, path, body)
    if (request !== undefined) await this.finish(request)
    return answer
  }

  /** Sends a mutation. What is begun is carried out in this order, and `finish` says when. */
  async begin<T>(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ answer: T | undefined; request: string | undefined }> {
    const response = await this.#send(method, path, body)
    const text = await response.text()
    const location = response.headers.get('location')
    return {
      answer: text === '' ? undefined : (JSON.parse(text) as T),
      request: location === null ? undefined : location.slice(location.indexOf('/requests/')),
    }
  }

  /** Waits until a request is DONE. */
  async finish(request: string): Promise<void> {
    for (let delayMs = 20; ; delayMs = Math.min(delayMs * 1.5, POLL_INTERVAL_MS_MAX)) {
      const { metadata } = await this.get<{ metadata: { status: string; message: string } }>(request)
      if (metadata.status === 'DONE') return
      if (metadata.status === 'FAILED') throw new WeirError('WEIR_SERVER_REFUSED', metadata.message)
      await pause(delayMs, this.#signal)
      this.#signal.throwIfAborted()
    }
  }

  /** All NICs of the contract with their flow logs. */
  async nics(): Promise<PlacedNic[]> {
    const placed: PlacedNic[] = []
    for (const datacenter of await this.datacenters<Datacenter>(7)) {
      for (const server of itemsOf<Server>(datacenter, 'servers')) {
        for (const nic of itemsOf<Nic>(server, 'nics')) {
          placed.push({ nic, server, datacenter, flowLogs: itemsOf<FlowLog>(nic, 'flowlogs') })
        }
      }
    }
    return placed
  }

  /** The one NIC that a person means by a name, a device or a UUID. */
  async nic(wanted: string): Promise<PlacedNic> {
    const found = (await this.nics()).filter(({ nic }) =>
      [nic.id, nic.properties.name, nic.properties.binding?.device].includes(wanted),
    )
    if (found.length === 1) return found[0]!
    if (found.length === 0) {
      throw new WeirError('WEIR_NOT_FOUND', `no NIC is called '${wanted}'; 'weir nic list' shows all`)
    }
    const choices = found.map(
      ({ nic, server }) => `${nic.id} (${nic.properties.name} of ${server.properties.name})`,
    )
    throw new WeirError(
      'WEIR_USAGE',
      `'${wanted}' names ${found.length} NICs, give the UUID: ${choices.join(', ')}`,
    )
  }

  /** All data centers with what hangs in them, as many at a time as one answer can hold. */
  async datacenters<Item>(depth: number): Promise<Item[]> {
    const all: Item[] = []
    for (let limit = PAGE, count = limit; count === limit; ) {
      try {
        const page = `/datacenters?depth=${depth}&limit=${limit}&offset=${all.length}`
        const { items = [] } = await this.get<Collection<Item>>(page)
        all.push(...items)
        count = items.length
      } catch (error) {
        if (!(error instanceof RefusedError) || error.status !== 422 || limit === 1) throw error
        limit /= 10
        count = limit
      }
    }
    return all
  }

  /** A whole collection, page by page. */
  async list<Item>(path: string): Promise<Item[]> {
    const items: Item[] = []
    for (let next: string | undefined = path; next !== undefined; ) {
      const page: Collection<Item> = await this.get(next)
      items.push(...(page.items ?? []))
      const link: string | undefined = page._links?.next
      next = link === undefined ? undefined : link.slice(link.indexOf('/cloudapi/v6') + '/cloudapi/v6'.length)
    }
    return items
  }

  async #json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.#send(method, path, body)
    return (await response.json()) as T
  }

  async #send(method: string, path: string, body?: unknown): Promise<Response> {
    const url = /^\/(weir|auth)\//.test(path) ? `${this.origin}${path}` : `${this.#base}${path}`
    for (;;) {
      const response = await this.#fetch(method, url, body)
      if (response.ok) return response
      if (response.status !== 429) {
        const said = await refusal(response, method, url)
        const { status } = response
        throw new RefusedError(status, status === 401 ? `${said}${this.#wayInHint()}` : said)
      }
      await response.body?.cancel()
      await pause(Number(response.headers.get('retry-after') ?? 1) * 1000, this.#signal)
      this.#signal.throwIfAborted()
    }
  }

  #wayInHint(): string {
    const what = this.#authorization.startsWith('Basic ') ? 'user or password' : 'token'
    return `: ${this.origin} does not know this ${what}; see WEIR_TOKEN, WEIR_SERVER and --data-dir`
  }

  async #fetch(method: string, url: string, body: unknown): Promise<Response> {
    try {
      return await fetch(url, {
        method,
        headers: {
          authorization: this.#authorization,
          ...(this.#contract === undefined ? {} : { 'x-contract-number': this.#contract }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.any([this.#signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]),
      })
    } catch (cause) {
      throw unreachable(this.origin, cause)
    }
  }
}

/** The server: `--server`, the one of `--data-dir`, `WEIR_SERVER`, the local one. The token: `WEIR_TOKEN`, the local one. */
export function connect(
  values: Partial<Record<'server' | 'contract' | 'data-dir' | 'ca-file', string | undefined>>,
  context: { env: Record<string, string | undefined>; signal: AbortSignal },
): ApiClient {
  trustAuthorities(values, context.env)
  const directory = dataDirectory(values['data-dir'], context.env)
  const named = values['data-dir'] === undefined ? context.env['WEIR_SERVER'] : undefined
  const url = values.server ?? (named || undefined) // An empty variable is an unset one.
  const given = wayInFrom(context.env)
  const credentials = url !== undefined && given !== undefined ? undefined : readCredentials(directory)
  const address = url ?? credentials?.url
  if (address === undefined) {
    throw new WeirError(
      'WEIR_CONFIG_INVALID',
      `no server is known: ${directory} has no credentials.json; start one with 'weir up', or give --server and WEIR_TOKEN`,
    )
  }
  const origin = originOf(address)
  const saved =
    credentials !== undefined && isFor(credentials, origin) ? { token: credentials.token } : undefined
  const wayIn = given ?? saved
  if (wayIn === undefined)
    throw new WeirError('WEIR_CONFIG_INVALID', `no token for ${origin}: set WEIR_TOKEN`)
  const contract = values.contract ?? (context.env['WEIR_CONTRACT'] || undefined)
  if (contract !== undefined && !/^\d{1,15}$/.test(contract)) {
    throw new WeirError('WEIR_USAGE', `--contract '${contract}' is not a contract number`)
  }
  return new ApiClient({ origin, ...wayIn, contract, signal: context.signal })
}

function wayInFrom(env: Record<string, string | undefined>): WayIn | undefined {
  const token = env['WEIR_TOKEN']
  if (token) return { token }
  const [username, password] = [env['WEIR_USERNAME'], env['WEIR_PASSWORD']]
  return username && password ? { username, password } : undefined
}

/** The owner's token must not be shown to another server. This machine itself is none, by whichever name. */
function isFor(credentials: { url: string }, origin: string): boolean {
  const { hostname } = new URL(origin)
  return originOf(credentials.url) === origin || /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname)
}

export function unreachable(origin: string, cause: unknown): WeirError {
  const { code, message } = (cause as { cause?: NodeJS.ErrnoException }).cause ?? {}
  const reason = code ?? message ?? (cause as Error).name
  const hint = UNREACHABLE_HINTS[reason] ?? (/CERT|ISSUER/.test(reason) ? CERTIFICATE_HINT : '')
  return new WeirError('WEIR_SERVER_UNREACHABLE', `${origin} does not answer (${reason})${hint}`, { cause })
}

const UNREACHABLE_HINTS: Record<string, string> = {
  ECONNREFUSED: "; is 'weir up' or 'weir server' running?",
}
const CERTIFICATE_HINT = '; --ca-file (WEIR_CA_FILE) names further authorities to trust'

/** What to put before a path, whichever address of the server was given. */
export function originOf(url: string): string {
  const parsed = URL.parse(url)
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) {
    throw new WeirError('WEIR_USAGE', `'${url}' is not a server URL such as http://127.0.0.1:8080`)
  }
  return `${parsed.origin}${parsed.pathname.replace(/\/(cloudapi\/v6\/?)?$/, '')}`
}

/** What hangs below a resource that was asked for with its depth. */
export function itemsOf<Item>(parent: Resource<unknown>, name: string): Item[] {
  return (parent.entities?.[name]?.items ?? []) as Item[]
}

/** What the server said when it said no. */
export async function refusal(response: Response, method: string, url: string): Promise<string> {
  const text = await response.text()
  try {
    const { messages } = JSON.parse(text) as { messages: { errorCode: string; message: string }[] }
    return messages
      .map(({ errorCode, message }) => `${message} (HTTP ${response.status}, code ${errorCode})`)
      .join('; ')
  } catch {
    return `${method} ${url} answered HTTP ${response.status}: ${text.slice(0, 200)}`
  }
}
