import path from 'node:path'
import { type Credentials, readCredentials } from '../../../src/cli/data-dir.ts'
import { said, TestNetwork } from '../../support/network.ts'
import { WeirProcess } from '../../support/weir-process.ts'

const NODE = process.execPath
const TRAFFIC = path.resolve('test/support/traffic.mjs')

/** Guests behind the gateway, by name; each has the address 10.<n>.0.2. */
const GUESTS = ['web', 'db', 'office'] as const
export type Guest = (typeof GUESTS)[number]

export function addressOf(guest: Guest): string {
  return `10.${GUESTS.indexOf(guest) + 1}.0.2`
}

// Everybody may use the web server, names and a log collector, which nobody has started; the database is the web server's alone; telnet is nobody's.
const RULES = `
table inet filter {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    tcp dport 23 drop
    ip daddr ${addressOf('web')} tcp dport { 80, 443 } accept
    ip daddr ${addressOf('db')} ip saddr ${addressOf('web')} tcp dport 5432 accept
    udp dport { 53, 514 } accept
    meta l4proto icmp accept
  }
}`

const OPEN: Record<Guest, { tcp: number[]; udp: number[] }> = {
  web: { tcp: [80, 443], udp: [53] },
  db: { tcp: [5432], udp: [] },
  office: { tcp: [], udp: [] },
}

/** A gateway with a firewall and guests, metered by a `weir up` of its own. */
export class GatewayWorld implements AsyncDisposable {
  readonly network = new TestNetwork()
  readonly weir = new WeirProcess()
  readonly #namespaces = new Map<Guest, string>()
  #host = ''

  async start(windowSizeS: number): Promise<this> {
    try {
      await this.#start(windowSizeS)
      return this
    } catch (error) {
      await this[Symbol.asyncDispose]() // Who could not start is not handed out, so nobody else will.
      throw error
    }
  }

  async #start(windowSizeS: number): Promise<void> {
    const host = this.network.namespace('g')
    this.#host = host
    for (const guest of GUESTS) {
      const namespace = this.network.namespace(guest)
      const net = addressOf(guest).replace(/\.2$/, '')
      this.network.connect(host, `veth-${guest}`, namespace, net)
      this.network.run(namespace, 'ip', 'route', 'add', 'default', 'via', `${net}.1`)
      this.#namespaces.set(guest, namespace)
    }
    this.network.run(host, 'sysctl', '-qw', 'net.ipv4.ip_forward=1')
    this.network.nft(host, RULES)
    await this.weir.start(['--window', String(windowSizeS)])
    for (const guest of GUESTS) {
      const place = ['--device', `veth-${guest}`, '--netns', host, '--side', 'guest']
      this.weir.cli('nic', 'add', '--name', guest, ...place)
    }
    for (const guest of GUESTS) {
      const server = this.network.start(
        this.#namespaces.get(guest)!,
        NODE,
        TRAFFIC,
        'serve',
        JSON.stringify(OPEN[guest]),
      )
      await said(server, /serving/)
    }
  }

  /** A rule that lets one guest in to a port of another, from now on. */
  allow(from: Guest, to: Guest, port: number): void {
    const places = ['ip', 'saddr', addressOf(from), 'ip', 'daddr', addressOf(to)]
    const rule = [...places, 'tcp', 'dport', String(port), 'accept']
    this.network.run(this.#host, 'nft', 'insert', 'rule', 'inet', 'filter', 'forward', ...rule)
  }

  get credentials(): Credentials {
    return readCredentials(this.weir.dataDir)!
  }

  get origin(): string {
    return new URL(this.credentials.url).origin
  }

  /** Connects from one guest to ports of another, and says how many were answered. */
  async send(
    from: Guest,
    to: Guest,
    ports: { tcp?: number[]; udp?: number[] },
    sending: { rounds?: number; size?: number; patienceMs?: number } = {},
  ): Promise<{ tcp: number; udp: number }> {
    const options = JSON.stringify({ to: addressOf(to), rounds: 1, size: 1200, ...ports, ...sending })
    const sender = this.network.start(this.#namespaces.get(from)!, NODE, TRAFFIC, 'send', options)
    let printed = ''
    sender.stdout?.on('data', (chunk: Buffer) => {
      printed += chunk.toString()
    })
    await said(sender, /"tcp":\d+/)
    return JSON.parse(printed) as { tcp: number; udp: number }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.weir[Symbol.asyncDispose]()
    await this.network[Symbol.asyncDispose]()
  }
}
