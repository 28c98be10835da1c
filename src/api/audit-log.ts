import type { FastifyReply, FastifyRequest } from 'fastify'
import { type AuditEntry, insertAudit } from '../store/audit.ts'
import type { Store } from '../store/store.ts'
import type { Logger } from '../telemetry/logger.ts'

const WRITE_DELAY_MS = 200
const PENDING_MAX = 10_000
const MAKES_TOKEN = '/auth/v1/tokens/generate' // By a GET, as clients expect it.

/**
 * Who changed what, when, from where, with which outcome. Written in batches: an audit must not cost a
 * commit each.
 */
export class AuditLog {
  readonly #store: Store
  readonly #log: Logger
  #pending: AuditEntry[] = []
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()

  constructor(dependencies: { store: Store; log: Logger }) {
    this.#store = dependencies.store
    this.#log = dependencies.log
  }

  record(request: FastifyRequest, reply: FastifyReply): void {
    const { account, method } = request
    const isRead = (method === 'GET' || method === 'HEAD') && request.routeOptions.url !== MAKES_TOKEN
    if (account === undefined || isRead) return
    if (this.#pending.length >= PENDING_MAX) {
      this.#log.error({ method, path: request.url }, 'audit log cannot be written, entry left out')
      return
    }
    const location = reply.getHeader('location')
    this.#pending.push({
      contractNumber: account.contractNumber,
      atMs: this.#store.clock.nowMs(),
      userId: account.userId,
      email: account.email,
      address: request.ip,
      method,
      path: request.url.split('?', 1)[0]!,
      status: reply.statusCode,
      requestId: typeof location === 'string' ? (/requests\/([^/]+)/.exec(location)?.[1] ?? null) : null,
    })
    this.#timer ??= setTimeout(() => {
      this.#writing = this.#write()
    }, WRITE_DELAY_MS)
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer)
    await this.#writing
    await this.#write()
  }

  async #write(): Promise<void> {
    this.#timer = undefined
    const entries = this.#pending
    this.#pending = []
    if (entries.length === 0) return
    try {
      await this.#store.change((change) => insertAudit(change, entries))
    } catch (error) {
      this.#log.error({ err: error, entries: entries.length }, 'audit log could not be written')
    }
  }
}
