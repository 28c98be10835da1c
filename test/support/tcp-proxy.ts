import net from 'node:net'

/** What happens to one request on its way, or to its answer. */
export type ProxyFault =
  | { kind: 'pass' }
  | { kind: 'resetAtOnce' }
  /** After that many bytes of the request. */
  | { kind: 'resetInRequest'; afterBytes: number }
  /** The other side got the request, and acts on it; its answer is lost. */
  | { kind: 'resetBeforeAnswer' }
  | { kind: 'truncateAnswer'; afterBytes: number }
  | { kind: 'slowAnswer'; byteMs: number }
  | { kind: 'blackHole' }
  /** Answered by the proxy itself, as a load balancer does. */
  | { kind: 'answer'; status: number; retryAfterS?: number }

/**
 * A TCP proxy between two parts of Weir that breaks what it is told to break, request by request: a request begins
 * with the first byte that comes from the client after an answer, or after the connection was made.
 */
export class TcpProxy {
  /** Is shown the beginning of each request. */
  faults: (head: Buffer) => ProxyFault = () => ({ kind: 'pass' })
  requests = 0
  #port = 0
  /** Undefined while there is none: connections end as they begin. */
  target: { host: string; port: number } | undefined
  readonly #server: net.Server
  readonly #sockets = new Set<net.Socket>()

  constructor(target?: { host: string; port: number }) {
    this.target = target
    this.#server = net.createServer((client) => this.#connect(client))
  }

  get port(): number {
    return this.#port
  }

  async start(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#server.once('error', reject)
    this.#server.listen(this.#port, '127.0.0.1', () => resolve())
    await promise
    this.#port = (this.#server.address() as net.AddressInfo).port
  }

  /** Connections are refused from now on; `start` listens on the same port again. */
  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve))
  }

  #connect(client: net.Socket): void {
    if (this.target === undefined) {
      client.destroy()
      return
    }
    const server = net.connect(this.target)
    for (const socket of [client, server]) {
      this.#sockets.add(socket)
      socket.on('close', () => {
        this.#sockets.delete(socket)
        client.destroy()
        server.destroy()
      })
      socket.on('error', () => {}) // 'close' follows.
    }
    let fault: ProxyFault = { kind: 'pass' }
    let requestBytes = 0
    let answerBytes = 0
    let isNewRequest = true
    client.on('data', (chunk: Buffer) => {
      if (isNewRequest) {
        fault = this.faults(chunk)
        this.requests++
        requestBytes = 0
        answerBytes = 0
        isNewRequest = false
      }
      requestBytes += chunk.length
      if (fault.kind === 'resetAtOnce') reset(client)
      else if (fault.kind === 'resetInRequest' && requestBytes >= fault.afterBytes) reset(client)
      else if (fault.kind === 'answer') {
        if (requestBytes === chunk.length) client.end(answerText(fault))
      } else if (fault.kind !== 'blackHole') server.write(chunk)
    })
    server.on('data', (chunk: Buffer) => {
      isNewRequest = true
      if (fault.kind === 'resetBeforeAnswer') reset(client)
      else if (fault.kind === 'truncateAnswer') {
        client.end(chunk.subarray(0, Math.max(0, fault.afterBytes - answerBytes)))
        answerBytes += chunk.length
      } else if (fault.kind === 'slowAnswer') void drip(client, chunk, fault.byteMs)
      else client.write(chunk)
    })
    client.on('end', () => server.end())
    server.on('end', () => client.end())
  }
}

/** Node never ends when a socket is reset that is shutting down already: at exit it waits for it for ever. */
function reset(socket: net.Socket): void {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}

function answerText(fault: { status: number; retryAfterS?: number }): string {
  const retryAfter = fault.retryAfterS === undefined ? '' : `retry-after: ${fault.retryAfterS}\r\n`
  return `HTTP/1.1 ${fault.status} Fault\r\n${retryAfter}content-length: 0\r\nconnection: close\r\n\r\n`
}

async function drip(client: net.Socket, chunk: Buffer, byteMs: number): Promise<void> {
  for (const byte of chunk) {
    if (client.destroyed) return
    client.write(Buffer.of(byte))
    await new Promise((resolve) => setTimeout(resolve, byteMs))
  }
}

const FAULT_KINDS: ((random: () => number) => ProxyFault)[] = [
  () => ({ kind: 'resetAtOnce' }),
  (random) => ({ kind: 'resetInRequest', afterBytes: 1 + (random() % 1500) }),
  () => ({ kind: 'resetBeforeAnswer' }),
  (random) => ({ kind: 'truncateAnswer', afterBytes: random() % 200 }),
  () => ({ kind: 'slowAnswer', byteMs: 20 }),
  () => ({ kind: 'blackHole' }),
  () => ({ kind: 'answer', status: 500 }),
  () => ({ kind: 'answer', status: 503 }),
  () => ({ kind: 'answer', status: 503, retryAfterS: 0 }),
]

/** Breaks `faultsMax` requests out of many, as the generator says, and then none any more. */
export function seededFaults(
  random: () => number,
  options: { faultsMax: number; percent: number },
): () => ProxyFault {
  let left = options.faultsMax
  return () => {
    if (left === 0 || random() % 100 >= options.percent) return { kind: 'pass' }
    left--
    return FAULT_KINDS[random() % FAULT_KINDS.length]!(random)
  }
}
