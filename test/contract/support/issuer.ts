import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'

export const AUDIENCE = 'weir'

type Key = Awaited<ReturnType<typeof generateKeyPair>>['privateKey']

/** A small OpenID issuer: discovery, a key set, and tokens signed with real keys. */
export class Issuer implements AsyncDisposable {
  /** Requests for the key set. */
  fetches = 0
  #server: Server | undefined
  #port = 0
  #keys: { id: string; algorithm: string; key: Key; jwk: JWK }[] = []

  get url(): string {
    return `http://127.0.0.1:${this.#port}/realm`
  }

  async start(): Promise<void> {
    if (this.#keys.length === 0) await this.rotate()
    this.#server = createServer((request, response) => {
      const isKeys = request.url === '/realm/keys'
      if (isKeys) this.fetches++
      const body = isKeys
        ? { keys: this.#keys.map((it) => it.jwk) }
        : { issuer: this.url, jwks_uri: `${this.url}/keys` }
      response.setHeader('content-type', 'application/json').end(JSON.stringify(body))
    })
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections()
    await new Promise((resolve) => this.#server?.close(resolve))
  }

  /** From now on there is another key, and the former is withdrawn. */
  async rotate(algorithm = 'ES256'): Promise<void> {
    const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true })
    const id = `key-${crypto.randomUUID()}`
    const jwk = { ...(await exportJWK(publicKey)), kid: id, alg: algorithm, use: 'sig' }
    this.#keys = [{ id, algorithm, key: privateKey, jwk }]
  }

  /** Valid for five minutes, but for what `claims` says. */
  async token(email: string, claims: Record<string, unknown> = {}): Promise<string> {
    const { id, algorithm, key } = this.#keys[0]!
    const nowS = Math.floor(Date.now() / 1000)
    const payload = { iss: this.url, aud: AUDIENCE, sub: 'x', iat: nowS, exp: nowS + 300, email, ...claims }
    return new SignJWT(payload).setProtectedHeader({ alg: algorithm, kid: id }).sign(key)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }
}
